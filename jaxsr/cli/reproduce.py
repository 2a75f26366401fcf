"""jaxsr reproduce: runs the papers' studies."""

import argparse
import pathlib

from jaxsr.cli import options

HELP = "Run a study of a paper, or list the studies."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study", nargs="?", help="name of a study, or a Python file (default: list all)"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=1.0,
        help="fraction of the full training length, the same for all variants (1)",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="number of runs of each variant (1)"
    )
    parser.add_argument(
        "--workdir", type=options.path, help="the folder of the study (runs/NAME)"
    )
    parser.add_argument(
        "--status", action="store_true", help="show the progress of its runs"
    )


def run(args: argparse.Namespace) -> int:
    from jaxsr.reproduction import listing, runner

    if args.study is None:
        for line in listing.studies():
            print(line)
        return 0
    workdir = args.workdir or f"runs/{pathlib.Path(args.study).stem}"
    if args.status:
        for line in listing.status(args.study, pathlib.Path(workdir)):
            print(line)
        return 0
    complete = runner.reproduce(
        args.study, pathlib.Path(workdir), budget=args.budget, seeds=args.seeds
    )
    print(f"{pathlib.Path(workdir, 'results.md').read_text()}\nIn {workdir}.")
    return 0 if complete else 1

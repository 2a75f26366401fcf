"""jaxsr prepare: downloads image sets and weights."""

import argparse

from jaxsr import terminal
from jaxsr.cli import options

HELP = "Fetch image sets or weights and check them."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="+", help="291, Set5, Set14, B100, weights/vdsr, ..."
    )
    parser.add_argument(
        "--data-dir", type=options.path, help="where to put them ($JAXSR_DATA)"
    )
    parser.add_argument(
        "--url",
        default="https://raw.githubusercontent.com",
        help="download from this mirror",
    )


def run(args: argparse.Namespace) -> int:
    from jaxsr.data import fetching

    for name in args.name:
        for folder in fetching.fetch(name, args.data_dir, url=args.url):
            print(terminal.shown(folder))
    return 0

"""jaxsr report: tables and figures of models, from the scores in their files."""

import argparse
import itertools
import pathlib
import sys

from jaxsr.cli import options

HELP = "Tabulate the scores on the models' cards."
BENCHMARKS = ["Set5", "Set14", "B100"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_directory",
        type=options.path,
        nargs="*",
        help="the models of these runs (default: the shipped models)",
    )
    parser.add_argument(
        "--data",
        type=options.commas,
        help="such as Set5,Set14 (default: the benchmarks, or the sets on the cards)",
    )
    parser.add_argument(
        "--figure",
        type=options.path,
        help="also draw PSNR against cost, to this PNG file",
    )
    parser.add_argument(
        "--perceptual",
        action="store_true",
        help="the SRGAN paper's table at x4, with LPIPS, beside the runs",
    )
    parser.add_argument(
        "--curves",
        type=options.path,
        help="also draw the runs' training curves, to this PNG file",
    )


def run(args: argparse.Namespace) -> int:
    from jaxsr import files, weights
    from jaxsr.evaluation import figures, protocol, tables
    from jaxsr.training import logs

    if args.curves and not args.run_directory:
        raise ValueError("--curves draws training runs; name their directories.")
    for path in filter(None, (args.figure, args.curves)):
        files.writable(path)
    perceptual = protocol.shipped() | _interpolations(args) if args.perceptual else {}
    labels = files.short_names(args.run_directory, perceptual)
    paths = {label: pathlib.Path(run) for run, label in labels.items()}
    runs = {label: weights.load(path) for label, path in paths.items()}
    named = perceptual | runs or protocol.shipped()
    data = args.data or _sets(named)
    print((tables.perceptual if args.perceptual else tables.overview)(named, data))
    if args.figure:
        figures.tradeoff(args.figure, named, data[0])
    if args.curves:
        records = {label: logs.read(path) for label, path in paths.items()}
        scales = {scale for model in named.values() for scale in model.card["scales"]}
        names = [f"validation_psnr_x{scale}" for scale in sorted(scales)]
        figures.curves(args.curves, records, y=names)
    return 0


def _sets(named: dict) -> list[str]:
    """The benchmark sets; where no card has one, those that the cards have."""
    cards = [model.card["scores"] for model in named.values()]
    found = list(dict.fromkeys(data for scores in cards for data in scores))
    return [data for data in BENCHMARKS if data in found] or found or BENCHMARKS


def _interpolations(args) -> dict:
    """Nearest and bicubic x4 of RGB, with scores measured here."""
    from jaxsr.data import sets
    from jaxsr.evaluation import protocol
    from jaxsr.importers import features

    try:
        lpips = features.load_lpips()
    except FileNotFoundError as error:
        print(f"Without LPIPS: {error}", file=sys.stderr)
        lpips = None
    data = sets.open_each(args.data or BENCHMARKS)
    named = {}
    for name in ("nearest", "bicubic"):
        model = protocol.baseline(name, color="rgb")
        rows = (protocol.evaluate(model, source, [4], lpips=lpips) for source in data)
        scores = options.with_progress(itertools.chain(*rows), 1, data)
        named[name] = protocol.with_scores(model, scores)
    return named

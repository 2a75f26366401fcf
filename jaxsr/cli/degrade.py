"""jaxsr degrade: makes low-resolution images as MATLAB's imresize does."""

import argparse
import functools
from collections.abc import Callable

from jaxsr.cli import options

HELP = "Reduce images as MATLAB's imresize does."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=options.path, nargs="+", help="image files, folders and patterns"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=options.path,
        required=True,
        help="a folder, or a file for a single input",
    )
    add_settings(parser)
    options.add_existing(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how an image is reduced and written."""
    parser.add_argument(
        "--scale", type=float, required=True, help="factor, any number >= 1"
    )
    parser.add_argument(
        "--kernel",
        default="bicubic",
        help="bicubic, bilinear, lanczos3 or nearest (bicubic)",
    )
    parser.add_argument(
        "--blur",
        type=float,
        default=0.0,
        metavar="SIGMA",
        help="instead: every scale-th pixel after a Gaussian of SIGMA pixels",
    )
    parser.add_argument(
        "--no-crop",
        action="store_true",
        help="do not crop images to multiples of the scale first",
    )
    parser.add_argument("--format", default="png", help="png or tiff (png)")


def ending(args: argparse.Namespace) -> str:
    """What the names of results end in, before the suffix."""
    return ""


def work(args: argparse.Namespace) -> Callable:
    """`degrade.degrade_files` with the settings of `add_settings`."""
    from jaxsr.inference import degrade

    return functools.partial(
        degrade.degrade_files,
        scale=args.scale,
        method=args.kernel,
        blur=args.blur,
        crop=not args.no_crop,
        suffix=f".{args.format}",
    )


def run(args: argparse.Namespace) -> int:
    summary = work(args)(args.input, args.output, existing=args.existing)
    counts = [f"{len(summary.done)} written"]
    counts += [f"{len(summary.skipped)} skipped"] * bool(summary.skipped)
    print(f"{', '.join(counts)}, {len(summary.failed)} failed.")
    return options.status([f"{source}: {why}" for source, why in summary.failed])

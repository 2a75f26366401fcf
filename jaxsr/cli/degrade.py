"""jaxsr degrade: makes low-resolution images as MATLAB's imresize does."""

import argparse

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
    options.add_existing(parser)


def run(args: argparse.Namespace) -> int:
    from jaxsr.inference import degrade

    summary = degrade.degrade_files(
        args.input,
        args.output,
        args.scale,
        method=args.kernel,
        blur=args.blur,
        crop=not args.no_crop,
        suffix=f".{args.format}",
        existing=args.existing,
    )
    counts = [f"{len(summary.done)} written"]
    counts += [f"{len(summary.skipped)} skipped"] * bool(summary.skipped)
    print(f"{', '.join(counts)}, {len(summary.failed)} failed.")
    return options.status([f"{source}: {why}" for source, why in summary.failed])

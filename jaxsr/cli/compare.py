"""jaxsr compare: shows one image upscaled by several models, side by side."""

import argparse

from jaxsr import terminal
from jaxsr.cli import options

HELP = "Compare bicubic and models on one image."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=options.path, help="an image file")
    parser.add_argument(
        "-o",
        "--output",
        type=options.path,
        required=True,
        help="the image file to write",
    )
    parser.add_argument("--scale", type=float, default=2.0, help="any number >= 1 (2)")
    parser.add_argument(
        "--models",
        type=options.commas,
        default=["auto"],
        help=f"each {options.MODEL} (auto)",
    )
    parser.add_argument(
        "--truth", type=options.path, help="the reference image, for PSNR and SSIM"
    )
    parser.add_argument("--range", type=int, help=options.RANGE)
    options.add_existing(parser)
    options.add_written(parser)


def run(args: argparse.Namespace) -> int:
    from jaxsr import devices, files
    from jaxsr.evaluation import comparison

    devices.use_all_cores()
    output, inputs = files.writable(args.output), filter(None, (args.input, args.truth))
    if not files.to_write(output, args.existing, *inputs):
        print(f"{terminal.shown(args.output)} already exists; skipped.")
        return 0
    names = comparison.compare_file(
        args.input,
        args.output,
        args.scale,
        args.models,
        truth=args.truth,
        data_range=args.range,
        level=args.quality_level,
        png_level=args.png_level,
        max_megapixels=args.max_megapixels,
    )
    print(terminal.shown(f"{args.output}: {', '.join(names)}"))
    return 0

"""jaxsr film: upscales a film."""

import argparse
import time

from jaxsr import terminal
from jaxsr.cli import options

HELP = "Upscale a film."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=options.path, help="the film")
    parser.add_argument(
        "-o",
        "--output",
        type=options.path,
        required=True,
        help="the file to write: .mp4, .mov or .mkv",
    )
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument(
        "--scale", type=float, default=2.0, help="factor, any number >= 1 (2)"
    )
    goal.add_argument(
        "--size",
        type=options.size,
        help="instead of a scale: 3840x2160, to fit inside; 3840x; or x2160",
    )
    parser.add_argument(
        "--model",
        type=options.path,
        default="auto",
        help=f"{options.MODEL} (auto: the best shipped one)",
    )
    parser.add_argument(
        "--quality",
        default="fast",
        help="model that auto chooses: fast, balanced or best (fast)",
    )
    parser.add_argument(
        "--crf",
        type=int,
        default=18,
        help="from 0, lossless, to 51, the smallest file (18)",
    )
    parser.add_argument("--precision", default="float32", help=options.PRECISIONS)
    options.add_existing(parser)


def run(args: argparse.Namespace) -> int:
    from jaxsr import devices, files
    from jaxsr.apps import film

    devices.use_all_cores()
    target = files.writable(args.output)
    if not files.to_write(target, args.existing):
        print(f"{terminal.shown(target)} already exists; skipped.")
        return 0
    started = time.monotonic()
    count = film.upscale_film(
        args.input,
        target,
        args.scale,
        args.model,
        size=args.size,
        quality=args.quality,
        crf=args.crf,
        precision=args.precision,
    )
    print(f"{count} frames, in {time.monotonic() - started:.1f} s.")
    return 0

"""jaxsr upscale: upscales photographs, folders of them, and films."""

import argparse
import contextlib
import functools
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from jaxsr import terminal
from jaxsr.cli import options

HELP = "Upscale photographs, folders of them, and films."

FILMS = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
# Options that a film has no use for.
OF_PHOTOGRAPHS = (
    *("format", "range", "quality_level", "png_level", "max_megapixels", "dry_run"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input",
        type=options.path,
        nargs="+",
        help="image files, folders and patterns like 'a/**/*.jpg', or one film; "
        "- is standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=options.path,
        help="a folder, or a file for a single input; - is standard output",
    )
    add_settings(parser)
    parser.set_defaults(quality=None)  # which `run` chooses
    parser.add_argument(
        "--crf",
        type=int,
        help="of a film: from 0, lossless, to 51, the smallest file (18)",
    )
    options.add_existing(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be written"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how an image is upscaled and written."""
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument(
        "--scale", type=float, default=2.0, help="factor, any number >= 1 (2)"
    )
    goal.add_argument(
        "--size",
        type=options.size,
        help="instead of a scale: 3840x2160, to fit inside; 3840x; x2160; or 24MP",
    )
    parser.add_argument(
        "--model",
        type=options.path,
        default="auto",
        help=f"{options.MODEL} (auto: the best shipped one)",
    )
    parser.add_argument(
        "--quality",
        default="balanced",
        help="model that auto chooses: fast, balanced or best (balanced; of a film, "
        "fast)",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="average over eight flips and rotations: more accurate, 8 times slower",
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        help="from 0, which is bicubic, to 1, the network (1)",
    )
    parser.add_argument(
        "--format", help="png, jpg, webp, avif or tiff (png); npy for scientific images"
    )
    parser.add_argument(
        "--tile", type=int, help="side of a tile in input pixels (chosen for speed)"
    )
    parser.add_argument("--range", type=int, help=options.RANGE)
    parser.add_argument("--precision", default="float32", help=options.PRECISIONS)
    options.add_written(parser)


def ending(args: argparse.Namespace) -> str:
    """What the names of results end in, before the suffix."""
    from jaxsr.inference import targets

    return targets.ending(args.scale, args.size)


def work(args: argparse.Namespace) -> Callable:
    """`jobs.upscale_files` with the settings of `add_settings`."""
    from jaxsr import devices
    from jaxsr.inference import jobs

    devices.use_all_cores()
    return functools.partial(
        jobs.upscale_files,
        scale=args.scale,
        model=args.model,
        size=args.size,
        suffix=args.format and f".{args.format}",
        quality=args.quality,
        tile=args.tile,
        precision=args.precision,
        ensemble=args.ensemble,
        strength=args.strength,
        data_range=args.range,
        level=args.quality_level,
        png_level=args.png_level,
        max_megapixels=args.max_megapixels,
    )


def run(args: argparse.Namespace) -> int:
    films = [name for name in args.input if pathlib.Path(name).suffix.lower() in FILMS]
    args.quality = args.quality or ("fast" if films else "balanced")
    return _run_film(args) if films else _run_photographs(args)


def _run_film(args: argparse.Namespace) -> int:
    values = {name: getattr(args, name) for name in OF_PHOTOGRAPHS}
    given = [name for name, x in values.items() if x is not None and x is not False]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} is not an option of films.")
    if len(args.input) > 1:
        raise ValueError(
            f"a film must be the only input; got {len(args.input)} inputs."
        )

    from jaxsr import devices, files
    from jaxsr.apps import film
    from jaxsr.inference import targets

    devices.use_all_cores()
    started = time.monotonic()
    source = pathlib.Path(args.input[0])
    suffix = source.suffix if source.suffix.lower() in film.FORMATS else ".mkv"
    beside = targets.renamed(source, ending(args), suffix)
    target = pathlib.Path(args.output or beside)
    target = files.writable(target / beside.name if target.is_dir() else target)
    if not files.to_write(target, args.existing):
        print(f"{terminal.shown(target)} already exists; skipped.")
        return 0
    count = film.upscale_film(
        source,
        target,
        args.scale,
        args.model,
        size=args.size,
        quality=args.quality,
        crf=18 if args.crf is None else args.crf,
        tile=args.tile,
        precision=args.precision,
        ensemble=args.ensemble,
        strength=args.strength,
    )
    print(f"{count} frames, in {time.monotonic() - started:.1f} s.")
    return 0


def _run_photographs(args: argparse.Namespace) -> int:
    if args.crf is not None:
        raise ValueError("--crf is an option of films.")
    started = time.monotonic()
    with _piped(args) as (inputs, output):
        summary = work(args)(
            inputs, output, existing=args.existing, dry_run=args.dry_run
        )
    counts = [f"{len(summary.done)} {'to upscale' if args.dry_run else 'upscaled'}"]
    counts += [f"{len(summary.skipped)} skipped"] * bool(summary.skipped)
    counts += [f"{len(summary.failed)} failed"]
    print(
        f"{', '.join(counts)}, in {time.monotonic() - started:.1f} s.",
        file=sys.stderr if args.output == PIPE else sys.stdout,
    )
    return 1 if summary.failed else 0


PIPE = "-"  # standard input or output


@contextlib.contextmanager
def _piped(args: argparse.Namespace) -> Iterator[tuple[list[str], str | None]]:
    """The inputs and the output, files in a temporary folder in place of `PIPE`.

    What is written to that output goes to standard output at the end.
    """
    inputs, output = args.input, args.output
    if PIPE not in (*inputs, output):
        yield inputs, output
        return
    if len(inputs) > 1:
        raise ValueError(f"- goes with a single input; got {len(inputs)}.")
    if output is None:
        raise ValueError("standard input needs an output: -o FILE, or -o - for a pipe.")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if inputs == [PIPE]:
            source = folder / "standard input"
            source.write_bytes(sys.stdin.buffer.read())
            inputs = [str(source)]
        made = folder / f"output.{args.format or 'png'}"
        yield inputs, str(made) if output == PIPE else output
        if output == PIPE and made.exists():
            sys.stdout.buffer.write(made.read_bytes())

"""Argument types, options and exit statuses that several subcommands share."""

import argparse
import os
import re
import sys

from jaxsr import checks, terminal

RANGE = "white level of 16-bit files, such as 4095 (guessed from the largest value)"
MODEL = "a shipped model, a model file or a run directory"
PRECISIONS = "float32, tf32, bfloat16 or float16 (float32)"

path = os.path.expanduser  # for --data=~/x, which no shell expands


def commas(text: str) -> list[str]:
    parts = [os.path.expanduser(part) for part in text.split(",") if part]
    if not parts:
        raise argparse.ArgumentTypeError(
            "expected at least one name, separated by commas"
        )
    return parts


def scales(text: str) -> list[float]:
    """Scales such as 2,2.5,3: integers as int."""
    parts = commas(text)
    if not all(re.fullmatch(r"[1-9]\d{0,8}(\.\d{1,3})?", part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected scales from 1, such as 2,2.5,3; got {text!r}"
        )
    return [checks.tidy(float(part)) for part in parts]


def size(text: str) -> tuple[int | None, int | None] | float:
    """(height, width) of WIDTHxHEIGHT, WIDTHx and xHEIGHT; or megapixels of 24MP."""
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)MP", text, re.IGNORECASE):
        return float(found[1])
    found = re.fullmatch(r"(\d*)x(\d*)", text)
    if not found or text == "x":
        raise argparse.ArgumentTypeError(
            f"expected a size such as 3840x2160, 3840x, x2160 or 24MP; got {text!r}"
        )
    return tuple(int(side) if side else None for side in (found[2], found[1]))


def add_existing(parser: argparse.ArgumentParser) -> None:
    """Adds the options for output files that exist."""
    there = parser.add_mutually_exclusive_group()
    there.set_defaults(existing="error")
    for name, help in (
        ("overwrite", "replace files that exist"),
        ("skip-existing", "skip inputs whose output exists"),
    ):
        there.add_argument(
            f"--{name}",
            action="store_const",
            dest="existing",
            const=name.split("-")[0],
            help=help,
        )


def add_written(parser: argparse.ArgumentParser) -> None:
    """Adds the options of commands that read and write images."""
    parser.add_argument(
        "--quality-level",
        type=int,
        metavar="1..100",
        help="quality of JPEG and WebP (95) and AVIF files (90)",
    )
    parser.add_argument(
        "--png-level",
        type=int,
        metavar="0..9",
        help="compression of PNG files, 0 is fast and 9 small (3)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        metavar="N",
        help="refuse larger inputs, which may be decompression bombs (179)",
    )


def add_weights(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds a measure's option: None where it is not given, False without a file."""
    parser.add_argument(
        f"--{name}",
        type=os.path.expanduser,
        nargs="?",
        const=False,
        metavar="FILE",
        help=f"also {name.upper()}; FILE holds its weights ($JAXSR_WEIGHTS/{name})",
    )


def with_progress(scores, each: int, sets) -> list:
    """The scores, `each` for every image and for the mean, with a progress bar."""
    import tqdm

    total = each * sum(len(source.names) + 1 for source in sets)
    return list(tqdm.tqdm(scores, total=total, unit="image", leave=False, disable=None))


def status(left_out: list[str]) -> int:
    """Prints the skipped images and returns the exit status."""
    if left_out:
        text = "\n".join([f"{len(left_out)} images skipped:", *left_out])
        print(terminal.printable(text), file=sys.stderr)
    return 1 if left_out else 0

"""Metadata of model files, read without JAX, and the choice of a shipped model.

The shipped models lie in `FOLDER`.
"""

import json
import math
import os
import pathlib
import re

from jaxsr import checks

FOLDER = pathlib.Path(__file__).parent / "shipped"
SUFFIX = ".safetensors"
# quality -> limit of multiply-adds for an output of 1280x720 pixels
QUALITIES = {"fast": 10e9, "balanced": 200e9, "best": math.inf}


_NUMBER, _COUNT = checks.number(), checks.integer(0, 10**18)
# data -> "x2" -> score
_SCORES = checks.table(
    checks.table(
        checks.record({"psnr": _NUMBER, "ssim": _NUMBER}, {"lpips": _NUMBER}),
        lambda scale: re.fullmatch(r"x\d+(\.\d+)?", scale),
    )
)
# Fields of every card, and the kinds of their values.
CARD = {
    "network": checks.TEXT,
    "fields": checks.table(checks.ANYTHING),
    "color": checks.TEXT,
    "scales": checks.several(checks.number(1, most=64)),
    "trained_on": checks.TEXT,
    "step": checks.either(checks.integer(0), checks.NOTHING),
    "scores": _SCORES,
    "digest": checks.TEXT,
}
# Optional fields.
MORE = {
    **dict.fromkeys(("epochs", "hours"), checks.number(0)),
    **dict.fromkeys(
        ("commit", "device", "loss", "objective", "protocol", "recipe", "source"),
        checks.TEXT,
    ),
    "blur": checks.number(0, 100),
    "channels": checks.integer(most=16),
    "cost": checks.record(
        {
            "parameters": _COUNT,
            "halo": _COUNT,
            "input": checks.TEXT,
            "multiply_adds": checks.table(_COUNT, lambda scale: True),
        }
    ),
    "ensemble": _SCORES,
    "rated_on": checks.TEXT,
    "upscaling": checks.table(
        checks.record(
            {"psnr": _NUMBER, "multiply_adds": checks.either(_NUMBER, _COUNT)}
        ),
        lambda scale: re.fullmatch(r"[1-9]\d?(\.\d+)?", scale),
    ),
    "module": checks.TEXT,
    "validation": checks.table(checks.either(checks.TEXT, _NUMBER)),
}


def shipped() -> list[str]:
    """The names of the models that come with jaxsr."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def path_of(name: str) -> pathlib.Path:
    """The file of a shipped model."""
    return FOLDER / f"{name}{SUFFIX}"


def read(path: str | os.PathLike) -> dict:
    """The card of a model file; only the header is read.

    Raises:
        ValueError: if there is no card, or an invalid one, see `parse`.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > os.stat(path).st_size:
                raise ValueError("it is cut short")
            header = json.loads(file.read(length))
        text = header["__metadata__"]["jaxsr"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a jaxsr model file: {error}.") from error
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"Cannot load {path}: {error}") from error


def parse(text: str) -> dict:
    """The card that a text holds.

    Raises:
        ValueError: if it is not a card by `CARD` and `MORE`.
    """

    def refused(constant):
        raise ValueError(f"a number must be finite; got {constant}")

    try:
        card = json.loads(text, parse_constant=refused)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"its card must be JSON: {error}.") from error
    checks.check("its card", card, checks.table(checks.ANYTHING))
    if missing := sorted(CARD.keys() - card.keys()):
        raise ValueError(f"its card lacks {missing}; got {sorted(card)}.")
    for name, kind in (CARD | MORE).items():
        if name in card:
            checks.check(f"its card's {name}", card[name], kind)
    counted = card.get("cost", {}).get("multiply_adds", {"": 0})
    if lacking := [s for s in card["scales"] if not counted.keys() & {str(s), ""}]:
        raise ValueError(f"its card's cost lacks the scales {lacking}; got {counted}.")
    return card


def check_quality(quality: str) -> None:
    """Raises a ValueError where it is no key of `QUALITIES`."""
    if quality not in QUALITIES:
        raise ValueError(f"quality must be one of {list(QUALITIES)}; got {quality!r}.")


def choose(scale: float, quality: str = "balanced") -> str:
    """The name of the shipped model that is best at a scale, within a cost limit.

    Compares the tables that `rating.rated` wrote to their cards, interpolated between
    the scales.

    Args:
        scale: by which to upscale, fractions too.
        quality: of `QUALITIES`. If no model is within its limit, the cheapest is used.

    Raises:
        ValueError: for another quality.
        FileNotFoundError: where no model is shipped.
    """
    check_quality(quality)
    tables = {name: read(path_of(name)).get("upscaling") for name in shipped()}
    rated = {
        name: (_at(table, scale, "psnr"), _at(table, scale, "multiply_adds"))
        for name, table in tables.items()
        if table
    }
    if not rated:
        raise FileNotFoundError(
            "this installation has no shipped models; pass a model file or a run "
            "directory."
        )
    budget = max(QUALITIES[quality], min(adds for _, adds in rated.values()))
    able = [name for name, (_, adds) in rated.items() if adds <= budget]
    return max(able, key=lambda name: rated[name][0])


def _at(table: dict[str, dict], scale: float, key: str) -> float:
    """A value of a table by scale, interpolated over the logarithm of the scale."""
    known = sorted(table, key=float)
    above = next((i for i, s in enumerate(known) if float(s) >= scale), len(known) - 1)
    below = max(above - 1, 0)
    (x, y), (a, b) = (
        (math.log(float(known[i])), table[known[i]][key]) for i in (below, above)
    )
    share = min(max((math.log(scale) - x) / (a - x), 0.0), 1.0) if a > x else 1.0
    return y + share * (b - y)

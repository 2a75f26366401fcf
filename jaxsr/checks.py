"""Validation of values from outside: settings, fields of networks, metadata."""

import importlib
import math
import types
from collections.abc import Callable, Iterable
from typing import NamedTuple

FLOAT32 = (2 - 2**-23) * 2.0**127  # the largest
# package -> the extra that installs it; others come with "train"
EXTRAS = {
    "apache_beam": "beam",
    "av": "video",
    "flatbuffers": "export",
    "gradio": "page",
    "jax2onnx": "export",
    "onnx": "export",
}


class Kind(NamedTuple):
    """A set of values: its description, and a membership test."""

    what: str
    holds: Callable[[object], bool]


def check(name: str, value, kind: Kind) -> None:
    """Raises a ValueError, of one line, if the value is not of the kind."""
    if not kind.holds(value):
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        raise ValueError(f"{name} must be {kind.what}; got {shown}.")


def missing(error: ModuleNotFoundError) -> str:
    """The message for a package that is not installed, in one line."""
    if error.name is None:  # one that says so itself
        return str(error)
    package = error.name.partition(".")[0]
    name = EXTRAS.get(package, "train")
    return f"{package} is not installed; pip install 'jaxsr[{name}]' brings it."


def extra(module: str) -> types.ModuleType:
    """A module of an extra, imported where it is needed.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(missing(error)) from error


def tidy(x: float) -> float:
    """A number as an int where it is integer."""
    return int(x) if x == int(x) else x


def integer(least: int = 1, most: int = 2**31 - 1) -> Kind:
    """The integers from least to most, without True and False."""
    what = f"an integer from {least} to {most}"
    return Kind(what, lambda x: type(x) is int and least <= x <= most)


def number(
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
) -> Kind:
    """The finite numbers from least to most that are above and below others."""
    bounds = [("from", least), ("above", above), ("up to", most), ("below", below)]
    what = " ".join(["a number", *(f"{w} {x:g}" for w, x in bounds if abs(x) < 1e300)])

    def holds(x):
        return (
            type(x) in (int, float)
            # Neither infinite nor NaN, and within JAX's int32 and float32.
            and abs(x) <= (2**31 - 1 if type(x) is int else FLOAT32)
            and least <= x <= most
            and above < x < below
        )

    return Kind(what, holds)


def one_of(values: Iterable) -> Kind:
    """Only these values."""
    known = sorted(values)
    return Kind(f"one of {known}", lambda x: isinstance(x, str) and x in known)


def several(kind: Kind, *, least: int = 0) -> Kind:
    """Lists and tuples of a kind."""
    what = f"a list, each {kind.what}" + f", {least} or more" * (least > 0)
    return Kind(
        what,
        lambda x: (
            isinstance(x, (list, tuple)) and len(x) >= least and all(map(kind.holds, x))
        ),
    )


def pair(what: str, first: Kind, second: Kind) -> Kind:
    """Lists and tuples of two, the name of something and its `what`."""
    return Kind(
        f"(name, {what})",
        lambda x: (
            isinstance(x, (list, tuple))
            and len(x) == 2
            and first.holds(x[0])
            and second.holds(x[1])
        ),
    )


def table(kind: Kind, key: Callable[[str], object] = bool) -> Kind:
    """Dictionaries from text, of which `key` is true, to values of a kind."""
    return Kind(
        f"a dictionary, each value {kind.what}",
        lambda x: (
            isinstance(x, dict)
            and all(isinstance(k, str) and key(k) for k in x)
            and all(map(kind.holds, x.values()))
        ),
    )


def record(kinds: dict[str, Kind], more: dict[str, Kind] | None = None) -> Kind:
    """Dictionaries that have all of `kinds`, and maybe some of `more`."""
    parts = (f"{key}: {kind.what}" for key, kind in kinds.items())
    return Kind(
        f"a dictionary with {', '.join(parts)}",
        lambda x: (
            isinstance(x, dict)
            and kinds.keys() <= x.keys()
            and all(
                kind.holds(x[key])
                for key, kind in (kinds | (more or {})).items()
                if key in x
            )
        ),
    )


def either(*kinds: Kind) -> Kind:
    """Values of any of the kinds."""
    what = " or ".join(kind.what for kind in kinds)
    return Kind(what, lambda x: any(kind.holds(x) for kind in kinds))


ANYTHING = Kind("anything", lambda x: True)
FLAG = Kind("True or False", lambda x: isinstance(x, bool))
NOTHING = Kind("None", lambda x: x is None)
TEXT = Kind("text", lambda x: isinstance(x, str))

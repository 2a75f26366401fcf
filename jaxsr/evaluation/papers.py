"""Numbers that papers print: scores of networks, and the cells of their studies."""

import functools
import importlib.resources
import json


@functools.cache
def _content() -> dict:
    file = importlib.resources.files("jaxsr") / "papers.json"
    return json.loads(file.read_text())


def scores() -> dict:
    """Network -> variant -> image set -> "x2" -> {"psnr", "ssim", maybe "mos"}."""
    return _content()["scores"]


def score(name: str, variant: str, data: str, scale: int) -> dict | None:
    """The PSNR in dB and SSIM (None where not printed) of a network on a set."""
    return scores()[name][variant].get(data, {}).get(f"x{scale}")


def study(name: str) -> dict[str, dict[str, float]]:
    """Variant -> column, as "Set5 x2" -> the number printed of it, in a study.

    Empty for studies of which the paper prints no numbers, only a figure.
    """
    return _content()["studies"].get(name, {})

"""Scores that papers print, by network, variant, image set and scale."""

import functools
import importlib.resources
import json


@functools.cache
def scores() -> dict:
    """Network -> variant -> image set -> "x2" -> {"psnr", "ssim", maybe "mos"}."""
    file = importlib.resources.files("jaxsr") / "papers.json"
    return json.loads(file.read_text())


def score(name: str, variant: str, data: str, scale: int) -> dict | None:
    """The PSNR in dB and SSIM (None where not printed) of a network on a set."""
    return scores()[name][variant].get(data, {}).get(f"x{scale}")

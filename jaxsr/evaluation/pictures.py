"""Scores of pictures that any program made, against the reference ones."""

import csv
import functools
import io
import math
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxsr import image, metrics, perceptual, terminal
from jaxsr.data import folders, naming
from jaxsr.files import depth, reading

LUMA = np.array([0.299, 0.587, 0.114])  # of JPEG


class Pair(NamedTuple):
    """Two image files that are compared."""

    name: str  # of the reference image
    sr: pathlib.Path
    hr: pathlib.Path


class Score(NamedTuple):
    """The scores of one picture, or their means."""

    image: str
    psnr: float  # dB
    ssim: float
    lpips: float | None = None


def pairs_of(
    sr: str | os.PathLike, hr: str | os.PathLike
) -> tuple[list[Pair], list[str]]:
    """The pairs of two files, or of the images of two folders, and what has no partner.

    In folders a result belongs to its first of `naming.owners`.

    Raises:
        ValueError: for a file and a folder, a folder without images, two images of one
            name, or no pair.
    """
    sr, hr = pathlib.Path(sr), pathlib.Path(hr)
    if sr.is_dir() != hr.is_dir():
        raise ValueError(
            "both must be files, or both folders; got "
            f"{terminal.shown(sr)} and {terminal.shown(hr)}."
        )
    if not sr.is_dir():
        return [Pair(hr.name, sr, hr)], []
    results, true = (folders.image_files(folder) for folder in (sr, hr))
    for folder, found in ((sr, results), (hr, true)):
        if not found:
            raise ValueError(f"{terminal.shown(folder)} holds no images.")
    by_name = naming.unique((naming.key(path.name), path, path) for path in true)
    partners, alone = [], []
    for path in results:
        if owner := next(naming.owners(path.name, by_name), None):
            partners.append((owner[0], path, path))
        else:
            alone.append(f"{terminal.shown(path)} has no reference image in {hr}.")
    found = naming.unique(partners)
    alone += [
        f"{terminal.shown(path)} has no result in {sr}."
        for name, path in by_name.items()
        if name not in found
    ]
    if not found:
        raise ValueError("\n".join(["no file of one folder fits the other.", *alone]))
    return [Pair(by_name[n].name, found[n], by_name[n]) for n in sorted(found)], alone


def score(
    pairs: Iterable[Pair],
    *,
    on: str = "y",
    border: int = 0,
    scale: float | None = None,
    lpips: dict | None = None,
) -> Iterator[Score]:
    """Yields the scores of each pair, and their means.

    Values are those of the files: 8 or 16 bits, or floats in [0, 1]. Alpha is ignored.

    Args:
        pairs: as `pairs_of` gives them.
        on: a key of `CHANNELS`.
        border: edge pixels left out on each side.
        scale: where a reference image is larger by less than this on a side, it is
            cropped at the bottom and right, as by `image.modcrop`.
        lpips: the params of `perceptual.LPIPS`, which sees whole RGB images.

    Raises:
        ValueError: for a file that cannot be read, or a pair of different sizes.
    """
    if on not in CHANNELS:
        raise ValueError(f"on must be one of {list(CHANNELS)}; got {on!r}.")
    rows = []
    for pair in pairs:
        sr, hr = (_read(path) for path in (pair.sr, pair.hr))
        if sr.shape[2] != hr.shape[2]:  # one of them is gray
            sr, hr = (np.broadcast_to(x, (*x.shape[:2], 3)) for x in (sr, hr))
        try:
            hr = cropped(hr, sr.shape[:2], scale or 1)
            with jax.enable_x64(True):
                values = [
                    float(
                        of(*(CHANNELS[on](x)[None] for x in (sr, hr)), border=border)[0]
                    )
                    for of in (metrics.psnr, metrics.ssim)
                ]
            if lpips is not None:
                rgb = (
                    np.broadcast_to(_floats(x), (1, *x.shape[:2], 3)).astype(np.float32)
                    for x in (sr, hr)
                )
                values.append(float(perceptual.lpips(lpips, *rgb)[0]))
        except ValueError as error:
            raise ValueError(f"{pair.name}: {error}") from error
        rows.append(values)
        yield Score(pair.name, *values)
    yield Score("mean", *np.mean(rows, axis=0).tolist())


def _read(path: pathlib.Path) -> np.ndarray:
    """The colours of a file, uint8, uint16 or floats [H, W, 1 or 3]."""
    with reading.named(terminal.shown(path)):
        photo, _ = reading.read_upright(path)
        return depth.without_alpha(photo.pixels)


def cropped(hr: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """The reference image cropped to [*size, C]; it may exceed that by < scale."""
    excess = [side - wanted for side, wanted in zip(hr.shape, size)]
    if not all(0 <= pixels < scale for pixels in excess):
        more = math.ceil(scale) - 1
        raise ValueError(
            f"the reference image must have {size[1]}x{size[0]} pixels, as the "
            f"upscaled one{f', or up to {more} more on a side' * (more > 0)}; got "
            f"{hr.shape[1]}x{hr.shape[0]}."
        )
    return hr[: size[0], : size[1]]


_floats = functools.partial(image.to_floats, dtype=np.float64)


def _rounded(y: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """y with as many bits as the pixels that it was made of."""
    if pixels.dtype.kind == "f":
        return y
    return image.quantise(y, 8 * pixels.dtype.itemsize)


def _y(pixels: np.ndarray) -> np.ndarray:
    x = _floats(pixels)
    return x if x.shape[2] == 1 else _rounded(image.rgb_to_y(x), pixels)


def _luma(pixels: np.ndarray) -> np.ndarray:
    x = _floats(pixels)
    return x if x.shape[2] == 1 else _rounded(x @ LUMA[:, None], pixels)


# name -> function (pixels of a file) -> float64 [H, W, C] that are compared
CHANNELS = {"y": _y, "rgb": _floats, "luma": _luma}
TEXTS = {
    "y": "Y of MATLAB's rgb2ycbcr, rounded to the bits of the file",
    "rgb": "all channels of RGB together",
    "luma": "luma of JPEG, of full range, rounded to the bits of the file",
}


def protocol(on: str, border: int, *, lpips: bool = False) -> str:
    """How `score` measures, in words."""
    text = f"{TEXTS[on]}, gray images as they are, border of {border} pixels left out"
    more = "; LPIPS (AlexNet, version 0.1) of whole RGB images, border included"
    return f"{text}, mean over images{more * lpips}"


def markdown(scores: list[Score]) -> str:
    """A Markdown table of the scores."""
    head = ["image", "PSNR, dB", "SSIM", "LPIPS"]
    rows = [[s.image, f"{s.psnr:.2f}", f"{s.ssim:.4f}"] for s in scores]
    if scores[0].lpips is None:
        head.pop()
    else:
        rows = [[*row, f"{s.lpips:.4f}"] for row, s in zip(rows, scores)]
    rows = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_csv(scores: list[Score]) -> str:
    """The scores as CSV, unrounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = len(Score._fields) - (scores[0].lpips is None)
    writer.writerows([Score._fields[:columns], *(s[:columns] for s in scores)])
    return file.getvalue()

"""Scores of pictures that any program made, against the reference ones."""

import csv
import functools
import io
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxsr import image, metrics, perceptual, terminal
from jaxsr.data import folders
from jaxsr.files import depth, reading

LUMA = np.array([0.299, 0.587, 0.114])  # of JPEG


class Pair(NamedTuple):
    """Two image files that are compared."""

    name: str  # of the reference image
    sr: pathlib.PurePath
    hr: pathlib.PurePath


class Score(NamedTuple):
    """The scores of one picture, or their means."""

    image: str
    psnr: float  # dB
    ssim: float
    lpips: float | None = None
    dists: float | None = None
    niqe: float | None = None

    @property
    def columns(self) -> list[str]:
        """The names of what was measured."""
        return [name for name, x in self._asdict().items() if x is not None]


def pairs_of(
    sr: str | os.PathLike, hr: str | os.PathLike
) -> tuple[list[Pair], list[str]]:
    """The pairs of two files, or of the images of two folders, and what has no partner.

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
    pairs, unknown, without = paired(results, true)
    alone = [f"{terminal.shown(x)} has no reference image in {hr}." for x in unknown]
    alone += [f"{terminal.shown(x)} has no result in {sr}." for x in without]
    if not pairs:
        raise ValueError("\n".join(["no file of one folder fits the other.", *alone]))
    return pairs, alone


def paired(
    results: Iterable[pathlib.PurePath], true: Iterable[pathlib.PurePath]
) -> tuple[list[Pair], list[pathlib.PurePath], list[pathlib.PurePath]]:
    """The pairs of two folders' images by name, and the results and others without one.

    A result belongs to its first of `folders.owners`.

    Raises:
        ValueError: for two images of one name.
    """
    by_name = folders.unique((folders.key(path.name), path, path) for path in true)
    owners = [
        (next(folders.owners(path.name, by_name), (None,))[0], path) for path in results
    ]
    found = folders.unique((name, path, path) for name, path in owners if name)
    pairs = [Pair(by_name[n].name, found[n], by_name[n]) for n in sorted(found)]
    unknown = [path for name, path in owners if not name]
    return pairs, unknown, [path for n, path in by_name.items() if n not in found]


def score(pairs: Iterable[Pair], **options) -> Iterator[Score]:
    """Yields the scores of each pair, by `score_pair` with the options, and a mean."""
    scores = []
    for pair in pairs:
        scores.append(score_pair(pair, **options))
        yield scores[-1]
    yield mean(scores)


def score_pair(
    pair: Pair,
    *,
    on: str = "y",
    border: int = 0,
    scale: float | None = None,
    more: dict[str, dict] | None = None,
) -> Score:
    """The scores of two files.

    Values are those of the files: 8 or 16 bits, or floats in [0, 1]. Alpha is ignored.

    Args:
        pair: as `pairs_of` gives them.
        on: a key of `CHANNELS`.
        border: edge pixels left out on each side.
        scale: where a reference image is larger by less than this on a side, it is
            cropped at the bottom and right, as by `image.modcrop`.
        more: name -> params, of those of `MORE` that are measured too.

    Raises:
        ValueError: for a file that cannot be read, or a pair of different sizes.
    """
    check_channels(on)
    sr, hr = (_read(path) for path in (pair.sr, pair.hr))
    if sr.shape[2] != hr.shape[2]:  # one of them is gray
        sr, hr = (np.broadcast_to(x, (*x.shape[:2], 3)) for x in (sr, hr))
    try:
        hr = cropped(hr, sr.shape[:2], scale or 1)
        with jax.enable_x64(True):
            shown = [CHANNELS[on](x)[None] for x in (sr, hr)]
            values = {
                of.__name__: float(of(*shown, border=border)[0])
                for of in (metrics.psnr, metrics.ssim)
            }
        rgb = [
            np.broadcast_to(_floats(x), (1, *x.shape[:2], 3)).astype(np.float32)
            for x in (sr, hr)
        ]
        for name, params in (more or {}).items():
            values[name] = float(MORE[name].of(params, *rgb, border)[0])
    except ValueError as error:
        raise ValueError(f"{pair.name}: {error}") from error
    return Score(pair.name, **values)


def check_channels(on: str) -> None:
    """Raises a ValueError for what is not a key of `CHANNELS`."""
    if on not in CHANNELS:
        raise ValueError(f"on must be one of {list(CHANNELS)}; got {on!r}.")


def mean(scores: Sequence[Score]) -> Score:
    """The means of the scores, of which there is at least one."""
    return Score(
        "mean",
        **{
            name: np.mean([getattr(s, name) for s in scores]).item()
            for name in scores[0].columns[1:]
        },
    )


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


class More(NamedTuple):
    """Another measure."""

    title: str
    of: Callable  # (params, sr, hr, border) of float32 RGB [1, H, W, 3] -> [1]
    text: str  # of the protocol


def _niqe(params, sr, hr, border):
    with jax.enable_x64(True):
        y = image.quantise(image.rgb_to_y(np.asarray(sr, np.float64)))
        found = metrics.niqe(params, y, border=border)
    if np.isnan(found).any():
        raise ValueError("NIQE has no value: the image is flat everywhere.")
    return found


MORE = {
    "lpips": More(
        "LPIPS",
        lambda params, sr, hr, border: perceptual.lpips(params, sr, hr),
        "LPIPS (AlexNet, version 0.1) of whole RGB images, border included",
    ),
    "dists": More(
        "DISTS",
        lambda params, sr, hr, border: perceptual.dists(params, sr, hr),
        "DISTS of whole RGB images, border included",
    ),
    "niqe": More("NIQE", _niqe, "NIQE of the upscaled image's Y"),
}


def protocol(on: str, border: int, more: Iterable[str] = ()) -> str:
    """How `score` measures, in words; `more` as there."""
    text = f"{TEXTS[on]}, gray images as they are, border of {border} pixels left out"
    return "; ".join([f"{text}, mean over images", *(MORE[name].text for name in more)])


def markdown(scores: list[Score]) -> str:
    """A Markdown table of the scores."""
    titles = {"psnr": "PSNR, dB", "ssim": "SSIM"} | {
        n: m.title for n, m in MORE.items()
    }
    columns = scores[0].columns
    rows = [[titles.get(name, name) for name in columns], ["---"] * len(columns)]
    for s in scores:
        digits = {"image": "", "psnr": ".2f", "niqe": ".2f"}
        rows.append([f"{getattr(s, n):{digits.get(n, '.4f')}}" for n in columns])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_csv(scores: list[Score]) -> str:
    """The scores as CSV, unrounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = scores[0].columns
    writer.writerows([columns, *([getattr(s, n) for n in columns] for s in scores)])
    return file.getvalue()

"""One image, upscaled by bicubic and by models, side by side."""

import math
import os
import pathlib
from collections.abc import Sequence

import einops
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from jaxsr import (
    cards,
    files,
    image,
    metrics,
    terminal,
)
from jaxsr.evaluation import pictures, protocol
from jaxsr.files import depth, reading, writing
from jaxsr.inference import tiling, upscale

# Side of a crop in pixels of the upscaled image, and its magnification.
SIDE, ZOOM = 64, 3
CROPS = 3
GAP = 6
COLOURS = ("red", "lime", "cyan")  # of the crops' frames


def compare_file(
    path: str | os.PathLike,
    output: str | os.PathLike,
    scale: float = 2.0,
    models: Sequence[str | os.PathLike] = (upscale.AUTO,),
    *,
    truth: str | os.PathLike | None = None,
    data_range: int | None = None,
    level: int | None = None,
    png_level: int | None = None,
    max_megapixels: float | None = None,
) -> list[str]:
    """Writes a picture of an image file upscaled by bicubic and by models.

    Returns the names of the models.

    Args:
        path: the image.
        output: the picture to write; a `writing.FORMATS`.
        scale: as in `upscale.upscale`.
        models: each as in `upscale.upscale`.
        truth: the reference image, as large as the upscaled one. What exceeds that by
            less than the scale is cropped at the bottom and right, as by
            `image.modcrop`. The picture then shows it too, with PSNR and SSIM as
            `measure` gives them.
        data_range: of both images, as in `upscale.upscale`.
        level: as in `jobs.upscale_files`.
        png_level: as in `jobs.upscale_files`.
        max_megapixels: as in `jobs.upscale_files`.

    Raises:
        ValueError: for a file that is not an image, floats outside [0, 1], or a truth
            of another size.
    """
    upscale.check_scale(scale)
    target = pathlib.Path(output)
    levels = writing.Levels(level, png_level)
    writing.check_kind(target.suffix, levels)
    with reading.limited_to(max_megapixels):
        pixels = _rgb(path, data_range)
        hr = None if truth is None else _rgb(truth, data_range)
    size = image.resized_size(pixels.shape[:2], scale)
    columns = {"bicubic": protocol.baseline(color="rgb")}
    if hr is not None:
        hr = pictures.cropped(hr, size, scale)
    auto = cards.choose(scale) if upscale.AUTO in models else None
    shipped = [*columns, *cards.shipped()]
    named = [auto if name == upscale.AUTO else name for name in models]
    paths = [name for name in named if name not in shipped]
    known = files.short_names(paths, shipped)
    for name in named:
        label = known.get(name, str(name)).removesuffix(cards.SUFFIX)
        columns[label] = upscale.choose(name, scale, "balanced")
    columns = {
        name: upscale.to_size(pixels, size, model, tiling.Options())
        for name, model in columns.items()
    }
    picture = reading.Photo(grid(columns, hr, scale=scale), {}, PIL.Image.Exif())
    writing.check_fits(picture.pixels, picture.pixels.shape[:2], target)
    writing.write(picture, target, levels)
    return list(columns)


def _rgb(path, data_range: int | None = None) -> np.ndarray:
    """The uint8 pixels [H, W, 3] of a file, without its alpha."""
    try:
        photo, _ = reading.read_upright(pathlib.Path(path))
        colours = depth.without_alpha(photo.pixels)
        if colours.dtype == np.uint16:
            top = depth.data_range(colours, data_range)
            colours = image.from_uint(colours, np.float64, top)
        if colours.dtype != np.uint8:
            image.check_range(colours)
            colours = image.to_uint(colours)
    except ValueError as error:
        raise ValueError(f"{terminal.shown(path)}: {error}") from error
    return np.broadcast_to(colours, (*colours.shape[:2], 3))


def measure(sr: np.ndarray, hr: np.ndarray, border: int) -> tuple[float, float]:
    """(PSNR in dB, SSIM) of uint8 [H, W, 3], on Y of 8 bits without the border."""
    y = [image.luma(pixels)[None] for pixels in (sr, hr)]
    return tuple(float(of(*y, border=border)[0]) for of in (metrics.psnr, metrics.ssim))


def windows(a: np.ndarray, b: np.ndarray, side: int, count: int) -> list[tuple]:
    """(top, left) of up to `count` squares in which a and b [H, W, C] differ most.

    They lie on a grid. Where an image is smaller than a square, there is one at (0, 0).
    """
    height, width = (max(n // side, 1) * side for n in a.shape[:2])
    error = ((a.astype(np.float32) - b) ** 2)[:height, :width]
    padding = [(0, n - m) for n, m in zip((height, width), error.shape)]
    error = np.pad(error, [*padding, (0, 0)])
    blocks = einops.reduce(error, "(y a) (x b) c -> y x", "sum", a=side, b=side)
    best = np.argsort(-blocks, axis=None, kind="stable")[:count]
    return [
        (side * int(y), side * int(x))
        for y, x in zip(*np.unravel_index(best, blocks.shape))
    ]


def grid(
    columns: dict[str, np.ndarray], hr: np.ndarray | None = None, *, scale: float
) -> np.ndarray:
    """A picture, uint8 [h, w, 3]: the whole image, and its crops in each column.

    Args:
        columns: title -> uint8 [H, W, 3]; the crops are where the first and the last
            differ most.
        hr: the true image, for another column, and PSNR and SSIM under the titles.
        scale: its next integer is the border that these leave out.
    """
    first, *_, last = columns.values()
    texts = dict.fromkeys(columns, "")
    if hr is not None:
        scores = {k: measure(sr, hr, math.ceil(scale)) for k, sr in columns.items()}
        texts = {k: f"{p:.2f} dB / {s:.4f}" for k, (p, s) in scores.items()}
        columns, texts = columns | {"truth": hr}, texts | {"truth": ""}
    places = windows(first, last, SIDE, CROPS)
    cell, font = SIDE * ZOOM, PIL.ImageFont.load_default(13)
    head = 18 * (1 + any(texts.values()))
    tall = len(places) * (cell + GAP) - GAP
    whole = PIL.Image.fromarray(last)
    whole.thumbnail((2 * cell, tall))
    reduced = whole.width / last.shape[1]
    width = whole.width + len(columns) * (cell + GAP)
    picture = PIL.Image.new("RGB", (width, head + tall), "white")
    draw = PIL.ImageDraw.Draw(picture)
    picture.paste(whole, (0, head))
    for (top, left), colour in zip(places, COLOURS):
        x, y = left * reduced, head + top * reduced
        far = x + SIDE * reduced - 1, y + SIDE * reduced - 1
        draw.rectangle((x, y, *far), outline=colour, width=2)
    for i, (title, pixels) in enumerate(columns.items()):
        x = whole.width + GAP + i * (cell + GAP)
        draw.text((x, 1), f"{title}\n{texts[title]}", "black", font)
        for j, ((top, left), colour) in enumerate(zip(places, COLOURS)):
            crop = PIL.Image.fromarray(pixels[top : top + SIDE, left : left + SIDE])
            crop = crop.resize((ZOOM * crop.width, ZOOM * crop.height), 0)
            y = head + j * (cell + GAP)
            picture.paste(crop, (x, y))
            draw.rectangle(
                (x, y, x + crop.width - 1, y + crop.height - 1), outline=colour
            )
    return np.asarray(picture)

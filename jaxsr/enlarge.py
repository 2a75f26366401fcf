"""Image in, enlarged image out: colour, transparency, any scale; arrays and files.

Every step but the network is a bicubic resize of a window, so an image of any size passes
through tile by tile and is held in its own integers alone.
"""

import contextlib
import logging
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import scipy.ndimage
import scipy.sparse
import tqdm
import tqdm.contrib.logging

from jaxsr import image as images  # `image` is what upscale takes
from jaxsr import tiling, weights

logger = logging.getLogger(__name__)


class Failure(NamedTuple):
    """An input that was not enlarged, and why."""

    source: pathlib.Path
    reason: str


class Summary(NamedTuple):
    """What `upscale_files` did."""

    done: list[pathlib.Path]  # the files written
    failed: list[Failure]


class Format(NamedTuple):
    """A kind of file, as Pillow names it, and what it can hold."""

    name: str
    modes: tuple[str, ...]
    side: int  # pixels at most
    options: dict  # of PIL.Image.Image.save


def upscale(
    image: np.ndarray | PIL.Image.Image | jax.Array,
    scale: float,
    model: weights.Model | str | os.PathLike,
    *,
    tile: int | None = None,
) -> np.ndarray | PIL.Image.Image | jax.Array:
    """The image with sides `scale` times as long, rounded up, of the same kind and dtype.

    A network of Y enlarges Y, or gray over its full range, and the bicubic Cb and Cr; one
    of RGB enlarges gray as the mean of three equal channels. A scale that a network lacks
    is its next larger one, reduced by bicubic, or its largest one, enlarged by bicubic.
    Transparency is enlarged by bicubic.

    Args:
        image: an array [H, W] or [H, W, C] of uint8, uint16 or floats in [0, 1] with C
            from 1 to 4 (2 and 4 with alpha); or a Pillow image, whose palette, CMYK or
            1-bit colours come back as RGB or gray.
        scale: >= 1, fractions too.
        model: a model, or what `weights.load` takes.
        tile: as in `tiling.stream`.
    """
    model = _loaded(model)
    if isinstance(image, PIL.Image.Image):
        plain, _ = _plain(image)
        result = PIL.Image.fromarray(upscale(np.asarray(plain), scale, model, tile=tile))
        kept = ("icc_profile", "exif", "xmp", "dpi")
        result.info = {key: plain.info[key] for key in kept if key in plain.info}
        return result
    if isinstance(image, jax.Array):
        return jnp.asarray(upscale(np.asarray(image), scale, model, tile=tile))
    pixels = _checked(image)
    size = _size(pixels.shape[:2], scale)
    return _enlarged(pixels, size, model, tile=tile).reshape(*size, *image.shape[2:])


def upscale_files(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike | None,
    scale: float,
    model: weights.Model | str | os.PathLike,
    *,
    file_format: str = "png",
    quality: int = 95,
    tile: int | None = None,
) -> Summary:
    """Enlarges files, and the images in folders and below; a bad one stops no other.

    Writes photo_x2.5.png for photo.jpg, whole or not at all. Orientation is applied;
    colour profile, EXIF, XMP and resolution are kept where the format can hold them.

    Args:
        inputs: files and folders.
        output: a file, for one input; or a folder, where the structure of the inputs is
            kept; or None: beside each input.
        scale: as in `upscale`.
        model: as in `upscale`.
        file_format: a suffix in `FORMATS`, without its dot; a named output has its own.
        quality: of JPEG and WebP, 1 to 100.
        tile: as in `upscale`.

    Raises:
        ValueError: before anything is written, where two inputs would write one file, or
            one would write over an input.
    """
    _size((1, 1), scale)
    model = _loaded(model)
    jobs, failed = _jobs(inputs, output, scale, file_format)
    done = []
    device = jax.local_devices()[0]
    logger.info("Running on %s (%s).", device.device_kind, device.platform)
    for source, reason in failed:
        logger.error("%s: %s", source, reason)
    sizes = [_megapixels(source) * scale**2 for source, _ in jobs]
    with (
        tqdm.contrib.logging.logging_redirect_tqdm(),
        tqdm.tqdm(
            total=sum(sizes),
            disable=None,  # where it is no terminal
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} megapixels "
            "[{elapsed}<{remaining}]",
        ) as bar,
    ):
        for i, (source, target) in enumerate(jobs):
            bar.set_description(source.name)
            try:
                _upscale_file(
                    source, target, scale, model, quality, tile, lambda n: bar.update(n / 1e6)
                )
                done.append(target)
            except (OSError, ValueError, MemoryError) as error:
                failed.append(Failure(source, str(error) or type(error).__name__))
                logger.error("%s: %s", *failed[-1])
            bar.n = sum(sizes[: i + 1])
            bar.refresh()
    return Summary(done, failed)


def _loaded(model):
    return model if isinstance(model, weights.Model) else weights.load(model)


def _size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    if not (scale >= 1 and math.isfinite(scale)):
        raise ValueError(f"scale must be a number from 1; got {scale}.")
    return images.resized_size(size, scale)


def _checked(pixels: np.ndarray) -> np.ndarray:
    """The array as [H, W, C], or a clear error."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.shape[-1] > 4:
        raise ValueError(
            "image must be [H, W] or [H, W, C] with 1 to 4 channels and not empty; "
            f"got shape {pixels.shape}."
        )
    if jnp.issubdtype(pixels.dtype, jnp.floating):
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError(
                "a floating-point image must lie in [0, 1]; got values from "
                f"{pixels.min()} to {pixels.max()}. Clip or divide it first."
            )
    elif pixels.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"image must be uint8, uint16 or float; got {pixels.dtype}.")
    return pixels


class _Bicubic:
    """A bicubic resize of which any window can be had."""

    def __init__(self, old: tuple[int, int], new: tuple[int, int]):
        self.matrices = [
            images.resize_matrix(a, b, b / a).astype(np.float32) for a, b in zip(old, new)
        ]

    def window(self, read: Callable[[slice, slice], np.ndarray], rows, columns):
        """Pixels [rows, columns] of the resized image; `read` gives those of the image."""
        parts, sources = [], []
        for matrix, wanted in zip(self.matrices, (rows, columns)):
            part = matrix[wanted]
            source = slice(part.indices.min(), part.indices.max() + 1)
            parts.append(part[:, source])
            sources.append(source)
        x = read(*sources)
        for part in parts:  # each axis comes first in its turn
            x = (part @ x.reshape(len(x), -1)).reshape(-1, *x.shape[1:]).swapaxes(0, 1)
        return x

    def support(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last pixel, ascending, that each resized pixel is made of."""
        matrix = self.matrices[axis]
        first = np.minimum.reduceat(matrix.indices, matrix.indptr[:-1])
        last = np.maximum.reduceat(matrix.indices, matrix.indptr[:-1])
        return np.minimum.accumulate(first[::-1])[::-1], np.maximum.accumulate(last)


def _enlarged(
    pixels: np.ndarray,
    size: tuple[int, int],
    model: weights.Model,
    *,
    tile: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """Pixels [*size, C] of the dtype of `pixels` [h, w, C]; tells `advance` of each tile."""
    net, color = model.net, model.card["color"]
    old, channels = pixels.shape[:2], pixels.shape[-1]
    has_alpha, is_rgb = channels in (2, 4), channels > 2
    if has_alpha:
        pixels = _fill_hidden(pixels)
    scale = _branch(net, size[0] / old[0])
    factor = tiling.enlargement(net, scale)
    whole = size if net.input == "interpolated" else old  # what the network takes
    made = tuple(factor * side for side in whole)
    direct = _Bicubic(old, size)
    before, after = _Bicubic(old, whole), _Bicubic(made, size)

    def read(rows, columns):
        window = pixels[rows, columns]
        if window.dtype in (np.uint8, np.uint16):
            return images.from_uint(window)
        return window.astype(np.float32)

    def network_read(rows, columns):
        x = read(rows, columns)[..., : 3 if is_rgb else 1]
        if color == "y":
            return images.rgb_to_y(x) if is_rgb else x
        return x if is_rgb else x.repeat(3, axis=-1)

    def plan(tile):
        supports = [after.support(axis) for axis in (0, 1)]
        return tuple(
            tiling.spans(side, tile, net.halo, first // factor, last // factor)
            for side, (first, last) in zip(whole, supports)
        )

    out = np.empty((*size, channels), pixels.dtype)
    for row, column, sr in tiling.stream(
        net,
        model.variables,
        lambda rows, columns: before.window(network_read, rows, columns),
        plan,
        scale=scale if hasattr(net, "scales") else None,
        tile=tile,
    ):
        if not np.isfinite(sr).all():
            raise ValueError("the network gave NaN or infinity. Use float32 activations.")
        kept = slice(row.begin, row.end), slice(column.begin, column.end)
        top, left = row.start * factor, column.start * factor
        sr = after.window(lambda rows, columns: sr[...], *kept)
        out[kept] = 0
        advance((row.end - row.begin) * (column.end - column.begin))
    return out

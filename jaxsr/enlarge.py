"""Image in, enlarged image out: colour, transparency, any scale; arrays and files.

Every step but the network is a bicubic resize, of which any window can be had alone. So
an image of any size passes through tile by tile, never held whole in floating point.
"""

import logging
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import scipy.ndimage
import tqdm
import tqdm.contrib.logging

from jaxsr import files, tiling, weights
from jaxsr import image as images  # `image` is what a caller hands to upscale

logger = logging.getLogger(__name__)

AUTO = "auto"


class Failure(NamedTuple):
    """An input that was not enlarged."""

    source: pathlib.Path
    reason: str


class Summary(NamedTuple):
    """What became of the inputs."""

    done: list[pathlib.Path]  # the files written
    failed: list[Failure]


def upscale(
    image: np.ndarray | PIL.Image.Image | jax.Array,
    scale: float,
    model: weights.Model | str | os.PathLike = AUTO,
    *,
    quality: str = "balanced",
    tile: int | None = None,
) -> np.ndarray | PIL.Image.Image | jax.Array:
    """The image, sides `scale` times as long, rounded up; of the same kind and dtype.

    A network of Y enlarges Y, and gray over its full range; Cb, Cr and alpha are
    enlarged by bicubic. One of YCbCr enlarges all three, gray with neutral chroma. One
    of RGB enlarges gray as three equal channels, whose mean is taken. A scale that a
    network lacks is its next larger one reduced by bicubic, or its largest enlarged.

    Args:
        image: an array [H, W] or [H, W, C] of uint8, uint16 or floats in [0, 1], C from
            1 to 4 (2 and 4: the last is alpha); or a Pillow image (palette, CMYK and
            1-bit ones come back as RGB or gray).
        scale: >= 1, fractions too.
        model: a model, or what `weights.load` takes; `AUTO` is the shipped one that
            `weights.choose` names.
        quality: what "auto" may take, as in `weights.choose`.
        tile: as in `tiling.stream`.
    """
    _check_scale(scale)
    model = _loaded(model, scale, quality)
    if isinstance(image, PIL.Image.Image):
        plain, _ = files.simplify(image)
        enlarged = upscale(np.asarray(plain), scale, model, tile=tile)
        result = PIL.Image.fromarray(enlarged)
        result.info = {key: plain.info[key] for key in files.KEPT if key in plain.info}
        return result
    if isinstance(image, jax.Array):
        return jnp.asarray(upscale(np.asarray(image), scale, model, tile=tile))
    pixels = _pixels(image)
    size = images.resized_size(pixels.shape[:2], scale)
    return _enlarged(pixels, size, model, tile=tile).reshape(*size, *image.shape[2:])


def upscale_files(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike | None,
    scale: float,
    model: weights.Model | str | os.PathLike = AUTO,
    *,
    quality: str = "balanced",
    tile: int | None = None,
) -> Summary:
    """Enlarges files, and the images in folders and below; a bad one stops no other.

    Writes photo_x2.5.png for photo.jpg, each file whole or not at all. EXIF orientation
    is applied; colour profile, EXIF, XMP and resolution are carried over where the
    format can hold them.

    Args:
        inputs: files and folders.
        output: a file, for one input; or a folder, in which the structure of the input
            folders is kept; or None for a place beside each input.
        scale: as in `upscale`.
        model: as in `upscale`.
        quality: as in `upscale`.
        tile: as in `upscale`.

    Raises:
        ValueError: before anything is written, where two inputs would be written to one
            file, or one over an input.
    """
    _check_scale(scale)
    model = _loaded(model, scale, quality)
    jobs, failed = _jobs(inputs, output, scale)
    device = jax.local_devices()[0]
    named = "the CPU" if device.platform == "cpu" else device.device_kind
    logger.info("Running %s on %s.", _way(model, scale), named)
    for failure in failed:
        logger.error("%s: %s", *failure)
    done = []
    ends = np.cumsum([files.megapixels(source) * scale**2 for source, _ in jobs])
    with (
        tqdm.contrib.logging.logging_redirect_tqdm(),
        tqdm.tqdm(total=ends[-1] if jobs else 0, disable=None, bar_format=BAR) as bar,
    ):
        for (source, target), end in zip(jobs, ends):
            bar.set_description_str(source.name)
            try:
                _upscale_file(source, target, scale, model, tile=tile, bar=bar)
                done.append(target)
            except (OSError, ValueError, MemoryError) as error:
                failed.append(Failure(source, str(error) or type(error).__name__))
                logger.error("%s: %s", *failed[-1])
            bar.update(end - bar.n)
    return Summary(done, failed)


def _check_scale(scale):
    if not (scale >= 1 and math.isfinite(scale)):
        raise ValueError(f"scale must be a number of at least 1; got {scale}.")


def _loaded(model, scale, quality):
    if isinstance(model, weights.Model):
        return model
    return weights.load(weights.choose(scale, quality) if model == AUTO else model)


def _way(model: weights.Model, scale: float) -> str:
    """What enlarges by the scale: a network, and bicubic where it has another scale."""
    net, name = model.net, type(model.net).__name__
    if net.input == "interpolated":
        return name
    factor = tiling.enlargement(net, _branch(net, scale))
    if factor == scale:
        return f"{name} x{factor}"
    then = "reduced" if factor > scale else "enlarged"
    return f"{name} x{factor}, {then} to x{scale:g} by bicubic,"


def _pixels(array: np.ndarray) -> np.ndarray:
    """The array as [H, W, C], of what can be enlarged."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.shape[-1] > 4:
        raise ValueError(
            "image must be [H, W] or [H, W, C], not empty, with 1 to 4 channels; got "
            f"shape {array.shape}."
        )
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise TypeError(f"image must be uint8, uint16 or float; got {pixels.dtype}.")
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"an image of floats must lie in [0, 1]; got {low} to {high}. Clip or "
            "divide it first."
        )
    return pixels


class _Bicubic:
    """A bicubic resize from one size to another, of which any window can be had."""

    def __init__(self, old: tuple[int, int], new: tuple[int, int]):
        self.axes = [
            images.resize_matrix(a, b, b / a).astype(np.float32)
            for a, b in zip(old, new)
        ]

    def window(self, x: np.ndarray, rows: slice, columns: slice, origin=(0, 0)):
        """Pixels [rows, columns, C], float32, of x resized.

        Args:
            x: the image, or a part of it that is enough for the window.
            rows: of the resized image.
            columns: of the resized image.
            origin: (row, column) of the image where x begins.
        """
        parts = [axis[wanted] for axis, wanted in zip(self.axes, (rows, columns))]
        lows = [part.indices.min() for part in parts]
        highs = [part.indices.max() + 1 for part in parts]
        x = x[tuple(slice(a - o, b - o) for a, b, o in zip(lows, highs, origin))]
        x = x.astype(np.float32) if x.dtype.kind != "u" else images.from_uint(x)
        for part, low, high in zip(parts, lows, highs):
            rest = x.shape[1:]
            x = (part[:, low:high] @ x.reshape(len(x), -1)).reshape(-1, *rest)
            x = x.swapaxes(0, 1)  # the other axis, and at last the first again
        return x

    def support(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and last pixel, ascending, that each resized pixel is made of."""
        matrix = self.axes[axis]
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
    """Pixels [*size, C] of the dtype of pixels [h, w, C].

    Calls `advance` with the number of pixels done after each tile.
    """
    net, color = model.net, model.card["color"]
    old, channels = pixels.shape[:2], pixels.shape[-1]
    colours = 3 if channels > 2 else 1
    if channels > colours:
        pixels = _fill_hidden(pixels)
    scale = _branch(net, max(new / side for new, side in zip(size, old)))
    factor = tiling.enlargement(net, scale)
    # old -before-> whole -network-> made -after-> size, and old -direct-> size
    whole = size if net.input == "interpolated" else old
    made = tuple(factor * side for side in whole)
    before, after = _Bicubic(old, whole), _Bicubic(made, size)
    direct = _Bicubic(old, size)

    def read(rows, columns):
        window = before.window(pixels[..., :colours], rows, columns)
        return _network_channels(window, color)

    def plan(tile):
        supports = [after.support(axis) for axis in (0, 1)]
        return [
            tiling.spans(side, tile, net.halo, first // factor, last // factor)
            for side, (first, last) in zip(whole, supports)
        ]

    out = np.empty((*size, channels), pixels.dtype)
    for row, column, sr in tiling.stream(
        net, model.variables, read, plan, scale=scale, tile=tile
    ):
        if not np.isfinite(sr).all():
            raise ValueError(
                "the network gave NaN or infinity. Use float32 activations."
            )
        kept = slice(row.begin, row.end), slice(column.begin, column.end)
        sr = after.window(sr, *kept, origin=(row.start * factor, column.start * factor))
        bicubic = direct.window(pixels, *kept)
        sr = merged(sr, bicubic[..., :colours], color)
        sr = np.concatenate([sr, bicubic[..., colours:]], axis=-1)
        if out.dtype.kind == "u":
            out[kept] = images.to_uint(sr, 8 * out.itemsize)
        else:
            out[kept] = sr.clip(0, 1)
        advance(sr.shape[0] * sr.shape[1])
    return out


def _branch(net: nn.Module, wanted: float) -> int | None:
    """The scale to ask of a network of several: the next >= wanted, or the largest."""
    scales = getattr(net, "scales", None)
    if scales is None:
        return None
    return min((s for s in scales if s >= wanted), default=max(scales))


def _network_channels(x: np.ndarray, color: str) -> np.ndarray:
    """What a network of that colour takes, of gray [H, W, 1] or RGB [H, W, 3]."""
    gray = x.shape[-1] == 1
    if color == "rgb":
        return x.repeat(3, axis=-1) if gray else x
    if color == "y":
        return x if gray else images.rgb_to_y(x)
    return images.with_neutral_chroma(x) if gray else images.rgb_to_ycbcr(x)


def merged(sr: np.ndarray, bicubic: np.ndarray, color: str) -> np.ndarray:
    """Gray or RGB, as `bicubic` is, of what a network of that colour made.

    A network of Y gets the chroma of `bicubic`, the enlarged image [H, W, 1 or 3].
    """
    gray = bicubic.shape[-1] == 1
    if color == "rgb":
        return sr.mean(axis=-1, keepdims=True) if gray else sr
    if gray:
        return sr[..., :1]
    if color == "y":
        chroma = images.rgb_to_ycbcr(bicubic)[..., 1:]
        sr = np.concatenate([sr, chroma], axis=-1)
    return images.ycbcr_to_rgb(sr)


def _fill_hidden(pixels: np.ndarray) -> np.ndarray:
    """Pixels [H, W, C] whose last channel is alpha, with colour where nothing is seen.

    A fully transparent pixel has any colour, most often black: it gets that of the
    nearest visible one, so that no fringe bleeds into an edge. Premultiplying would do
    that too, but shows the network an edge that is none, and divides by small alphas.
    """
    hidden = pixels[..., -1] == 0
    if hidden.all() or not hidden.any():
        return pixels
    nearest = scipy.ndimage.distance_transform_edt(
        hidden, return_distances=False, return_indices=True
    )
    filled = pixels[tuple(nearest)]
    filled[..., -1] = pixels[..., -1]
    return filled


def _jobs(
    inputs: Iterable[str | os.PathLike], output: str | os.PathLike | None, scale: float
) -> tuple[list[tuple[pathlib.Path, pathlib.Path]], list[Failure]]:
    """(source, target) of each image to enlarge, and the inputs that hold none."""
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    output = None if output is None else pathlib.Path(output)
    ending = f"_x{scale:g}"
    found, failed = {}, []  # source -> its path below the input
    for item in map(pathlib.Path, inputs):
        if item.is_dir():
            sources = list(_walk(item, output, ending, failed))
            found |= {source: source.relative_to(item) for source in sources}
            if not sources:
                failed.append(Failure(item, "the folder holds no images."))
        elif item.exists():
            found[item] = pathlib.Path(item.name)
        else:
            failed.append(Failure(item, "there is no such file or folder."))
    suffixes = PIL.Image.registered_extensions()
    named = output and output.suffix.lower() in suffixes and not output.is_dir()
    if named and output.suffix.lower() not in files.FORMATS:
        raise ValueError(
            f"output must end in one of {sorted(files.FORMATS)} or be a folder; got "
            f"{output}."
        )
    if named and len(found) > 1:
        raise ValueError(
            f"{output} is one file, but there are {len(found)} inputs. Name a folder."
        )
    jobs, owners = [], {}
    inputs = {source.resolve() for source in found}
    for source, below in found.items():
        target = source if output is None else output / below
        target = output if named else target.with_name(f"{target.stem}{ending}.png")
        if target.resolve() in inputs:
            raise ValueError(f"{source} would be written over the input {target}.")
        other = owners.setdefault(target.resolve(), source)
        if other != source:
            raise ValueError(
                f"{other} and {source} would both be written to {target}. Rename one, "
                "or enlarge them apart."
            )
        jobs.append((source, target))
    return jobs, failed


def _walk(
    folder: pathlib.Path,
    output: pathlib.Path | None,
    ending: str,
    failed: list[Failure],
) -> Iterator[pathlib.Path]:
    """The images in a folder and below, but for what an earlier run wrote there."""
    output = output and output.resolve()
    beside = output in (None, folder.resolve())

    def fail(error):
        failed.append(Failure(pathlib.Path(error.filename), str(error)))

    for root, folders, names in os.walk(folder, onerror=fail):
        root = pathlib.Path(root)
        folders[:] = sorted(f for f in folders if (root / f).resolve() != output)
        paths = [root / name for name in sorted(names)]
        originals = {path.stem + ending for path in paths}
        for path in paths:
            is_image = (
                path.suffix.lower() in files.READABLE and not path.name.startswith(".")
            )
            if is_image and not (beside and path.stem in originals):
                yield path


def _upscale_file(source, target, scale, model, *, tile, bar):
    picture, exif, notes = files.read(source)
    if notes:
        logger.warning("%s: %s.", source, "; ".join(notes))
    size = images.resized_size((picture.height, picture.width), scale)
    files.check_fits(picture.mode, size, target)
    info, pixels = picture.info, _pixels(np.asarray(picture))
    del picture  # its own copy of the pixels
    enlarged = _enlarged(
        pixels, size, model, tile=tile, advance=lambda count: bar.update(count / 1e6)
    )
    del pixels
    if enlarged.shape[-1] == 1:
        enlarged = enlarged[..., 0]
    files.write(PIL.Image.fromarray(enlarged), info, exif, target)


BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} megapixels "
    "[{elapsed}<{remaining}]"
)

"""Upscaling of one image, with colour and transparency, at any scale.

An image of any size is processed tile by tile and never held whole in floating point.
"""

import functools
import os
from collections.abc import Callable, Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image

from jaxsr import cards, models, weights
from jaxsr import image as images
from jaxsr.files import depth, metadata, reading
from jaxsr.inference import program, tiling

AUTO = "auto"
LARGEST = 2**31 - 1  # scale: the side, in pixels, of the largest image of any format


def upscale(
    image: np.ndarray | PIL.Image.Image | jax.Array,
    scale: float = 2.0,
    model: weights.Model | str | os.PathLike = AUTO,
    *,
    quality: str = "balanced",
    data_range: int | None = None,
    **options,
) -> np.ndarray | PIL.Image.Image | jax.Array:
    """The image, sides `scale` times as long, rounded up; of the same kind and dtype.

    A network of Y upscales Y; Cb, Cr and alpha are enlarged by bicubic. One of YCbCr
    upscales all three. Gray is upscaled as RGB of three equal channels: it is mapped to
    16..235 and back for networks of Y and YCbCr, and is the mean of what a network of
    RGB makes. A scale that a network lacks is its next larger one reduced by bicubic,
    or its largest enlarged. A model of "channels" takes arrays of just so many, none of
    which is alpha, over the whole range of their dtype.

    Args:
        image: an array [H, W] or [H, W, C] of uint8, uint16 or floats in [0, 1], C from
            1 to 4 (2 and 4: the last is alpha); or a Pillow image (palette, CMYK and
            1-bit ones come back as RGB or gray).
        scale: >= 1, fractions too.
        model: a model, or what `weights.load` takes; `AUTO` is the shipped one that
            `cards.choose` names.
        quality: limits the cost of "auto", as in `cards.choose`.
        data_range: the value of white in colours of uint16, as 4095; by default, that
            of `depth.data_range`. The result has it too. Alpha keeps its own.
        **options: those of `tiling.Options`.

    Raises:
        ValueError: also if the network's output is not finite.
    """
    check_scale(scale)
    model = choose(model, scale, quality)
    options = tiling.Options(**options)

    def enlarged(array):
        size = images.resized_size(array.shape[:2], scale)
        return to_size(array, size, model, options, data_range=data_range)

    if isinstance(image, PIL.Image.Image):
        plain, _ = reading.simplify(image)
        result = PIL.Image.fromarray(enlarged(np.asarray(plain)))
        result.info = {
            key: plain.info[key] for key in metadata.KEPT if key in plain.info
        }
        return result
    if isinstance(image, jax.Array):
        return jnp.asarray(enlarged(np.asarray(image)))
    return enlarged(image)


def make_upscaler(
    scale: float = 2.0,
    model: weights.Model | str | os.PathLike = AUTO,
    *,
    sizes: Iterable[tuple[int, int]] = (),
    quality: str = "balanced",
    **options,
) -> Callable:
    """`upscale` as a function of the image alone, for a service.

    The model is loaded, and the function compiled for the `sizes`; larger images than a
    tile all need the same compilation.

    Args:
        scale: as in `upscale`.
        model: as in `upscale`.
        sizes: (height, width) of images, each upscaled once here.
        quality: as in `upscale`.
        **options: the other keyword arguments of `upscale`.
    """
    check_scale(scale)
    model = choose(model, scale, quality)
    upscaler = functools.partial(upscale, scale=scale, model=model, **options)
    for size in sizes:
        upscaler(np.zeros((*size, model.card.get("channels", 3)), np.uint8))
    return upscaler


def check_scale(scale: float) -> None:
    """Raises a ValueError for an invalid scale."""
    if not scale >= 1:
        raise ValueError(f"scale must be a number of at least 1; got {scale}.")
    if scale > LARGEST:
        raise ValueError(f"scale must be at most {LARGEST}; got {scale}.")


def choose(
    model: weights.Model | str | os.PathLike, scale: float, quality: str
) -> weights.Model:
    """The model that `upscale` takes."""
    if isinstance(model, weights.Model):
        return model
    return weights.load(cards.choose(scale, quality) if model == AUTO else model)


def method_text(model: weights.Model, scale: float) -> str:
    """What enlarges by the scale: a network, and bicubic where it has another scale."""
    net, name = model.net, type(model.net).__name__
    if net.input == "interpolated":
        return name
    factor = tiling.enlargement(net, branch(net, scale))
    if factor == scale:
        return f"{name} x{factor}"
    then = "reduced" if factor > scale else "enlarged"
    return f"{name} x{factor}, {then} to x{scale:g} by bicubic,"


def _pixels(array: np.ndarray, count: int | None) -> np.ndarray:
    """The array as [H, W, C]; raises an error if it cannot be upscaled.

    C is `count`; from 1 to 4 where that is None.
    """
    pixels = array[..., None] if array.ndim == 2 else array
    if count and (pixels.ndim != 3 or pixels.shape[2] != count):
        raise ValueError(
            f"the model takes images of {count} channels, [H, W, {count}]; got shape "
            f"{array.shape}."
        )
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.shape[-1] > (count or 4):
        raise ValueError(
            "image must be [H, W] or [H, W, C], not empty, with 1 to 4 channels; got "
            f"shape {array.shape}."
        )
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise TypeError(f"image must be uint8, uint16 or float; got {pixels.dtype}.")
    images.check_range(pixels)
    return pixels


def _tops(pixels: np.ndarray, data_range: int | None, whole: bool) -> np.ndarray:
    """The value of 1 in each channel of pixels [H, W, C]; `whole`: of their dtype."""
    if pixels.dtype.kind != "u":
        return np.ones(pixels.shape[-1], np.float32)
    if whole:
        if data_range is not None:
            raise ValueError(
                "a model of channels takes values over the range of their dtype; got "
                f"data_range={data_range}."
            )
        return np.full(pixels.shape[-1], np.iinfo(pixels.dtype).max, np.float32)
    colours = depth.without_alpha(pixels)
    tops = [depth.data_range(colours, data_range)] * colours.shape[-1]
    if len(tops) < pixels.shape[-1]:
        tops.append(depth.data_range(pixels[..., -1]))
    return np.array(tops, np.float32)


def to_size(
    array: np.ndarray,
    size: tuple[int, int],
    model: weights.Model,
    options: tiling.Options,
    *,
    data_range: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
    empty: Callable[[tuple, np.dtype], np.ndarray] = np.empty,
) -> np.ndarray:
    """The array [h, w] or [h, w, C] upscaled to [*size] or [*size, C], as by `upscale`.

    Args:
        array: as in `upscale`.
        size: (height, width), none below that of the array.
        model: the model that upscales it, by about the same factor on both sides.
        options: how its network is run.
        data_range: as in `upscale`.
        advance: called after each tile with the number of output pixels it completed.
        empty: (shape, dtype) -> array [*size, C], which is filled.
    """
    tiling.check_options(options)
    count = model.card.get("channels")
    pixels = _pixels(array, count)
    net = model.net
    old, channels = pixels.shape[:2], pixels.shape[-1]
    top = _tops(pixels, data_range, whole=count is not None)
    alpha = count is None and channels in (2, 4)
    if alpha:
        pixels = _fill_hidden(pixels)
    scale = branch(net, max(new / side for new, side in zip(size, old)))
    factor = tiling.enlargement(net, scale)
    exact = _whole_factor(old, size)
    if net.input == "low" and exact != factor:
        exact = None
    form = program.Form(
        scale=scale,
        color=model.card["color"],
        alpha=alpha,
        factor=exact,
        precision=options.precision,
        ensemble=options.ensemble,
        blended=options.strength < 1,
    )
    dtype = pixels.dtype if pixels.dtype.kind == "u" else np.float32

    def read(row, column):
        tile = {
            "window": pixels[row.window, column.window].astype(dtype, copy=False),
            "top": top,
            "strength": np.float32(options.strength),
        }
        if not exact:
            tile["direct"] = row.direct, column.direct
            tile["after"] = row.after, column.after
        return tile

    def plan(tile):
        return [
            program.make_cuts(net, factor, *sides, tile, exact)
            for sides in zip(old, size)
        ]

    out = empty((*size, channels), pixels.dtype)
    whole = size if net.input == "interpolated" else old
    sides = tiling.tile_sides(net, scale, whole, options.tile)
    run = program.make_program(net, form)
    for row, column, (made, finite) in tiling.stream(
        run, model.variables, read, plan, *sides
    ):
        if not finite:
            raise ValueError(
                f"the network's output has NaN or infinity in {options.precision}. "
                "Use float32, or another model."
            )
        height, width = (cut.kept.stop - cut.kept.start for cut in (row, column))
        out[row.kept, column.kept] = made[
            row.first : row.first + height, column.first : column.first + width
        ]
        advance(height * width)
    return out.reshape(*size, *array.shape[2:])


def _whole_factor(old: tuple[int, int], new: tuple[int, int]) -> int | None:
    """The integer by which both sides are enlarged, if there is one."""
    factors = {b // a if b % a == 0 else None for a, b in zip(old, new)}
    return factors.pop() if len(factors) == 1 else None


def branch(net: nn.Module, wanted: float) -> int | None:
    """The scale to ask of a network of several: the next >= wanted, or the largest."""
    if not models.is_multiscale(net):
        return None
    return min((s for s in net.scales if s >= wanted), default=max(net.scales))


def _fill_hidden(pixels: np.ndarray) -> np.ndarray:
    """Pixels [H, W, C], the last channel alpha, with colours in transparent regions.

    A fully transparent pixel has any colour, most often black: it gets that of the
    nearest visible one, so that no fringe bleeds into an edge. Premultiplying would do
    that too, but shows the network an edge that is none, and divides by small alphas.
    """
    hidden = pixels[..., -1] == 0
    if hidden.all() or not hidden.any():
        return pixels
    import scipy.ndimage  # here, since importing it takes 0.1 s

    nearest = scipy.ndimage.distance_transform_edt(
        hidden, return_distances=False, return_indices=True
    )
    filled = pixels[tuple(nearest)]
    filled[..., -1] = pixels[..., -1]
    return filled

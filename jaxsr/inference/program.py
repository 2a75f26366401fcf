"""The compiled program of a tile: pixels of a file in, finished pixels out.

Colour, bicubic, network, chroma, alpha and rounding happen on the device, so only bytes
are moved there and back.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsr import image as images
from jaxsr import matrices
from jaxsr.inference import tiling


class Form(NamedTuple):
    """What a program is compiled for.

    Attributes:
        scale: the static argument of networks of several scales, else None.
        color: the network's.
        alpha: whether the last channel is alpha.
        factor: output pixels to a pixel of the window along a side; None if they are
            given by the `Bands` of each tile.
        precision: as in `tiling.Options`.
        ensemble: as in `tiling.Options`.
        blended: whether the output is a blend with bicubic.
    """

    scale: int | None
    color: str
    alpha: bool
    factor: int | None
    precision: str
    ensemble: bool
    blended: bool


class Bands(NamedTuple):
    """Some rows of a matrix that resizes an axis, see `matrices.resize`.

    Attributes:
        columns: [R, taps] int32, the pixels that each row weights, from 0.
        weights: [R, taps] float32; 0 for a pixel that is outside.
    """

    columns: np.ndarray
    weights: np.ndarray


class Cut(NamedTuple):
    """Along one axis of an image: what becomes of a window of its pixels.

    Attributes:
        window: of the image's pixels; the windows of all cuts have the same length.
        kept: of the output's.
        first: where they begin in what the program makes of the window.
        direct: `Bands` that enlarge the window, or None where the factor does.
        after: `Bands` that resize what the network makes, or None.
    """

    window: slice
    kept: slice
    first: int
    direct: Bands | None = None
    after: Bands | None = None


def make_cuts(
    net: nn.Module, factor: int, old: int, new: int, tile: int, exact: bool
) -> list[Cut]:
    """The cuts along an axis that together keep each output pixel once, in order.

    Args:
        net: the network.
        factor: its `tiling.enlargement`.
        old: pixels of the image along the axis.
        new: those of the output.
        tile: pixels of the network's input.
        exact: whether a whole factor, new // old, enlarges both axes, after which a
            network of input "low" is not resized.
    """
    if exact:
        factor = new // old
        halo, tile = _in_windows(net, factor, tile)
        source = np.arange(new) // factor
        return [
            Cut(
                window=slice(span.start, span.stop),
                kept=slice(span.begin, span.end),
                first=span.begin - factor * span.start,
            )
            for span in tiling.spans(old, tile, halo, source, source)
        ]
    direct = _Rows(old, new)
    if net.input == "interpolated":
        rows = np.arange(new)
        length = min(old, _rounded(min(tile, new) * old / new))
        cuts = []
        for span in tiling.spans(new, tile, net.halo, rows, rows):
            start = min(int(direct.first[span.start]), old - length)
            cuts.append(
                Cut(
                    window=slice(start, start + length),
                    kept=slice(span.begin, span.end),
                    first=span.begin - span.start,
                    direct=direct.bands(span.start, span.stop - span.start, start),
                )
            )
        return cuts
    after = _Rows(factor * old, new)
    first = np.minimum(after.first // factor - net.halo, direct.first)
    last = np.maximum(after.last // factor + net.halo, direct.last)
    count = min(new, _rounded(min(tile, old) * new / old))
    return [
        Cut(
            window=slice(span.start, span.stop),
            kept=slice(span.begin, span.end),
            first=0,
            direct=direct.bands(span.begin, count, span.start),
            after=after.bands(span.begin, count, factor * span.start),
        )
        for span in tiling.spans(old, tile, 0, first, last)
    ]


def _in_windows(net: nn.Module, factor: int, tile: int) -> tuple[int, int]:
    """The halo and the tile in pixels of an image that is enlarged by a whole factor.

    A bicubic pixel is made of the two pixels on each side of its own.
    """
    if net.input == "low":
        return max(net.halo, 2), tile
    halo = -(-net.halo // factor) + 2
    return halo, max(-(-tile // factor), 2 * halo + tiling.MARGIN)


def _rounded(length: float) -> int:
    """The length and some more, the same for lengths that differ little.

    So images of different sizes, of which the scale is not quite the same, need one
    compilation.
    """
    return -(-int(length + 8) // 16) * 16


class _Rows:
    """The rows of the matrix that resizes an axis by bicubic, as `Bands`."""

    def __init__(self, old: int, new: int):
        matrix = matrices.resize(old, new, new / old)
        counts = np.diff(matrix.indptr)
        tap = np.arange(counts.max())
        entry = np.minimum(matrix.indptr[:-1, None] + tap, matrix.nnz - 1)
        self.columns = matrix.indices[entry].astype(np.int32)
        inside = tap < counts[:, None]
        self.weights = np.where(inside, matrix.data[entry], 0).astype(np.float32)
        # The first and the last pixel, ascending, of which each row is made.
        low = np.where(inside, self.columns, old).min(axis=1)
        high = np.where(inside, self.columns, 0).max(axis=1)
        self.first = np.minimum.accumulate(low[::-1])[::-1]
        self.last = np.maximum.accumulate(high)

    def bands(self, start: int, count: int, origin: int) -> Bands:
        """`count` rows from `start` on, for pixels from `origin` on.

        Beyond the last row of the matrix it is repeated.
        """
        rows = np.minimum(np.arange(start, start + count), len(self.columns) - 1)
        return Bands(self.columns[rows] - origin, self.weights[rows])


@functools.lru_cache(maxsize=32)
def make_program(net: nn.Module, form: Form) -> Callable:
    """The compiled (variables, tile) -> (pixels, finite) of a network.

    A tile is a dict of arrays with a leading axis of B tiles: "window" [B, h, w, C] of
    uint8, uint16 or float32; "top" [B, C], the value of 1 in each channel; "strength"
    [B]; and, unless a factor enlarges all tiles, "direct" and "after", each the `Bands`
    of rows and of columns, or None. The pixels, of the type of the window, are the
    tile's; finite [B] says whether the network's output is.
    """
    forward = tiling.make_forward(net, form.scale, form.precision)
    if form.ensemble:
        forward = tiling.make_ensemble(forward)
    before, after = (
        jax.jit(functools.partial(part, form=form, input=net.input))
        for part in (_before, _after)
    )

    def program(variables, tile):
        bicubic, x = before(tile)
        return after(tile, bicubic, forward(variables, x))

    # An ensemble runs one compiled network eight times.
    return program if form.ensemble else jax.jit(program)


def _before(tile: dict, *, form: Form, input: str) -> tuple[jax.Array, jax.Array]:
    """(the window enlarged by bicubic, what the network takes) of a tile."""
    x = tile["window"].astype(jnp.float32) / tile["top"][:, None, None]
    resize = functools.partial(enlarged, factor=form.factor)
    bicubic = resize(x) if form.factor else _resized(x, *tile["direct"])
    given = bicubic if input == "interpolated" else x
    return bicubic, network_channels(_colours(given, form), form.color)


def _after(
    tile: dict, bicubic: jax.Array, sr: jax.Array, *, form: Form, input: str
) -> tuple[jax.Array, jax.Array]:
    """The finished pixels of a tile, and whether the network's output sr is finite."""
    finite = jnp.isfinite(sr).all(axis=(1, 2, 3))
    if not form.factor and input == "low":
        sr = _resized(sr, *tile["after"])
    colours = _colours(bicubic, form)
    sr = merged(sr, colours, form.color)
    if sr.shape[-1] == 1 and form.color in ("y", "ycbcr"):
        sr = images.y_to_gray(sr)
    if form.blended:
        strength = tile["strength"][:, None, None, None]
        sr = strength * sr.clip(0, 1) + (1 - strength) * colours.clip(0, 1)
    sr = jnp.concatenate([sr, bicubic[..., colours.shape[-1] :]], axis=-1)
    dtype = tile["window"].dtype
    if dtype == np.float32:
        return sr.clip(0, 1), finite
    top = tile["top"][:, None, None]
    return images.to_uint(sr, 8 * dtype.itemsize, top), finite


def _colours(x: jax.Array, form: Form) -> jax.Array:
    return x[..., :-1] if form.alpha else x


def enlarged(x: jax.Array, factor: int) -> jax.Array:
    """The bicubic-enlarged x [B, factor*h, factor*w, C] of x [B, h, w, C].

    `image.enlarge` as shifted sums, which a CPU computes ten times faster than the
    product with its matrix.
    """
    # The middle of five pixels: its output pixels, which no border touches.
    weights = matrices.resize(5, 5 * factor, factor).toarray()
    weights = weights[2 * factor : 3 * factor].astype(np.float32)
    for axis in (1, 2):
        length = x.shape[axis]
        sides = [(2, 2) if axis == i else (0, 0) for i in range(4)]
        padded = jnp.pad(x, sides, mode="symmetric")
        shifted = [
            jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(5)
        ]
        phases = [sum(w * s for w, s in zip(row, shifted) if w) for row in weights]
        shape = (*x.shape[:axis], factor * length, *x.shape[axis + 1 :])
        x = jnp.stack(phases, axis=axis + 1).reshape(shape)
    return x


def _resized(x: jax.Array, rows: Bands, columns: Bands) -> jax.Array:
    """x [B, R, S, C] by the bands of R rows and S columns, of x [B, h, w, C]."""

    def matrix(bands, length):
        weighted = jax.nn.one_hot(bands.columns, length)  # zeros for those outside
        return (weighted * bands.weights[..., None]).sum(axis=-2)

    product = functools.partial(jnp.einsum, precision="highest")
    x = product("boi,biwc->bowc", matrix(rows, x.shape[1]), x)
    return product("boi,bhic->bhoc", matrix(columns, x.shape[2]), x)


def network_channels(x: images.Array, color: str) -> images.Array:
    """What a network of that colour takes, of gray [..., 1] or RGB [..., 3].

    One of "channels" takes the image as it is.
    """
    if color == "channels":
        return x
    gray = x.shape[-1] == 1
    if color == "rgb":
        return x.repeat(3, axis=-1) if gray else x
    if color == "y":
        return images.gray_to_y(x) if gray else images.rgb_to_y(x)
    if gray:
        return images.with_neutral_chroma(images.gray_to_y(x))
    return images.rgb_to_ycbcr(x)


def merged(sr: images.Array, bicubic: images.Array, color: str) -> images.Array:
    """Gray or RGB, as `bicubic` is, of what a network of that colour made.

    A network of Y gets the chroma of `bicubic`, the enlarged image [..., 1 or 3]. What
    one of "channels" made stays as it is.
    """
    if color == "channels":
        return sr
    gray = bicubic.shape[-1] == 1
    if color == "rgb":
        return sr.mean(axis=-1, keepdims=True) if gray else sr
    if gray:
        return sr[..., :1]
    if color == "y":
        chroma = images.rgb_to_ycbcr(bicubic)[..., 1:]
        sr = sr.__array_namespace__().concat([sr, chroma], axis=-1)
    return images.ycbcr_to_rgb(sr)

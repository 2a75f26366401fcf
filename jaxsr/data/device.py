"""The input pipeline `device`: images are kept and cut on the accelerator.

Needs no TensorFlow; each update transfers only a few integers. It holds

- each true image once, in 8 bits, or in its own dtype for "channels", for all scales;
- its low-resolution image at each integer scale, in float32, or in 8 bits for "rgb" and
  for those of files, if no scale is fractional;
- its enlarged image at each fractional scale, in float32.

A patch is converted to float32 when it is cut, and enlarged by bicubic if the network
takes enlarged images. Y at scales 2, 3 and 4 takes 2.7 bytes per true pixel, a
fractional scale 4 bytes more.
"""

import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxsr import image, matrices
from jaxsr.data import pairs, patches, sources

MARGIN = 2  # low-resolution pixels on each side that bicubic enlarging uses


@struct.dataclass
class Rows:
    """Rows of a plan; the static fields give the size of a patch."""

    rows: jax.Array  # int32 [B, 5]
    side: int = struct.field(pytree_node=False)  # of a patch of the input, in pixels
    unit: int = struct.field(pytree_node=False)  # true pixels to one of the input


class Pixels(NamedTuple):
    """Images [H, W, C] of many sizes, end to end; the tables are int32 [images]."""

    flat: jax.Array  # [pixels, C], unsigned over the full range, or float32
    start: jax.Array  # of each image's first pixel in `flat`
    height: jax.Array
    width: jax.Array


def make_feed(
    source: sources.Source,
    plan: patches.Plan,
    *,
    seed: int,
    scales: tuple[float, ...],
    color: str,
    input: str,
    blur: float = 0.0,
    shard: tuple[int, int] = (0, 1),
) -> patches.Feed:
    """The feed whose inputs are rows of the plan and whose cut gathers on the device.

    Args:
        source: its images are read, degraded at each scale and packed, once.
        plan: made for the same scales and input.
        seed: of the run.
        scales: that the plan draws from.
        color: of `image.COLORS`.
        input: "interpolated" or "low".
        blur: as in `image.degrade`.
        shard: (index, count) of the process whose rows `inputs` yields.
    """
    pairs.check_input(input)
    # From the image that is kept to the network's input. The weights of bicubic repeat
    # along an axis at integer scales alone: at others the enlarged image is kept.
    zooms = tuple(1 if input == "low" or scale % 1 else scale for scale in scales)
    in_8_bits = color == "rgb" or (source.low is not None and color != "channels")
    in_8_bits &= not any(scale % 1 for scale in scales)
    true, low = [], []  # low[i * len(scales) + k] is of true[i] at scales[k]
    bad, place = {}, np.zeros(len(source.names), np.int32)  # image -> index in `true`
    for i, name in enumerate(source.names):
        try:
            pixels = source.read(i)
            given = [sources.read_low(source, i, scale) for scale in scales]
        except ValueError as error:
            bad[i] = str(error)
            logging.warning("Skipped: %s", error)
            continue
        place[i] = len(true)
        true.append(pairs.true_pixels(pixels, color))
        for scale, x in zip(scales, given):
            hr = pairs.cropped(true[-1], scale)
            if x is None:
                x = pairs.low_resolution(hr, scale, color=color, blur=blur)
            else:
                x = pairs.given(x, pixels, color)
            side, of_input = plan.sides[scale], x if input == "low" else hr
            if min(of_input.shape[:2]) < side:
                raise ValueError(patches.too_small(name, of_input.shape, side))
            if scale % 1:
                x = image.resize(x, size=hr.shape[:2])
            low.append(image.to_uint(x) if in_8_bits else x)
    place = place[patches.stand_ins(len(place), bad)]

    def cut(data, rows):
        true, low = data
        side, unit = rows.side, rows.unit

        def one(row):
            i, k = row[patches.IMAGE], row[patches.SCALE]
            at = i * len(scales) + k
            zoom = jnp.asarray(zooms)[k]
            top = row[patches.TOP] % (low.height[at] * zoom - side + 1)
            left = row[patches.LEFT] % (low.width[at] * zoom - side + 1)
            if input == "low":
                lr = _window(low, at, top, left, side)
            else:
                lr = _enlarged(low, at, top, left, side, zooms, k)
            hr = _window(true, i, top * unit, left * unit, side * unit)
            symmetry = row[patches.SYMMETRY]
            return {"lr": _turned(lr, symmetry), "hr": _turned(hr, symmetry)}

        return jax.vmap(one)(rows.rows)

    def inputs(step, count):
        for i in range(step, step + count):
            rows = patches.shard(plan.rows(seed, i), shard).copy()
            rows[:, patches.IMAGE] = place[rows[:, patches.IMAGE]]
            scale = scales[rows[0, patches.SCALE]]
            yield Rows(rows, plan.sides[scale], scale if input == "low" else 1)

    return patches.Feed((_pack(true), _pack(low)), cut, inputs, bad)


def _pack(images: list[np.ndarray]) -> Pixels:
    height, width, channels = np.array([x.shape for x in images]).T
    pixels = height * width
    if pixels.sum() * channels[0] >= 2**31:
        raise ValueError(
            f"the device backend holds at most 2**31 values; got {pixels.sum()} pixels "
            f"of {channels[0]} channels. Use the tfdata backend."
        )
    # Converting between dtypes would change the range: casting="no" raises instead.
    flat = np.concatenate([x.reshape(-1, x.shape[2]) for x in images], casting="no")
    start = np.cumsum(pixels) - pixels
    return Pixels(flat, *(np.int32(table) for table in (start, height, width)))


def _window(pixels: Pixels, i, top, left, side):
    """float32 [side, side, C] of image i, mirrored beyond its borders."""
    rows = _mirrored(top + jnp.arange(side), pixels.height[i])
    columns = _mirrored(left + jnp.arange(side), pixels.width[i])
    index = pixels.start[i] + rows[:, None] * pixels.width[i] + columns[None]
    values = pixels.flat[index]
    if jnp.issubdtype(values.dtype, jnp.floating):
        return values
    # A table, as compiled divisions by a constant may differ in the last bit.
    levels = np.arange(np.iinfo(values.dtype).max + 1, dtype=values.dtype)
    return jnp.asarray(image.from_uint(levels))[values]


def _enlarged(low: Pixels, i, top, left, side, scales, k):
    """`_window` of image i at scales[k], after bicubic enlargement."""
    scale = jnp.asarray(scales)[k]
    weights = jnp.asarray(_weights(scales, side))[k]
    corner = top // scale - MARGIN, left // scale - MARGIN
    x = _window(low, i, *corner, weights.shape[-1])
    rows, columns = weights[top % scale], weights[left % scale]
    return jnp.einsum("oi,ijc,pj->opc", rows, x, columns, precision="highest")


def _mirrored(index, length):
    index = index % (2 * length)
    return jnp.minimum(index, 2 * length - 1 - index)


def _turned(patch, symmetry):
    """`image.symmetry`, by a table of source positions.

    Under vmap, a switch would compute all eight, which takes longer than the cut.
    """
    pixels = np.arange(patch.shape[0] ** 2).reshape(*patch.shape[:2], 1)
    origin = np.stack([image.symmetry(pixels, k).ravel() for k in range(8)])
    flat = patch.reshape(-1, patch.shape[2])
    return flat[jnp.asarray(origin)[symmetry]].reshape(patch.shape)


def _weights(scales: tuple[int, ...], side: int) -> np.ndarray:
    """float32 [scales, phases, side, taps]: `image.enlarge` along one axis.

    The enlarged pixels from p on, of phase p % scale, are these weights times the
    low-resolution pixels from p // scale - MARGIN on.
    """
    taps = max((side + scale - 2) // scale for scale in scales) + 1 + 2 * MARGIN
    weights = np.zeros((len(scales), max(scales), side, taps), np.float32)
    for k, scale in enumerate(scales):
        whole = matrices.resize(taps, taps * scale, float(scale)).toarray()
        for phase in range(scale):
            weights[k, phase] = whole[MARGIN * scale + phase :][:side]
    return weights

"""The backend for a set that fits: it lies on the accelerator and is cut there.

Needs no TensorFlow, and an update waits for nothing but a few integers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxsr import image
from jaxsr.data import pairs, patches, sources


@struct.dataclass
class Rows:
    """Rows of a plan; what is compiled depends on the sizes of a patch."""

    rows: jax.Array  # int32 [B, 5]
    side: int = struct.field(pytree_node=False)  # of a patch of the input, in pixels
    unit: int = struct.field(pytree_node=False)  # true pixels to one of the input


class Pixels(NamedTuple):
    """Images [H, W, C] of many sizes, end to end; tables are [image, scale]."""

    flat: jax.Array  # [pixels, C] float32
    start: jax.Array  # int32, of each image's first pixel in `flat`
    height: jax.Array  # int32
    width: jax.Array  # int32


def make_feed(
    source: sources.Source,
    plan: patches.Plan,
    *,
    seed: int,
    scales: tuple[int, ...],
    color: str,
    input: str,
    blur: float = 0.0,
    shard: tuple[int, int] = (0, 1),
) -> patches.Feed:
    """The feed whose inputs are rows of the plan and whose cut gathers on the device.

    Args:
        source: its images are read, degraded at each scale and packed once, here.
        plan: made for the same scales and input.
        seed: of the run.
        scales: that the plan draws from.
        color: of `image.CHANNELS`.
        input: "interpolated" or "low".
        blur: as in `image.degrade`.
        shard: (index, count) of the process whose rows `inputs` yields.
    """
    x, hr = [], []
    for i in range(len(source.names)):
        pixels = source.read(i)
        for scale in scales:
            pair = pairs.make_pair(pixels, scale, color=color, input=input, blur=blur)
            side = plan.sides[scale]
            if min(pair[0].shape[:2]) < side:
                raise ValueError(patches.too_small(source.names[i], pair[0], side))
            x.append(pair[0])
            hr.append(pair[1])
    data = (_pack(x, len(scales)), _pack(hr, len(scales)))

    def cut(data, rows):
        return {
            "lr": _cut(data[0], rows.rows, scales, rows.side, 1),
            "hr": _cut(data[1], rows.rows, scales, rows.side, rows.unit),
        }

    def inputs(step, count):
        for i in range(step, step + count):
            rows = patches.shard(plan.rows(seed, i), shard)
            scale = int(rows[0, patches.SCALE])
            yield Rows(rows, plan.sides[scale], scale if input == "low" else 1)

    return patches.Feed(data, cut, inputs)


def _pack(images: list[np.ndarray], scales: int) -> Pixels:
    pixels = np.array([x.shape[0] * x.shape[1] for x in images])
    if pixels.sum() * images[0].shape[2] >= 2**31:
        raise ValueError(
            f"the device backend holds at most 2**31 values; got {pixels.sum()} pixels "
            f"of {images[0].shape[2]} channels. Use the tfdata backend."
        )
    start = np.concatenate([[0], np.cumsum(pixels)[:-1]])
    tables = [start, [x.shape[0] for x in images], [x.shape[1] for x in images]]
    return Pixels(
        np.concatenate([x.reshape(-1, x.shape[2]) for x in images]),
        *(np.asarray(table, np.int32).reshape(-1, scales) for table in tables),
    )


def _cut(pixels: Pixels, rows, scales, patch, unit):
    """[B, unit * patch, unit * patch, C] for the rows [B, 5] of a plan."""
    side = unit * patch
    turns = [lambda x, k=k: image.symmetry(x, k) for k in range(8)]

    def one(row):
        i = row[patches.IMAGE]
        scale = jnp.argmax(row[patches.SCALE] == jnp.asarray(scales))
        width = pixels.width[i, scale]
        top = row[patches.TOP] % (pixels.height[i, scale] // unit - patch + 1) * unit
        left = row[patches.LEFT] % (width // unit - patch + 1) * unit
        offsets = jnp.arange(side)[:, None] * width + jnp.arange(side)[None]
        index = pixels.start[i, scale] + top * width + left + offsets
        return jax.lax.switch(row[patches.SYMMETRY], turns, pixels.flat[index])

    return jax.vmap(one)(rows)

"""One image through a network in overlapping tiles: the whole-image result, exactly.

A tile lies inside the image, shifted where it would stick out, so the network's own
padding falls on the image's own border or on pixels that are not kept. All tiles of an
image have one shape, the same for every image larger than a tile: nothing recompiles.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

logger = logging.getLogger(__name__)

# Side of a tile in output pixels. On a CPU, VDSR makes 0.066 megapixels a second with
# tiles of 128, 0.097 with 256, 0.119 with 512, and with 768 no more.
SIDE = 512
# Input pixels by which a tile exceeds two halos at least: what a bicubic resize after
# the network is made of, and some progress.
MARGIN = 8


class Span(NamedTuple):
    """Along one axis: input pixels [start, stop) of a tile give output [begin, end)."""

    start: int
    stop: int
    begin: int
    end: int


def spans(
    length: int, tile: int, halo: int, first: np.ndarray, last: np.ndarray
) -> list[Span]:
    """Tiles along one axis that together keep each output pixel once, in order.

    Args:
        length: input pixels along the axis.
        tile: input pixels of a tile; where the axis is shorter, the axis.
        halo: input pixels on each side that a network sees beyond those below.
        first: [outputs] int, ascending: the first input pixel that each output pixel is
            made of, halo aside; out // scale for a network alone.
        last: [outputs] int, ascending: the last one.
    """
    tile = min(tile, length)
    result, begin = [], 0
    while begin < len(first):
        start = min(max(int(first[begin]) - halo, 0), length - tile)
        stop = start + tile
        end = len(last)
        if stop < length:
            end = int(np.searchsorted(last, stop - halo))
        result.append(Span(start, stop, begin, end))
        begin = end
    return result


def enlargement(net: nn.Module, scale: int | None = None) -> int:
    """How many output pixels a network makes of an input pixel along a side."""
    if net.input == "interpolated":
        return 1
    scales = getattr(net, "scales", None)
    if scales is None:
        return net.scale
    if scale not in scales:
        raise ValueError(f"scale must be one of {sorted(scales)}; got {scale}.")
    return scale


@functools.lru_cache(maxsize=32)
def make_forward(net: nn.Module, scale: int | None) -> Callable:
    """The compiled (variables, [B, h, w, C]) -> sr, in full float32 precision."""
    static = {} if scale is None else {"scale": scale}

    @jax.jit
    def forward(variables, x):
        with jax.default_matmul_precision("highest"):
            return net.apply(variables, x, **static)

    return forward


def stream(
    net: nn.Module,
    variables: dict,
    read: Callable[[slice, slice], np.ndarray],
    plan: Callable[[int], tuple[list[Span], list[Span]]],
    *,
    scale: int | None = None,
    tile: int | None = None,
) -> Iterator[tuple[Span, Span, np.ndarray]]:
    """Yields (row span, column span, sr [s*tile, s*tile, C]) for each tile of an image.

    Holds no more than two tiles. When the device is out of memory it starts again with
    tiles of half the side, so a window may come twice: the later one counts.

    Args:
        net: the network.
        variables: its weights.
        read: (rows, columns) -> that window of the input, float32 [rows, columns, C].
        plan: tile -> the `spans` of rows and of columns.
        scale: the static argument of networks of several scales, else None.
        tile: side in input pixels; by default what is fast, four halos at least.

    Raises:
        MemoryError: where the smallest tile is too large for the device.
    """
    smallest = 2 * net.halo + MARGIN
    if tile is None:
        side = max(SIDE // enlargement(net, scale), 4 * net.halo, smallest)
        tile = -(-side // 16) * 16
    if tile < smallest:
        raise ValueError(
            f"tile must be at least {smallest}, two halos of the network and {MARGIN}; "
            f"got {tile}."
        )
    variables = jax.device_put(variables)
    forward = make_forward(net, scale)
    while True:
        rows, columns = plan(tile)
        try:
            yield from _stream(forward, variables, read, rows, columns)
            return
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not (
                isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
            ):
                raise
            used = max(span.stop - span.start for span in (rows[0], columns[0]))
            if used // 2 < smallest:
                raise MemoryError(
                    f"a tile of side {used} does not fit into memory, and one of "
                    f"{used // 2} is too small for this network. Free memory, or use a "
                    "smaller network."
                ) from error
        tile = used // 2
        logger.warning("Out of memory with tiles of %d; going on with %d.", used, tile)


def _stream(forward, variables, read, rows, columns):
    ahead = None  # the tile that the device works on while the next is read
    for row, column in itertools.product(rows, columns):
        x = read(slice(row.start, row.stop), slice(column.start, column.stop))
        behind, ahead = ahead, (row, column, forward(variables, x[None]))
        if behind:
            yield *behind[:2], np.asarray(behind[2])[0]
    yield *ahead[:2], np.asarray(ahead[2])[0]


def apply(
    net: nn.Module,
    variables: dict,
    x: np.ndarray,
    *,
    scale: int | None = None,
    tile: int | None = None,
) -> np.ndarray:
    """The sr float32 [s*H, s*W, C], not clipped, that a network makes of one image.

    Equal to net.apply(variables, x[None])[0], in bounded memory.

    Args:
        net: the network; s is its scale where its input is "low", else 1.
        variables: its weights.
        x: floating-point [H, W, C], as the network takes it.
        scale: the static argument of networks of several scales, else None.
        tile: as in `stream`.
    """
    x = np.asarray(x)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x must be [H, W, C] and not empty; got shape {x.shape}.")
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(
            f"x must be floating-point in [0, 1]; got {x.dtype}. Use image.from_uint."
        )
    factor = enlargement(net, scale)
    height, width = x.shape[:2]
    sources = [np.arange(side * factor) // factor for side in (height, width)]

    def read(rows, columns):
        return x[rows, columns].astype(np.float32)

    def plan(tile):
        return tuple(
            spans(side, tile, net.halo, source, source)
            for side, source in zip((height, width), sources)
        )

    out = None
    for row, column, sr in stream(net, variables, read, plan, scale=scale, tile=tile):
        if out is None:
            out = np.empty((height * factor, width * factor, sr.shape[-1]), np.float32)
        out[row.begin : row.end, column.begin : column.end] = sr[
            row.begin - row.start * factor : row.end - row.start * factor,
            column.begin - column.start * factor : column.end - column.start * factor,
        ]
    return out

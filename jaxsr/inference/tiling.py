"""Tiled inference: exactly the result for the whole image.

A tile lies inside the image, shifted where it would stick out, so the network's own
padding falls on the image's own border or on pixels that are not kept. All tiles of an
image have one shape, the same for every image larger than a tile: nothing recompiles.
They go out in batches of one tile for each local device.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxsr import image, models

logger = logging.getLogger(__name__)

# Side of a tile in output pixels. On a CPU, VDSR makes 0.066 megapixels a second with
# tiles of 128, 0.097 with 256, 0.119 with 512, and with 768 no more.
SIDE = 512
# Input pixels by which a tile exceeds two halos at least: what a bicubic resize after
# the network is made of, and some progress.
MARGIN = 8


class Options(NamedTuple):
    """How a network is run; every function of this folder passes these on.

    Attributes:
        tile: side of a tile in input pixels; by default, large enough to be fast.
        precision: of the activations, a key of `models.PRECISIONS`.
        ensemble: whether the output is the mean over the eight flips and rotations of
            the image. It is better, and takes eight times as long.
        strength: in `upscale`, from 0, which is bicubic, to 1, the network.
    """

    tile: int | None = None
    precision: str = "float32"
    ensemble: bool = False
    strength: float = 1.0


def check_options(options: Options) -> None:
    """Raises a ValueError for options that are not valid for any network."""
    models.check_precision(options.precision)
    if not 0 <= options.strength <= 1:
        raise ValueError(f"strength must be from 0 to 1; got {options.strength}.")


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
    return models.static_arguments(net, scale).get("scale") or net.scale


@functools.lru_cache(maxsize=32)
def make_forward(
    net: nn.Module, scale: int | None, precision: str = "float32"
) -> Callable:
    """The compiled (variables, [B, h, w, C]) -> sr, in a `models.PRECISIONS`."""
    static = {} if scale is None else {"scale": scale}
    models.check_precision(precision)
    matmul, dtype = models.PRECISIONS[precision]
    if hasattr(net, "dtype"):  # interpolation has no activations
        net = net.clone(dtype=dtype)

    @jax.jit
    def forward(variables, x):
        with jax.default_matmul_precision(matmul):
            return net.apply(variables, x, **static)

    return forward


def make_ensemble(forward: Callable) -> Callable:
    """The mean of `forward` over the eight flips and rotations of x, each undone.

    The geometric self-ensemble: Timofte, Rothe and Van Gool, CVPR 2016; Lim et al.,
    CVPRW 2017, section 3.4. Nothing is rounded or clipped before the mean.
    """

    def ensemble(variables, x):
        total = 0.0
        for i in range(8):
            sr = forward(variables, image.symmetry(x, i))
            total += image.inverse_symmetry(sr, i)
        return total / 8

    return ensemble


def tile_sides(
    net: nn.Module, scale: int | None, size: tuple[int, int], tile: int | None
) -> tuple[int, int]:
    """The side of a tile, in pixels of the network's input, and the smallest possible.

    Args:
        net: the network.
        scale: the static argument of networks of several scales, else None.
        size: (height, width) of the network's input.
        tile: the side that is asked for; by default one of four halos at least.
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
    return min(tile, max(size)), smallest


def stream(
    run: Callable,
    variables: dict,
    read: Callable,
    plan: Callable[[int], tuple[list, list]],
    tile: int,
    smallest: int,
) -> Iterator[tuple]:
    """Yields (row, column, outputs) for each tile of an image.

    Holds no more than two tiles for each local device. When one is out of memory it
    starts again with tiles of half the side, so a part may come twice: the later one
    counts.

    Args:
        run: the compiled (variables, batch) -> outputs, arrays or trees of arrays with
            a leading axis of tiles.
        variables: the network's weights.
        read: (row, column) -> the arrays of that tile, without the leading axis.
        plan: tile -> the rows and the columns of tiles.
        tile: side of a tile.
        smallest: the smallest possible one.

    Raises:
        MemoryError: where the smallest tile is too large for the device.
    """
    while True:
        try:
            yield from _stream(run, variables, read, *plan(tile))
            return
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not (
                isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
            ):
                raise
            if tile // 2 < smallest:
                raise MemoryError(
                    f"a tile of side {tile} does not fit into memory, and one of "
                    f"{tile // 2} is too small for this network. Free memory, or use a "
                    "smaller network."
                ) from error
        logger.warning(
            "Out of memory with tiles of %d; retrying with %d.", tile, tile // 2
        )
        tile //= 2


def _stream(run, variables, read, rows, columns):
    tiles = list(itertools.product(rows, columns))
    # A single tile needs one device. Several fill all, at the end with a repeated one,
    # which costs no time and spares a compilation for the rest.
    devices = jax.local_devices()[: None if len(tiles) > 1 else 1]
    axes = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((len(devices),), ("data",), axes, devices=devices)
    variables = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
    sharded = NamedSharding(mesh, PartitionSpec("data"))
    ahead = ()  # the tiles that the devices work on while the next are read
    for i in range(0, len(tiles), len(devices)):
        batch = tiles[i : i + len(devices)]
        parts = [read(row, column) for row, column in batch]
        parts += parts[-1:] * (len(devices) - len(parts))
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
        outputs = run(variables, jax.device_put(stacked, sharded))
        behind, ahead = ahead, (batch, outputs)
        yield from _spread(*behind)
    yield from _spread(*ahead)


def _spread(batch=(), outputs=None):
    outputs = jax.tree.map(np.asarray, outputs)
    for i, (row, column) in enumerate(batch):
        yield row, column, jax.tree.map(lambda leaf: leaf[i], outputs)  # noqa: B023


def apply(
    net: nn.Module,
    variables: dict,
    x: np.ndarray,
    *,
    scale: int | None = None,
    **options,
) -> np.ndarray:
    """The sr float32 [s*H, s*W, C], not clipped, that a network makes of one image.

    Equal to net.apply(variables, x[None])[0], or its ensemble, in bounded memory.

    Args:
        net: the network; s is its scale where its input is "low", else 1.
        variables: its weights.
        x: floating-point [H, W, C], as the network takes it.
        scale: the static argument of networks of several scales, else None.
        **options: fields of `Options`.
    """
    x = np.asarray(x)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x must be [H, W, C] and not empty; got shape {x.shape}.")
    if not np.issubdtype(x.dtype, np.floating):
        raise TypeError(
            f"x must be floating-point in [0, 1]; got {x.dtype}. Use image.from_uint."
        )
    options = Options(**options)
    forward = make_forward(net, scale, options.precision)
    if options.ensemble:
        forward = make_ensemble(forward)
    factor = enlargement(net, scale)
    height, width = x.shape[:2]
    sources = [np.arange(side * factor) // factor for side in (height, width)]

    def read(row, column):
        window = x[row.start : row.stop, column.start : column.stop]
        return window.astype(np.float32)

    def plan(tile):
        return tuple(
            spans(side, tile, net.halo, source, source)
            for side, source in zip((height, width), sources)
        )

    out = None
    sides = tile_sides(net, scale, (height, width), options.tile)
    for row, column, sr in stream(forward, variables, read, plan, *sides):
        if out is None:
            out = np.empty((height * factor, width * factor, sr.shape[-1]), np.float32)
        out[row.begin : row.end, column.begin : column.end] = sr[
            row.begin - row.start * factor : row.end - row.start * factor,
            column.begin - column.start * factor : column.end - column.start * factor,
        ]
    return out

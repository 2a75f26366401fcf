"""Which patches a batch has: a pure function of (seed, step), in NumPy.

A row of a plan is (image, top, left, symmetry, scale), the last an index into the
scales that the plan is made for. Top and left are in pixels of the network's input and
are taken modulo the places that fit, so that a plan can also be made for images whose
sizes are not known beforehand.
"""

import functools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsr import image

IMAGE, TOP, LEFT, SYMMETRY, SCALE = range(5)


class Plan(NamedTuple):
    """Which patches each update sees."""

    rows: Callable[[int, int], np.ndarray]  # (seed, step) -> int32 [batch, 5]
    batch: int
    patches: int  # in an epoch
    epoch: int  # updates in an epoch, the last of which may reach into the next
    sides: dict[float, int]  # scale -> side of a patch, in pixels of the input


class Feed(NamedTuple):
    """A plan in execution: the inputs of a compiled training step beside its state."""

    data: Any  # arrays available to every update; () for none
    cut: Callable[[Any, Any], dict]  # (data, input) -> {"lr", "hr"}, pure, for jit
    inputs: Callable[[int, int], Iterator]  # (step, count): yields that of each update
    left_out: Mapping[int, str]  # image -> why it was found to be bad, so far


def grid_plan(
    sizes: np.ndarray,
    *,
    scales: tuple[float, ...],
    patch: int,
    stride: int,
    batch: int,
    input: str,
    symmetries: int = 8,
) -> Plan:
    """The plan in which an epoch is every patch of a grid at every scale once.

    A batch may continue into the next epoch, so all batches have the same size and no
    patch is skipped.

    Args:
        sizes: int [N, 2], height and width of each true image.
        scales: mixed within a batch.
        patch, stride: of the grid, in pixels of the network's input.
        batch: patches in an update.
        input: "interpolated" or "low": what the network's input is.
        symmetries: how many of the eight are drawn from; 1 is no augmentation.
    """
    _check(sizes, scales, patch, batch, symmetries)
    if input == "low" and len(scales) > 1:
        raise ValueError(
            "a grid of patches mixes scales within a batch, which a network with a "
            f"low-resolution input cannot take; got {scales}. Set data.plan='random'."
        )
    if stride < 1:
        raise ValueError(f"stride must be positive; got {stride}.")
    items = []
    for i, (height, width) in enumerate(np.asarray(sizes)):
        for k, scale in enumerate(scales):
            unit = scale if input == "low" else 1
            places = [
                np.arange(0, image.cropped_side(n, scale) // unit - patch + 1, stride)
                for n in (height, width)
            ]
            top, left = (grid.ravel() for grid in np.meshgrid(*places))
            rows = np.zeros((len(top), 5), np.int32)
            rows[:, IMAGE], rows[:, TOP], rows[:, LEFT] = i, top, left
            rows[:, SCALE] = k
            items.append(rows)
    items = np.concatenate(items)
    if not len(items):
        raise ValueError(
            f"no image is large enough for a patch of {patch}x{patch} at a scale of "
            f"{scales}; the largest has {np.max(sizes, axis=0).tolist()} pixels."
        )

    @functools.lru_cache(maxsize=2)
    def of_epoch(seed, epoch):
        rng = np.random.default_rng([seed, epoch])
        rows = items[rng.permutation(len(items))]
        rows[:, SYMMETRY] = rng.integers(symmetries, size=len(items))
        return rows

    def rows(seed, step):
        index = step * batch + np.arange(batch)
        return np.stack(
            [of_epoch(seed, i // len(items))[i % len(items)] for i in index]
        )

    sides = dict.fromkeys(scales, patch)
    return Plan(rows, batch, len(items), -(-len(items) // batch), sides)


def random_plan(
    count: int,
    *,
    scales: tuple[float, ...],
    patch: int,
    batch: int,
    epoch: int,
    input: str,
    symmetries: int = 8,
) -> Plan:
    """The plan of one patch at a random place from each of `count` images in turn.

    The images are visited in a new order each time; an epoch is `epoch` updates. The
    plan needs no sizes, so it also works for streamed images.

    Args:
        scales: one is drawn for each patch; for input "low", one for each batch, as
            the patches of a batch must have one size.
        patch: side in pixels of the network's input.
        batch: patches in an update.
        input: "interpolated" or "low": what the network's input is.
        symmetries: how many of the eight are drawn from; 1 is no augmentation.
    """
    _check(np.ones((count, 2)), scales, patch, batch, symmetries)
    if epoch < 1:
        raise ValueError(f"epoch must be at least one update; got {epoch}.")

    @functools.lru_cache(maxsize=2)
    def order(seed, turn):
        return np.random.default_rng([seed, 0, turn]).permutation(count)

    def rows(seed, step):
        index = step * batch + np.arange(batch)
        rng = np.random.default_rng([seed, 1, step])
        out = np.empty((batch, 5), np.int32)
        out[:, IMAGE] = [order(seed, i // count)[i % count] for i in index]
        out[:, (TOP, LEFT)] = rng.integers(2**31 - 1, size=(batch, 2))
        out[:, SYMMETRY] = rng.integers(symmetries, size=batch)
        out[:, SCALE] = rng.integers(len(scales), size=1 if input == "low" else batch)
        return out

    return Plan(rows, batch, epoch * batch, epoch, dict.fromkeys(scales, patch))


def pyramid_plan(
    count: int,
    *,
    scales: tuple[float, ...],
    patch: int,
    batch: int,
    epoch: int,
    input: str,
    symmetries: int = 8,
) -> Plan:
    """LapSRN's plan: true patches of one size, and one symmetry for all of a batch.

    The scales take turns, so that as many updates as there are scales, averaged into
    one, are MS-LapSRN's batch of equal parts. These share their symmetry too. Images,
    places and epochs are those of `random_plan`.

    Args:
        patch: side in pixels of the true image, a multiple of every scale.
        batch: patches in an update, all of one scale.

    Source: Lai, Huang, Ahuja and Yang, TPAMI 2018, and the authors' getBatch.
    """
    if any(patch % scale for scale in scales):
        raise ValueError(f"patch must be a multiple of all of {scales}; got {patch}.")
    of_random = random_plan(
        count, scales=scales, patch=patch, batch=batch, epoch=epoch, input=input
    )

    def rows(seed, step):
        turn, part = divmod(step, len(scales))
        out = of_random.rows(seed, step)
        out[:, SYMMETRY] = np.random.default_rng([seed, 2, turn]).integers(symmetries)
        out[:, SCALE] = part
        return out

    sides = {s: patch // s if input == "low" else patch for s in scales}
    return of_random._replace(rows=rows, sides=sides)


def _check(sizes, scales, patch, batch, symmetries):
    if not len(sizes):
        raise ValueError("a plan needs at least one image; got none.")
    if not scales or min(scales) <= 1:
        raise ValueError(f"scales must be above 1; got {scales}.")
    if patch < 1 or batch < 1:
        raise ValueError(f"patch and batch must be positive; got {patch} and {batch}.")
    if symmetries not in range(1, 9):
        raise ValueError(f"symmetries must be from 1 to 8; got {symmetries}.")


def stack(inputs: Iterable) -> Any:
    """The inputs of several updates, stacked along a leading axis."""
    return jax.tree.map(lambda *x: np.stack(x), *inputs)


def shard(rows: np.ndarray, shard: tuple[int, int]) -> np.ndarray:
    """The rows of process `index` of `count`, for shard = (index, count)."""
    index, count = shard
    if len(rows) % count:
        raise ValueError(
            f"a batch of {len(rows)} does not divide by {count} processes. "
            "Set data.batch to a multiple."
        )
    each = len(rows) // count
    return rows[index * each : (index + 1) * each]


def stand_ins(count: int, bad: Container[int]) -> np.ndarray:
    """int [count]: the image that is taken in the place of each of `count` images.

    That is the image itself; for a bad one the next good one, after the last of all the
    first.

    Raises:
        ValueError: if all are bad.
    """
    good = np.array([i for i in range(count) if i not in bad], np.int32)
    if not len(good):
        raise ValueError(f"none of the {count} images can be read.")
    return good[np.searchsorted(good, np.arange(count)) % len(good)]


def too_small(name: str, size: tuple[int, int], patch: int) -> str:
    """The message for an image whose input, (height, width), is below a patch's."""
    return (
        f"{name} has {size[0]}x{size[1]} input pixels; a patch needs "
        f"{patch}x{patch}. Remove the image, or use smaller patches."
    )


def _turns() -> np.ndarray:
    """int64 [8, 6]: where `image.symmetry` takes the pixels of a square from.

    The row of the first pixel, 0 or 1 for the last, and the rows that it goes on by to
    the pixel below and to that on the right; the same of the column.
    """
    places = np.stack(np.mgrid[:2, :2], axis=-1)
    turned = np.stack([image.symmetry(places, i) for i in range(8)])
    first = turned[:, 0, 0]
    steps = [first, turned[:, 1, 0] - first, turned[:, 0, 1] - first]
    return np.stack(steps, axis=-1).reshape(8, 6)


TURNS = _turns()

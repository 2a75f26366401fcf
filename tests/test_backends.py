"""The two backends execute one plan: the same batch for the same seed and step."""

import jax
import numpy as np
import pytest

from jaxsr import image
from jaxsr.data import device, pairs, patches, sources, tfdata

SEED = 5


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    images = [
        rng.integers(256, size=(h, w, c)).astype(np.uint8)
        for h, w, c in [(50, 61, 3), (47, 40, 1), (64, 64, 3)]
    ]
    sizes = np.array([x.shape[:2] for x in images], np.int32)
    return sources.Source("three", ("a", "b", "c"), images.__getitem__, sizes)


def feeds(source, *, scales, patch, input, color, make="grid", shard=(0, 1)):
    common = {"scales": scales, "input": input}
    kinds = {"batch": 8, "patch": patch, **common}
    if make == "grid":
        plan = patches.grid_plan(source.sizes, stride=patch, **kinds)
    else:
        make = patches.random_plan if make == "random" else patches.pyramid_plan
        plan = make(3, epoch=4, **kinds)
    kinds = {"seed": SEED, "color": color, "shard": shard, **common}
    return plan, [b.make_feed(source, plan, **kinds) for b in (device, tfdata)]


KINDS = [
    {"scales": (2, 3), "patch": 13, "input": "interpolated", "color": "y"},
    {"scales": (3,), "patch": 7, "input": "low", "color": "rgb"},
    {"scales": (2,), "patch": 9, "input": "low", "color": "y", "make": "random"},
    {"scales": (4,), "patch": 9, "input": "interpolated", "color": "rgb"},
    {"scales": (2, 3), "patch": 9, "input": "low", "color": "rgb", "make": "random"},
    {"scales": (2, 4), "patch": 36, "input": "low", "color": "y", "make": "pyramid"},
]


def batches(feed, step, count):
    cut = jax.jit(feed.cut)
    return [cut(feed.data, x) for x in feed.inputs(step, count)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k['input']}-{k['color']}")
def test_backends_give_the_same_batches_and_those_of_the_plan(source, kind):
    plan, (on_device, by_tf) = feeds(source, **kind)
    steps = [batches(feed, 3, 3) for feed in (on_device, by_tf)]
    for i, (one, other) in enumerate(zip(*steps)):
        for name in ("lr", "hr"):
            np.testing.assert_array_equal(one[name], other[name])
        for k, (which, top, left, symmetry, scale) in enumerate(plan.rows(SEED, 3 + i)):
            x, hr = pairs.make_pair(
                source.read(which), scale, color=kind["color"], input=kind["input"]
            )
            side = plan.sides[scale]
            unit = scale if kind["input"] == "low" else 1
            top, left = top % (x.shape[0] - side + 1), left % (x.shape[1] - side + 1)
            for name, pixels, u in (("lr", x, 1), ("hr", hr, unit)):
                expected = pixels[u * top :, u * left :][: u * side, : u * side]
                expected = image.symmetry(expected, int(symmetry))
                np.testing.assert_array_equal(one[name][k], expected)


def test_a_batch_is_the_same_wherever_the_iteration_began(source):
    _, both = feeds(source, **KINDS[0])
    for feed in both:
        one = batches(feed, 0, 6)[4]
        np.testing.assert_array_equal(one["lr"], batches(feed, 4, 1)[0]["lr"])


def test_processes_share_a_batch_between_them(source):
    _, whole = feeds(source, **KINDS[0])
    for backend in (0, 1):
        full = batches(whole[backend], 2, 1)[0]
        parts = []
        for i in range(2):
            _, shards = feeds(source, shard=(i, 2), **KINDS[0])
            parts += batches(shards[backend], 2, 1)
        for name in ("lr", "hr"):
            joined = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(joined, full[name])


def test_a_streamed_image_that_is_too_small_is_named(source):
    plan = patches.random_plan(3, scales=(2,), patch=30, batch=8, epoch=1, input="low")
    kinds = {"scales": (2,), "input": "low", "color": "y"}
    feed = tfdata.make_feed(source._replace(sizes=None), plan, seed=0, **kinds)
    with pytest.raises(ValueError, match="a patch needs 30x30"):
        batches(feed, 0, 1)
    with pytest.raises(ValueError, match="a patch needs 30x30"):
        device.make_feed(source._replace(sizes=None), plan, seed=0, **kinds)

import numpy as np
import pytest
from conftest import open_set

from jaxsr import image
from jaxsr.data import pairs, patches

SIZES = np.array([[90, 130], [41, 41], [40, 200]])
GRID = {"scales": (2, 3), "patch": 41, "stride": 41, "batch": 4}


def test_grid_has_every_patch_once_an_epoch_and_runs_on_over_its_end():
    plan = patches.grid_plan(SIZES, input="interpolated", **GRID)
    # 90x130 holds 2x3 at both scales; 41x41 none after modcrop 2 and one less at 3.
    assert plan.patches == 12 and plan.epoch == 3
    rows = np.concatenate([plan.rows(0, step) for step in range(6)])
    for epoch in (rows[:12], rows[12:]):
        places = {tuple(np.delete(row, patches.SYMMETRY)) for row in epoch}
        assert len(places) == 12
        assert {place[:3] for place in places} == {
            (0, top, left) for top in (0, 41) for left in (0, 41, 82)
        }
    assert not np.array_equal(rows[:12], rows[12:])


def test_grid_of_the_papers_sets_has_the_counted_patches():
    for name, expected, epoch in (("T91", 7_992, 125), ("291", 54_192, 847)):
        sizes = open_set(name).sizes
        kinds = {"scales": (2, 3, 4), "patch": 41, "stride": 41, "batch": 64}
        plan = patches.grid_plan(sizes, input="interpolated", **kinds)
        assert (plan.patches, plan.epoch) == (expected, epoch)


@pytest.mark.parametrize("make", ["grid", "random", "pyramid"])
def test_a_plan_is_a_pure_function_of_seed_and_step(make):
    kinds = {"scales": (2, 3), "batch": 4, "epoch": 5, "input": "low"}

    def plan():
        if make == "random":
            return patches.random_plan(3, patch=9, **kinds)
        if make == "pyramid":
            return patches.pyramid_plan(3, patch=36, **kinds)
        return patches.grid_plan(SIZES, input="interpolated", **GRID)

    one, other = plan(), plan()
    for step in (7, 0, 7, 100):
        rows = one.rows(3, step)
        assert rows.dtype == np.int32 and rows.shape == (4, 5)
        np.testing.assert_array_equal(rows, other.rows(3, step))
    assert not np.array_equal(one.rows(3, 7), one.rows(4, 7))
    seen = np.concatenate([one.rows(0, step) for step in range(100)])
    assert set(seen[:, patches.SYMMETRY]) == set(range(8))
    assert set(seen[:, patches.SCALE]) == {0, 1}


def test_a_batch_of_low_resolution_patches_has_one_scale():
    plan = patches.random_plan(
        6, scales=(2, 3, 4), patch=9, batch=8, epoch=5, input="low"
    )
    scales = [set(plan.rows(0, step)[:, patches.SCALE].tolist()) for step in range(30)]
    assert all(len(one) == 1 for one in scales)
    assert set.union(*scales) == {0, 1, 2}
    with pytest.raises(ValueError, match="within a batch.*data.plan='random'"):
        patches.grid_plan(SIZES, input="low", **GRID)


PYRAMID = {"scales": (2, 4, 8), "patch": 48, "batch": 4, "epoch": 6, "input": "low"}


def test_scales_take_turns_in_a_pyramid_and_share_a_symmetry():
    plan = patches.pyramid_plan(5, **PYRAMID)
    assert plan.sides == {2: 24, 4: 12, 8: 6} and plan.epoch == 6
    seen = []
    for turn in range(40):
        rows = np.stack([plan.rows(0, 3 * turn + part) for part in range(3)])
        assert (rows[..., patches.SCALE] == [[0], [1], [2]]).all()
        assert (rows[..., patches.SYMMETRY] == rows[0, 0, patches.SYMMETRY]).all()
        assert len(np.unique(rows[..., patches.TOP])) == 12
        seen.append(rows[0, 0, patches.SYMMETRY])
    assert set(seen) == set(range(8))


def test_a_pyramid_divides_by_its_scales():
    with pytest.raises(ValueError, match=r"multiple of all of \(2, 4, 8\); got 52"):
        patches.pyramid_plan(5, **PYRAMID | {"patch": 52})


def test_a_grid_at_a_fractional_scale_crops_nothing():
    kinds = GRID | {"patch": 45, "stride": 45, "scales": (4, 2.5)}
    plan = patches.grid_plan(SIZES[:1], input="interpolated", **kinds)
    # 90x130 holds 2x2; 88x128, the multiples of 4, 1x2.
    rows = np.concatenate([plan.rows(0, step) for step in range(3)])[:6]
    assert plan.patches == 6 and (rows[:, patches.SCALE] == 1).sum() == 4


def test_the_scales_drawn_are_those_of_earlier_versions():
    """So that their runs resume."""
    plan = patches.random_plan(
        6, scales=(2, 3, 4), patch=9, batch=8, epoch=5, input="interpolated"
    )
    drawn = np.take([2, 3, 4], plan.rows(0, 7)[:, patches.SCALE])
    np.testing.assert_array_equal(drawn, [2, 2, 2, 3, 4, 2, 2, 3])


def test_random_plan_takes_each_image_in_turn():
    plan = patches.random_plan(6, scales=(2,), patch=9, batch=4, epoch=5, input="low")
    rows = np.concatenate([plan.rows(1, step) for step in range(3)])
    for turn in (rows[:6], rows[6:]):
        assert sorted(turn[:, patches.IMAGE]) == list(range(6))


def test_a_low_grid_counts_in_low_resolution_pixels():
    plan = patches.grid_plan(
        SIZES[:1], scales=(3,), patch=10, stride=10, batch=1, input="low"
    )
    assert plan.patches == 3 * 4  # of 30x43 pixels


def test_symmetries_can_be_switched_off():
    plan = patches.grid_plan(SIZES, input="interpolated", symmetries=1, **GRID)
    assert (plan.rows(0, 0)[:, patches.SYMMETRY] == 0).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patch": 500}, "no image is large enough.*500x500"),
        ({"scales": ()}, "scales must be above 1"),
        ({"scales": (2, 1)}, r"scales must be above 1; got \(2, 1\)"),
        ({"batch": 0}, "positive; got 41 and 0"),
        ({"stride": 0}, "stride must be positive"),
        ({"symmetries": 9}, "1 to 8; got 9"),
    ],
)
def test_grid_refuses_what_cannot_be(changed, message):
    with pytest.raises(ValueError, match=message):
        patches.grid_plan(SIZES, input="interpolated", **GRID | changed)


@pytest.mark.parametrize("count", [2, 4])
def test_shards_of_a_batch_are_the_batch(count):
    rows = np.arange(40).reshape(8, 5)
    parts = [patches.shard(rows, (i, count)) for i in range(count)]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    with pytest.raises(ValueError, match="8 does not divide by 3"):
        patches.shard(rows, (0, 3))


def test_pair_of_y_is_the_protocols(photo):
    pixels = photo[:101, :99]
    x, hr = pairs.make_pair(pixels, 3, color="y", input="interpolated")
    np.testing.assert_array_equal(hr, image.luma(pixels)[:99, :99])
    np.testing.assert_array_equal(x, image.enlarge(image.degrade(hr, 3), 3))
    low, _ = pairs.make_pair(pixels, 3, color="y", input="low")
    assert low.shape == (33, 33, 1) and low.dtype == np.float32
    assert (image.quantise(low) != low).any()


def test_pair_of_rgb_is_rounded_and_takes_gray():
    pixels = np.random.default_rng(0).integers(256, size=(12, 12, 1)).astype(np.uint8)
    x, hr = pairs.make_pair(pixels, 2, color="rgb", input="low")
    assert x.shape == (6, 6, 3) and hr.shape == (12, 12, 3)
    np.testing.assert_array_equal(image.quantise(x), x)
    np.testing.assert_array_equal(x[..., 0], x[..., 2])
    with pytest.raises(ValueError, match=r"'rgb', 'y', 'ycbcr'\]; got 'cmyk'"):
        pairs.make_pair(pixels, 2, color="cmyk", input="low")
    with pytest.raises(ValueError, match="got 'high'"):
        pairs.make_pair(pixels, 2, color="y", input="high")

"""The two backends execute one plan: the same batch for the same seed and step."""

import jax
import numpy as np
import PIL.Image
import pytest
import tifffile

from jaxsr import image
from jaxsr.data import (
    device,
    pairs,
    patches,
    sets,
    sources,
    tfdata,
)
from jaxsr.files import reading

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


@pytest.fixture(params=["held", "streamed"])
def by_tf(request, monkeypatch):
    """Runs a test with images that tfdata holds, and with images that it reads anew."""
    if request.param == "streamed":
        monkeypatch.setattr(tfdata, "HELD", 0)


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
    {"scales": (2, 3), "patch": 8, "input": "interpolated", "color": "ycbcr"},
    {"scales": (2, 2.5, 3), "patch": 13, "input": "interpolated", "color": "y"},
    {"scales": (1.7, 3), "patch": 9, "input": "interpolated", "color": "rgb"},
]


def batches(feed, step, count):
    cut = jax.jit(feed.cut)
    return [cut(feed.data, x) for x in feed.inputs(step, count)]


def assert_same(one, other, input):
    """Exactly, but for inputs that one backend enlarges whole, the other in patches."""
    np.testing.assert_array_equal(one["hr"], other["hr"])
    tolerance = 1e-6 if input == "interpolated" else 0
    np.testing.assert_allclose(one["lr"], other["lr"], rtol=0, atol=tolerance)


def expected(source, plan, row, *, scales, input, color, **kinds):
    """The patches of a row, cut from the whole pair."""
    which, top, left, symmetry, k = (int(value) for value in row)
    scale = scales[k]
    x, hr = pairs.make_pair(
        source.read(which), scale, color=color, input=input, **kinds
    )
    side = plan.sides[scale]
    unit = scale if input == "low" else 1
    top, left = top % (x.shape[0] - side + 1), left % (x.shape[1] - side + 1)
    return {
        name: image.symmetry(
            pixels[u * top :, u * left :][: u * side, : u * side], symmetry
        )
        for name, pixels, u in (("lr", x, 1), ("hr", hr, unit))
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k['input']}-{k['color']}")
def test_backends_give_the_same_batches_and_those_of_the_plan(source, kind):
    plan, both = feeds(source, **kind)
    kinds = {name: kind[name] for name in ("scales", "input", "color")}
    steps = [batches(feed, 3, 3) for feed in both]
    for i, (one, other) in enumerate(zip(*steps)):
        assert_same(one, other, kind["input"])
        for k, row in enumerate(plan.rows(SEED, 3 + i)):
            patch = {name: x[k] for name, x in one.items()}
            assert_same(patch, expected(source, plan, row, **kinds), kind["input"])


@pytest.mark.parametrize("blur", [0.0, 0.8])
@pytest.mark.parametrize("color", sorted(image.CHANNELS))
@pytest.mark.parametrize("input", ["interpolated", "low"])
def test_patches_on_the_device_are_right_at_all_four_corners(
    source, input, color, blur
):
    # The sides of the first two images are multiples of none of the scales, or of one.
    scales, side = (3,) if input == "low" else (2, 3, 4), 11
    if input == "interpolated" and not blur:
        scales += (2.5,)
    rows = []
    for i, (height, width) in enumerate(source.sizes[:2]):
        for k, scale in enumerate(scales):
            unit = scale if input == "low" else 1
            whole = [n if scale == 2.5 else n // scale * scale for n in (height, width)]
            last = [n // unit - side for n in whole]
            for top in (0, last[0]):
                rows += [(i, top, left, 0, k) for left in (0, last[1])]
    rows = np.array(rows, np.int32)
    sides = dict.fromkeys(scales, side)
    plan = patches.Plan(lambda seed, step: rows, len(rows), len(rows), 1, sides)
    kinds = {"scales": scales, "input": input, "color": color, "blur": blur}
    feed = device.make_feed(source, plan, seed=0, **kinds)
    (batch,) = batches(feed, 0, 1)
    for k, row in enumerate(rows):
        patch = {name: x[k] for name, x in batch.items()}
        assert_same(patch, expected(source, plan, row, **kinds), input)


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda k: k["input"])
def test_devices_cut_their_rows_from_replicated_images(source, kind):
    _, (feed, _) = feeds(source, **kind)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, spread = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")
    cut = jax.shard_map(feed.cut, mesh=mesh, in_specs=(whole, spread), out_specs=spread)
    (rows,) = feed.inputs(1, 1)
    one = jax.jit(cut)(feed.data, rows)
    assert_same(one, batches(feed, 1, 1)[0], kind["input"])


@pytest.mark.parametrize("kind", [1, 5, 6, 7, 8])
def test_photographs_are_degraded_as_in_numpy(photo, kind, monkeypatch):
    """To the last bit: a rounding of RGB would make a difference of 1/255."""
    images = [photo[:97, :120], photo[40:120, 9:98], photo[7:90, 90:170, :1]]
    sizes = np.array([x.shape[:2] for x in images])
    photos = sources.Source("three", ("a", "b", "c"), images.__getitem__, sizes)
    plan, (_, held) = feeds(photos, **KINDS[kind])
    first = list(held.inputs(2, 2))
    monkeypatch.setattr(tfdata, "HELD", 0)
    _, (_, streamed) = feeds(photos, **KINDS[kind])
    kinds = {name: KINDS[kind][name] for name in ("scales", "input", "color")}
    for step, both in enumerate(zip(first, streamed.inputs(2, 2)), 2):
        for k, row in enumerate(plan.rows(SEED, step)):
            for name, x in expected(photos, plan, row, **kinds).items():
                for batch in both:
                    np.testing.assert_array_equal(batch[name][k], x)


@pytest.mark.parametrize("input", ["interpolated", "low"])
@pytest.mark.parametrize(
    ("color", "per_pixel"), [("y", 1 + 4 * 0.42), ("rgb", 3 * 1.42)]
)
def test_the_device_holds_true_images_once_in_8_bits(source, input, color, per_pixel):
    reads = []

    def read(i):
        reads.append(i)
        return source.read(i)

    common = {"scales": (2, 3, 4), "input": input}
    plan = patches.random_plan(3, patch=9, batch=8, epoch=1, **common)
    counted = source._replace(read=read)
    feed = device.make_feed(counted, plan, seed=0, color=color, **common)
    assert reads == [0, 1, 2]
    held = sum(x.nbytes for x in jax.tree.leaves(feed.data))
    # 1/4 + 1/9 + 1/16 = 0.42 low-resolution pixels for each true one.
    np.testing.assert_allclose(
        held, per_pixel * source.sizes.prod(axis=1).sum(), rtol=0.03
    )


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
        joined = jax.tree.map(lambda *x: np.concatenate(x), *parts)
        assert_same(joined, full, KINDS[0]["input"])


def test_an_image_that_is_too_small_is_named(source, by_tf):
    plan = patches.random_plan(3, scales=(2,), patch=30, batch=8, epoch=1, input="low")
    kinds = {"scales": (2,), "input": "low", "color": "y"}
    feed = tfdata.make_feed(source._replace(sizes=None), plan, seed=0, **kinds)
    with pytest.raises(ValueError, match="a patch needs 30x30"):
        batches(feed, 0, 1)
    with pytest.raises(ValueError, match="a patch needs 30x30"):
        device.make_feed(source._replace(sizes=None), plan, seed=0, **kinds)


@pytest.fixture
def damaged(tmp_path, monkeypatch, photo):
    """A set of four files, of which the last two have whole headers only."""
    monkeypatch.setitem(sets.SETS, "Mine", sets.ImageSet("train", "Mine", 4))
    (tmp_path / "Mine").mkdir()
    for i, suffix in enumerate(["png", "jpg", "jpg", "png"]):
        path = tmp_path / "Mine" / f"{i}.{suffix}"
        PIL.Image.fromarray(photo[i : i + 90, 3 * i : 80]).save(path)
        if i > 1:
            path.write_bytes(path.read_bytes()[:-500])
    return sets.open_source("Mine", tmp_path)


def test_rows_of_a_bad_image_go_to_the_next_good_one(damaged, by_tf):
    kinds = {"scales": (2, 3), "input": "interpolated"}
    kinds |= {"batch": 8, "patch": 20, "stride": 20}
    plan = patches.grid_plan(damaged.sizes, **kinds)
    kinds = {"scales": (2, 3), "input": "interpolated", "color": "y"}
    taken = {0: 0, 1: 1, 2: 0, 3: 0}
    first = []
    for backend in (device, tfdata):
        feed = backend.make_feed(damaged, plan, seed=SEED, **kinds)
        first.append(batches(feed, 0, 4))
        assert sorted(feed.left_out) == [2, 3]
        assert "2.jpg cannot be read" in feed.left_out[2]
        again = backend.make_feed(damaged, plan, seed=SEED, **kinds)
        assert_same(batches(again, 3, 1)[0], first[-1][3], "low")
    rows = np.concatenate([plan.rows(SEED, step) for step in range(4)])
    assert set(rows[:, patches.IMAGE]) == {0, 1, 2, 3}
    for step, (one, other) in enumerate(zip(*first)):
        assert_same(one, other, "interpolated")
        for k, row in enumerate(plan.rows(SEED, step)):
            row[patches.IMAGE] = taken[row[patches.IMAGE]]
            patch = {name: x[k] for name, x in other.items()}
            assert_same(patch, expected(damaged, plan, row, **kinds), "interpolated")


def test_images_of_which_all_are_bad_are_an_error(damaged, by_tf):
    source = sources.only(damaged, [2, 3])
    plan = patches.random_plan(2, scales=(2,), patch=9, batch=8, epoch=1, input="low")
    for backend in (device, tfdata):
        with pytest.raises(ValueError, match="none of the 2 images can be read"):
            feed = backend.make_feed(
                source, plan, seed=0, scales=(2,), color="y", input="low"
            )
            batches(feed, 0, 1)


@pytest.mark.parametrize(
    ("bad", "taken"),
    [((), [0, 1, 2, 3]), ((1,), [0, 2, 2, 3]), ((0, 2, 3), [1, 1, 1, 1])],
)
def test_stand_ins(bad, taken):
    assert patches.stand_ins(4, bad).tolist() == taken


def exif(orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    return tags


# How a file is saved, with Pillow's mode -> whether TensorFlow decodes it itself.
FILES = {
    "a.png": ("RGB", {}, True),
    "b.png": ("L", {}, True),
    "c.png": ("LA", {}, True),
    "d.png": ("RGBA", {"exif": exif(6)}, True),
    "e.png": ("P", {}, False),
    "f.png": ("1", {}, False),
    "g.png": ("I;16", {}, False),
    "h.png": ("RGB", {"transparency": (1, 2, 3)}, False),
    "i.png": ("L", {"icc_profile": b"none"}, True),
    "a.bmp": ("RGB", {}, True),
    "b.bmp": ("L", {}, False),
    "c.bmp": ("P", {}, False),
    "a.jpg": ("RGB", {"subsampling": 0, "quality": 60}, True),
    "b.jpg": ("RGB", {"subsampling": 1, "exif": exif(6)}, True),
    "c.jpg": ("RGB", {"subsampling": 2, "quality": 30}, True),
    "d.jpg": ("RGB", {"progressive": True, "quality": 80}, True),
    "e.jpg": ("L", {}, True),
    "f.jpg": ("CMYK", {}, False),
    "g.jpg": ("RGB", {"keep_rgb": True}, True),
    "h.jpg": ("RGB", {"restart_marker_rows": 2, "quality": 100}, True),
    "a.webp": ("RGB", {}, False),
    "a.gif": ("P", {}, False),
}


@pytest.mark.parametrize("size", [(64, 57), (1, 1), (3, 129)])
def test_tensorflow_decodes_what_the_reader_reads(tmp_path, photo, size):
    photo = PIL.Image.fromarray(photo[: size[0], : size[1]])
    for name, (mode, options, plain) in FILES.items():
        picture = photo.convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            picture = PIL.Image.fromarray(np.asarray(picture) * np.uint16(257))
        picture.save(tmp_path / name, **options)
        found = reading.plain_size(tmp_path / name)
        assert found == (size if plain else None), name
        if plain:
            pixels = tfdata.decoded(str(tmp_path / name), True).numpy()
            true = reading.read_as_stored(tmp_path / name)
            np.testing.assert_array_equal(pixels, true, name)
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(photo))
    assert reading.plain_size(tmp_path / "a.tif") is None


def test_an_unusual_file_is_decoded_once(tmp_path, photo, by_tf):
    PIL.Image.fromarray(photo[:60, :50]).quantize(7).save(tmp_path / "a.png")
    PIL.Image.fromarray(photo[:60, :50]).save(tmp_path / "b.tif")
    source = sets.open_source(str(tmp_path))
    reads = []

    def read(i):
        reads.append(i)
        return source.read(i)

    plan = patches.random_plan(2, scales=(2,), patch=9, batch=8, epoch=1, input="low")
    kinds = {"scales": (2,), "color": "rgb", "input": "low"}
    feed = tfdata.make_feed(source._replace(read=read), plan, seed=SEED, **kinds)
    for step, batch in enumerate(feed.inputs(0, 3)):
        for k, row in enumerate(plan.rows(SEED, step)):
            patch = {name: x[k] for name, x in batch.items()}
            assert_same(patch, expected(source, plan, row, **kinds), "low")
    assert sorted(reads) == [0, 1]

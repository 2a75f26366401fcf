"""Images of any number of channels: files, both backends, a run, scores, upscaling."""

import os
import pathlib
import pickle
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

from experiments import vdsr
from jaxsr import cli, image, models, weights
from jaxsr.data import device, own, pairs, patches, sets, sources, tfdata
from jaxsr.evaluation import protocol
from jaxsr.files import stacks
from jaxsr.inference import upscale
from jaxsr.training import config as configs
from jaxsr.training import loop

ROOT = pathlib.Path(__file__).parent.parent


def stack(photo, count=4, dtype="uint16"):
    """RGB, their mean and reflections of them, with more levels than 8 bits have."""
    x = photo.astype(np.float32) / 255
    x = np.concatenate([x, x.mean(axis=2, keepdims=True), 1 - x], axis=2)[..., :count]
    x = (x + np.roll(x, 1, axis=0)) / 2
    return image.to_dtype(np.ascontiguousarray(x), np.dtype(dtype))


@pytest.fixture(scope="session")
def stacks_of(tmp_path_factory, photo):
    """A function: dtype -> a folder of train/, .npy and TIFF, and validation/."""

    def make(dtype="uint16", count=4):
        root = tmp_path_factory.mktemp(dtype)
        corners = [(0, 0), (60, 90), (130, 20), (100, 130)]
        for i, (top, left) in enumerate(corners):
            x = stack(photo[top : top + 70, left : left + 64 + i], count, dtype)
            folder = root / ("train" if i < 3 else "validation")
            folder.mkdir(exist_ok=True)
            stacks.write(x, folder / f"{i}.{'tif' if i % 2 else 'npy'}")
        return root

    return make


@pytest.mark.parametrize("dtype", stacks.DTYPES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 16])
def test_files_hold_any_number_of_channels_exactly(tmp_path, count, dtype):
    x = np.random.default_rng(0).random([20, 30, count], np.float32)
    x = image.to_dtype(x, np.dtype(dtype))
    planes = np.moveaxis(x, 2, 0)
    npy, tiff = tmp_path / "a.npy", tmp_path / "a.tif"

    def check(path):
        found = stacks.read(path, count)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.reshape(x.shape), x)

    for path in (npy, tiff):
        stacks.write(x, path)
        check(path)
    np.save(npy, np.asfortranarray(x.astype(x.dtype.newbyteorder(">"))))
    check(npy)
    for array, options in [
        (x, {}),  # which tifffile takes for pages, but where there are 1, 3 or 4
        (planes, {}),
        (planes, {"imagej": True, "metadata": {"axes": "CYX"}}),
        (planes, {"compression": "zlib"}),
    ]:
        tifffile.imwrite(tiff, array, **options)
        check(tiff)
    if count > 1:
        kinds = {"photometric": "minisblack", "planarconfig": "separate"}
        tifffile.imwrite(tiff, planes, **kinds)
        check(tiff)


FLOATS = np.full([9, 8, 3], 0.5, np.float32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FLOATS[..., :2], r"must have 3 channels \(config.channels\); got 2"),
        (FLOATS[None], r"shape must be \(H, W, channels\); got \(1, 9, 8, 3\)"),
        (FLOATS[:0], r"shape must be"),
        (
            FLOATS.astype(float),
            "dtype must be one of uint8, uint16, float32; got fl",
        ),
        (FLOATS * 3, r"floats must lie in \[0, 1\]; got 1.5 to 1.5"),
        (FLOATS - 1, r"floats must lie in \[0, 1\]; got -0.5"),
        (FLOATS * np.nan, r"floats must lie in \[0, 1\]; got nan"),
        (np.array([{}, 1], object), "Python objects"),
        (pickle.dumps(FLOATS), "magic string is not correct"),
        (b"", "cannot be read"),
    ],
)
def test_a_file_that_is_no_such_image_is_one_line_with_its_name(
    tmp_path, content, message
):
    path = tmp_path / "some.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(ValueError, match=message) as error:
        sets.open_source(str(tmp_path), channels=3)
    assert "some.npy cannot be read" in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_files_and_mixed_dtypes_are_one_line(tmp_path):
    for name in ("a.npy", "b.tif"):
        stacks.write(FLOATS, tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-8])
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            stacks.read(tmp_path / name, 3)
        stacks.write(FLOATS, tmp_path / name)
    stacks.write(image.to_uint(FLOATS), tmp_path / "c.tif")
    with pytest.raises(ValueError, match="one dtype; got .*float32.*uint8|uint8.*flo"):
        sets.open_source(str(tmp_path), channels=3)
    for name, x in (("one", FLOATS), ("two", image.to_uint(FLOATS))):
        stacks.write(x, tmp_path / name / "x.npy")
    with pytest.raises(ValueError, match="one dtype; got one float32, two uint8"):
        sets.open_source(f"{tmp_path / 'one'}+{tmp_path / 'two'}", channels=3)
    with pytest.raises(sources.DataNotFound, match="Set5 is a set of photographs"):
        sets.open_source("Set5", channels=3)


@pytest.mark.parametrize(
    ("dtype", "input", "scales", "held"),
    [
        ("uint16", "interpolated", (2, 3), True),
        ("uint16", "low", (2,), False),
        ("float32", "interpolated", (2, 2.5), False),
        ("uint8", "low", (3,), True),
    ],
)
def test_backends_give_the_same_batches_in_the_images_own_levels(
    stacks_of, monkeypatch, dtype, input, scales, held
):
    if not held:
        monkeypatch.setattr(tfdata, "HELD", 0)
    source = sets.open_source(str(stacks_of(dtype) / "train"), channels=4)
    assert (source.channels, source.dtype, len(source.names)) == (4, dtype, 3)
    source = sources.with_reduced(source, (1.0, 0.8))
    kinds = {"scales": scales, "input": input}
    plan = patches.random_plan(6, patch=9, batch=6, epoch=2, **kinds)
    kinds |= {"color": "channels", "seed": 1}
    feeds = [b.make_feed(source, plan, **kinds) for b in (device, tfdata)]
    batches = [
        jax.device_get([jax.jit(feed.cut)(feed.data, x) for x in feed.inputs(3, 2)])
        for feed in feeds
    ]
    for one, other, rows in zip(*batches, (plan.rows(1, 3), plan.rows(1, 4))):
        np.testing.assert_array_equal(one["hr"], other["hr"])
        np.testing.assert_allclose(one["lr"], other["lr"], rtol=0, atol=1e-6)
        assert one["lr"].shape == (6, 9, 9, 4)
        which, top, left, symmetry, k = (int(x) for x in rows[0])
        unit = scales[k] if input == "low" else 1
        x, hr = pairs.make_pair(
            source.read(which), scales[k], color="channels", input=input
        )
        top, left = top % (x.shape[0] - 8), left % (x.shape[1] - 8)
        hr = hr[unit * top :, unit * left :][: unit * 9, : unit * 9]
        np.testing.assert_array_equal(one["hr"][0], image.symmetry(hr, symmetry))
    if dtype != "float32":
        levels = one["hr"] * np.iinfo(dtype).max
        np.testing.assert_allclose(levels, np.round(levels), atol=0.01)
    if dtype != "uint8":
        assert len(np.unique(one["hr"])) > 400


def test_own_low_resolution_images_are_of_channels_too(stacks_of, tmp_path):
    source = sets.open_source(str(stacks_of() / "train"), channels=4)
    for i, name in enumerate(source.names):
        hr = image.to_floats(image.modcrop(source.read(i), 2))
        low = image.to_dtype(1 - image.degrade(hr, 2), source.dtype)
        stacks.write(low, tmp_path / name)
    source = own.with_low(source, tmp_path, (2,))
    x, hr = pairs.make_pair(
        source.read(0),
        2,
        color="channels",
        input="low",
        low=sources.read_low(source, 0, 2),
    )
    np.testing.assert_allclose(x, 1 - image.degrade(hr, 2).clip(0, 1), atol=1e-5)
    plan = patches.random_plan(3, patch=9, batch=6, epoch=2, scales=(2,), input="low")
    kinds = {"scales": (2,), "input": "low", "color": "channels", "seed": 1}
    feeds = [b.make_feed(source, plan, **kinds) for b in (device, tfdata)]
    one, other = (jax.jit(f.cut)(f.data, next(f.inputs(0, 1))) for f in feeds)
    np.testing.assert_allclose(one["lr"], other["lr"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(models.NETWORKS))
def test_every_network_takes_five_channels(name):
    net = models.make(name)
    x = jax.ShapeDtypeStruct((1, 16, 16, 5), jnp.float32)
    sr, _ = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x), x)
    assert sr.shape[-1] == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "vgg"}, "'vgg' is of RGB images"),
        ({"validation": {"best_by": "lpips"}}, "LPIPS is of RGB images"),
    ],
)
def test_what_needs_colours_is_refused_in_one_line(settings, message):
    config = vdsr.get_config().to_dict() | {"color": "channels", "channels": 4}
    settings = {
        key: config[key] | x if isinstance(x, dict) else x
        for key, x in settings.items()
    }
    with pytest.raises(ValueError, match=message) as error:
        configs.check(config | settings)
    assert "\n" not in str(error.value)


def test_a_run_of_four_channels_is_resumed_scored_and_upscales(
    stacks_of, tmp_path, capsys
):
    """The real command with one backend, resumed in this process with the other."""
    folder, run = stacks_of(), tmp_path / "run"
    settings = {
        "color": "channels",
        "channels": 4,
        "data.name": str(folder / "train"),
        "validation.name": str(folder / "validation"),
        "data.scales": (2,),
        "data.batch": 16,
        "data.backend": "device",
        "network.depth": 3,
        "network.width": 4,
        "epochs": 2.0,
    }
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    args = [sys.executable, "-m", "jaxsr.main", "--config", "experiments/vdsr.py"]
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run(
        [*args, "--workdir", str(run), *flags],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "B100 is" not in done.stdout and "Set5 is a set of phot" in done.stdout
    card = weights.load(run).card
    assert (card["color"], card["channels"]) == ("channels", 4)
    assert "all channels over the range" in card["protocol"]
    assert (run / "crops.png").exists()

    config = vdsr.get_config()
    more = {"epochs": 3.0, "data.backend": "tfdata"}
    with config.unlocked():
        config.update_from_flattened_dict(settings | more)
    loop.train(config, run)
    resumed = weights.load(run).card
    assert resumed["step"] == 1.5 * card["step"]
    assert resumed["digest"] == card["digest"]

    capsys.readouterr()
    assert cli.main(["evaluate", str(run), "--data", str(folder / "validation")]) == 0
    assert "squared error and SSIM averaged over channels" in capsys.readouterr().out
    assert cli.main(["evaluate", str(run)]) == 1
    assert "Set5 is a set of photographs" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sharpener(tmp_path_factory):
    """A file: model -> of four channels, with random weights and a small halo."""
    net = models.make("espcn", scale=2)
    variables = net.init(jax.random.key(0), jnp.zeros([1, 8, 8, 4]))
    about = {"color": "channels", "channels": 4, "scales": [2], "trained_on": "-"}
    path = tmp_path_factory.mktemp("model") / "espcn.safetensors"
    weights.save(path, weights.Model(net, variables, weights.make_card(net, **about)))
    return path


@pytest.mark.parametrize("dtype", stacks.DTYPES)
def test_files_are_upscaled_in_their_dtype_tile_by_tile(
    sharpener, photo, tmp_path, dtype
):
    x = stack(photo[:50, :61], 4, dtype)
    model = weights.load(sharpener)
    sr = model.net.apply(model.variables, jnp.asarray(image.to_floats(x))[None])[0]
    expected = image.to_dtype(np.asarray(sr), x.dtype)
    for suffix in (".npy", ".tif"):
        source, target = (tmp_path / f"{name}{suffix}" for name in ("a", "b"))
        stacks.write(x, source)
        command = ["upscale", str(source), "-o", str(target), "--model"]
        assert cli.main([*command, str(sharpener), "--tile", "24"]) == 0
        made = stacks.read(target, 4)
        assert made.shape == (100, 122, 4)
        difference = np.abs(made.astype(np.float64) - expected)
        top = 1 if dtype == "float32" else np.iinfo(dtype).max
        assert difference.max() <= max(2e-6 * top, dtype != "float32")
    assert cli.main(["upscale", str(tmp_path), "--model", str(sharpener)]) == 0
    found = {path.name for path in tmp_path.iterdir()}
    assert {"a_x2.npy", "a_x2.tif", "b_x2.npy", "b_x2.tif"} < found


def test_values_are_over_the_range_of_their_dtype(sharpener, photo):
    """Not over 4095 or so, as those of photographs are."""
    x = stack(photo[:40, :40]) // 64
    bicubic = protocol.bicubic_of(weights.load(sharpener))
    expected = image.to_uint(image.enlarge(image.to_floats(x), 2), 16)
    made = upscale.upscale(x, 2, bicubic)
    assert np.abs(made.astype(int) - expected).max() <= 1
    with pytest.raises(ValueError, match="range of their dtype; got data_range=1023"):
        upscale.upscale(x, 2, bicubic, data_range=1023)
    with pytest.raises(ValueError, match=r"images of 4 channels.* got shape \(40, 40"):
        upscale.upscale(x[..., :3], 2, bicubic)


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("a.npy", ["-o", "b.png"], "written as .npy, .tif, .tiff; got '.png'"),
        ("a.npy", ["--png-level", "3"], "have no level"),
        ("three.npy", [], r"must have 4 channels \(config.channels\); got 3"),
        ("a.npy", ["--model", "fsrcnn_x2"], "trained with color='channels' take .npy"),
    ],
)
def test_what_cannot_be_upscaled_is_one_line(
    sharpener, photo, tmp_path, monkeypatch, capsys, caplog, name, flags, message
):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", stack(photo[:20, :20]))
    np.save("three.npy", stack(photo[:20, :20], 3))
    assert cli.main(["upscale", name, "--model", str(sharpener), *flags]) == 1
    text = capsys.readouterr().err + caplog.text
    assert re.search(message, text), text
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("dtype", stacks.DTYPES)
def test_scores_are_of_all_channels_in_the_images_own_levels(stacks_of, dtype):
    source = sets.open_source(str(stacks_of(dtype) / "validation"), channels=4)
    bicubic = protocol.baseline(color="channels", channels=4)
    (row, mean) = protocol.evaluate(bicubic, source, [2])
    hr = image.to_floats(image.modcrop(source.read(0), 2))
    low = image.resize(hr, 0.5)
    sr = image.to_floats(image.to_dtype(image.enlarge(low, 2), source.dtype))
    psnr = -10 * np.log10(np.mean((sr - hr)[2:-2, 2:-2].astype(np.float64) ** 2))
    assert row.psnr == pytest.approx(psnr, abs=1e-3) and mean.psnr == row.psnr
    with pytest.raises(ValueError, match="LPIPS is of RGB images"):
        next(protocol.evaluate(bicubic, source, [2], lpips={}))

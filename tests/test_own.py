"""Low-resolution images of a user's own: paired, checked, trained on and measured."""

import json
import shutil

import jax
import numpy as np
import PIL.Image
import pytest

from experiments import base
from jaxsr import cli, image, weights
from jaxsr.data import device, folders, own, pairs, patches, sets, sources, tfdata
from jaxsr.evaluation import protocol
from jaxsr.training import config as configs
from jaxsr.training import identity, loop


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def degrade(inputs, output, *options):
    args = ["degrade", str(inputs), "-o", str(output), *options]
    assert cli.main(args) == 0


@pytest.fixture
def two(tmp_path, photo):
    """A folder of two photographs of 81x66 pixels."""
    for name, left in (("img_001", 0), ("img_002", 90)):
        save(tmp_path / "HR" / f"{name}.png", photo[:81, left : left + 66])
    return tmp_path / "HR"


@pytest.mark.parametrize(
    ("rest", "parents", "scale"),
    [
        ("x2", ("X3",), 2),
        ("_srf_3_lr", (), 3),
        ("_lr4", (), 4),
        ("x2.5", (), 2.5),
        ("_2x", (), 2),
        ("", ("low", "2"), 2),
        ("", ("X4", "LRbicx2"), 2),
        ("", ("DIV2K_train_LR_bicubic_X4", "a"), 4),
        ("_1920x1080", ("pix2pix", "low"), None),
    ],
)
def test_a_scale_is_read_in_names(rest, parents, scale):
    assert folders.scale_of(rest, parents) == scale


LAYOUTS = {
    "DIV2K": ("HR/{}.png", "LR_bicubic/X{s}/{}x{s}.png", "HR", "LR_bicubic"),
    "one folder": ("{}.png", "{}x{s}.png", "", ""),
    "equal names": ("high/{}.png", "low/{s}/{}.png", "high", "low"),
    "both inside": ("HR/{}.png", "LR/{}_x{s}_LR.png", "", ""),
    "camera": ("{}_HR.png", "{}_LR{s}.png", "", ""),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_are_paired_in_the_usual_layouts(two, tmp_path, layout):
    true, low, name, folder = LAYOUTS[layout]
    place = tmp_path / "laid"
    for file in sorted(two.iterdir()):
        (place / true.format(file.stem)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / true.format(file.stem))
        for s in (2, 3):
            degrade(file, place / low.format(file.stem, s=s), "--scale", str(s))
    opened = sets.open_source(str(place / name), low="skip")
    for scales in ((2,), (2, 3)):
        source = own.with_low(opened, place / folder, scales)
        assert len(source.names) == 2 and not source.left_out
        for i, stem in enumerate(("img_001", "img_002")):
            assert source.names[i] == true.format(stem).removeprefix(f"{name}/")
            for s in scales:
                with PIL.Image.open(place / low.format(stem, s=s)) as picture:
                    expected = np.asarray(picture)
                assert expected.shape == (81 // s, 66 // s, 3)
                np.testing.assert_array_equal(sources.read_low(source, i, s), expected)
    if not name:
        with pytest.raises(ValueError, match="holds 4 low-resolution.*2 others"):
            sets.open_source(str(place))


def test_what_has_no_partner_is_named_and_a_size_that_does_not_fit_refused(
    two, tmp_path
):
    opened, low = sets.open_source(str(two)), tmp_path / "low"
    with pytest.raises(ValueError, match="need a folder; got .*low"):
        own.with_low(opened, low, (2,))
    degrade(two, low, "--scale", "2")
    with pytest.raises(ValueError, match="at all of x2, x3. Set the scales.*\n.*at x3"):
        own.with_low(opened, low, (2, 3))
    (low / "img_002.png").rename(low / "other.png")
    (low / "img_003x3.png").write_bytes((low / "other.png").read_bytes())
    source = own.with_low(opened, low, (2,))
    assert (source.name, source.names) == ("HR from low", ("img_001.png",))
    assert source.left_out == (
        f"HR/img_002.png has no low-resolution image at x2 in {low}.",
        "low/other.png has no reference image in HR.",
    )
    shutil.copy(low / "img_001.png", low / "img_001_LR.png")
    with pytest.raises(
        ValueError, match="img_001.png and .*_LR.png stand for the same"
    ):
        own.with_low(opened, low, (2,))
    (low / "img_001_LR.png").unlink()
    with PIL.Image.open(low / "img_001.png") as picture:
        picture.crop((0, 0, 33, 39)).save(low / "img_001.png")
    message = (
        "low/img_001.png has 39x33 pixels and HR/img_001.png 81x66: .* have 40x33 at x2"
    )
    with pytest.raises(ValueError, match=message):
        own.with_low(opened, low, (2,))
    with pytest.raises(ValueError, match="need reference images of files; got HR"):
        own.with_low(opened._replace(sizes=None), low, (2,))


def test_gray_and_colour_are_not_mixed(photo):
    with pytest.raises(ValueError, match="1 channels and its true image 3"):
        pairs.make_pair(photo, 2, color="y", input="low", low=photo[:128, :128, :1])


KINDS = [
    {"color": "rgb", "input": "low", "scales": (2,), "patch": 11},
    {"color": "y", "input": "interpolated", "scales": (2, 3), "patch": 13},
    {"color": "ycbcr", "input": "low", "scales": (3,), "patch": 9},
    {"color": "rgb", "input": "interpolated", "scales": (2, 2.5), "patch": 12},
]


def batches(source, *, color, patch, **common):
    """Three batches of both backends."""
    plan = patches.random_plan(
        len(source.names), patch=patch, batch=8, epoch=3, **common
    )
    out = []
    for backend in (device, tfdata):
        feed = backend.make_feed(source, plan, seed=3, color=color, **common)
        cut = jax.jit(feed.cut)
        out.append([cut(feed.data, x) for x in feed.inputs(0, 3)])
    return [jax.tree.map(lambda *x: np.stack(x), *of) for of in out]


@pytest.mark.parametrize("kinds", KINDS, ids=lambda k: f"{k['input']}-{k['color']}")
def test_batches_are_cut_from_the_files_alike_by_both_backends(
    two, tmp_path, kinds, monkeypatch
):
    for s in kinds["scales"]:
        degrade(
            two, tmp_path / "low" / f"X{s}", "--scale", str(s), "--kernel", "lanczos3"
        )
    opened = sets.open_source(str(two))
    source = own.with_low(opened, tmp_path / "low", kinds["scales"])
    one, other = batches(source, **kinds)
    np.testing.assert_array_equal(one["hr"], other["hr"])
    np.testing.assert_allclose(one["lr"], other["lr"], rtol=0, atol=1e-6)
    monkeypatch.setattr(tfdata, "HELD", 0)  # so that files are read for each patch
    made, streamed = batches(opened, **kinds)
    np.testing.assert_allclose(made["lr"], streamed["lr"], rtol=0, atol=1e-6)
    _, streamed = batches(source, **kinds)
    jax.tree.map(np.testing.assert_array_equal, other, streamed)
    np.testing.assert_array_equal(one["hr"], made["hr"])
    assert np.abs(one["lr"] - made["lr"]).max() > 3 / 255
    if kinds["input"] == "low":
        levels = 255 * one["lr"]
        np.testing.assert_allclose(levels, np.round(levels), rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
def test_batches_are_the_built_in_ones_where_these_are_rounded(two, tmp_path, scale):
    """RGB; `jaxsr degrade` rounds after each axis, the built-in degradation once."""
    kinds = {"color": "rgb", "input": "low", "scales": (scale,), "patch": 9}
    opened = sets.open_source(str(two))
    made, _ = batches(opened, **kinds)
    degrade(two, tmp_path / "low", "--scale", str(scale))
    for found in batches(own.with_low(opened, tmp_path / "low", (scale,)), **kinds):
        np.testing.assert_array_equal(found["hr"], made["hr"])
        off = np.abs(found["lr"] - made["lr"])
        assert off.max() < 1.01 / 255 and np.mean(off > 0) < 0.2
    for i, name in enumerate(opened.names):
        hr = image.from_uint(image.modcrop(opened.read(i), scale))
        low = image.to_uint(image.degrade(hr, scale))
        save(tmp_path / "once" / name, low)
    for found in batches(own.with_low(opened, tmp_path / "once", (scale,)), **kinds):
        jax.tree.map(np.testing.assert_array_equal, found, made)


def config_of(folders, low, **settings):
    config = base.get_config()
    with config.unlocked():
        config.update_from_flattened_dict(
            {
                "network": {"name": "vdsr", "depth": 2, "width": 3},
                "data.name": str(folders / "train"),
                "data.low": str(low / "train"),
                "data.scales": (2,),
                "data.batch": 16,
                "data.backend": "device",
                "validation.name": str(folders / "validation"),
                "validation.low": str(low / "validation"),
                "epochs": 0.5,
                "evaluation.sets": (),
            }
            | settings
        )
    return config


def test_a_run_on_own_pairs_is_scored_on_them_and_knows_them_again(folders, tmp_path):
    for name in ("bicubic", "camera"):
        blurred = ["--blur", "1.5"] if name == "camera" else []
        for part in ("train", "validation"):
            place = tmp_path / name / part
            degrade(folders / part, place, "--scale", "2", *blurred)
    run = tmp_path / "run"
    loop.train(config_of(folders, tmp_path / "camera"), run)
    card = weights.load(run).card
    assert card["trained_on"] == "train from train"
    assert card["scores"].keys() == {"validation from validation"}
    assert "low-resolution images from files" in card["protocol"]
    source = sets.open_source(str(folders / "validation"))
    (*_, bicubic) = protocol.evaluate(protocol.baseline(), source, [2])
    scores = json.loads((run / "results.json").read_text())["scores"]
    (mean,) = (s for s in scores if s["network"] + s["image"] == "bicubicmean")
    assert mean["psnr"] < bicubic.psnr - 1

    (tmp_path / "camera").rename(tmp_path / "moved")

    def resume(low, **settings):
        parts = loop.set_up(config_of(folders, tmp_path / low, **settings), run)
        identity.claim(run, parts.settings, parts.images)

    resume("moved", epochs=1.0)
    with pytest.raises(
        ValueError, match="changed, in their order or in low-resolution"
    ):
        resume("bicubic")
    with pytest.raises(ValueError, match="changed, 4 missing: train/0.png"):
        resume("moved", **{"data.low": ""})


def test_settings_that_low_resolution_images_of_files_leave_no_place_for(folders):
    for settings in ({"data.blur": 1.0}, {"data.reduced": (1.0, 0.9)}):
        config = config_of(folders, folders, **settings).to_dict()
        with pytest.raises(ValueError, match="data.low brings its own"):
            configs.check(config)


def test_a_digest_follows_the_low_resolution_images(two, tmp_path):
    digests = [sources.digest(sets.open_source(str(two)))]
    for options in ((), ("--blur", "1")):
        low = tmp_path / str(len(options)) / "low"
        degrade(two, low, "--scale", "2", *options)
        source = own.with_low(sets.open_source(str(two)), low, (2,))
        digests.append(sources.digest(source))
        assert identity.sizes_of(source)["low/img_001.png"] == [40, 33]
    assert len(set(digests)) == 3


def test_evaluate_measures_own_pairs_under_their_name(two, tmp_path, capsys):
    for s in (2, 3):
        degrade(two, tmp_path / f"LR_bicubic/X{s}", "--scale", str(s))
    command = ["evaluate", "fsrcnn_x2", "--data"]
    assert cli.main([*command, str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "4 low-resolution images (in LR_bicubic/X2, LR_bicubic/X3) beside 2" in error
    low = ["--low", str(tmp_path / "LR_bicubic"), "--json", str(tmp_path / "a.json")]
    assert cli.main([*command, str(tmp_path), *low]) == 0
    out = capsys.readouterr().out
    assert "Images: 2 of" in out and "low-resolution images from files, output" in out
    assert out.count("from LR_bicubic | x2 |") == 1 and "| - |\n" in out
    scores = json.loads((tmp_path / "a.json").read_text())["scores"]
    assert all(score["from_files"] for score in scores) and len(scores) == 6
    assert cli.main([*command, str(two)]) == 0
    made = capsys.readouterr().out
    assert "bicubic degradation" in made and "| HR | x2 |" in made
    assert cli.main([*command, f"{two},Set5", *low]) == 1
    assert "--low needs a single set in --data" in capsys.readouterr().err

import csv
import json

import numpy as np
import PIL.Image
import pytest
from conftest import find_weights
from skimage import metrics as peers

from jaxsr import cli
from jaxsr.evaluation import pictures


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pair(photo, tmp_path):
    """A photograph of odd size, and a worse copy of it cropped for x3."""
    hr = photo[:85, 60:151]
    small = PIL.Image.fromarray(hr[:84, :90]).resize((30, 28))
    sr = np.asarray(small.resize((90, 84), PIL.Image.Resampling.BICUBIC))
    return save(tmp_path / "sr.png", sr), save(tmp_path / "hr.png", hr)


def luma_of(pixels, matrix, offset):
    """Rounded to 8 bits, halves up; float64 in 0..255."""
    return np.floor(pixels.astype(np.float64) @ matrix + offset + 0.5)


@pytest.mark.parametrize(
    ("on", "of"),
    [
        ("y", lambda x: luma_of(x, np.array([65.481, 128.553, 24.966]) / 255, 16)),
        ("luma", lambda x: luma_of(x, np.array([0.299, 0.587, 0.114]), 0)),
        ("rgb", lambda x: x.astype(np.float64)),
    ],
)
def test_scores_are_those_of_scikit_image(pair, on, of):
    found, mean = pictures.score(
        [pictures.Pair("a", *pair)], on=on, border=3, scale=3.0
    )
    sr, hr = (np.asarray(PIL.Image.open(path)) for path in pair)
    sr, hr = (of(x)[3:-3, 3:-3] for x in (sr, hr[:84, :90]))
    psnr = peers.peak_signal_noise_ratio(hr, sr, data_range=255)
    ssim = peers.structural_similarity(
        hr,
        sr,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2 if on == "rgb" else None,
    )
    np.testing.assert_allclose(found[1:3], [psnr, ssim], rtol=0, atol=1e-6)
    assert mean == found._replace(image="mean")


@pytest.mark.parametrize(
    ("results", "true", "pairs"),
    [
        (["a.png", "b.png"], ["a.bmp", "b.bmp"], {"a.png": "a.bmp", "b.png": "b.bmp"}),
        (["baby_x4_SR.png"], ["baby_GT.png"], {"baby_x4_SR.png": "baby_GT.png"}),
        (["0801x2.png"], ["0801.png"], {"0801x2.png": "0801.png"}),
        (
            ["a_SRF_2_VDSR.png"],
            ["a_SRF_2_HR.png"],
            {"a_SRF_2_VDSR.png": "a_SRF_2_HR.png"},
        ),
        (["img_1_SR.png", "img_12.png"], ["img_1.png", "img_12.png"], None),
        (["img_1.png", "img_1_2.png"], ["img_1.png", "img_1_2.png"], None),
    ],
)
def test_results_are_paired_by_name(tmp_path, photo, results, true, pairs):
    for folder, names in (("sr", results), ("hr", true)):
        for name in names:
            save(tmp_path / folder / name, photo[:12, :12])
    found, alone = pictures.pairs_of(tmp_path / "sr", tmp_path / "hr")
    pairs = pairs or dict(zip(results, true))
    assert {pair.sr.name: pair.hr.name for pair in found} == pairs
    assert not alone


def test_a_folder_is_scored_and_what_is_alone_is_named(tmp_path, photo, capsys):
    for name, noise in (("one", 1), ("two", 2)):
        save(tmp_path / "hr" / f"{name}.png", photo[:40, :50])
        save(tmp_path / "sr" / f"{name}_x2.png", photo[:40, :50] // 2 + 60 + noise)
    save(tmp_path / "hr" / "three.png", photo[:40, :50])
    save(tmp_path / "sr" / "four.png", photo[:40, :50])
    out = {kind: str(tmp_path / f"scores.{kind}") for kind in ("json", "csv")}
    status = cli.main(
        ["score", str(tmp_path / "sr"), str(tmp_path / "hr"), "--border", "2"]
        + ["--json", out["json"], "--csv", out["csv"]]
    )
    told = capsys.readouterr()
    assert status == 1
    assert "three.png has no result" in told.err
    assert "four.png has no reference image" in told.err
    assert "border of 2 pixels" in told.out
    with open(out["json"]) as file:
        scores = json.load(file)["scores"]
    assert [s["image"] for s in scores] == ["one.png", "two.png", "mean"]
    assert scores[2]["psnr"] == pytest.approx(
        (scores[0]["psnr"] + scores[1]["psnr"]) / 2
    )
    assert f"| mean | {scores[2]['psnr']:.2f} | {scores[2]['ssim']:.4f} |" in told.out
    with open(out["csv"]) as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ssim"]) for row in rows] == [s["ssim"] for s in scores]


@pytest.mark.parametrize("bits", [8, 16])
def test_depths_may_differ_and_equal_images_are_infinitely_good(tmp_path, photo, bits):
    gray = photo[:30, :30, 1]
    wide = gray.astype(np.uint16) * 257
    sr = save(tmp_path / "sr.png", wide if bits == 16 else gray)
    hr = save(tmp_path / "hr.png", gray)
    found, _ = pictures.score([pictures.Pair("a", sr, hr)])
    assert found.psnr == np.inf
    assert found.ssim == pytest.approx(1)


def test_a_gray_image_is_compared_with_a_colour_one_as_three_channels(tmp_path, photo):
    gray = photo[:30, :30, 1]
    sr = save(tmp_path / "sr.png", np.stack([gray] * 3, axis=2))
    found, _ = pictures.score([pictures.Pair("a", sr, save(tmp_path / "hr.png", gray))])
    assert found.psnr == np.inf


def test_lpips_is_measured_on_rgb(pair, capsys):
    weights = find_weights("lpips/lpips_alexnet.npz")
    command = ["score", *map(str, pair), "--scale", "3", "--lpips", str(weights)]
    assert cli.main(command) == 0
    row = capsys.readouterr().out.splitlines()[2]
    assert 0.1 < float(row.split("|")[4]) < 0.6


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        (("sr.png", "hr.png"), [], "must have 90x84 pixels"),
        (("sr.png", "hr.png"), ["--on", "lab"], "on must be one of"),
        (("sr.png", "hr.png"), ["--scale", "0.5"], "--scale must be at least 1"),
        (("sr.png", "hr.png"), ["--scale", "3", "--border", "60"], "hr.png: border"),
        (("sr.png", "."), [], "must be files, or both folders"),
        (("none.png", "hr.png"), [], "none.png cannot be read"),
        (("empty", "."), [], "holds no image"),
    ],
)
def test_wrong_input_is_one_line(pair, tmp_path, names, more, message, capsys):
    (tmp_path / "empty").mkdir()
    status = cli.main(["score", *(str(tmp_path / name) for name in names), *more])
    told = capsys.readouterr().err
    assert status == 1
    assert message in told
    assert told.count("\n") == 1


def test_two_files_for_one_image_are_an_error(tmp_path, photo, capsys):
    for name in ("sr/a_x2.png", "sr/a_x4.png", "hr/a.png"):
        save(tmp_path / name, photo[:12, :12])
    assert cli.main(["score", str(tmp_path / "sr"), str(tmp_path / "hr")]) == 1
    assert "stand for the same image." in capsys.readouterr().err


def test_niqe_is_a_column_of_its_own(photo, tmp_path, capsys):
    sr = save(tmp_path / "a.png", photo)
    numbers = {"mu_pris_param": np.zeros((1, 36)), "cov_pris_param": np.eye(36)}
    np.savez(tmp_path / "niqe.npz", **numbers)
    arguments = ["score", str(sr), str(sr), "--niqe", str(tmp_path / "niqe.npz")]
    assert cli.main([*arguments, "--csv", str(tmp_path / "a.csv")]) == 0
    assert "| image | PSNR, dB | SSIM | NIQE |" in capsys.readouterr().out
    [row, _] = csv.DictReader((tmp_path / "a.csv").open())
    assert list(row) == ["image", "psnr", "ssim", "niqe"] and float(row["niqe"]) > 0
    save(sr, np.full((200, 200, 3), 7, np.uint8))
    assert cli.main(arguments) == 1
    assert "the image is flat everywhere" in capsys.readouterr().err

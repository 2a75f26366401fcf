import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from conftest import GOLDEN, find_weights

from jaxsr import image, models, weights
from jaxsr.data import pairs, sets, sources
from jaxsr.evaluation import figures, papers, protocol, tables
from jaxsr.importers import features
from jaxsr.inference import upscale


def toy(color="y"):
    """A network that adds nothing: its scores are bicubic's."""
    net = models.make("vdsr", depth=2, width=2)
    channels = 1 if color == "y" else 3
    variables = jax.tree.map(
        lambda p: jnp.zeros(p.shape, p.dtype), weights.init_shapes(net, channels)
    )
    card = weights.make_card(net, color=color, scales=[2, 3], trained_on="nothing")
    return weights.Model(net, variables, card)


def source_of(*images):
    names = tuple(f"image{i}" for i in range(len(images)))
    return sources.Source("few", names, images.__getitem__, None)


def test_rows_are_those_of_the_images_and_then_their_mean(photo):
    source = source_of(photo, photo[:100, :120])
    rows = list(protocol.evaluate(protocol.baseline(), source, [3, 4]))
    assert [row.image for row in rows] == ["image0", "image1", "mean"] * 2
    golden = json.loads((GOLDEN / "bicubic_psnr.json").read_text())
    expected = golden["photo"]
    for row in (rows[0], rows[3]):
        assert abs(row.psnr - expected[f"x{row.scale}"]) < 0.005
    np.testing.assert_allclose(rows[2].psnr, (rows[0].psnr + rows[1].psnr) / 2)
    np.testing.assert_allclose(rows[2].ssim, (rows[0].ssim + rows[1].ssim) / 2)


def test_rgb_is_measured_on_y_of_rounded_images(photo):
    sr, hr = protocol.restore_image(toy("rgb"), photo, 2)
    true = image.from_uint(photo)
    low = image.quantise(image.degrade(true, 2))
    expected = image.rgb_to_y(image.quantise(image.enlarge(low, 2)))
    np.testing.assert_allclose(sr, expected, atol=1e-6)
    np.testing.assert_allclose(hr, image.rgb_to_y(true), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_ycbcr_is_measured_as_y_is(photo, channels):
    for one, other in zip(
        protocol.restore_image(toy("ycbcr"), photo[..., :channels], 3),
        protocol.restore_image(toy("y"), photo[..., :channels], 3),
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("color", ["y", "rgb", "ycbcr"])
def test_a_viewer_sees_bicubic_of_a_network_that_adds_nothing(photo, color):
    photo = photo // 2 + 64  # black and white are clipped in Y and in RGB apart
    sr, hr = protocol.restore_rgb(toy(color), photo[:254], 3)
    np.testing.assert_array_equal(hr, image.from_uint(photo[:252, :255]))
    bicubic = image.quantise(image.enlarge(image.degrade(hr, 3), 3))
    np.testing.assert_allclose(sr, bicubic, atol=3 / 255)
    assert np.abs(sr - bicubic).mean() < 0.5 / 255


def test_a_viewer_sees_what_upscale_gives(photo):
    """Of a network of Y that changes Y, if its low-resolution image is a file."""
    model = toy()
    bias = model.variables["params"]["conv_out"]["bias"]
    model.variables["params"]["conv_out"]["bias"] = bias + 0.1
    low = image.to_uint(image.degrade(image.from_uint(photo), 2))
    expected = image.from_uint(upscale.upscale(low, 2, model))
    sr, _ = protocol.restore_rgb(model, photo, 2)
    assert np.abs(sr - expected).mean() < 1 / 255
    assert np.abs(sr - protocol.restore_rgb(toy(), photo, 2)[0]).mean() > 0.05


@pytest.mark.parametrize("color", ["y", "ycbcr", "rgb"])
def test_a_viewer_sees_gray_as_gray(photo, color):
    sr, hr = protocol.restore_rgb(toy(color), photo[..., :1], 2)
    assert sr.shape == hr.shape == (256, 256, 3)
    assert (sr == sr[..., :1]).all() and (hr == hr[..., :1]).all()


@pytest.fixture(scope="module")
def lpips(random_weights):
    return features.load_lpips(random_weights / "lpips" / "lpips.npz")


@pytest.mark.parametrize(("color", "tolerance"), [("rgb", 1e-4), ("y", 0.02)])
def test_lpips_of_whole_images_is_the_reference_value(butterfly, color, tolerance):
    """Golden: of rounded RGB images. Those of Y networks are rounded otherwise."""
    lpips = features.load_lpips(find_weights("lpips/lpips_alexnet.npz"))
    source = source_of(butterfly, butterfly)
    golden = json.loads((GOLDEN / "lpips.json").read_text())
    for row in protocol.evaluate(toy(color), source, [4], lpips=lpips):
        expected = golden["Set5"]["butterfly"]["x4"]
        np.testing.assert_allclose(row.lpips, expected, rtol=tolerance)


@pytest.mark.parametrize("color", ["rgb", "y"])
def test_lpips_is_a_third_score(photo, lpips, color):
    source = source_of(photo, photo[:100, :120])
    rows = list(protocol.evaluate(toy(color), source, [4], lpips=lpips))
    assert rows[2].lpips == pytest.approx((rows[0].lpips + rows[1].lpips) / 2)
    plain = list(protocol.evaluate(toy(color), source, [4]))
    assert plain == [row._replace(lpips=None) for row in rows]
    scored = protocol.with_scores(toy(color), rows)
    assert scored.card["scores"]["few"]["x4"]["lpips"] == rows[-1].lpips
    assert "LPIPS (AlexNet" in scored.card["protocol"]
    assert "LPIPS" not in protocol.with_scores(toy(color), plain).card["protocol"]


@pytest.mark.parametrize("color", ["y", "rgb"])
def test_a_model_for_blurred_images_is_measured_on_them(photo, color, lpips):
    """A network that adds nothing has bicubic's score on the blurred image."""
    model = toy(color)
    model = model._replace(card=model.card | {"blur": 1.2})
    rows = list(protocol.compare(model, [source_of(photo)], [3], lpips=lpips))
    hr = image.modcrop(image.from_uint(photo), 3)
    true = hr if color == "rgb" else image.quantise(image.rgb_to_y(hr))
    low = image.gaussian_blur(true, 1.2)[1::3, 1::3]
    low = image.quantise(low) if color == "rgb" else low
    sr = image.quantise(image.enlarge(low, 3))
    pair = [image.rgb_to_y(x) if color == "rgb" else x for x in (sr, true)]
    error = np.mean((pair[0] - pair[1])[3:-3, 3:-3] ** 2)
    for row in rows:
        assert row.psnr == pytest.approx(-10 * np.log10(error), abs=0.01)
    (plain, *_) = protocol.evaluate(toy(color), source_of(photo), [3])
    assert abs(rows[0].psnr - plain.psnr) > 0.3
    text = tables.text(rows, model.card)
    assert "every `scale`-th pixel after a Gaussian of sigma 1.2" in text
    assert "bicubic degradation" not in text
    first, *_ = protocol.crops([model], photo, 3, side=255)
    if color == "y":  # in colour: its chroma is bicubic's
        first, sr = image.rgb_to_y(first), pair[0].clip(16 / 255, 235 / 255)
    np.testing.assert_allclose(first, sr, atol=1.1 / 255)


def test_images_too_small_for_lpips_are_left_out(photo):
    source = source_of(photo[:32, :90], photo)
    assert protocol.measurable(source, [2, 3]).names == source.names
    assert protocol.measurable(source, [2], lpips=True).names == source.names
    measured = protocol.measurable(source, [2, 3], lpips=True)
    assert measured.names == ("image1",) and "needs 31 a side" in measured.left_out[0]


@pytest.mark.parametrize("color", ["y", "rgb", "ycbcr"])
def test_compare_scores_bicubic_beside_the_model(photo, color):
    rows = list(protocol.compare(toy(color), [source_of(photo)], [2]))
    means = {row.network: row.psnr for row in rows if row.image == "mean"}
    assert list(means) == ["bicubic", "vdsr"]
    np.testing.assert_allclose(means["vdsr"], means["bicubic"], rtol=1e-5)


def test_the_ensemble_and_another_precision_are_measured_under_their_names(photo):
    source, model = source_of(photo[:96, :96]), weights.load("fsrcnn_x2")
    rows = list(protocol.compare(model, [source], [2], ensemble=True))
    means = {row.network: row.psnr for row in rows if row.image == "mean"}
    assert list(means) == ["bicubic", "fsrcnn", "fsrcnn+"]
    assert means["fsrcnn"] < means["fsrcnn+"] < means["fsrcnn"] + 0.5
    card = protocol.with_scores(model, rows).card
    assert card["ensemble"]["few"]["x2"]["psnr"] == means["fsrcnn+"]
    assert card["scores"]["few"]["x2"]["psnr"] == means["fsrcnn"]
    table = tables.overview({"net": protocol.with_scores(model, rows)}, ["few"])
    plain, ensemble = [line.split(" | ") for line in table.splitlines()[2:]]
    assert ensemble[0] == "| net+" and f"{means['fsrcnn+']:.2f} / 0." in ensemble[-1]
    assert float(ensemble[3]) == pytest.approx(8 * float(plain[3]), rel=0.05)
    assert "ensemble" not in protocol.with_scores(model, rows[:4]).card
    (row, _) = protocol.evaluate(model, source, [2], precision="float16")
    assert row.network == "fsrcnn float16"
    assert 0 < abs(row.psnr - means["fsrcnn"]) < 0.05


def test_images_too_small_to_measure_are_left_out_and_named(photo):
    source = source_of(photo[:20, :90], photo)
    assert protocol.measurable(source, [2, 4]).names == source.names
    measured = protocol.measurable(source, [2, 8])
    assert measured.names == ("image1",)
    assert len(list(protocol.compare(toy(), [measured], [2, 8]))) == 8
    (reason,) = measured.left_out
    assert "few/image0 has 20x90" in reason and "at x8 it needs 27" in reason
    with pytest.raises(ValueError, match="few has no readable image(.*\n)+.*20x90"):
        protocol.measurable(source_of(photo[:20, :90]), [8])


def test_crops_are_where_bicubic_is_furthest_off(photo):
    base, sr, hr = protocol.crops([toy()], photo, 4, side=32)
    assert base.shape == sr.shape == hr.shape == (32, 32, 3)  # in colour
    whole, true = protocol.restore_rgb(protocol.baseline(), photo, 4)
    error = (whole - true) ** 2
    blocks = error.reshape(8, 32, 8, 32, 3).sum(axis=(1, 3, 4))
    np.testing.assert_allclose(((base - hr) ** 2).sum(), blocks.max(), rtol=1e-4)
    small = protocol.crops([toy()], photo[:20, :24], 4, side=32)
    assert small[0].shape == (20, 24, 3)


def test_table_has_a_row_for_each_set_and_scale_and_the_published_figures():
    rows = [
        protocol.Score(network, "Set5", name, scale, psnr, 0.9)
        for network, psnr in (("bicubic", 30.0), ("vdsr", 31.25))
        for scale in (2, 3)
        for name in ("baby", "mean")
    ]
    card = weights.make_card(
        models.make("vdsr"), color="y", scales=[2, 3], trained_on="291"
    )
    assert tables.table(rows, card).splitlines() == [
        "| data | scale | bicubic | vdsr | published (VDSR paper-table3) |",
        "| --- | --- | --- | --- | --- |",
        "| Set5 | x2 | 30.00 / 0.9000 | 31.25 / 0.9000 | 37.53 / 0.9587 |",
        "| Set5 | x3 | 30.00 / 0.9000 | 31.25 / 0.9000 | 33.66 / 0.9213 |",
    ]


def test_the_text_says_how_many_images_and_whose_ssim():
    rows = [
        protocol.Score("srresnet", data, name, 4, 30.0, 0.9)
        for data, count in (("Set5", 2), ("photos", 3))
        for name in [*map(str, range(count)), "mean"]
    ]
    facts = {"objective": "supervised", "loss": "mse"}
    card = weights.make_card(
        models.make("srresnet"), color="rgb", scales=[4], trained_on="T91", **facts
    )
    text = tables.text(rows, card)
    assert "Images: 2 of Set5, 3 of photos. Trained on T91." in text
    assert "| Set5 | x4 | 30.00 / 0.9000 | 32.05 / 0.9019 |" in text
    assert "| photos | x4 | 30.00 / 0.9000 | - |" in text and "daala" in text
    assert "daala" not in tables.text(rows, toy().card)


def test_table_shows_lpips_where_it_was_measured():
    rows = [
        protocol.Score("bicubic", "Set5", "mean", 4, 28.42, 0.81),
        protocol.Score("vdsr", "Set5", "mean", 4, 31.25, 0.88, 0.21),
    ]
    text = tables.text(rows, toy().card)
    assert "| 28.42 / 0.8100 | 31.25 / 0.8800 / 0.2100 |" in text
    assert "PSNR in dB / SSIM / LPIPS. " in text and "whole RGB images" in text
    assert "LPIPS" not in tables.text(rows[:1], toy().card)


@pytest.mark.parametrize(
    ("network", "fields", "data", "scale", "expected"),
    [
        ("vdsr", {}, "Set14", 4, (28.01, 0.7674)),
        ("vdsr", {"dtype": "bfloat16"}, "Set14", 4, (28.01, 0.7674)),
        ("vdsr", {"depth": 10}, "Set14", 4, None),
        ("vdsr", {"residual": False}, "Set5", 2, None),
        ("bicubic", {}, "Set5", 8, None),
        ("edsr", {"blocks": 8, "width": 32, "residual_scale": 1.0}, "Set5", 2, None),
        ("lapsrn", {}, "Set5", 4, (31.54, 0.885)),
        ("lapsrn", {}, "Set5", 2, None),
        ("lapsrn", {"scales": [2]}, "Set5", 2, (37.52, 0.959)),
        ("lapsrn", {"scales": [2, 4, 8], "depth": 5}, "Set5", 2, (37.25, 0.957)),
        ("lapsrn", {"scales": [2, 4, 8], "depth": 5}, "Set5", 8, (26.14, 0.738)),
        ("srdensenet", {}, "Set5", 4, (32.02, 0.8934)),
        ("srdensenet", {"features": "h"}, "Set5", 4, None),
        ("srdensenet", {"features": "hl"}, "Set5", 4, None),
        ("nearest", {}, "Set5", 4, None),  # of the SRGAN paper, whose SSIM is another
        ("espcn", {"scale": 4}, "Set5", 4, None),
        ("srresnet", {}, "Set5", 4, None),  # trained on what, nobody knows
        ("vdsr", {}, "Set5 (unverified)", 2, None),
        ("mdsr", {"blocks": 16}, "DIV2K_val", 2, None),  # no set that can be checked
        ("bicubic", {}, "B100", 2, (29.56, 0.8431)),
        ("vdsr", {}, "my photographs", 2, None),
        ("espcn", {"activation": "tanh"}, "Set5", 3, (32.55, None)),
        ("drrn", {"blocks": 1, "units": 9}, "Set5", 2, (37.66, 0.9589)),
        ("drrn", {"blocks": 1, "units": 25}, "Set5", 2, (37.74, 0.9591)),
        ("srcnn", {"sides": [9, 1, 5]}, "Set5", 3, (32.39, None)),
        ("unknown", {}, "Set5", 2, None),
    ],
)
def test_published_figures_are_found(network, fields, data, scale, expected):
    card = {"network": network, "fields": fields}
    assert tables.paper_score(card, data, scale) == expected
    assert tables.paper_score(card | {"blur": 1.6}, data, scale) is None


def test_every_row_of_published_figures_is_there():
    figures = papers.scores()
    for network, entry in models.NETWORKS.items():
        for row in entry.rows:
            net = models.make(network, **row.fields)
            card = {"network": network, "fields": models.fields_of(net)} | row.trained
            for scale in row.scales or (2,):
                assert row in tables.rows_of(card, scale)
            scales = {
                x for data in figures[row.name][row.variant].values() for x in data
            }
            assert {f"x{scale}" for scale in row.scales} <= scales
    assert {row for row, _ in tables.PERCEPTUAL} <= set(figures)


def test_a_network_outside_the_catalogue_is_reported(monkeypatch):
    class Mine(models.VDSR):
        pass

    monkeypatch.setitem(models.NETWORKS, "mine", models.Network(Mine))
    net = Mine(depth=4, width=8)
    scores = {"own photographs": {"x2": {"psnr": 31.5, "ssim": 0.9}}}
    card = weights.make_card(
        net, color="y", scales=[2], trained_on="T91", scores=scores
    )
    table = tables.overview({"mine": weights.Model(net, {}, card)}, ["own photographs"])
    # 9 (1x8 + 2 8x8 + 8x1) weights and 25 biases; weights times 1280x720
    row = "| mine | x2 | 1,321 | 1.2 | 31.50 / 0.9000 |"
    assert table.splitlines()[-1] == row


def test_a_row_says_what_model_of_another_scale_is_better():
    def rated(scale, **table):
        net = models.make("espcn", scale=scale)
        rows = {
            at[1:]: {"psnr": psnr, "multiply_adds": adds}
            for at, (psnr, adds) in table.items()
        }
        card = weights.make_card(
            net, color="y", scales=[scale], trained_on="T91", upscaling=rows
        )
        return weights.Model(net, {}, card)

    named = {
        "loser": rated(8, x4=(26.0, 9), x8=(24.0, 9)),
        "winner": rated(4, x4=(27.0, 8), x8=(24.2, 8)),
        "dear": rated(2, x4=(28.0, 50), x8=(25.0, 50)),
        "second": rated(4, x4=(26.9, 9)),
        "level": rated(3, x3=(28.0, 7), x4=(27.04, 7)),
    }
    lines = tables.overview(named, ["Set5"]).splitlines()
    names = {line.split(" | ")[0][2:] for line in lines[2:]}
    assert names == {
        "loser (worse than winner and bicubic)",
        "winner",
        "dear",
        "second",
        "level",
    }


def test_a_network_has_one_colour_at_all_scales():
    names = ["edsr_baseline_x2", "edsr_baseline_x2+", "vdsr", "edsr_baseline_x4"]
    colors = {"edsr_baseline": "C0", "edsr_baseline+": "C1", "vdsr": "C2"}
    assert figures._colors(names) == colors


def test_json_holds_every_score_and_how_it_came_about(tmp_path):
    score = protocol.Score("vdsr", "Set5", "mean", 2, 37.5, 0.95)
    tables.write_json(tmp_path / "a.json", [score], card={"step": 3})
    read = json.loads((tmp_path / "a.json").read_text())
    assert read["card"] == {"step": 3}
    assert protocol.Score(**read["scores"][0]) == score


def test_figures_are_readable_pictures(tmp_path, photo):
    rows = [protocol.crops([toy()], photo, 3, side=48)] * 2
    figures.crops(tmp_path / "crops.png", rows, titles=["bicubic", "vdsr", "true"])
    records = [{"step": i, "loss": 1 / (i + 1)} for i in range(5)]
    records.append({"step": 4, "validation_psnr": 30.0})
    runs = {"long": records, "short": records[:2], "of another kind": []}
    figures.curves(tmp_path / "c.png", runs, y=["loss", "validation_psnr"])
    for name in ("crops.png", "c.png"):
        pixels = np.asarray(PIL.Image.open(tmp_path / name).convert("RGB"))
        assert pixels.std() > 10 and min(pixels.shape[:2]) > 200


def test_the_srgan_papers_rows_stand_beside_ours():
    def trained(psnr, lpips, **facts):
        scores = {"Set5": {"x4": {"psnr": psnr, "ssim": 0.8, "lpips": lpips}}}
        net = models.make("srresnet")
        card = weights.make_card(
            net, color="rgb", scales=[4], trained_on="T91", scores=scores, **facts
        )
        return weights.Model(net, {}, card)

    nearest = protocol.baseline("nearest", color="rgb")
    nearest.card["scores"] = {"Set5": {"x4": {"psnr": 26.26, "ssim": 0.738}}}
    gan = {"objective": "adversarial", "loss": "vgg conv5_4"}
    mse = {"objective": "supervised", "loss": "mse"}
    named = {
        "nearest": nearest,
        "worse": trained(29.0, 0.3, **mse),
        "better": trained(29.5, 0.25, **mse),
        "gan": trained(28.0, 0.125, **gan),
        "fsrcnn_x4": weights.load("fsrcnn_x4"),
    }
    lines = tables.perceptual(named, ["Set5", "Set14"]).splitlines()
    assert len(lines) == 2 + 12 + 2
    assert "daala" in lines[-1] and "0.8211" in lines[-1]
    for wanted in (
        "| Nearest | nearest | 26.26 / 0.7380 | 26.26 / 0.7552 / 1.28 | - |",
        "| ESPCN | - | - | 30.76 / 0.8784 / 2.89 | - |",
        "| SRResNet MSE | better | 29.50 / 0.8000 / 0.2500 | 32.05 / 0.9019 / 3.37 |",
        "| SRGAN VGG54 | gan | 28.00 / 0.8000 / 0.1250 | 29.40 / 0.8472 / 3.58 | - |",
        "| SelfExSR | - | - | 30.33 / 0.8720 / 2.65 | - | 27.45 / 0.7972 / 2.34 |",
        "| HR | - | - | infinite / 1.0000 / 4.32 | - | infinite / 1.0000 / 4.32 |",
        "| SRGAN MSE | - | - | 30.64 / 0.8701 / 3.77 | - | 26.92 / 0.7611 / 3.43 |",
    ):
        assert any(line.startswith(wanted) for line in lines), (wanted, lines)


def test_a_fractional_scale_rounds_sides_up_and_crops_nothing():
    """By hand: 17x20 becomes ceil(6.8)x8, each axis by the quotient of its sizes."""
    pixels = np.random.default_rng(0).integers(256, size=(17, 20, 1)).astype(np.uint8)
    x, hr = pairs.make_pair(pixels, 2.5, color="y", input="interpolated")
    low = image.resize(image.from_uint(pixels), (7 / 17, 8 / 20), size=(7, 8))
    expected = image.resize(low, (17 / 7, 20 / 8), size=(17, 20))
    np.testing.assert_array_equal(hr, image.from_uint(pixels))
    np.testing.assert_allclose(x, expected, atol=1e-6)
    with pytest.raises(ValueError, match="blur is for integer scales"):
        image.degrade(image.from_uint(pixels), 2.5, blur=1.0)


def test_a_network_of_interpolated_images_is_scored_at_a_fractional_scale(folders):
    source = sets.open_source(str(folders / "validation"))
    rows = list(protocol.evaluate(protocol.baseline(), source, [2.5]))
    pixels = source.read(0)
    x, hr = pairs.make_pair(pixels, 2.5, color="y", input="interpolated")
    error = (image.quantise(x) - hr)[3:-3, 3:-3]  # a border of ceil(2.5)
    assert rows[0].psnr == pytest.approx(-10 * np.log10(np.mean(error**2)), abs=1e-3)
    assert "x2.5" in tables.text(rows, protocol.baseline().card)
    assert "fractional" in protocol.protocol(rows, protocol.baseline().card)
    small = models.make("fsrcnn", scale=2, width=4, narrow=2, depth=1)
    card = weights.make_card(small, color="y", scales=[2], trained_on="nothing")
    low = weights.Model(
        small, small.init(jax.random.key(0), jnp.zeros([1, 8, 8, 1])), card
    )
    with pytest.raises(ValueError, match="upscales by 2, not 2.5"):
        next(iter(protocol.evaluate(low, source, [2.5])))

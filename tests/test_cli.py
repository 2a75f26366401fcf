"""Whole commands on real files, as a person types them."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import PIL.Image
import pytest
import tifffile
from conftest import find_weights
from test_importers import write_mat

import jaxsr
from jaxsr import (
    cards,
    cli,
    image,
    models,
    weights,
)
from jaxsr.evaluation import protocol


def save_few(folder, *images):
    """A folder of image files; returns its path as a word of a command."""
    folder.mkdir(parents=True)
    for i, pixels in enumerate(images):
        PIL.Image.fromarray(pixels).save(folder / f"{i}.png")
    return str(folder)


def psnr_in_row(out, start):
    """The PSNR of each column of the row that begins so."""
    [row] = [line for line in out.splitlines() if line.startswith(start)]
    return [float(x) for x in re.findall(r"(\d+\.\d+) /", row.removeprefix(start))]


def test_import_and_evaluate_print_the_papers_row(butterfly, tmp_path, capsys):
    """One image here; the whole table is in RESULTS.md."""
    source = find_weights("vdsr/VDSR_Official.mat")
    model = tmp_path / "vdsr.safetensors"
    assert cli.main(["import", str(source), str(model), "--network", "vdsr"]) == 0
    net, _, card = weights.load(model)
    assert (net.depth, net.width, card["scales"]) == (20, 64, [2, 3, 4])
    folder = save_few(tmp_path / "butterfly", butterfly)
    assert cli.main(["evaluate", str(model), "--data", folder, "--scales", "3"]) == 0
    out = capsys.readouterr().out
    row = r"\| butterfly \| x3 \| 24.04 / 0.8\d+ \| 29.9[56] / 0.9\d+ \| - \|"
    assert re.search(row, out), out


def test_import_reads_a_file_of_matlab(tmp_path, capsys):
    layers = [("conv_0", (1, 4)), ("conv_1", (4, 4)), ("conv_out", (4, 1))]
    rng = np.random.default_rng(0)
    params = {
        name: {"kernel": rng.random([3, 3, *shape]), "bias": rng.random(shape[1])}
        for name, shape in layers
    }
    write_mat(tmp_path / "net.mat", params)
    out = tmp_path / "net.safetensors"
    command = ["import", str(tmp_path / "net.mat"), str(out), "--network", "vdsr"]
    assert cli.main(command) == 0
    net, variables, card = weights.load(out)
    assert (net.depth, net.width, card["scales"]) == (3, 4, [2, 3, 4])
    kernel = variables["params"]["conv_1"]["kernel"]
    np.testing.assert_allclose(kernel, params["conv_1"]["kernel"], rtol=1e-6)
    assert cli.main(command) == 1
    assert "already exists: --overwrite replaces it" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite"]) == 0


def test_evaluate_prints_a_row_and_saves_the_scores(photo, tmp_path, capsys):
    folder = save_few(tmp_path / "few", photo)
    scores, saved = tmp_path / "scores.json", tmp_path / "scored.safetensors"
    arguments = ["--data", folder, "--scales", "3", "--json", str(scores)]
    assert cli.main(["evaluate", "vdsr", *arguments, "--save", str(saved)]) == 0
    out = capsys.readouterr().out
    bicubic, vdsr = psnr_in_row(out, "| few | x3 |")
    assert bicubic == 28.78 and 30 < vdsr < 32, out
    assert "border of `scale` pixels left out" in out
    assert len(json.loads(scores.read_text())["scores"]) == 4
    card = weights.load(saved).card
    assert list(card["scores"]["few"]) == ["x3"] and "8 bits" in card["protocol"]
    assert card["scores"]["few"]["x3"]["psnr"] == pytest.approx(vdsr, abs=0.005)


def test_evaluate_saves_half_as_large_a_file_that_is_as_good(photo, tmp_path):
    folder = save_few(tmp_path / "few", photo)
    # The shipped file holds float16, which has no ten-thousandth more.
    shipped = weights.load("fsrcnn_x2")
    more = jax.tree.map(lambda x: 1.0001 * x, shipped.variables)
    model = tmp_path / "model.safetensors"
    weights.save(model, shipped._replace(variables=more))
    found = []
    for flags in ([], ["--half", "--ensemble"]):
        file = tmp_path / "saved.safetensors"
        arguments = ["--data", folder, "--save", str(file), *flags]
        assert cli.main(["evaluate", str(model), *arguments]) == 0
        tensors = [x for x in jax.tree.leaves(weights.load(file).variables)]
        assert {x.dtype for x in tensors} == {np.dtype("float32")}
        card = weights.load(file).card
        found.append((file.stat().st_size, card["scores"]["few"]["x2"]["psnr"]))
    (whole, psnr), (half, other) = found
    assert half < 0.6 * whole and 0 < abs(psnr - other) < 0.01
    assert card["ensemble"]["few"]["x2"]["psnr"] > psnr


def test_evaluate_leaves_out_bad_images_and_says_so(photo, tmp_path, capsys):
    folder = save_few(tmp_path / "few", photo)
    (tmp_path / "few" / "text.png").write_text("no picture")
    PIL.Image.new("L", (3, 3)).save(tmp_path / "few" / "tiny.png")
    model = tmp_path / "bicubic.safetensors"
    weights.save(model, protocol.baseline())
    arguments = ["evaluate", str(model), "--data", folder, "--scales", "4"]
    assert cli.main(arguments) == 1
    told = capsys.readouterr()
    assert "| few | x4 | 27.10 /" in told.out
    assert re.search("text.png cannot be read(.*\n)+.*tiny.png has 3x3", told.err)
    assert "2 images skipped:" in told.err


def test_evaluate_prints_lpips_where_asked(
    photo, random_weights, tmp_path, monkeypatch, capsys
):
    folder = save_few(tmp_path / "few", photo)
    model, saved = (tmp_path / f"{name}.safetensors" for name in ("bicubic", "scored"))
    weights.save(model, protocol.baseline())
    arguments = ["evaluate", str(model), "--data", folder, "--scales", "4"]
    file = str(random_weights / "lpips" / "lpips.npz")
    assert cli.main([*arguments, "--lpips", file, "--save", str(saved)]) == 0
    lpips = weights.load(saved).card["scores"]["few"]["x4"]["lpips"]
    row = rf"\| 27.10 / 0.8\d+ / {lpips:.4f} \|"
    assert lpips > 0 and re.search(row, capsys.readouterr().out)
    monkeypatch.setenv("JAXSR_WEIGHTS", str(random_weights))
    assert cli.main([*arguments, "--lpips"]) == 0
    assert re.search(row, capsys.readouterr().out)
    assert cli.main([*arguments, "--lpips", f"{folder}/0.png"]) == 1
    assert "as LPIPS: the file must end in [" in capsys.readouterr().err
    assert cli.main(["evaluate", "--all", "--lpips"]) == 1
    assert "--lpips and --precision need a single model" in capsys.readouterr().err


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of shipped models: two networks of zeros."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(cards, "FOLDER", folder)
    for name, fields, scales in (
        ("vdsr", {"depth": 2, "width": 2}, [2, 4]),
        ("fsrcnn_x2", {"scale": 2}, [2]),
    ):
        net = models.make(name.split("_")[0], **fields)
        variables = jax.tree.map(
            lambda p: np.zeros(p.shape, p.dtype), weights.init_shapes(net, 1)
        )
        scores = {"Set5": {"x2": {"psnr": 36.5, "ssim": 0.9}}}
        card = weights.make_card(
            net, color="y", scales=scales, trained_on="nothing", scores=scores
        )
        weights.save(
            folder / f"{name}.safetensors", weights.Model(net, variables, card)
        )
    return folder


def test_all_shipped_models_are_measured_in_one_table(shipped, photo, tmp_path, capsys):
    folder = save_few(tmp_path / "few", photo)
    scores = tmp_path / "all.json"
    arguments = ["evaluate", "--all", "--data", folder, "--json", str(scores)]
    assert cli.main(arguments) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert lines[0][1:] == ["scale", "parameters", "multiply-adds (G)", "few |"]
    order = ["bicubic", "vdsr", "fsrcnn_x2", "bicubic", "vdsr"]
    assert [line[0][2:] for line in lines[2:]] == order
    assert lines[3] == ["| vdsr", "x2", "39", "0.0", lines[2][4]]  # adds nothing
    assert lines[6][:4] == ["| vdsr", "x4", "39", "0.0"]
    assert re.fullmatch(r"27.10 / 0.8\d{3} \|", lines[6][4])
    assert float(lines[4][4].split()[0]) < 10  # black
    rows = json.loads(scores.read_text())["scores"]
    assert {(r["network"], r["scale"]) for r in rows} == {
        ("bicubic", 2),
        ("bicubic", 4),
        ("vdsr", 2),
        ("vdsr", 4),
        ("fsrcnn_x2", 2),
    }


def test_report_shows_the_cards_and_draws_them(shipped, tmp_path, capsys):
    figure = tmp_path / "psnr.png"
    assert cli.main(["report", "--data", "Set5,B100", "--figure", str(figure)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| bicubic | x2 | 0 | 0.0 | (33.66) | (29.56) |" in lines
    assert "| vdsr | x2 | 39 | 0.0 | 36.50 / 0.9000 | - |" in lines  # not the paper's
    assert (
        "| fsrcnn_x2 | x2 | 12,809 | 2.9 | 36.50 / 0.9000 (37.00) | (31.53) |" in lines
    )
    pixels = np.asarray(PIL.Image.open(figure).convert("RGB"))
    assert pixels.std() > 10 and min(pixels.shape[:2]) > 400


def test_a_perceptual_report_without_lpips_leaves_it_out(
    shipped, tmp_path, monkeypatch, capsys
):
    for variable in ("JAXSR_WEIGHTS", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    figure = tmp_path / "figure.png"
    command = ["report", "--perceptual", "--data", "Set5", "--figure", str(figure)]
    assert cli.main(command) == 0
    assert figure.exists()
    out, told = capsys.readouterr()
    said = [line for line in told.splitlines() if "LPIPS" in line]
    assert len(said) == 1
    assert said[0].startswith("Without LPIPS: the weights of LPIPS were not found at")
    rows = [line.split(" | ") for line in out.splitlines()]
    [bicubic] = [row for row in rows if row[0] == "| Bicubic"]
    assert bicubic[1:3] == ["bicubic", "28.43 / 0.8113"]


def test_report_compares_runs(shipped, tmp_path, capsys):
    runs = {name: tmp_path / name for name in ("plain", "faster")}
    for i, run in enumerate(runs.values()):
        run.mkdir()
        weights.save(run / "model.safetensors", weights.load("vdsr"))
        records = [{"step": k, "validation_psnr_x2": 28.0 + k * i} for k in range(5)]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (run / "metrics.jsonl").write_text(lines)
    figure = tmp_path / "curves.png"
    command = ["report", *map(str, runs.values()), "--data", "Set5"]
    assert cli.main([*command, "--curves", str(figure)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if " x2 " in line] == [
        "| plain | x2 | 39 | 0.0 | 36.50 / 0.9000 |",
        "| faster | x2 | 39 | 0.0 | 36.50 / 0.9000 |",
    ]
    pixels = np.asarray(PIL.Image.open(figure).convert("RGB"))
    assert pixels.std() > 10 and min(pixels.shape[:2]) > 200
    assert cli.main(["report", "--curves", str(figure)]) == 1
    assert "name their directories" in capsys.readouterr().err


def test_runs_with_the_same_last_name_are_distinguished(
    shipped, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for seed, psnr in (("s1", 30.0), ("s2", 31.0)):
        model = weights.load("vdsr")
        scores = {"own photos": {"x2": {"psnr": psnr, "ssim": 0.9}}}
        (tmp_path / seed / "vdsr").mkdir(parents=True)
        weights.save(
            tmp_path / seed / "vdsr" / "model.safetensors",
            model._replace(card=model.card | {"scores": scores, "scales": [2]}),
        )
    assert (
        cli.main(["report", "s1/vdsr", str(tmp_path / "s2/vdsr"), "s2/../s1/vdsr"]) == 0
    )
    assert capsys.readouterr().out.splitlines() == [
        "| model | scale | parameters | multiply-adds (G) | own photos |",
        "| --- | --- | --- | --- | --- |",
        "| s1/vdsr | x2 | 39 | 0.0 | 30.00 / 0.9000 |",
        "| s2/vdsr | x2 | 39 | 0.0 | 31.00 / 0.9000 |",
    ]


def test_folders_of_one_last_name_are_scored_apart(shipped, photo, tmp_path, capsys):
    for i, pixels in enumerate((photo, photo[:100])):
        save_few(tmp_path / str(i) / "photos", pixels)
    folders = ",".join(str(tmp_path / str(i) / "photos") for i in (0, 1, 0))
    place = tmp_path / "new" / "scores.json"
    command = ["evaluate", "fsrcnn_x2", "--data", folders, "--json", str(place)]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "| 0/photos | x2 | 31.66 /" in out and "| 1/photos | x2 | 33.76 /" in out
    assert "Images: 1 of 0/photos, 1 of 1/photos." in out
    assert len(json.loads(place.read_text())["scores"]) == 8


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "fsrcnn_x2", "--json", "FILE/a.json"],
        ["evaluate", "fsrcnn_x2", "--save", "FILE/a.safetensors"],
        ["evaluate", "--all", "--json", "FOLDER"],
        ["report", "--figure", "FILE/a.png"],
        ["import", "vdsr.mat", "FILE/a.safetensors", "--network", "vdsr"],
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    shipped, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setattr(weights, "load", None)  # nothing is loaded
    (tmp_path / "file").write_text("")
    places = {"FILE": tmp_path / "file", "FOLDER": tmp_path}
    for word, place in places.items():
        command = [arg.replace(word, str(place)) for arg in command]
    assert cli.main(command) == 1
    out, error = capsys.readouterr()
    assert not out and error.count("\n") == 1
    assert re.match(r"error: /.* cannot be written: .*\.\n", error)


def test_paths_may_begin_at_home(shipped, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    weights.save("~/mine.safetensors", weights.load("vdsr"))
    assert (tmp_path / "mine.safetensors").exists()
    (tmp_path / "run").mkdir()
    weights.save("~/run/model.safetensors", weights.load("~/mine.safetensors"))
    assert cli.main(["report", "~/run", "--data=Set5", "--figure=~/a/b.png"]) == 0
    assert "| run | x2 |" in capsys.readouterr().out
    assert (tmp_path / "a" / "b.png").exists()


def test_upscale_writes_a_photograph_of_any_size(photo, tmp_path):
    file = tmp_path / "photo with spaces.jpg"
    PIL.Image.fromarray(photo[100:147, 100:161]).save(file)
    command = ["upscale", str(file), "--scale", "2.5", "--model", "vdsr"]
    assert cli.main(command) == 0
    enlarged = PIL.Image.open(tmp_path / "photo with spaces_x2.5.png")
    assert enlarged.size == (153, 118) and enlarged.mode == "RGB"
    plain = PIL.Image.open(file).resize(enlarged.size, PIL.Image.BICUBIC)
    difference = np.abs(np.asarray(enlarged, float) - np.asarray(plain, float))
    assert 0.1 < difference.mean() < 10


def test_one_bad_file_among_many_is_named_and_the_rest_done(tmp_path, caplog):
    for name in ("a", "c"):
        PIL.Image.new("RGB", (9, 7), "teal").save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_text("no picture")
    out = tmp_path / "out"
    arguments = ["upscale", str(tmp_path), "-o", str(out), "--model", "vdsr"]
    assert cli.main(arguments) == 1
    assert sorted(p.name for p in out.iterdir()) == ["a_x2.png", "c_x2.png"]
    assert "b.png" in caplog.text and "cannot be read as an image" in caplog.text


def test_every_option_of_upscale_reaches_the_work(tmp_path, capsys, caplog):
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (9, 7), "teal").save(tmp_path / name)
    out = tmp_path / "out"
    pattern = [f"{tmp_path}/*.png", "-o", str(out)]
    size = ["--size", "30x40", "--format", "webp"]
    assert cli.main(["upscale", *pattern, *size, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("2 to upscale, 0 failed, in ")
    assert "b.png, 9x7 -> " in caplog.text and not out.exists()
    way = ["--model", "fsrcnn_x3", "--tile", "64", "--ensemble"]
    way += ["--precision", "bfloat16"]
    assert cli.main(["upscale", *pattern, *size, *way]) == 0
    with PIL.Image.open(out / "a_30x40.webp") as picture:
        assert picture.size == (30, 23) and picture.format == "WEBP"
    assert cli.main(["upscale", *pattern, *size, *way]) == 1
    assert "a_30x40.webp already exists" in caplog.text
    assert cli.main(["upscale", *pattern, *size, *way, "--skip-existing"]) == 0
    assert "0 upscaled, 2 skipped, 0 failed" in capsys.readouterr().out
    assert cli.main(["upscale", *pattern, *size, *way, "--overwrite"]) == 0
    assert "2 upscaled, 0 failed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["upscale", *pattern, "--size", "30by40"])
    assert (
        "such as 3840x2160, 3840x, x2160 or 24MP; got '30by40'"
        in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        cli.main(["upscale", *pattern, "--size", "30x40", "--scale", "2"])


def test_compare_draws_what_was_enlarged(photo, tmp_path, capsys):
    truth, low = tmp_path / "truth.png", tmp_path / "low.png"
    pixels = image.modcrop(photo, 3)
    PIL.Image.fromarray(pixels).save(truth)
    small = image.to_uint(image.degrade(image.from_uint(pixels), 3))
    PIL.Image.fromarray(small).save(low)
    strip = tmp_path / "strip.png"
    arguments = ["compare", str(low), "--scale", "3", "-o", str(strip)]
    models = ["--models", "fsrcnn_x2,auto"]
    assert cli.main([*arguments, "--truth", str(truth), *models]) == 0
    drawn = np.asarray(PIL.Image.open(strip).convert("RGB"))
    zoomed = pixels.repeat(3, axis=0).repeat(3, axis=1)
    crop = drawn[40:100, -150:-90]  # inside the first crop of the truth
    places = np.argwhere((zoomed == crop[0, 0]).all(axis=-1))
    assert any(np.array_equal(zoomed[y : y + 60, x : x + 60], crop) for y, x in places)
    assert cli.main([*arguments, "--truth", str(low), "--overwrite"]) == 1
    message = "the reference image must have 255x255 pixels.*got 85x85"
    assert re.search(message, capsys.readouterr().err)


def test_compare_tells_its_file_and_leaves_what_is_there(tmp_path, capsys):
    low, truth, strip = (str(tmp_path / f"{name}.png") for name in "lts")
    PIL.Image.new("RGB", (20, 16), "teal").save(low)
    PIL.Image.new("RGB", (41, 33), "teal").save(truth)  # one pixel above 40x32
    command = ["compare", low, "-o", strip, "--models", "fsrcnn_x2"]
    assert cli.main([*command, "--truth", truth]) == 0
    assert capsys.readouterr().out == f"{strip}: bicubic, fsrcnn_x2\n"
    before = pathlib.Path(strip).read_bytes()
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert "s.png already exists: --overwrite replaces it, --skip-ex" in error
    assert cli.main([*command, "--skip-existing"]) == 0
    assert pathlib.Path(strip).read_bytes() == before
    assert cli.main([*command, "--overwrite"]) == 0
    assert pathlib.Path(strip).read_bytes() != before
    for path, more in ((low, []), (truth, ["--truth", truth])):
        args = ["compare", low, "-o", path, "--models", "fsrcnn_x2", "--overwrite"]
        kept = pathlib.Path(path).read_bytes()
        assert cli.main([*args, *more]) == 1
        assert "would be written over the input" in capsys.readouterr().err
        assert pathlib.Path(path).read_bytes() == kept
    tifffile.imwrite(tmp_path / "f.tif", np.full((20, 16), 200, np.float32))
    args = ["compare", str(tmp_path / "f.tif"), "-o", strip, "--overwrite"]
    assert cli.main(args) == 1
    assert "f.tif: an image of floats must lie in [0, 1]" in capsys.readouterr().err
    PIL.Image.new("RGB", (42, 32)).save(truth)
    assert cli.main([*command, "--truth", truth, "--overwrite"]) == 1
    message = "must have 40x32 pixels, as the upscaled one, or up to 1 more on a side"
    assert message in capsys.readouterr().err
    assert cli.main([*command, "--truth", "none.png", "--overwrite"]) == 1
    assert "error: none.png: it cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upscale", "a.png", "--quality-level", "9"], "JPEG, WebP and AVIF.*not PNG"),
        (["upscale", "a.png", "--model", "nothing"], "got 'nothing'"),
        (["evaluate", "--all", "--scales", "2"], "cannot be combined with --all"),
        (["evaluate", "--all", "--save", "a"], "cannot be combined with --all"),
        (["evaluate", "--all", "--half"], "cannot be combined with --all"),
        (
            ["evaluate", "a", "--save", "b", "--precision", "tf32"],
            "cannot be combined with --precision",
        ),
        (["evaluate", "vdsr", "--precision", "half"], "'tf32'.*got 'half'"),
        (["upscale", "a.png", "--scale", "0.5", "--model", "vdsr"], "at least 1"),
        (["evaluate", "vdsr", "--data", "Set6"], "'Set14', 'Set5'.*got 'Set6'"),
        (["import", "a.mat", "b.safetensors", "--network", "vdrs"], "got 'vdrs'"),
        (["import", "a.mat", "b.safetensors", "--network", "vdsr"], "a.mat"),
        (["prepare", "weights/none"], "weights/vdsr.*got .weights/none"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXSR_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    PIL.Image.new("L", (5, 5)).save("a.png")
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(message, error), error


def test_models_lists_what_the_papers_networks_cost(capsys):
    assert cli.main(["models", "vdsr", "srcnn"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and lines[0].startswith("| network | fields | parameters")
    row = "| vdsr |  | 665,921 | 612.6 | 20 | interpolated | Kim et al., CVPR 2016 |"
    assert any(line.startswith(row) for line in lines)
    assert any("| sides=(9, 1, 5) | 8,129 | 7.4 |" in line for line in lines)
    assert cli.main(["models", "vdrs"]) == 1
    assert "got ['vdrs']" in capsys.readouterr().err


def test_models_lists_shipped_ones_that_are_no_papers(shipped, capsys):
    assert cli.main(["models", "vdsr", "fsrcnn"]) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    trained = {line[1]: line[-1].rstrip("| ") for line in lines[2:] if line[0] != ""}
    assert trained["depth=2, width=2"] == "vdsr" and trained["scale=2"] == "fsrcnn_x2"
    assert len(lines) == 2 + 6 + 3


def test_models_needs_no_jax_and_no_reader_to_its_end():
    code = "import sys; from jaxsr import cli; cli.main(['models']); sys.stdout.close()"
    code += "; sys.exit('jax' in sys.modules)"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True)
    assert out.returncode == 0 and len(out.stdout.splitlines()) > 40
    command = [sys.executable, "-m", "jaxsr.cli", "models"]
    with subprocess.Popen(command, stdout=-1, stderr=-1, bufsize=0) as run:
        run.stdout.close()  # as `| head -1` does, before anything is written
        assert run.stderr.read() == b"" and run.wait(60) == 0


def test_standard_input_and_output_take_the_place_of_files(tmp_path, photo):
    source, expected = tmp_path / "a.jpg", tmp_path / "b.webp"
    PIL.Image.fromarray(photo[:40, :50]).save(source)
    options = ["--model", "fsrcnn_x2", "--format", "webp"]
    assert cli.main(["upscale", str(source), "-o", str(expected), *options]) == 0
    command = [sys.executable, "-m", "jaxsr.cli", "upscale", "-", "-o", "-", *options]
    out = subprocess.run(command, input=source.read_bytes(), capture_output=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout == expected.read_bytes()
    assert b"1 upscaled" in out.stderr
    out = subprocess.run(command, input=b"no image", capture_output=True)
    assert (out.returncode, out.stdout) == (1, b"") and b"standard input" in out.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [(["-"], "standard input needs an output"), (["-", "a.png", "-o", "b"], "got 2")],
)
def test_pipes_that_cannot_be_are_refused(args, message, capsys):
    assert cli.main(["upscale", *args]) == 1
    assert message in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"jaxsr {jaxsr.__version__}\n"


def test_the_command_is_installed():
    out = subprocess.run(
        [sys.executable, "-m", "jaxsr.cli", "--help"], capture_output=True, text=True
    )
    assert out.returncode == 0
    for name in ("upscale", "evaluate", "import", "models", "prepare"):
        assert name in out.stdout

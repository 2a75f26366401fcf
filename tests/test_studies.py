"""The studies, and the command that runs them."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from conftest import open_set

from jaxsr import cli, image, models, optim, weights
from jaxsr.evaluation import figures, papers
from jaxsr.reproduction import drawing, measures, outcome, runner, study
from jaxsr.studies import drrn_sharing, drrn_units
from jaxsr.training import config as configs

TINY = """
from jaxsr.data import sets
from jaxsr.reproduction import drawing, measures, study

STUDY = study.Study(
    varies="The depth",
    source="No paper",
    settings={{
        "network": {{"name": "vdsr", "depth": 2, "width": 4}},
        "optim": {{"name": "adam"}},
        "schedule": {{
            "name": "step", "learning_rate": 1e-3, "factor": 0.5, "every": 8,
        }},
        "epochs": 8.0,
        "data.name": {images!r},
        "data.backend": "device",
        "data.plan": "random",
        "data.epoch": 4,
        "data.scales": (2,),
        "data.patch": 16,
        "data.batch": 8,
        "log_every": 4,
    }},
    variants={{
        "2 layers": {{}},
        "3 layers, from 2": {{
            "network": {{"name": "vdsr", "depth": 3, "width": 4}},
            "start": "2 layers",
        }},
        "bicubic itself": {{"model": "fsrcnn_x2"}},
    }},
    measure=measures.all_of(
        measures.psnr({validation!r}), measures.parameters, measures.after(4, 8)
    ),
    draw=drawing.dots("validation x2"),
    strip=drawing.crops(
        {validation!r}, sets.open_source({validation!r}).names[:1], 2
    ),
    sets=({validation!r},),
    along={along},
    notes="A test",
    cells={{
        "2 layers": {{"validation x2": 30.0}},
        "printed": {{"validation x2": 31.0}},
    }},
)
"""


@pytest.fixture
def tiny(folders, tmp_path):
    """A study of seconds on real photographs, in a file as a user would write it."""
    path = tmp_path / "tiny.py"
    images, validation = (str(folders / name) for name in ("train", "validation"))
    path.write_text(TINY.format(images=images, validation=validation, along=0.0))
    return path


@pytest.mark.parametrize("name", study.names())
def test_every_study_can_be_run(name):
    one = study.load(name)
    for variant, own in one.variants.items():
        config = one.config(variant, budget=0.1)
        assert own.get("model", "") in ["", *weights.shipped()]
        start = config["start"]
        assert not start or start in one.variants
        config["start"] = ""
        configs.check(config)
        assert not configs.chooses(config)
    assert set(papers.study(name)) <= set(one.variants)
    assert one.varies and not one.varies.endswith(".")


def test_a_budget_shortens_the_schedule_as_it_does_the_run():
    one = study.load("vdsr-residual")
    full, tenth = (one.config("plain, 0.1", budget=b) for b in (1.0, 0.1))
    assert (full["epochs"], tenth["epochs"]) == (80.0, 8.0)
    assert tenth["schedule"]["every"] == 2.0
    assert tenth["validation"] == full["validation"] | {"every": 0.2}
    drcn = study.load("drcn-recursions").config("6 recursions", budget=0.5)
    assert drcn["objective"]["updates"] == 1470


def test_the_printed_cells_are_those_of_the_paper():
    assert papers.study("vdsr-residual")["plain, 0.1"]["epoch 20"] == 19.59
    assert papers.study("fsrcnn-dsm")["d=56, s=12, m=4"]["Set5 x3"] == 33.16
    red = papers.study("red-depth")["RED30"]
    assert red["Set14 x4"] == papers.score("RED", "RED30", "Set14", 4)["psnr"]


def test_a_study_runs_to_its_table_and_figure(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    args = ["reproduce", str(tiny), "--workdir", str(out)]
    assert cli.main([*args, "--budget", "0.5", "--seeds", "2"]) == 0
    table = (out / "results.md").read_text()
    assert "| 3 layers, from 2 |" in table and "± " in table
    assert "(30.00) |" in table and "| printed | - (31.00) |" in table
    runs = json.loads((out / "results.json").read_text())["runs"]
    trained = [run for run in runs if "updates" in run]
    assert [run["updates"] for run in trained] == [16] * 4  # half of 32
    first, second = (run for run in trained if run["variant"] == "2 layers")
    assert first["columns"] != second["columns"]  # another initialisation
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    with PIL.Image.open(out / "crops.png") as strip:
        assert strip.width == 5 * 242  # bicubic, three variants, the true image
    assert "hours" in json.loads((out / "times.json").read_text())["2_layers-seed0"]
    capsys.readouterr()
    assert cli.main([*args, "--status"]) == 0
    assert capsys.readouterr().out.count("| done |") == 5
    assert cli.main([*args, "--budget", "0.25"]) == 1
    assert "holds" in capsys.readouterr().err


def test_a_killed_study_ends_with_the_same_bytes(tiny, tmp_path):
    args = ["reproduce", str(tiny), "--budget", "0.25", "--workdir"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert cli.main([*args, str(whole)]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxsr.cli", *args, str(killed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    for line in process.stdout:
        if b"3 layers" in line:
            process.kill()
            break
    process.wait()
    process.stdout.close()
    assert not (killed / "runs" / "3_layers__from_2-seed0" / study.MEASURED).exists()
    assert cli.main([*args, str(killed)]) == 0
    assert (whole / "results.md").read_bytes() == (killed / "results.md").read_bytes()
    ours, theirs = (
        json.loads((p / "results.json").read_text()) for p in (whole, killed)
    )
    for run in [*ours["runs"], *theirs["runs"]]:
        run["config"]["start"] = pathlib.Path(run["config"]["start"]).name
    assert ours == theirs


def test_a_study_of_the_course_is_measured_along_the_way(folders, tmp_path):
    path = tmp_path / "tiny.py"
    images, validation = (str(folders / name) for name in ("train", "validation"))
    path.write_text(TINY.format(images=images, validation=validation, along=2.0))
    assert cli.main(["reproduce", str(path), "--workdir", str(tmp_path / "out")]) == 0
    table = (tmp_path / "out" / "results.md").read_text()
    assert "nothing was chosen by it" in table
    assert "epoch 4" in table and "epoch 8" in table
    records = (
        tmp_path / "out" / "runs" / "2_layers-seed0" / "metrics.jsonl"
    ).read_text()
    found = [json.loads(line) for line in records.splitlines()]
    steps = [record["step"] for record in found if "validation_psnr" in record]
    assert steps == [8, 16, 24, 32]


def test_a_variant_that_diverges_is_a_row(tiny, tmp_path):
    text = tiny.read_text().replace("1e-3", "1e30")
    tiny.write_text(text)
    assert cli.main(["reproduce", str(tiny), "--workdir", str(tmp_path / "out")]) == 0
    table = (tmp_path / "out" / "results.md").read_text()
    assert "Failed:" in table and "2 layers, seed 0: not finite at update" in table


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["vdsr-dept"], "the study must be one of"),
        (["vdsr-depth", "--budget", "0"], "the budget must be above 0"),
        (["vdsr-depth", "--seeds", "0"], "at least one seed"),
        (["vdsr-depth", "--status"], "no study has begun"),
    ],
)
def test_what_cannot_be_run_is_refused(args, text, tmp_path, capsys):
    assert cli.main(["reproduce", *args, "--workdir", str(tmp_path / "out")]) == 1
    assert text in capsys.readouterr().err


def test_the_list_names_studies_and_their_hours(capsys, monkeypatch):
    open_set("T91")
    monkeypatch.setattr(study, "names", lambda: ["espcn-activation", "benchmark"])
    assert cli.main(["reproduce"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| espcn-activation", "| benchmark"]
    assert rows[0][4] == "0.3 |"
    assert rows[1][4] == "0.0 |"


def test_errors_by_distance_are_those_of_the_pixels(folders):
    name = str(folders / "validation")
    model = measures.protocol.baseline()
    config = configs.defaults()
    config["data"]["scales"] = (2,)
    run = study.Run(config, model, [], pathlib.Path())
    columns = measures.at_distances(name, (0, 4))(run)
    (source,) = measures.sets.open_each([name])
    sr, hr = measures.protocol.restore_image(model, source.read(0), 2)
    error = np.square(np.asarray(sr - hr, np.float64))[..., 0]
    inner = error[4:-4, 4:-4]
    outer = (error.sum() - inner.sum()) / (error.size - inner.size)
    expected = [-10 * np.log10(outer), -10 * np.log10(inner.mean())]
    np.testing.assert_allclose(list(columns.values()), expected, rtol=1e-6)


def test_epochs_are_those_of_the_full_length_at_any_budget():
    records = [{"step": s, "validation_psnr": 30.0 + s} for s in (1, 2, 3, 4)]
    run = study.Run({}, None, [{"step": 1, "loss": 0.1}, *records], pathlib.Path())
    columns = measures.after(20, 40, 80)(run)
    assert columns == {"epoch 20": 31.0, "epoch 40": 32.0, "epoch 80": 34.0}
    assert measures.after(80)(run._replace(records=[])) == {}


def test_bicubic_is_that_of_luma_where_networks_differ(folders, tmp_path):
    name = str(folders / "validation")
    measure = measures.psnr(name)
    one = study.Study("", "", {}, {}, measure, None, sets=(name,))
    jobs, scores = [], {}
    for color in ("rgb", "y"):
        config = {"color": color, "data": {"scales": (2,), "blur": 0.0}}
        jobs.append(study.Job(color, 0, config, tmp_path))
        model = measures.protocol.baseline(color=color)
        scores[color] = measure(study.Run(config, model, [], tmp_path))
    assert scores["rgb"] != scores["y"]
    assert runner.measure_bicubic(one, jobs, tmp_path) == scores["y"]


def test_one_recursion_of_drcn_is_measured_alone(folders):
    name = str(folders / "validation")
    net = models.make("drcn", depth=2, width=8)
    variables = net.init(jax.random.key(0), jnp.zeros([1, 16, 16, 1]))
    card = weights.make_card(net, color="y", scales=[2], trained_on="nothing")
    model = weights.Model(net, variables, card)
    run = study.Run({"data": {"scales": (2,)}}, model, [], pathlib.Path())
    columns = measures.recursions(name, (1, 2, 3))(run)
    for column, factors in {
        "recursion 1": [1.0, 0.0],
        "recursion 2": [0.0, 1.0],
    }.items():
        params = variables["params"] | {"weights": jnp.array(factors)}
        one = run._replace(model=model._replace(variables={"params": params}))
        (expected,) = measures.psnr(name)(one).values()
        assert columns.pop(column) == pytest.approx(expected, abs=1e-4)
    assert not columns  # it has no third


def test_every_form_of_a_figure_is_drawn():
    measured = {"a": [{"x": 30.0}, {"x": 31.0}], "b": [{"x": 32.0}]}
    curves = {"a": [[(1.0, 30.0), (2.0, 31.0)]], "b": []}
    results = study.Results(
        measured, {"a": {"x": 30.5}}, {"x": 29.0}, curves, {"a": [0.1], "b": []}, []
    )
    forms = [
        drawing.over({"a": 1, "b": 2}, "x", label="depth"),
        drawing.dots("x"),
        drawing.epochs(("x", ["a", "b"])),
        drawing.along_columns({"x": 0}, label="pixels", of="x"),
        drawing.against_seconds("x", {"a": 0.2}),
    ]
    for draw in forms:
        (ax, *_) = draw(results).axes
        assert ax.lines
    (ax,) = forms[0](results).axes
    assert 30.5 in ax.containers[0].lines[0].get_ydata()  # the mean of two seeds


def test_snapshots_of_a_run_stand_between_bicubic_and_true(tmp_path):
    (tmp_path / "crops").mkdir()
    for step in range(1, 4):
        rows = [[np.full([8, 8, 3], level) for level in (0.0, step / 5, 1.0)]]
        path = tmp_path / "crops" / f"{step:08}.png"
        figures.crops(path, rows, titles=["bicubic", f"{step} updates", "true"])
    job = study.Job("a", 0, {}, tmp_path)
    results = study.Results({}, {}, {}, {}, {}, [job])
    (shown,) = drawing.snapshots("a", 2)(results).axes[0].images
    row = shown.get_array()[shown.get_size()[0] // 2, :, 0]
    assert row[len(row) // 8 :: len(row) // 4].tolist() == [0, 51, 153, 255]


def test_variants_that_only_a_study_has_compute_what_they_say():
    """Each is the paper's network with a part left out: fewer or more weights."""
    counts = {}
    for name, fields in {
        "drrn": {"units": 3},
        "drrn ns": {"units": 3, "shared": False},
        "drrn chain": {"units": 3, "chain": True},
        "lapsrn": {"depth": 2},
        "lapsrn flat": {"depth": 2, "pyramid": False},
        "lapsrn plain": {"depth": 2, "residual": False},
        "srresnet": {"blocks": 2, "width": 8},
        "srresnet no norm": {"blocks": 2, "width": 8, "norm": False},
        "srresnet no skips": {"blocks": 2, "width": 8, "skips": False},
    }.items():
        net = models.make(name.split()[0], **fields)
        shapes = weights.init_shapes(net, 3 if "resnet" in name else 1)["params"]
        leaves = measures.jax.tree.leaves(shapes)
        counts[name] = sum(leaf.size for leaf in leaves)
    unit = 2 * (9 * 128 * 128 + 128)
    assert counts["drrn ns"] - counts["drrn"] == 2 * unit
    assert counts["drrn chain"] == counts["drrn"]
    assert counts["lapsrn"] - counts["lapsrn flat"] == 9 * 64 + 1  # one image less
    assert counts["lapsrn"] - counts["lapsrn plain"] == 2 * 16
    assert counts["srresnet"] - counts["srresnet no norm"] == 5 * 2 * 8
    assert counts["srresnet no skips"] == counts["srresnet"]


def test_drrns_studies_slow_the_biases_of_convolutions_alone():
    for of in (drrn_sharing.STUDY, drrn_units.STUDY):
        for settings in of.variants.values():
            net = models.make(**settings["network"])
            shapes = weights.init_shapes(net, image.channels("y"))["params"]
            tx = optim.scale_by_name(settings["optim"]["rates"])
            ones = jax.tree.map(lambda x: np.float32(1), shapes)
            rates, _ = tx.update(ones, tx.init(ones))
            for layer, rate in rates.items():
                slowed = "norm" not in layer
                assert rate["bias"] == pytest.approx(0.1 if slowed else 1), layer


def test_the_text_of_a_table_is_markdown():
    one = study.load("vdsr-clip")
    results = study.Results({"none": []}, {}, {"Set5 x2": 33.66}, {}, {}, [])
    lines = outcome.text(one, "vdsr-clip", [], results, 0.25).splitlines()
    assert lines[0] == "# vdsr-clip: VDSR, section 3.2"
    assert "| bicubic | 33.66 |" in lines and "| none | - |" in lines


def test_jobs_start_after_what_they_start_from(tmp_path):
    one = study.load("fsrcnn-transfer")
    jobs = runner.plan(one, tmp_path, budget=1.0, seeds=2)
    order = [job.variant for job in jobs if job.seed == 1]
    assert order.index("x3") < order.index("x2, deconvolution of x3's")
    moved = next(j for j in jobs if j.variant.startswith("x2, dec") and j.seed == 1)
    assert moved.config["start"] == str(tmp_path / "runs/x3-seed1/model.safetensors")

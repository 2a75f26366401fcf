"""The queue of shipped models as a real process on real images: killed and resumed."""

import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxsr import image, models, weights
from jaxsr.evaluation import rating
from jaxsr.training import queue

ROOT = pathlib.Path(__file__).parent.parent
LIST = """
[settings]
"data.backend" = "device"
"evaluation.sets" = []
"data.name" = "{train}"
"validation.name" = "{validation}"
"validation.every" = 1.0

[models.first]
experiment = "espcn_fast"
settings = {{ "data.patch" = 16, "data.epoch" = 20, "epochs" = {epochs} }}

[models.second]
experiment = "vdsr_fast"
[models.second.settings]
"network" = {{ name = "vdsr", depth = 2, width = 4 }}
"data.plan" = "random"
"data.epoch" = 5
"epochs" = 1
"data.reduced" = [1.0]
"""


@pytest.fixture
def workplace(folders, tmp_path):
    """Makes a list of two models; returns the function that runs its queue."""
    path = tmp_path / "models.toml"
    images = tmp_path / "data" / "BSD200_extra"  # of which the set `validation` is
    images.mkdir(parents=True)
    for i in range(200):
        [photo] = (folders / "validation").iterdir()
        (images / f"{i}.png").symlink_to(photo)

    def write(epochs, train=folders / "train"):
        validation = folders / "validation"
        text = LIST.format(epochs=epochs, train=train, validation=validation)
        path.write_text(text)

    env = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAXSR_DATA": str(images.parent)}

    def start(*args):
        for name, place in (("models", path), ("runs", "runs"), ("shipped", "shipped")):
            args = (f"--{name}", str(tmp_path / place), *args)
        return subprocess.Popen(
            [sys.executable, "-m", "jaxsr.training.queue", *args],
            cwd=ROOT,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    write(2)
    return write, start


def rows(out):
    """Model -> the cells of its row."""
    table = [line.strip("| ").split(" | ") for line in out.splitlines() if "|" in line]
    return {cells[0]: cells[1:] for cells in table[2:]}


def test_a_killed_queue_resumes_and_skips_what_is_done(workplace, tmp_path):
    write, start = workplace
    write(10_000)
    run, checkpoints = start("first"), tmp_path / "runs/first/checkpoints"
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs/first/model.safetensors").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.2)
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 128 + signal.SIGTERM, out
    assert "Rerun the same command to resume." in out
    saved = max(int(path.name) for path in checkpoints.iterdir())
    listed, _ = start("--list").communicate(timeout=120)
    state, updates, validation, shipped, hours = rows(listed)["first"]
    assert state == "begun" and updates.endswith("of 200,000")
    assert float(validation) > 10 and shipped == "-" and float(hours) > 0
    assert rows(listed)["second"][:2] == ["not begun", "0 of 5"]
    # Another length of a cosine is another run: refused by name; the rest is trained.
    write(2)
    run = start()
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 1 and "epochs: 10000.0 there, 2.0 now" in out
    assert "1 of 2 failed: first." in out and saved
    listed, _ = start("--list").communicate(timeout=120)
    assert rows(listed)["second"][:2] == ["done", "5 of 5"]


def test_a_finished_queue_has_nothing_to_do(workplace, folders, tmp_path):
    write, start = workplace
    shutil.copytree(folders / "train", tmp_path / "train")
    (tmp_path / "train/broken.png").write_bytes(b"not an image")
    write(2, tmp_path / "train")
    run = start("second")
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0 and "1 images skipped" in out, out
    card = weights.load(tmp_path / "shipped/second.safetensors").card
    assert card["recipe"].startswith("vdsr_fast.py --config.data.backend=device")
    began = time.monotonic()
    out, _ = start("second").communicate(timeout=120)
    assert time.monotonic() - began < 60 and "epoch" not in out
    # As if it was killed between the end of the run and the shipping.
    (tmp_path / "shipped/second.safetensors").unlink()
    out, _ = start("second").communicate(timeout=120)
    assert "Shipped." in out and "epoch" not in out
    assert (tmp_path / "shipped/second.safetensors").exists()


def make_model(path, value, psnr):
    """Writes a small ESPCN of equal weights with a validation PSNR on its card."""
    net = models.make("espcn", scale=2, widths=(2, 2))
    shapes = weights.init_shapes(net, image.channels("y"))
    variables = {"params": {}}
    for layer, params in shapes["params"].items():
        variables["params"][layer] = {
            name: np.full(x.shape, value, np.float32) for name, x in params.items()
        }
    card = weights.make_card(
        net,
        color="y",
        scales=[2],
        trained_on="T91",
        validation={"data": "validation", "psnr": psnr},
    )
    weights.save(path, weights.Model(net, variables, card))


def test_the_better_model_by_validation_is_shipped_and_scored(
    folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(queue, "VALIDATION", "samples-validation")
    rated = functools.partial(rating.rated, scales=(2,))
    monkeypatch.setattr(rating, "rated", rated)
    benchmark = [str(folders / "validation")]
    run, shipped = tmp_path / "run", tmp_path / "shipped"
    run.mkdir()
    shipped.mkdir()
    path = shipped / "small.safetensors"
    assert not queue.take("small", run, shipped, benchmark)  # nothing trained yet
    make_model(run / weights.MODEL, 0.01, 20.0)
    assert queue.take("small", run, shipped, benchmark)
    assert weights.load(path).card["scores"]["validation"]["x2"]["psnr"] > 0
    assert "small: 20.000 dB on validation; validation x2" in capsys.readouterr().out
    for psnr, taken in ((20.0, False), (19.0, False), (21.0, True)):
        make_model(run / weights.MODEL, 0.02, psnr)
        assert queue.take("small", run, shipped, benchmark) == taken
    assert "(was 20.000)" in capsys.readouterr().out
    assert weights.load(path).card["validation"]["psnr"] == 21.0
    before = weights.load(path)
    found, counted = before.card["upscaling"], before.card["cost"]
    miscounted = counted | {"parameters": counted["parameters"] + 1}
    assert list(found) == ["2"] and found["2"]["psnr"] > 0
    weights.save(
        path, weights.halved(before._replace(card=before.card | {"cost": miscounted}))
    )
    assert queue.main(["--rate", "small", "--shipped", str(shipped)]) == 0
    again = weights.load(path)
    assert again.card == before.card
    jax.tree.map(np.testing.assert_array_equal, again.variables, before.variables)
    with pytest.raises(SystemExit, match="error: .*nothing"):
        queue.main(["--rate", "nothing", "--shipped", str(shipped)])


def test_of_two_gans_the_one_of_the_lower_lpips_stays_shipped(tmp_path):
    run, shipped = tmp_path / "run", tmp_path / "shipped"
    run.mkdir()
    shipped.mkdir()
    place = shipped / "gan.safetensors"
    for path, psnr, lpips in (
        (place, 30.0, 0.2),
        (run / weights.MODEL, 31.0, 0.3),
    ):
        make_model(path, 0.01, psnr)
        model = weights.load(path)
        validation = {"data": "validation", "psnr": psnr, "lpips": lpips}
        card = model.card | {"objective": "adversarial", "validation": validation}
        weights.save(path, model._replace(card=card))
    assert not queue.take("gan", run, shipped, [])
    assert weights.load(place).card["validation"]["lpips"] == 0.2


@pytest.mark.parametrize(
    ("goal", "trained"), [({}, True), ({"x2": 37.1}, True), ({"x2": 36.9}, False)]
)
def test_a_model_at_its_goal_is_not_trained(
    tmp_path, monkeypatch, capsys, goal, trained
):
    net = models.make("espcn", scale=2)
    card = weights.make_card(
        net,
        color="y",
        scales=[2],
        trained_on="T91",
        scores={"Set5": {"x2": {"psnr": 37.0, "ssim": 0.95}}},
    )
    variables = net.init(jax.random.key(0), np.zeros([1, 9, 9, 1]))
    weights.save(tmp_path / "a.safetensors", weights.Model(net, variables, card))
    entry = queue.Entry("a", "espcn_fast", {}, goal)
    runs = []
    monkeypatch.setattr(queue, "read", lambda path: [entry])
    monkeypatch.setattr(queue.devices, "use_cores", lambda count: None)
    monkeypatch.setattr(queue.devices, "keep_compiled", lambda: None)
    monkeypatch.setattr(queue.loop, "train", lambda *a, **k: runs.append(a))
    monkeypatch.setattr(queue, "take", lambda *a: None)
    assert queue.main([f"--runs={tmp_path}/runs", f"--shipped={tmp_path}"]) == 0
    assert bool(runs) == trained
    assert ("its goal is reached" in capsys.readouterr().out) != trained


def test_the_list_in_experiments_names_runs_that_can_be_made():
    entries = queue.read(ROOT / "experiments" / "shipped.toml")
    assert {entry.name for entry in entries} >= set(weights.shipped())
    for entry in entries:
        config = queue.make_config(entry)
        assert config.data.plan != "grid", entry.name  # else its length is unknown
        assert config.data.backend == "device" and config.data.batch % 2 == 0
        start = config.start
        before = [e.name for e in entries[: entries.index(entry)]]
        assert not start or start in before or start in weights.shipped(), entry.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models = 3", "must have a table"),
        ("[models.a]\nexperiment = 'vdsr'", "must have a table"),
        ("[models.a\n", "must have a table"),
    ],
)
def test_a_file_that_is_no_list_is_named(tmp_path, text, message):
    (tmp_path / "list.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        queue.read(tmp_path / "list.toml")


@pytest.mark.parametrize(
    ("experiment", "settings", "message"),
    [
        ("nothing", {}, "a: No module named 'experiments.nothing'"),
        ("vdsr", {"data.pach": 3}, "a: no setting 'data.pach'"),
        ("vdsr", {"dta.patch": 3}, "dta"),
    ],
)
def test_a_wrong_experiment_or_setting_is_named(experiment, settings, message):
    with pytest.raises(ValueError, match=message):
        queue.make_config(queue.Entry("a", experiment, settings, {}))

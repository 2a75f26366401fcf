"""The training command as real processes on real images: killed, resumed, refused."""

import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import optax
import pytest

from experiments import vdsr
from jaxsr import models, weights
from jaxsr.data import sets
from jaxsr.evaluation import figures, protocol
from jaxsr.training import logs, loop

ROOT = pathlib.Path(__file__).parent.parent
TINY = {
    "network.depth": 3,
    "network.width": 4,
    "data.backend": "device",
    "data.batch": 16,
    "epochs": 1,
    "log_every": 5,
    "evaluation.sets": "()",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A few small real photographs to train on, and one to validate on."""
    import PIL.Image
    import skimage.data

    root = tmp_path_factory.mktemp("images")
    photo = skimage.data.astronaut()
    for name, corner in (("train/a", 0), ("train/b", 200), ("validation/c", 300)):
        path = root / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(photo[corner : corner + 170, 100:330]).save(path)
    return root


def command(folders, workdir, devices=1, module="jaxsr.main", extra=(), **settings):
    settings = TINY | {
        "data.name": str(folders / "train"),
        "validation.name": str(folders / "validation"),
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    env = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    args = [sys.executable, "-m", module, "--config", "experiments/vdsr.py"]
    args += ["--workdir", str(workdir), *flags, *extra]
    return {"args": args, "env": env, "cwd": ROOT, "text": True}


def run(*args, **kwargs):
    return subprocess.run(
        **command(*args, **kwargs), capture_output=True, timeout=300, check=False
    )


def start(*args, **kwargs):
    return subprocess.Popen(
        **command(*args, **kwargs),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def model(workdir):
    return weights.load(workdir)


def assert_same(one, other):
    for (name, a), (_, b) in zip(flat(one), flat(other), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def flat(variables):
    import jax

    return [
        (jax.tree_util.keystr(path), np.asarray(leaf))
        for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]
    ]


def records(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# 2 images of 4 x 5 patches at three scales, in batches of 16, ten epochs.
LONG = {"epochs": 10, "validation__every": 2.5, "checkpoint__minutes": 0.0}


@pytest.fixture(scope="module")
def whole(folders, tmp_path_factory):
    """A run that was never stopped."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    out = run(folders, workdir, **LONG)
    assert out.returncode == 0, out.stdout + out.stderr
    return workdir, out.stdout


@pytest.mark.parametrize(
    ("cores", "batch", "flags", "devices"),
    [(6, 16, "", 4), (2, 64, "", 2), (2, 1, "", 1), (6, 16, "1", 1)],
)
def test_each_core_becomes_a_device_unless_told_otherwise(cores, batch, flags, devices):
    code = f"""
import os
os.cpu_count = lambda: {cores}
import jax
from jaxsr import devices
devices.use_cores({batch})
print(jax.device_count())
"""
    flags = flags and f"--xla_force_host_platform_device_count={flags}"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
    assert int(out.stdout) == devices, out.stderr


def test_a_run_ends_with_table_picture_model_and_logs(whole):
    workdir, out = whole
    assert re.search(r"\| validation \| x4 \| \d\d\.\d\d / ", out), out
    assert "published (-)" in out  # no paper has a VDSR this small
    for name in ("crops.png", "curves.png"):
        assert (workdir / name).stat().st_size > 5_000
    scores = json.loads((workdir / "results.json").read_text())["scores"]
    assert {s["network"] for s in scores} == {"bicubic", "vdsr"}
    card = model(workdir).card
    assert card["scores"] and card["validation"]["psnr"] > 20
    assert card["recipe"].startswith("vdsr.py ")
    assert 0 < card["hours"] < 1 and "cpu" in card["device"] and "commit" in card
    steps = [r["step"] for r in records(workdir) if "loss" in r]
    assert steps == sorted(steps) and steps[-1] >= 70
    names = {key for r in records(workdir) for key in r}
    assert {"psnr", "loss", "learning_rate", "gradient_norm", "clipped"} <= names
    assert {"images_per_second", "validation_psnr_x2"} <= names
    assert list(workdir.glob("events.out.tfevents.*"))


def test_the_same_command_on_a_finished_run_shows_its_table_again(whole, folders):
    workdir, out = whole
    before = (workdir / "model.safetensors").read_bytes()
    again = run(folders, workdir, **LONG)
    assert again.returncode == 0
    assert (workdir / "results.md").read_text().strip() in again.stdout
    assert (workdir / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_was_stopped_ends_as_if_it_never_was(
    whole, folders, tmp_path, number
):
    process = start(folders, tmp_path, **LONG)
    seen = 0
    for line in process.stdout:
        if match := re.match(r"update (\d+): loss", line):
            seen = int(match[1])
        if seen >= 25:
            time.sleep(0.07)  # somewhere within an update or a save
            process.send_signal(number)
            break
    rest = process.stdout.read()
    code = process.wait(timeout=120)
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert code == 128 + number, rest
        assert "Rerun the same command to resume" in rest
    again = run(folders, tmp_path, **LONG)
    assert again.returncode == 0, again.stdout + again.stderr
    done = int(re.search(r"(\d+) of them done", again.stdout)[1])
    assert 0 < done < 80
    workdir, _ = whole
    assert model(tmp_path).card["step"] == model(workdir).card["step"]
    assert_same(model(tmp_path).variables, model(workdir).variables)
    losses = [(r["step"], r["loss"]) for r in records(workdir) if "loss" in r]
    resumed = dict((r["step"], r["loss"]) for r in records(tmp_path) if "loss" in r)
    assert resumed[losses[-1][0]] == losses[-1][1]


@pytest.mark.parametrize("parallel", ["shard_map", "pmap"])
def test_two_processes_train_as_one(folders, tmp_path, parallel):
    """20 updates on two processes of two devices, joined over loopback."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    settings = {"epochs": 2.5}
    one = run(folders, tmp_path / "one", **settings)
    assert one.returncode == 0, one.stdout + one.stderr
    processes, settings = [], settings | {"parallel": parallel}
    for i in range(2):
        kwargs = command(
            folders, tmp_path / "two", devices=2, extra=["--distributed"], **settings
        )
        kwargs["env"] |= {
            "JAX_COORDINATOR_ADDRESS": address,
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(i),
        }
        processes.append(
            subprocess.Popen(**kwargs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
    outs = [process.communicate(timeout=300)[0] for process in processes]
    assert [p.returncode for p in processes] == [0, 0], "\n".join(outs)
    assert "4 x cpu" in outs[0] and "4 x cpu" not in outs[1]
    assert model(tmp_path / "two").card["step"] == 20
    for (name, a), (_, b) in zip(
        flat(model(tmp_path / "one").variables), flat(model(tmp_path / "two").variables)
    ):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0, err_msg=name)


def test_a_run_under_pmap_is_traced_resumed_and_ends_as_one_under_shard_map(
    whole, folders, tmp_path
):
    settings = {"parallel": "pmap"}
    first = run(folders, tmp_path, **settings, **LONG | {"epochs": 4})
    assert first.returncode == 0, first.stdout + first.stderr
    extra = ["--profile=3"]
    second = run(folders, tmp_path, **settings, **LONG, extra=extra)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "32 of them done" in second.stdout and "Wrote a trace" in second.stdout
    [trace] = tmp_path.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert any("fusion" in event.get("name", "") for event in events)
    assert list(trace.parent.glob("*.xplane.pb"))  # what TensorBoard reads
    workdir, _ = whole
    for (name, a), (_, b) in zip(
        flat(model(tmp_path).variables), flat(model(workdir).variables)
    ):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.parametrize(
    ("every", "message"),
    [
        (1.0, r"last good checkpoint is that of update \d+ in"),
        (5.0, "No checkpoint was saved before it"),
    ],
)
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(
    folders, tmp_path, every, message
):
    out = run(
        folders,
        tmp_path,
        epochs=10,
        optim__clip="value",
        optim__theta=1e30,
        validation__every=every,
    )
    assert out.returncode == 1
    wanted = r"not finite at update \d+: .*gradient_norm (nan|inf)"
    assert re.search(wanted, out.stderr), out.stderr
    assert re.search(message, out.stderr), out.stderr
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network.name": "vdrs"}, r"must be one of \['bicubic', .*'vdsr'.*'vdrs'"),
        ({"loss": "l3"}, r"loss must be one of .*'half_sum_squared'.*'l3'"),
        ({"optim.clip": "max"}, r"optim.clip must be .*'norm', 'value'\].*'max'"),
        ({"data.name": "Set5"}, "Set5 is a benchmark"),
        ({"data.name": "FOLDER/Set5"}, "Set5 is a benchmark"),
        ({"evaluation.sets": ("Set55",)}, r"must be one of \['291', .*got 'Set55'"),
        ({"data.scales": (2, 0)}, r"data.scales must be .* above 1 .*; got \(2, 0\)"),
        ({"data.name": "T92"}, r"must be one of \['291', .*got 'T92'"),
        ({"data.batch": 15}, "multiple of the 8 devices; got 15"),
        ({"data.patch": 4000}, "no image is large enough for a patch of 4000x4000"),
        ({"data.backend": "torch"}, r"\['device', 'tfdata'\]; got 'torch'"),
        ({"epochs": 0.0}, "epochs must be a number above 0; got 0"),
        ({"ema_decay": 1.0}, "below 1; got 1"),
        ({"optim": {"name": "adam", "beta": 1}}, r"has the settings \['b1', .*'beta'"),
        ({"schedule": {"name": "step"}}, r"'every', 'factor'.*missing"),
        ({"start": "no/such/run"}, "got 'no/such/run'"),
        ({"network": {"name": "red", "depth": 5}}, "even"),
    ],
)
def test_a_wrong_setting_is_answered_with_the_right_ones(
    folders, tmp_path, settings, message
):
    config = vdsr.get_config()
    own = {"data.name": str(folders / "train"), "data.backend": "device"}
    own["validation.name"] = str(folders / "validation")
    if str(settings.get("data.name")).startswith("FOLDER"):
        (tmp_path / "Set5").mkdir()
        settings = {"data.name": str(tmp_path / "Set5")}
    with config.unlocked():
        config.update_from_flattened_dict(own | settings)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_rate_lowered_by_validation_is_exact_over_a_stop_within_one(
    folders, tmp_path, monkeypatch
):
    config = vdsr.get_config()
    settings = TINY | {
        "data.name": str(folders / "train"),
        "validation.name": str(folders / "validation"),
        "data.scales": (2,),
        "evaluation.sets": (),
        "epochs": 4.0,
    }
    with config.unlocked():
        config.update_from_flattened_dict(settings)
        config.plateau = {"factor": 0.5, "patience": 1, "rtol": 0.9, "of": "validation"}

    def state():
        loop.train(config, tmp_path / "run")
        run = loop.set_up(config, tmp_path / "run")
        return loop.Loop(run, tmp_path / "run", {}).state

    whole = state()
    shutil.rmtree(tmp_path / "run")
    real, calls = protocol.evaluate, []

    def stopped(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)

    monkeypatch.setattr(protocol, "evaluate", stopped)
    with pytest.raises(SystemExit):
        loop.train(config, tmp_path / "run")
    assert_same(state(), whole)
    # Validated at updates 3, 6, 9 and 12, the last of which no update has followed.
    plateau = optax.tree.get(whole.opt_state, "plateau")
    assert plateau.scale == 0.25
    assert optax.tree.get(whole.opt_state, "validation_error") > 0
    config.validation.every = 2.0
    with pytest.raises(ValueError, match="validation.every: 1.0 there, 2.0 now"):
        loop.train(config, tmp_path / "run")


def in_process(folders, **settings):
    """The config of a small run for `loop.train`."""
    config = vdsr.get_config()
    own = TINY | {
        "data.name": str(folders / "train"),
        "validation.name": str(folders / "validation"),
        "data.scales": (2,),
        "evaluation.sets": (),
    }
    with config.unlocked():
        config.update_from_flattened_dict(own | settings)
    return config


def test_the_log_of_a_run_that_was_stopped_is_that_of_one_that_never_was(
    folders, tmp_path, monkeypatch, caplog
):
    """Stopped twice within a record, its log damaged meanwhile; but for timings."""
    config = in_process(folders, **{"epochs": 7.0, "validation.every": 2.0})

    def lines(workdir):
        kept = [
            {k: v for k, v in r.items() if k not in ("seconds", "images_per_second")}
            for r in records(workdir)
        ]
        return [json.dumps(record) for record in kept]

    loop.train(config, tmp_path / "whole")
    whole = lines(tmp_path / "whole")
    steps = [json.loads(line)["step"] for line in whole]
    assert steps == [1, 5, 6, 10, 12, 15, 18, 20, 21]
    real, stops = logs.Log.update, [8, 13]

    def stopped(self, step, metrics):
        if step in stops:
            stops.remove(step)
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, step, metrics)

    monkeypatch.setattr(logs.Log, "update", stopped)
    for _ in range(2):
        with pytest.raises(SystemExit):
            loop.train(config, tmp_path / "run")
        with open(tmp_path / "run" / "metrics.jsonl", "ab") as file:
            file.write(b'[1]\n\xff{\n{"step": 9, "lo')
    loop.train(config, tmp_path / "run")
    assert not stops and lines(tmp_path / "run") == whole
    assert "metrics.jsonl has a damaged line" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "config.json",
            b'{"seed": 0, "ep',
            "config.json is damaged .* remove the file",
        ),
        ("config.json", b"[]", "config.json is damaged"),
        ("config.json", b'{"start": 3}', "config.json is damaged"),
        ("config.json", b"\xff\xfe", "config.json is damaged"),
        ("checkpoints", b"", "checkpoints must be a folder, but is a file. Move it"),
        ("crops", b"", "crops must be a folder"),
        ("", b"", "run must be a folder, but is a file. Move it away, or give another"),
    ],
)
def test_a_damaged_workdir_is_one_line(folders, tmp_path, name, content, message):
    path = tmp_path / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        loop.train(in_process(folders), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_a_run_on_blurred_images_is_scored_on_them(folders, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "curves", lambda *args, **kwargs: drawn.update(kwargs))
    loop.train(in_process(folders, **{"data.blur": 1.6}), tmp_path / "run")
    trained = model(tmp_path / "run")
    source = sets.open_source(str(folders / "validation"))
    (*_, mean) = protocol.evaluate(trained, source, [2])
    assert trained.card["blur"] == 1.6
    assert records(tmp_path / "run")[-1]["validation_psnr"] == pytest.approx(mean.psnr)
    card = {key: value for key, value in trained.card.items() if key != "blur"}
    (*_, other) = protocol.evaluate(trained._replace(card=card), source, [2])
    assert abs(other.psnr - mean.psnr) > 0.5
    assert "sigma 1.6" in (tmp_path / "run" / "results.md").read_text()
    (*_, bicubic) = protocol.evaluate(protocol.baseline(blur=1.6), source, [2])
    assert drawn["bicubic"]["validation_psnr"] == pytest.approx(bicubic.psnr)


def test_a_run_at_a_fractional_scale_resumes_and_is_scored_at_it(folders, tmp_path):
    cards = []
    for scales, epochs in (((2, 2.5), 0.5), ((2.0, 2.5), 1)):  # one run
        settings = {"data.scales": scales, "epochs": epochs, "validation.best_by": ""}
        loop.train(in_process(folders, **settings), tmp_path / "run")
        cards.append(model(tmp_path / "run").card)
    assert [card["step"] for card in cards] == [2, 5]
    assert cards[0]["digest"] == cards[1]["digest"]
    assert str(cards[1]["scales"]) == "[2, 2.5]"
    found = {key for record in records(tmp_path / "run") for key in record}
    assert {"validation_psnr_x2", "validation_psnr_x2.5"} <= found
    table = (tmp_path / "run" / "results.md").read_text()
    assert "| x2.5 |" in table and "at fractional scales nothing is cropped" in table


def test_a_saved_model_is_the_papers_network_however_it_began(folders, tmp_path):
    network = {"name": "srcnn", "sides": (5, 1, 3), "identity": True}
    settings = {"network": network, "data.patch": 17, "epochs": 0.5}
    loop.train(in_process(folders, **settings), tmp_path / "run")
    saved = model(tmp_path / "run")
    assert saved.net == models.make("srcnn", sides=(5, 1, 3))
    assert saved.card["step"] > 0


def test_a_run_revives_the_silent_filters_of_its_start(folders, tmp_path, capfd):
    """Next to no updates: the score is the first model's, the filters are others."""
    settings = {"epochs": 1, "ema_decay": 0.0}
    loop.train(in_process(folders, **settings), tmp_path / "first")
    first = model(tmp_path / "first")
    first.variables["params"]["conv_0"]["bias"] -= np.array([9, 0, 0, 0], np.float32)
    weights.save(tmp_path / "silent.safetensors", first)
    silent = {"start": str(tmp_path / "silent.safetensors"), "revive": True}
    still = {"schedule": {"name": "constant", "learning_rate": 1e-12}}
    loop.train(in_process(folders, **settings, **silent, **still), tmp_path / "run")
    said = re.search(r"(\d+) silent filters are drawn anew", capfd.readouterr().out)
    assert 1 <= int(said[1]) <= 8
    old, new = (
        m.variables["params"]["conv_0"]["kernel"][..., 0]
        for m in (first, model(tmp_path / "run"))
    )
    assert (old != new).all()
    source = sets.open_source(str(folders / "validation"))
    scores = [
        list(protocol.evaluate(weights.load(path), source, [2]))[-1].psnr
        for path in (tmp_path / "silent.safetensors", tmp_path / "run")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_reviving_nothing_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="revive is for the model that start names"):
        loop.train(in_process(folders, revive=True), tmp_path / "run")


def test_a_path_that_is_no_experiment_is_named(folders, tmp_path):
    kwargs = command(folders, tmp_path)
    kwargs["args"][4] = "experiments/vdrs.py"
    out = subprocess.run(**kwargs, capture_output=True, timeout=300)
    assert out.returncode == 1 and out.stderr.count("\n") == 1
    assert "error: --config must be an experiment's file" in out.stderr
    assert "No such file or directory: 'experiments/vdrs.py'" in out.stderr


def test_a_misspelt_flag_is_answered_with_the_right_name(folders, tmp_path):
    out = run(folders, tmp_path / "run", data__patchh=3)
    assert out.returncode == 1
    assert "has no setting 'patchh'. Did you mean \"patch\"" in out.stderr, out.stderr
    assert "Traceback" not in out.stderr


def test_a_workdir_of_another_run_is_refused(whole, folders):
    workdir, _ = whole
    before = (workdir / "metrics.jsonl").read_text()
    out = run(folders, workdir, **LONG, network__width=5)
    assert out.returncode == 1
    assert "belongs to another run (network.width: 4 there, 5 now)" in out.stderr
    assert (workdir / "metrics.jsonl").read_text() == before


def test_a_second_run_is_kept_out_of_a_workdir(folders, tmp_path):
    first = start(folders, tmp_path, **LONG | {"epochs": 10_000})
    for line in first.stdout:
        if line.startswith("update 5:"):
            break
    second = run(folders, tmp_path, **LONG)
    first.kill()
    first.wait()
    assert second.returncode == 1
    assert "another process is training in" in second.stderr


@pytest.mark.parametrize("kept", [0, 1000])
def test_a_model_that_was_lost_or_cut_at_the_end_is_made_again(
    whole, folders, tmp_path, kept
):
    workdir = tmp_path / "run"
    shutil.copytree(whole[0], workdir)
    path = workdir / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    if not kept:
        path.unlink()
    out = run(folders, workdir, **LONG)
    assert out.returncode == 0, out.stderr
    assert model(workdir).card["step"] == 80 and model(workdir).card["scores"]


def test_ctrl_c_saves_though_nobody_reads_any_more(folders, tmp_path):
    run = start(folders, tmp_path, **LONG | {"epochs": 10_000})
    for line in run.stdout:
        if line.startswith("update 5:"):
            break
    run.stdout.close()  # as of `| tee`, which Ctrl-C ends too
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    steps = [int(p.name) for p in (tmp_path / "checkpoints").iterdir()]
    assert max(steps) >= 5


def test_bad_images_are_named_and_counted_and_the_rest_is_done(folders, tmp_path):
    shutil.copytree(folders, tmp_path / "images")
    names = ("train/short.png", "train/text.jpg", "validation/text.png")
    good = (folders / "train/a.png").read_bytes()
    for name, content in zip(names, (good[: len(good) // 2], b"text", b"text")):
        (tmp_path / "images" / name).write_bytes(content)
    out = run(tmp_path / "images", tmp_path / "run")
    assert out.returncode == 1, out.stderr
    for name in names:
        assert f"{tmp_path / 'images' / name} cannot be read" in out.stdout
    assert "3 images skipped:" in out.stdout
    assert model(tmp_path / "run").card["scores"]


def test_missing_images_are_replaced_in_one_unmissable_line(tmp_path):
    folders = tmp_path
    settings = {
        "data__name": "291",
        "data__dir": str(tmp_path / "nowhere"),
        "validation__name": "validation",
        "epochs": 0.01,
    }
    env = {"JAXSR_DATA": str(tmp_path), "HOME": str(tmp_path)}
    env |= {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    kwargs = command(folders, tmp_path / "run", **settings)
    kwargs["env"] |= env
    out = subprocess.run(**kwargs, capture_output=True, timeout=300)
    assert out.returncode == 0, out.stderr
    assert "TRAINING ON THE FEW PHOTOGRAPHS OF `samples`" in out.stdout
    assert "Trained on samples" in (tmp_path / "run" / "results.md").read_text()
    assert model(tmp_path / "run").card["trained_on"] == "samples"
    kwargs = command(folders, tmp_path / "part", **settings)
    kwargs["args"].append("--config.data.name=BSD200+samples")
    kwargs["env"] |= env
    out = subprocess.run(**kwargs, capture_output=True, timeout=300)
    assert out.returncode == 0, out.stderr
    assert "TRAINING ON samples INSTEAD of BSD200+samples" in out.stdout
    kwargs = command(folders, tmp_path / "strict", data__strict=True, **settings)
    kwargs["env"] |= env
    out = subprocess.run(**kwargs, capture_output=True, timeout=300)
    assert out.returncode == 1 and "samples" not in out.stdout

"""Runs that differ in numbers, as one program, against each of them alone."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import safetensors.numpy

from experiments import base
from jaxsr import weights
from jaxsr.reproduction import sweep
from jaxsr.training import logs, loop

ROOT = pathlib.Path(__file__).parent.parent

SGD = {"name": "sgd", "clip": "norm", "theta": 0.01}
COSINE = {"name": "cosine", "learning_rate": 1e-3, "warmup": 1.0}


def config_of(folders, swept, **settings):
    config = base.get_config()
    config.network = {"name": "vdsr", "depth": 3, "width": 8}
    config.sweep = swept
    config.update_from_flattened_dict(
        {
            "epochs": 20.0,
            "log_every": 5,
            "sweep_at_once": "yes",
            "data.name": str(folders / "train"),
            "data.backend": "device",
            "data.plan": "random",
            "data.epoch": 1,
            "data.batch": 8,
            "data.patch": 24,
            "data.scales": (2,),
            "validation.name": str(folders / "validation"),
            "validation.every": 10.0,
            "evaluation.sets": (),
        }
    )
    for name, value in settings.items():
        config[name] = value
    return config


def params_of(workdir):
    return safetensors.numpy.load_file(workdir / weights.MODEL)


def assert_equal_runs(jobs, other, atol=1e-5):
    for job in jobs:
        found, expected = params_of(job.workdir), params_of(other / job.label)
        assert found.keys() == expected.keys()
        for name, x in expected.items():
            np.testing.assert_allclose(found[name], x, rtol=0, atol=atol, err_msg=name)
        records = [logs.read(folder) for folder in (job.workdir, other / job.label)]
        assert [r.keys() for r in records[0]] == [r.keys() for r in records[1]]
        for mine, theirs in zip(*records):
            for key in mine.keys() - {"seconds", "images_per_second"}:
                np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-3, atol=1e-5)


@pytest.mark.trains
@pytest.mark.parametrize(
    ("swept", "settings", "devices"),
    [
        ({"seed": (0, 1, 2)}, {"ema_decay": 0.9}, 1),
        ({"optim": {"theta": (0.01, 0.001)}}, {"optim": SGD}, 2),
        (
            {"optim": {"b1": (0.8, 0.9)}, "schedule": {"learning_rate": (1e-3, 3e-3)}},
            {"optim": {"name": "adam", "weight_decay": 0.1}, "schedule": COSINE},
            4,
        ),
    ],
    ids=["seed", "theta", "adam"],
)
def test_runs_at_once_are_the_single_runs(
    folders, tmp_path, swept, settings, devices, caplog, capsys
):
    config = config_of(folders, swept, **settings)
    sweep.train(config, tmp_path / "once")
    assert f"runs at once on {devices} device" in capsys.readouterr().out
    jobs = sweep.plan(config.to_dict(), tmp_path / "once", {})
    assert len(
        {params_of(j.workdir)["params/conv_0/kernel"].tobytes() for j in jobs}
    ) == len(jobs)
    config.sweep_at_once = "no"
    sweep.train(config, tmp_path / "apart")
    assert_equal_runs(jobs, tmp_path / "apart")


@pytest.mark.trains
def test_a_killed_sweep_resumes_also_as_single_runs(folders, tmp_path):
    config = config_of(folders, {"seed": (0, 1)})
    config.epochs, config.checkpoint.minutes = 30.0, 0.0
    experiment = tmp_path / "experiment.py"
    experiment.write_text(
        "import json, ml_collections\n"
        "def get_config():\n"
        f"    return ml_collections.ConfigDict({config.to_dict()!r})\n"
    )
    command = [sys.executable, "-m", "jaxsr.main", f"--config={experiment}"]
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    kwargs = {"cwd": ROOT, "env": env, "stdout": subprocess.DEVNULL}
    run = subprocess.Popen([*command, "--workdir", tmp_path / "killed"], **kwargs)
    saved = tmp_path / "killed" / "seed=1" / "checkpoints"
    deadline = time.monotonic() + 120
    while not any(saved.glob("[1-9]*[0-9]")) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "killed" / "seed=1" / "results.md").exists()
    for name in ("killed", "whole"):
        subprocess.run([*command, "--workdir", tmp_path / name], check=True, **kwargs)
    for seed in ("seed=0", "seed=1"):
        for name, x in params_of(tmp_path / "whole" / seed).items():
            found = params_of(tmp_path / "killed" / seed)[name]
            # Killed between the two checkpoints, they go on one after the other.
            np.testing.assert_allclose(found, x, rtol=0, atol=1e-6)


@pytest.mark.trains
def test_a_run_that_diverges_leaves_the_others(folders, tmp_path, caplog):
    swept = {"schedule": {"learning_rate": (1e-3, 1e30, 2e-3)}}
    config = config_of(folders, swept, optim={"name": "sgd"})
    with pytest.raises(FloatingPointError, match=r"1 of 3 runs failed:\n.*1e\+30: not"):
        sweep.train(config, tmp_path / "once")
    config.sweep_at_once = "no"
    with pytest.raises(FloatingPointError, match="1 of 3 runs failed"):
        sweep.train(config, tmp_path / "apart")
    jobs = sweep.plan(config.to_dict(), tmp_path / "once", {})
    assert_equal_runs([jobs[0], jobs[2]], tmp_path / "apart")


@pytest.mark.trains
def test_out_of_memory_splits_the_runs(folders, tmp_path, monkeypatch, caplog, capsys):
    go = sweep.Together.go

    def small(self):
        if len(self.members) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return go(self)

    monkeypatch.setattr(sweep.Together, "go", small)
    config = config_of(folders, {"seed": (0, 1, 2, 3)})
    config.epochs = 2.0
    sweep.train(config, tmp_path)
    assert "Out of memory with 4 runs at once; trying 2." in caplog.text
    assert capsys.readouterr().out.count("2 runs at once") == 2
    assert all((tmp_path / f"seed={i}" / "results.md").exists() for i in range(4))


@pytest.mark.trains
def test_what_changes_shapes_runs_one_after_another(folders, tmp_path, caplog):
    caplog.set_level("INFO", "jaxsr")
    config = config_of(folders, {"network": {"depth": (2, 3)}})
    config.epochs = 1.0
    sweep.train(config, tmp_path)
    assert "differ in network.depth: one after another" in caplog.text
    assert (
        params_of(tmp_path / "network.depth=2").keys()
        < params_of(tmp_path / "network.depth=3").keys()
    )


@pytest.mark.parametrize(
    ("swept", "message"),
    [
        ({"seeds": (0, 1)}, "there is no setting 'seeds' to sweep over"),
        ({"optim": {"tau": (0, 1)}}, "there is no setting 'optim.tau'"),
        ({"seed": ()}, "sweep seed needs different values"),
        ({"seed": 3}, "sweep seed needs different values"),
        ({"seed": (1, 1)}, "sweep seed needs different values"),
        ({"optim": {"theta": (0.1, -1.0)}}, "optim.theta must be"),
    ],
)
def test_wrong_sweeps_are_refused(folders, tmp_path, swept, message):
    config = config_of(folders, swept, optim=SGD)
    with pytest.raises(ValueError, match=message):
        sweep.train(config, tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_loop_trains_no_sweep(folders, tmp_path):
    with pytest.raises(ValueError, match="a sweep is several runs"):
        loop.train(config_of(folders, {"seed": (0, 1)}), tmp_path)

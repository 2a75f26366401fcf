"""A network that a user's own module registers."""

import os
import pathlib
import subprocess
import sys

import flax.linen as nn
import numpy as np
import PIL.Image
import pytest

from jaxsr import models

ROOT = pathlib.Path(__file__).parent.parent

MODULE = '''
import flax.linen as nn
import jaxsr
from jaxsr.models import blocks

class Mine(nn.Module):
    """One convolution and a pixel shuffle."""

    input = "low"
    halo = 1

    scale: int = 2
    width: int = 4

    @nn.compact
    def __call__(self, lr):
        x = nn.relu(nn.Conv(self.width, (3, 3), name="first")(lr))
        x = nn.Conv(self.scale**2 * lr.shape[-1], (1, 1), name="last")(x)
        return blocks.pixel_shuffle(x, self.scale)

jaxsr.models.register("mine", Mine)
'''

EXPERIMENT = """
from experiments import base

def get_config():
    config = base.get_config()
    config.network = {"name": "mine", "width": 3}
    config.data.scales = (2,)
    return config
"""


@pytest.mark.trains
def test_a_users_network_trains_and_is_used_as_any_other(tmp_path, folders):
    (tmp_path / "my_networks.py").write_text(MODULE)
    (tmp_path / "mine.py").write_text(EXPERIMENT)
    photo = next((folders / "train").iterdir())
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    env.pop("JAXSR_IMPORT", None)

    def run(*command, **more):
        command = [sys.executable, "-m", *map(str, command)]
        return subprocess.run(
            command, cwd=tmp_path, env=env | more, capture_output=True, text=True
        )

    settings = {
        "epochs": 1,
        "data.name": folders / "train",
        "data.backend": "device",
        "data.plan": "random",
        "data.epoch": 2,
        "data.batch": 8,
        "data.patch": 8,
        "validation.name": folders / "validation",
        "evaluation.sets": "()",
    }
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    train = "jaxsr.main", "--config=mine.py", "--workdir=run", *flags
    failed = run(*train)
    assert failed.returncode == 1
    assert "network must be one of" in failed.stderr
    assert run(*train, "--import=my_networks").returncode == 0

    evaluate = "jaxsr.cli", "evaluate", "run", "--data", folders / "validation"
    failed = run(*evaluate)
    assert failed.returncode == 1
    assert "mine, is of the module my_networks; import that first" in failed.stderr
    done = run(*evaluate, "--import", "my_networks")
    assert done.returncode == 0 and "| mine |" in done.stdout

    upscale = "jaxsr.cli", "upscale", photo, "-o", tmp_path / "a.png", "--model", "run"
    assert run(*upscale, JAXSR_IMPORT="my_networks").returncode == 0
    with PIL.Image.open(tmp_path / "a.png") as picture:
        assert np.array(picture).shape == (160, 160, 3)

    failed = run(*evaluate, "--import", "none")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: cannot import the module none: ModuleNot")


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x


class Low(Plain):
    input = "low"
    halo = 0


def test_what_is_no_network_is_refused():
    with pytest.raises(ValueError, match=r"Plain must have.*got \['input', 'halo'\]"):
        models.register("plain", Plain)
    with pytest.raises(ValueError, match=r"Low must have.*got \['scale'\] missing"):
        models.register("low", Low)
    with pytest.raises(ValueError, match="already a network 'vdsr'"):
        models.register("vdsr", Low)
    assert models.NETWORKS.keys().isdisjoint(["plain", "low"])

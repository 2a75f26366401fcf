"""What settings may be, and that each wrong one is answered in one line."""

import math
import re
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from experiments import base, espcn, vdsr
from jaxsr import checks, losses
from jaxsr.data import sources
from jaxsr.training import config as configs
from jaxsr.training import factories, identity, logs

SOURCE = sources.Source("a", ("one",), None, np.array([[9, 9]]))


def test_every_default_is_what_it_may_be():
    configs.check(base.get_config().to_dict())
    config = base.get_config().to_dict()
    assert config["data"]["scales"] == (2, 3, 4)
    assert config["validation"]["every"] == 1.0


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("epochs", float("nan"), "epochs must be a number above 0; got nan"),
        ("epochs", float("inf"), "epochs must be a number above 0; got inf"),
        ("epochs", "ten", "epochs must be a number above 0; got 'ten'"),
        ("seed", 2**40, "seed must be an integer from 0 to 2147483647"),
        ("loss", ["l1"], r"loss must be one of .*; got \['l1'\]"),
        ("loss", (("l1", 0),), r"each \(name, weight above 0\), 1 or more; got"),
        ("loss", (("l3", 1.0),), r"must be one of .*'l1', 'mse', 'vgg'\].*'l3'"),
        ("loss", (("l1", 1.0), ("vgg", 0.1)), "'vgg' is of RGB images"),
        ("color", "Y", r"color must be one of .*'rgb', 'y', 'ycbcr'\]; got 'Y'"),
        ("channels", 17, "channels must be an integer from 1 to 16; got 17"),
        ("channels", 3, "channels are set for color='channels' alone; got channels=3"),
        ("data.strict", 1, "data.strict must be True or False; got 1"),
        ("data.scales", (2, "a"), r"data.scales must be a list, each a number"),
        ("data.scales", (2, 1.0), "above 1 up to 64, 1 or more; got"),
        ("data.scales", (), "1 or more; got"),
        ("data.patch", 0, "data.patch must be an integer from 1 to"),
        ("data.batch", 10**9, "a batch of 1000000000 patches .* need .* GB"),
        ("data.name", None, "data.name must be text; got None"),
        ("data.reduced", (1.5,), "data.reduced must be a list, each a number above 0"),
        ("network", 3, "network must be a dictionary"),
        ("network", {}, "network must have a name"),
        ("perceptual.total_variation", 2**63, "total_variation must be a number from"),
        ("schedule.name", ["step"], r"schedule must have a name; got .*'name': \['st"),
        ("network.depth", 10**5, "vdsr's depth must be an integer from 0 to 1024"),
        ("network.depth", "20", "vdsr's depth must be an integer .*; got '20'"),
        ("network.width", 0, "vdsr's width must be an integer from 1 to 4096; got 0"),
        (
            "network",
            {"name": "vdsr", "depth": 200, "width": 4096},
            "vdsr's 29897887745 parameters of .* need 478 GB or more",
        ),
        ("network.residual", "no", "vdsr's residual must be True or False; got 'no'"),
        ("network.dtype", "float16", "set precision"),
        ("optim.momentum", 1.0, "optim.momentum must be a number from 0 below 1"),
        ("optim.clip", "none", r"optim.clip must be .*'norm', 'value'\] or None"),
        ("optim.rates", (("bias",),), r"optim.rates must be a list, each \(name, rate"),
        ("optim.theta", 0, "optim.theta must be a number above 0; got 0"),
        ("schedule.learning_rate", "fast", "schedule.learning_rate must be a number"),
        ("schedule.every", 0.0, "schedule.every must be a number above 0"),
        ("checkpoint.keep", 0, "checkpoint.keep must be an integer from 1"),
        ("evaluation.sets", "Set5", "evaluation.sets must be a list, each text"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_in_one_line(setting, value, message):
    config = vdsr.get_config().to_dict()
    section, _, key = setting.rpartition(".")
    (config[section] if section else config)[key] = value
    with pytest.raises(ValueError, match=message) as caught:
        configs.check(config)
    assert "\n" not in str(caught.value)


def test_a_number_is_one_that_jax_holds():
    largest = float(np.finfo(np.float32).max)
    for held in (1e30, largest, -largest, 2**31 - 1, -(2**31) + 1):
        assert checks.number().holds(held), held
    for other in (np.nextafter(largest, np.inf).item(), 2**31, 2**63, True, math.nan):
        assert not checks.number().holds(other), other


def test_fractional_scales_are_for_networks_of_interpolated_images():
    config = vdsr.get_config()
    config.data.scales = (2.0, 2.5, 3)
    configs.check(config.to_dict())
    scales = configs.tidied(config.to_dict())["data"]["scales"]
    assert [str(scale) for scale in scales] == ["2", "2.5", "3"]
    config.data.blur = 1.0
    with pytest.raises(ValueError, match=r"every scale-th pixel.* got \[2.5\]"):
        configs.check(config.to_dict())
    config.unlock()
    config.network = {"name": "espcn", "scale": 3}
    with pytest.raises(ValueError, match=r"integers for espcn.* whole number of pix"):
        configs.check(config.to_dict())


def test_settings_that_a_file_lacks_or_makes_up_are_named():
    config = vdsr.get_config().to_dict()
    del config["network"], config["data"]["patch"]
    config["data"]["pach"] = 41
    message = r"missing are \['data.patch', 'network'\], unknown \['data.pach'\]"
    with pytest.raises(ValueError, match=message):
        configs.check(config)
    with pytest.raises(ValueError, match="validation must be a dictionary.*; got 3"):
        configs.check(config | {"validation": 3})
    del config["optim"], config["validation"]
    with pytest.raises(ValueError, match="validation must be a dictionary.*; got None"):
        configs.check(config)


def test_a_loss_is_a_name_or_a_weighted_sum_in_files_and_flags():
    named, digests = {}, set()
    for text in ("l1", "(('l1',1),('gradient',0.5))", "[['l1',1.0],['gradient',0.5]]"):
        argv = ["main", f"--config={vdsr.__file__}", f"--config.loss={text}"]
        values = flags.FlagValues()
        holder = config_flags.DEFINE_config_file(
            "config", flag_values=values, sys_argv=argv
        )
        values(argv)
        config = holder.value.to_dict()
        configs.check(config)
        config = configs.tidied(config)
        named[text] = factories.loss_name(config)
        digests.add(identity.digest(identity.settings_of(config, SOURCE, SOURCE)))
    assert [*named.values()] == ["l1", *["l1 + 0.5 gradient"] * 2]
    assert len(digests) == 2
    sr, hr = np.random.default_rng(0).random([2, 1, 5, 6, 1], np.float32)
    expected = losses.l1(sr, hr) + 0.5 * losses.gradient(sr, hr)
    np.testing.assert_allclose(factories.make_loss(config)(sr, hr), expected, rtol=1e-6)
    config = vdsr.get_config()
    config.loss = (("mse", 1.0), ("focal_frequency", 2.0))
    configs.check(config.to_dict())


def test_pixels_that_are_shuffled_have_no_edges():
    config = espcn.get_config()
    config.objective = {"name": "shuffled"}
    configs.check(config.to_dict())
    config.loss = (("mse", 1.0), ("gradient", 0.1))
    with pytest.raises(ValueError, match=r"'shuffled' compares .* got \['gradient'\]"):
        configs.check(config.to_dict())


def test_layers_beyond_all_tracing_are_refused():
    config = vdsr.get_config()
    config.unlock()
    config.network = {"name": "drrn", "blocks": 900, "units": 900}
    with pytest.raises(ValueError, match=r"product of drrn's .* to 1024; got 810000"):
        configs.check(config.to_dict())


FILES = {
    "no/such.py": "No such file or directory",
    "picture.png": "null bytes",
    "text.txt": "invalid syntax",
    "empty.py": "no attribute 'get_config'",
    "odd.py": "ValueError: depth is odd",
    "lacking.py": "No module named 'nosuchmodule'",
    "nothing.py": "must return a ConfigDict; got None",
}
CONTENTS = {
    "picture.png": "\0PNG",
    "text.txt": "hello world",
    "empty.py": "x = 1",
    "odd.py": "def get_config():\n    raise ValueError('depth is odd')",
    "lacking.py": "import nosuchmodule",
    "nothing.py": "def get_config():\n    return None",
}
OVERRIDES = {
    "epochs=abc": "--config.epochs=abc: could not convert string to float",
    "data.batch=1.5": "--config.data.batch=1.5: invalid literal for int",
    "network=vdsr": "--config.network=vdsr: Failed to parse 'vdsr' as a ConfigDict",
    "data.strict=maybe": "--config.data.strict=maybe: .*Non-boolean",
    "data.patchh=3": "no setting 'patchh'. Did you mean \"patch\"",
    "optim.beta=3": "the config has no setting 'beta'",
}
# Parses each command line given, one a line, in one process.
PARSE = """
import os, sys
from jaxsr import main
for line in sys.stdin.read().splitlines():
    if os.fork() == 0:
        sys.argv = ["main", *line.split()]
        try:
            main._parse(sys.argv)
        except SystemExit as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
"""


def test_what_is_wrong_with_flags_is_one_line_that_names_it(tmp_path):
    lines, wanted = [], []
    for name, message in FILES.items():
        if name in CONTENTS:
            (tmp_path / name).write_text(CONTENTS[name])
        lines.append(f"--config={tmp_path / name}")
        wanted.append(f"--config must be .*{name}: .*{message}")
    for override, message in OVERRIDES.items():
        lines.append(f"--config experiments/vdsr.py --config.{override}")
        wanted.append(message)
    out = subprocess.run(
        [sys.executable, "-c", PARSE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    found = out.stdout.splitlines()
    assert len(found) == len(wanted), out.stdout + out.stderr
    for line, message in zip(found, wanted):
        assert re.search(f"^error: .*{message}", line), (message, line)


@pytest.mark.parametrize(
    ("module", "package", "name"),
    [
        ("clu", "clu", "train"),
        ("gradio.themes", "gradio", "page"),
        ("apache_beam.io", "apache_beam", "beam"),
    ],
)
def test_a_missing_package_is_answered_with_its_extra(module, package, name):
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert checks.missing(error) == (
        f"{package} is not installed; pip install 'jaxsr[{name}]' brings it."
    )


def test_the_beam_command_names_its_extra():
    hidden = "import sys; sys.modules['apache_beam'] = None; import jaxsr.apps.beam"
    run = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert run.returncode == 1
    expected = "error: apache_beam is not installed; pip install 'jaxsr[beam]'"
    assert run.stderr.startswith(expected)


def test_a_span_of_time_is_said_in_a_unit_that_reads_well():
    spans = {40: "40 seconds", 119: "119 seconds", 1500: "25 minutes"}
    spans |= {3600: "1.0 hours", 100_000: "27.8 hours", 276_480: "3.2 days"}
    assert {seconds: logs.span(seconds) for seconds in spans} == spans

"""Exported networks: what their own runtimes compute, their metadata, the errors."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxsr import cli, image, models, weights
from jaxsr.apps import export
from jaxsr.inference import tiling

SERVE = """
import sys
import jax, numpy as np
network = jax.export.deserialize(open(sys.argv[1], "rb").read())
np.save(sys.argv[3], network.call(np.load(sys.argv[2])))
print(network.fun_name)
assert "jaxsr" not in sys.modules
"""


def run_onnx(path, x):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata.pop("opset") == "18"
    return metadata, session.run(["sr"], {"image": x})[0]


def run_stablehlo(path, x):
    """In a fresh process, which does not import jaxsr."""
    inputs, outputs = path.with_suffix(".in.npy"), path.with_suffix(".out.npy")
    np.save(inputs, x)
    command = [sys.executable, "-c", SERVE, path, inputs, outputs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), np.load(outputs)


def run_tflite(path, x):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    from ai_edge_litert import schema_py_generated as schema

    description = schema.Model.GetRootAs(path.read_bytes()).Description()
    runner = litert.Interpreter(str(path)).get_signature_runner()
    return json.loads(description), runner(image=x)["sr"]


# suffix -> (function that runs a file, the package that writes it)
RUNTIMES = {
    ".onnx": (run_onnx, "jax2onnx"),
    ".stablehlo": (run_stablehlo, "jax"),
    ".tflite": (run_tflite, "tensorflow"),
}
# One that pads with its border, one of interpolated images, one of RGB.
FAST = {
    ("fsrcnn_x3", ".onnx", "float32"),
    ("fsrcnn_x3", ".onnx", "float16"),
    ("srcnn_955_x2", ".onnx", "float32"),
    ("edsr_baseline_x2", ".onnx", "float32"),
    ("fsrcnn_x3", ".stablehlo", "float32"),
    ("srcnn_955_x2", ".stablehlo", "float16"),
    ("fsrcnn_x3", ".tflite", "float32"),
    ("edsr_baseline_x2", ".tflite", "float16"),
}
CASES = [
    pytest.param(*case, marks=[] if case in FAST else pytest.mark.slow)
    for name in weights.shipped()
    for suffix in RUNTIMES
    for dtype in export.DTYPES
    for case in [(name, suffix, dtype)]
]


@pytest.mark.parametrize(("name", "suffix", "dtype"), CASES)
def test_a_runtime_computes_the_same(name, suffix, dtype, photo, tmp_path, capsys):
    run, package = RUNTIMES[suffix]
    pytest.importorskip(package)
    path = tmp_path / f"network{suffix}"
    command = ["export", name, str(path), "--dtype", dtype]
    assert cli.main(command) == 0
    model = weights.load(name)
    x = image.from_uint(photo[40:90, 60:97])[None]
    if model.card["color"] == "y":
        x = image.rgb_to_y(x)
    if model.net.input == "interpolated":
        x = image.enlarge(x, 2)
    metadata, sr = run(path, x)
    assert metadata == export.facts(model) | {"dtype": dtype}
    printed = capsys.readouterr().out
    assert all(f"  {key}: {value}\n" in printed for key, value in metadata.items())
    scale = int(metadata["scale"]) if models.is_multiscale(model.net) else None
    ours = np.asarray(tiling.make_forward(model.net, scale)(model.variables, x))
    assert sr.dtype == np.float32 and sr.shape == ours.shape
    if dtype == "float16":
        assert np.abs(sr.clip(0, 1) - ours.clip(0, 1)).max() < 1 / 255
    else:
        assert np.abs(sr - ours).max() < 1e-4


@pytest.fixture(scope="module")
def pyramid():
    """A small model of two scales."""
    net = models.make("lapsrn", depth=1, width=4)
    variables = net.init(jax.random.key(0), np.zeros([1, 8, 8, 1], np.float32))
    card = weights.make_card(net, color="y", scales=[2, 4], trained_on="nothing")
    return weights.Model(net, variables, card)


def test_a_model_of_several_scales_is_exported_at_one(pyramid, tmp_path, capsys):
    saved, path = tmp_path / "pyramid.safetensors", tmp_path / "two.stablehlo"
    weights.save(saved, pyramid)
    command = ["export", str(saved), str(path)]
    assert cli.main(command) == 1
    assert "several scales; pass --scale, one of [2, 4]." in capsys.readouterr().err
    assert cli.main([*command, "--scale", "3"]) == 1
    assert "scale must be one of [2, 4]; got 3." in capsys.readouterr().err
    assert cli.main([*command, "--scale", "2"]) == 0
    assert "  color: y\n  input: low\n  scale: 2\n" in capsys.readouterr().out
    exported = jax.export.deserialize(path.read_bytes())
    assert exported.platforms == ("cpu", "cuda", "tpu")
    x = np.random.default_rng(0).random([2, 5, 7, 1], np.float32)
    ours = pyramid.net.apply(pyramid.variables, x, scale=2)
    assert ours.shape == (2, 10, 14, 1)
    np.testing.assert_allclose(exported.call(x), ours, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "scale", "facts"),
    [
        ("vdsr", None, ["vdsr", "y", "interpolated", "2, 3, 4"]),
        ("vdsr", 3.0, ["vdsr", "y", "interpolated", "3"]),
        ("lapsrn_x4", None, ["lapsrn", "y", "low", "4"]),
        ("srgan_x4", 4.0, ["srresnet", "rgb", "low", "4"]),
    ],
)
def test_facts_of_shipped_models(name, scale, facts):
    found = export.facts(weights.load(name), scale)
    assert list(found) == ["network", "color", "input", "scale"]
    assert list(found.values()) == facts


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path, capsys):
    path = tmp_path / "a.stablehlo"
    path.write_text("mine")
    command = ["export", "espcn_x2", str(path)]
    assert cli.main(command) == 1
    assert "already exists: --overwrite replaces it" in capsys.readouterr().err
    assert cli.main([*command, "--skip-existing"]) == 0
    assert path.read_text() == "mine"
    assert cli.main([*command, "--overwrite"]) == 0
    assert jax.export.deserialize(path.read_bytes()).out_avals[0].shape[-1] == 1


@pytest.mark.parametrize(
    ("out", "options", "error"),
    [
        ("a.pt", [], "one of ['.onnx', '.stablehlo', '.tflite']; got a.pt."),
        ("a.onnx", ["--dtype", "int8"], "dtype must be one of"),
        ("a.onnx", ["--scale", "3"], "scale must be one of [2]; got 3."),
        ("a.onnx", ["--scale", "inf"], "scale must be one of [2]; got inf."),
    ],
)
def test_wrong_arguments_are_answered(out, options, error, tmp_path, capsys):
    assert cli.main(["export", "espcn_x2", str(tmp_path / out), *options]) == 1
    assert error in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_a_format_lacks_is_answered_in_one_line(tmp_path, capsys):
    """Lanczos weights depend on the size of the image, which a file leaves free."""
    net = models.make("lanczos")
    card = weights.make_card(net, color="y", scales=[2], trained_on="nothing")
    saved, path = tmp_path / "lanczos.safetensors", tmp_path / "a.stablehlo"
    weights.save(saved, weights.Model(net, {}, card))
    assert cli.main(["export", str(saved), str(path)]) == 1
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith("error: lanczos cannot be exported to .stablehlo: ")
    assert list(tmp_path.iterdir()) == [saved]


@pytest.mark.parametrize(
    ("package", "suffix", "extra"),
    [
        ("jax2onnx", ".onnx", "export"),
        ("flatbuffers", ".stablehlo", "export"),
        ("tensorflow", ".tflite", "train"),
    ],
)
def test_a_missing_package_is_answered_with_its_extra(
    package, suffix, extra, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["export", "espcn_x2", str(tmp_path / f"a{suffix}")]) == 1
    error = f"error: {package} is not installed; pip install 'jaxsr[{extra}]'"
    assert error in capsys.readouterr().err

"""The notebooks: their outputs and addresses, and all their cells at tiny settings."""

import ast
import pathlib
import re
import tomllib

import nbclient
import nbformat
import numpy as np
import PIL.Image
import pytest
from IPython.core import inputtransformer2

from jaxsr.data import sets

pytestmark = pytest.mark.trains
ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def _run(name, folder, **settings):
    """The executed cells of a notebook by their ids; `settings` overrule its own."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    [cell] = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    known = {
        target.id for node in ast.parse(cell.source).body for target in node.targets
    }
    assert settings.keys() <= known
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in settings.items())
    nbclient.NotebookClient(
        notebook,
        kernel_name="python3",  # ipykernel's own: the interpreter that runs the tests
        timeout=300,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return {cell.id: cell for cell in notebook.cells}


def _printed(cell):
    outputs = [output for output in cell.outputs if output.output_type == "stream"]
    return "".join(output.text for output in outputs if output.name == "stdout")


def _shown(cell, kind):
    [shown] = [o.data[kind] for o in cell.outputs if kind in o.get("data", {})]
    return shown


@pytest.fixture(autouse=True)
def _kernel(monkeypatch):
    """The kernels find this jaxsr, and draw as they would without the tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MPLBACKEND", raising=False)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_show_outputs_of_no_machine_and_define_no_classes(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 500_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(bool(cell.outputs) for cell in code) >= 3
    for cell in code:
        plain = inputtransformer2.TransformerManager().transform_cell(cell.source)
        nodes = ast.walk(ast.parse(plain))
        assert not any(isinstance(node, ast.ClassDef) for node in nodes)
        for output in cell.outputs:
            assert output.output_type != "error"
            data = {key: x for key, x in output.get("data", {}).items() if "/" in key}
            data.pop("image/png", None)
            shown = f"{data} {output.get('text', '')}"
            assert not re.search(r"/(root|home|work|tmp|Users)/", shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_open_in_colab_from_the_one_address(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    url = project["urls"]["Repository"]
    # A placeholder is for versions that are not released.
    assert "OWNER" not in url or ".dev" in project["version"]
    title, install, *_ = nbformat.read(path, as_version=4).cells
    place = url.removeprefix("https://github.com/")
    assert f"{COLAB}{place}/blob/main/notebooks/{path.name})" in title.source
    assert f'REPOSITORY = "{url}"' in install.source
    # The first cell is the same in all, but for what is installed.
    other = nbformat.read(NOTEBOOKS[0], as_version=4).cells[1].source
    installs = [re.sub("--editable \\S+", "", s) for s in (install.source, other)]
    assert installs[0] == installs[1]


COLAB = "https://colab.research.google.com/github/"


@pytest.mark.parametrize(("file", "size"), [("cat.png", (200, 150)), ("", (240, 240))])
def test_photo_notebook_upscales_a_photograph_or_its_sample(file, size, tmp_path):
    cat = sets.open_source("samples-validation").read(0)[100:160, 150:230]
    PIL.Image.fromarray(cat).save(tmp_path / "cat.png")
    cells = _run("upscale_photo.ipynb", tmp_path, photo_file=file, scale=2.5)
    assert _printed(cells["upscale"]).startswith(f"{size[0]} x {size[1]} pixels")
    assert PIL.Image.open(tmp_path / "upscaled.png").size == size
    for name in ("photo", "upscale", "compare"):
        _shown(cells[name], "image/png")


def test_export_notebook_runs_networks_without_jaxsr(tmp_path):
    for package in ("jax2onnx", "onnxruntime", "ai_edge_litert"):
        pytest.importorskip(package)
    cat = sets.open_source("samples-validation").read(0)[100:160, 150:230]
    PIL.Image.fromarray(cat).save(tmp_path / "cat.png")
    cells = _run("export.ipynb", tmp_path, model="espcn_x2", photo_file="cat.png")
    assert _printed(cells["export"]).count("'color': 'y', 'input': 'low'") == 3
    _shown(cells["onnx"], "image/png")
    errors = re.findall(r": on average (\d\.\d\d) of", _printed(cells["compare"]))
    assert len(errors) == 3 and all(float(error) < 0.5 for error in errors)


def test_colab_notebook_trains_and_enlarges(tmp_path):
    (tmp_path / "photos").mkdir()
    cat = sets.open_source("samples-validation").read(0)[100:228, 150:278]
    PIL.Image.fromarray(cat).save(tmp_path / "photos" / "cat.png")
    cells = _run(
        "colab_tpu.ipynb",
        tmp_path,
        data="samples",
        validation="photos",
        benchmarks=["photos"],
        epochs=0.02,
        depth=3,
        width=4,
        batch=8,
        log_every=2,
        workdir="run",
    )
    assert _printed(cells["devices"]) == "8 x cpu\n"
    table = _shown(cells["table"], "text/markdown")
    for scale in (2, 3, 4):
        [line] = [x for x in table.splitlines() if f"photos | x{scale}" in x]
        psnr = [float(cell.split("/")[0]) for cell in line.split("|")[3:5]]
        assert min(psnr) > 20 and max(psnr) < 40  # dB of bicubic and ours
    for name in ("curves", "crops", "photo"):
        _shown(cells[name], "image/png")
        assert (tmp_path / "run" / f"{name}.png").exists()
    assert _printed(cells["photo"]) == "(300, 451, 3) -> (600, 902, 3)\n"
    assert PIL.Image.open(tmp_path / "run" / "enlarged.png").size == (902, 600)


def test_ablations_notebook_compares_and_marks_what_diverged(tmp_path):
    cells = _run(
        "ablations.ipynb",
        tmp_path,
        data="samples",
        updates=12,
        batch=8,
        width=4,
        depth=3,
        residual_depth=3,
        depths=[2, 3],
        clips=[("norm", 0.01), ("value", 1e-4), ("value", 10.0)],
    )
    # The photographs have as many patches at x2 as at each of the three scales.
    lines = _printed(cells["data"]).splitlines()
    counts = [int(line.split()[-2]) for line in lines]
    assert counts[0] > 2 * counts[1] and lines[1].startswith("(2,): ")
    studies = {
        "depth": ["depth 2", "depth 3"],
        "residual": ["residual", "plain"],
        "clip": ["norm 0.01", "value 0.0001", "value 10"],
    }
    for study, labels in studies.items():
        _, *lines = _printed(cells[study]).splitlines()
        assert [line[:12].strip() for line in lines] == labels
        values = [line[12:].split() for line in lines]
        if study == "clip":
            assert values.pop() == ["diverged"]
        numbers = np.array([[x.strip("%") for x in row] for row in values], float)
        assert numbers.shape == (len(values), 4)
        assert np.isfinite(numbers).all()
        _shown(cells[study], "image/png")

"""Each file imports from lower floors, or from its own folder, alone."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "jaxsr"

FLOORS = {
    "cards": 1,
    "checks": 0,
    "files": 1,
    "image": 0,
    "metadata": 0,
    "perceptual": 1,
    "process": 0,
    "listing": 2,
    "models": 1,
    "losses": 1,
    "metrics": 1,
    "optim": 1,
    "tiff": 1,
    "objectives": 2,
    "step": 2,
    "terminal": 0,
    "tiling": 2,
    "weights": 2,
    "data": 2,
    "checkpoint": 3,
    "published": 3,
    "enlarge": 3,
    "jobs": 4,
    "logs": 3,
    "evaluate": 4,
    "config": 3,
    "identity": 3,
    "build": 4,
    "report": 5,
    "comparison": 5,
    "results": 6,
    "train": 7,
    "cli": 8,
    "main": 9,
    "queue": 9,
}
# Beside a folder's own files, these import from their own floor.
SAME_FLOOR = {("step", "objectives"), ("files", "tiff")}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """The rooms that a file imports anywhere, inside functions too."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {n.split(".")[1] for n in names if n.startswith("jaxsr.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_from_lower_floors_alone(path):
    if path == PACKAGE / "__init__.py":
        assert not imported_rooms(path)
        return
    here = room(path)
    for other in imported_rooms(path) - {here}:
        below = FLOORS[other] < FLOORS[here] or (here, other) in SAME_FLOOR
        assert below, f"{here} (floor {FLOORS[here]}) imports {other}"


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} - {"__init__"} == set(FLOORS)


def imports_tensorflow(path):
    tree = ast.parse(path.read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    return "tensorflow" in names


def test_tensorflow_is_imported_by_its_backend_alone():
    found = {str(p.relative_to(PACKAGE)) for p in FILES if imports_tensorflow(p)}
    assert found == {"data/tfdata.py"}


HEAVY = (
    "import sys; print([m for m in ('tensorflow', 'torch', 'jax') if m in sys.modules])"
)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import jaxsr", "[]"),
        ("import jaxsr; jaxsr.load, jaxsr.upscale, jaxsr.optim", "['jax']"),
        ("import jaxsr; jaxsr.train, jaxsr.data.device, jaxsr.report", "['jax']"),
    ],
)
def test_what_an_import_brings_in(statement, expected):
    code = statement.replace("jaxsr.data.device", "__import__('jaxsr.data.device')")
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\n{HEAVY}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == expected


def test_a_wrong_member_is_answered_with_the_right_ones():
    import jaxsr

    with pytest.raises(AttributeError, match="load.*upscale.*'upscaled'"):
        jaxsr.upscaled  # noqa: B018

"""Each file imports from lower floors, or from its own, without a cycle."""

import ast
import collections
import graphlib
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "jaxsr"

# A file's floor, or that of every file of a folder.
FLOORS = {
    "checks": 0,
    "image": 0,
    "matrices": 0,
    "terminal": 0,
    "cards": 1,
    "devices": 0,
    "files": 1,
    "metrics": 1,
    "optim": 1,
    "perceptual": 1,
    "losses": 2,
    "models": 2,
    "data": 3,
    "weights": 3,
    "importers": 4,
    "inference.program": 4,
    "inference.tiling": 4,
    "training.objectives": 4,
    "training.step": 4,
    "inference.upscale": 5,
    "training.checkpoint": 5,
    "training.config": 5,
    "training.factories": 6,
    "training.identity": 5,
    "training.logs": 5,
    "training.process": 5,
    "evaluation.papers": 1,
    "evaluation.pictures": 6,
    "evaluation.protocol": 6,
    "evaluation.rating": 6,
    "inference.degrade": 6,
    "inference.jobs": 6,
    "inference.targets": 6,
    "apps": 7,
    "evaluation.comparison": 7,
    "evaluation.figures": 7,
    "evaluation.tables": 7,
    "reproduction": 10,
    "studies": 10,
    "training.results": 8,
    "training.loop": 9,
    "training.queue": 9,
    "training.setup": 9,
    "cli": 11,
    # The options of these are also those of apps.
    "cli.degrade": 7,
    "cli.options": 1,
    "cli.score": 7,
    "cli.upscale": 7,
    "main": 11,
}

FILES = sorted(PACKAGE.rglob("*.py"))


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in FILES
}


def floor(module):
    """The floor of a module, which may be that of its folder."""
    return FLOORS.get(module, FLOORS.get(module.partition(".")[0]))


def imported_modules(path):
    """The modules of this package that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            name = name.removeprefix("jaxsr.") if name.startswith("jaxsr.") else ""
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            found |= {name} - {""}
    return found


IMPORTS = {module: imported_modules(path) for module, path in MODULES.items()}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"__init__"}))
def test_a_module_imports_from_no_higher_floor(module):
    if module in FOLDERS:  # one that only holds others
        assert not IMPORTS[module]
        return
    for other in IMPORTS[module]:
        assert floor(other) <= floor(module), (
            f"{module} (floor {floor(module)}) imports {other} (floor {floor(other)})"
        )


FOLDERS = {"apps", "evaluation", "inference", "training"}


def test_modules_import_each_other_without_a_cycle():
    graphlib.TopologicalSorter(IMPORTS).prepare()


def test_the_public_face_imports_nothing():
    assert not IMPORTS["__init__"]


def test_every_floor_is_that_of_a_module():
    without = {m for m in MODULES if floor(m) is None} - FOLDERS - {"__init__"}
    assert not without
    assert FLOORS.keys() <= MODULES.keys()


def test_no_folder_and_no_file_is_too_large_to_overlook():
    many = {"models", "importers", "studies", "cli"}
    folders = collections.Counter(path.parent for path in FILES)
    for folder, count in folders.items():
        assert count <= 13 or folder.name in many, f"{folder} has {count} modules"
    for path in FILES:
        lines = len(path.read_text().splitlines())
        assert lines <= 400, f"{path} has {lines} lines"


PUBLIC = (
    "evaluate image load losses make_upscaler metrics models objectives optim "
    "perceptual report save step upscale upscale_files"
)


def test_public_names_stay_importable():
    import jaxsr

    for name in PUBLIC.split():
        assert getattr(jaxsr, name) is not None
        assert name in dir(jaxsr)


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
        (
            "import jaxsr; jaxsr.train, jaxsr.data.device, jaxsr.report",
            "['jax']",
        ),
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

"""Eight simulated CPU devices, strict ranks, the tests' images and weights."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the tests' time is compilation; processes that tests start inherit this.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8"

import jax  # noqa: E402
import numpy as np  # noqa: E402
import PIL.Image  # noqa: E402
import pytest  # noqa: E402

from jaxsr import perceptual  # noqa: E402
from jaxsr.data import sets, sources  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

GOLDEN = pathlib.Path(__file__).parent / "golden"
# Read once, for tests change the environment.
SETS = sets.data_dirs()
WEIGHTS = sets.data_dirs(os.environ.get("JAXSR_WEIGHTS"))


def open_set(name: str) -> sources.Source:
    """A set of images; skips the test where it is missing or has other images."""
    for place in SETS:
        try:
            source = sets.open_source(name, place)
        except sources.DataNotFound:
            continue
        if "unverified" not in source.name:
            return source
    pytest.skip(
        f"the image set {name} is missing: run `jaxsr prepare {name}`, or set "
        "$JAXSR_DATA to the folder that holds it."
    )


def find_weights(file: str) -> pathlib.Path:
    """The path of a weight file such as "vdsr/a.mat"; skips the test without it."""
    for place in WEIGHTS:
        if (place / file).is_file():
            return place / file
    folder = file.partition("/")[0]
    prepared = f"run `jaxsr prepare weights/{folder}`, or "
    pytest.skip(
        f"the weights {file} are missing: {prepared * (file in sets.weight_files())}"
        "set $JAXSR_WEIGHTS to the folder that holds them."
    )


def pytest_collection_modifyitems(items):
    """Marks the tests that train: those that take images to train on."""
    for item in items:
        if "folders" in item.fixturenames:
            item.add_marker("trains")


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph of scikit-image, uint8 [256, 256, 3]."""
    source = sets.open_source("samples")
    return source.read(source.names.index("astronaut"))[:256, 100:356]


@pytest.fixture(scope="session")
def butterfly() -> np.ndarray:
    """The image of Set5 of which published and measured scores are known."""
    source = open_set("Set5")
    return source.read(source.names.index("butterfly_GT"))


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> pathlib.Path:
    """Four images of 80x80 pixels to train on, one to validate on."""
    root = tmp_path_factory.mktemp("images")
    source = sets.open_source("samples")
    coffee = source.read(source.names.index("coffee"))
    corners = [(60, 100), (60, 180), (140, 100), (140, 180), (100, 140)]
    parts = [coffee[top : top + 80, left : left + 80] for top, left in corners]
    for i, part in enumerate(parts):
        path = root / ("train" if i < 4 else "validation") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(part).save(path)
    return root


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory) -> pathlib.Path:
    """A folder as $JAXSR_WEIGHTS names, with random weights of VGG19 and LPIPS."""
    rng = np.random.default_rng(0)

    def layer(name, side, inputs, outputs):
        shape = (side, side, inputs, outputs)
        kernel = (
            rng.standard_normal(shape, np.float32) * (2 / (side**2 * inputs)) ** 0.5
        )
        bias = 0.1 * rng.standard_normal(outputs, np.float32)
        return {f"{name}_kernel": kernel, f"{name}_bias": bias}

    vgg19, width = {}, 3
    for block, (count, channels) in enumerate(perceptual.VGG19_BLOCKS, start=1):
        for i in range(1, count + 1):
            vgg19 |= layer(f"block{block}_conv{i}", 3, width, channels)
            width = channels
    lpips, width = {}, 3
    for i, (side, channels) in enumerate(
        zip((11, 5, 3, 3, 3), (64, 192, 384, 256, 256))
    ):
        lpips |= layer(f"AlexNet_0_Conv_{i}", side, width, channels)
        head = 4 * rng.random([1, 1, channels, 1], np.float32)
        lpips[f"NetLinLayer_{i}_Conv_0_kernel"] = head
        width = channels
    root = tmp_path_factory.mktemp("weights")
    for name, tensors in (("vgg19", vgg19), ("lpips", lpips)):
        (root / name).mkdir()
        np.savez(root / name / f"{name}.npz", **tensors)
    return root

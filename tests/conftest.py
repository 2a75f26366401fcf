"""Eight simulated CPU devices, strict ranks, and where real images and weights lie."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the tests' time is compilation; processes that tests start inherit this.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8"

import jax  # noqa: E402
import PIL.Image  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

GOLDEN = pathlib.Path(__file__).parent / "golden"


def _folder(variable: str) -> pathlib.Path:
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"${variable} is not set: the real files it points to are needed.")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The folder of the image sets (T91, Set5 ...)."""
    return _folder("JAXSR_DATA")


@pytest.fixture(scope="session")
def weights_dir() -> pathlib.Path:
    """The folder of the authors' weight files (vdsr/ ...)."""
    return _folder("JAXSR_WEIGHTS")


@pytest.fixture(scope="session")
def folders(data_dir, tmp_path_factory):
    """Four real photographs of 80x80 pixels to train on, one to validate on."""
    root = tmp_path_factory.mktemp("images")
    for i, name in enumerate([*["train"] * 4, "validation"], start=11):
        (root / name).mkdir(exist_ok=True)
        with PIL.Image.open(data_dir / "T91" / f"t{i}.png") as picture:
            picture.crop((20, 20, 100, 100)).save(root / name / f"{i}.png")
    return root

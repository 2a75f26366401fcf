"""Set-up of a command: CPU devices, the compilation cache, modules of the user."""

import contextlib
import importlib
import importlib.metadata
import os
import pathlib
import sys
from collections.abc import Iterable

import jax


def use_cores(batch: int) -> None:
    """Makes CPU cores JAX devices: the largest number that divides a batch.

    XLA computes the gradients of convolutions on one core of a device: with two cores
    an update takes half to two thirds of the time. Where each core is a device, XLA's
    pool of threads has only one: devices that share several get in each other's way.
    Call it before JAX is used. It does nothing if XLA_FLAGS already sets the number of
    devices.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        cores = os.cpu_count() or 1
        count = max(n for n in range(1, cores + 1) if batch % n == 0)
        jax.config.update("jax_num_cpu_devices", count)
        if count == cores:
            os.environ.setdefault("NPROC", "1")


def use_all_cores() -> None:
    """Makes up to eight CPU cores JAX devices, each of which takes a tile of an image.

    On two cores tiles then take 0.5 to 0.9 times as long. It does nothing where JAX has
    been used before, as by a notebook that calls a command.
    """
    with contextlib.suppress(RuntimeError):
        use_cores(min(os.cpu_count() or 1, 8))


def keep_compiled() -> None:
    """Enables JAX's compilation cache, unless the user has set its folder."""
    if not jax.config.jax_compilation_cache_dir:
        folder = pathlib.Path("~/.cache/jaxsr/compiled").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX does not cache compilations under a second: most networks here.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def import_modules(names: Iterable[str]) -> None:
    """Imports modules by their names, and those that $JAXSR_IMPORT names.

    They may be files of the current folder, and may register networks. So do the
    modules of installed packages that have an entry point of the group "jaxsr".

    Raises:
        ValueError: for one that cannot be imported.
    """
    names = [*names, *filter(None, os.getenv("JAXSR_IMPORT", "").split(","))]
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    points = importlib.metadata.entry_points(group="jaxsr")
    for name in [*names, *(point.module for point in points)]:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the module raises
            raise ValueError(f"cannot import the module {name}: {error!r}.") from error

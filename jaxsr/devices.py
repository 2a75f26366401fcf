"""Set-up of JAX for a command: CPU devices and the compilation cache."""

import os
import pathlib

import jax


def use_cores(batch: int) -> None:
    """Makes CPU cores JAX devices: the largest number that divides a batch.

    XLA computes the gradients of convolutions on one core of a device: with two cores
    an update takes half to two thirds of the time. Call it before JAX is used. It does
    nothing if XLA_FLAGS already sets the number of devices.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        cores = os.cpu_count() or 1
        count = max(n for n in range(1, cores + 1) if batch % n == 0)
        jax.config.update("jax_num_cpu_devices", count)


def keep_compiled() -> None:
    """Enables JAX's compilation cache, unless the user has set its folder."""
    if not jax.config.jax_compilation_cache_dir:
        folder = pathlib.Path("~/.cache/jaxsr/compiled").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX does not cache compilations under a second: most networks here.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

"""Set-up of JAX for a command: CPU devices and the compilation cache."""

import os
import pathlib

import jax


def use_cores(batch: int) -> None:
    """Makes a JAX device of each CPU core, as many as a batch divides by.

    XLA computes the gradients of convolutions on one core of a device: with two cores
    an update takes half to two thirds of the time. To be called before JAX is used;
    does nothing where XLA_FLAGS already says how many there are.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        cores = os.cpu_count() or 1
        count = max(n for n in range(1, cores + 1) if batch % n == 0)
        jax.config.update("jax_num_cpu_devices", count)


def keep_compiled() -> None:
    """Keeps what JAX compiles for the next process, unless the user says where."""
    if not jax.config.jax_compilation_cache_dir:
        folder = pathlib.Path("~/.cache/jaxsr/compiled").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default what compiles within a second is not kept: most of our networks.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

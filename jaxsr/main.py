"""Trains one experiment.

python -m jaxsr.main --config experiments/vdsr.py [--workdir DIR] [--config.K=V]
"""

import os
import pathlib
import signal
import sys

# Until there is something to save, Ctrl-C just exits; JAX's callbacks would ignore it.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from jaxsr import checks, terminal  # noqa: E402

try:
    import jax
    from absl import app, flags, logging
    from ml_collections import config_flags

    from jaxsr import devices
    from jaxsr.reproduction import sweep
    from jaxsr.training import identity, loop
except ModuleNotFoundError as error:
    sys.exit(f"error: {checks.missing(error)}")

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment's file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "By default runs/NAME of the config.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Join the other hosts first. TPU pods and Slurm are detected; elsewhere set "
    "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.",
)
_PROFILE = flags.DEFINE_integer(
    "profile", 0, "Trace so many updates into WORKDIR/profile.", lower_bound=0
)
_VERBOSE = flags.DEFINE_bool("verbose", False, "Print every parameter's statistics.")

_IMPORT = flags.DEFINE_multi_string(
    "import", [], "A module to import first, which may register networks."
)

EXAMPLE = "experiments/vdsr.py"


def _integer(variable: str) -> int | None:
    value = os.environ.get(variable)
    return None if value is None else int(value)


def _at_home(arg: str) -> str:
    """The flag with ~ expanded at the start of its value, which no shell does there."""
    name, equals, value = arg.partition("=")
    return name + equals + os.path.expanduser(value)


def _parse(argv: list[str]) -> list[str]:
    """The arguments that are not flags; errors in flags are reported in one line.

    Parsing them runs the experiment's file, and ml_collections raises what that raises.
    """
    argv = [_at_home(arg) for arg in argv]
    try:
        rest = flags.FLAGS(argv)
        # Of a file that is not there, ml_collections says so at the first access.
        if not hasattr(_CONFIG.value, "to_dict"):
            raise TypeError(
                f"get_config() must return a ConfigDict; got {_CONFIG.value}"
            )
        return rest
    except Exception as error:
        if os.environ.get("JAXSR_TRACEBACK"):
            raise
        terminal.make_safe()
        sys.exit(f"error: {terminal.printable(_said(error, argv))}")


def _said(error: Exception, argv: list[str]) -> str:
    """The error in the flags, in one line."""
    kind = type(error)
    while isinstance(error, Exception) and error.args:  # one may wrap the other
        kind, error = type(error), error.args[-1 if isinstance(error, OSError) else 0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = ". ".join(lines)
    overrides = any(arg.startswith("--config.") for arg in argv)
    if issubclass(kind, (AttributeError, KeyError)) and "get_config" not in text:
        return f"the config has no setting {text}"
    fails = "Traceback (most recent call last):" in lines
    if (issubclass(kind, flags.Error) and not fails) or not (path := _experiment(argv)):
        return text
    if pathlib.Path(path).is_file() and overrides and not fails:
        return f"{' '.join(argv[1:])}: {text}"
    return f"--config must be an experiment's file, as {EXAMPLE}; {path}: {lines[-1]}"


def _experiment(argv: list[str]) -> str:
    """The file that --config names."""
    following = dict(zip(argv, argv[1:]))
    given = [arg.partition("=")[2] for arg in argv if arg.startswith("--config=")]
    return (given or [following.get("--config", "")])[-1] or "''"


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    terminal.make_safe()
    logging.set_verbosity(logging.WARNING)  # Orbax logs too much at INFO
    devices.keep_compiled()
    try:
        devices.import_modules(_IMPORT.value)
    except ValueError as error:
        sys.exit(f"error: {terminal.printable(str(error))}")
    if not _DISTRIBUTED.value:
        devices.use_cores(_CONFIG.value.data.batch)
    else:
        jax.distributed.initialize(
            num_processes=_integer("JAX_NUM_PROCESSES"),
            process_id=_integer("JAX_PROCESS_ID"),
        )
    path = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"]))
    workdir = _WORKDIR.value or f"runs/{path.stem}"
    settings = [arg for arg in sys.argv[1:] if arg.startswith("--config.")]
    origin = identity.origin(path.name, settings)
    train = sweep.train if _CONFIG.value.sweep else loop.train
    given = {"verbose": _VERBOSE.value, "profile": _PROFILE.value}
    try:
        train(_CONFIG.value, workdir, origin=origin, **given)
    except loop.ERRORS as error:
        if os.environ.get("JAXSR_TRACEBACK"):
            raise
        if isinstance(error, ModuleNotFoundError):
            error = checks.missing(error)
        text = terminal.printable(str(error))
        sys.exit(f"error: {text} (JAXSR_TRACEBACK=1 shows where.)")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=_parse)

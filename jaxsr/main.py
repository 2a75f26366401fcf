"""Trains one experiment.

python -m jaxsr.main --config experiments/vdsr.py [--workdir DIR] [--config.K=V]
"""

import itertools
import os
import pathlib
import signal
import sys
import traceback

# Until there is something to save, Ctrl-C just ends; JAX's callbacks would swallow it.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import jax  # noqa: E402
from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from jaxsr import build, cli, identity, train  # noqa: E402

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment's file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "By default runs/NAME of the config.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Join the other hosts first. A TPU pod and Slurm say by themselves who they are; "
    "elsewhere set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.",
)


def _integer(variable: str) -> int | None:
    value = os.environ.get(variable)
    return None if value is None else int(value)


def _at_home(arg: str) -> str:
    """A flag whose value, a path, may begin with ~, which no shell expands there."""
    name, equals, value = arg.partition("=")
    return name + equals + os.path.expanduser(value)


def _parse(argv: list[str]) -> list[str]:
    argv = [_at_home(arg) for arg in argv]
    for flag, value in itertools.pairwise("=".join(argv).split("=")):
        if flag in ("--config", "-config") and not os.path.isfile(
            value.partition(":")[0]
        ):
            sys.exit(
                "error: --config must be the file of an experiment, as "
                f"experiments/vdsr.py; got {value!r}."
            )
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError) as error:  # how a misspelt setting shows
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        if "ml_collections" not in where or os.environ.get("JAXSR_TRACEBACK"):
            raise
        while isinstance(error, Exception):  # one may be wrapped in the other
            error = error.args[0]
        sys.exit(f"error: the config has no setting {'. '.join(error.splitlines())}")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"these arguments mean nothing here: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)  # Orbax tells much at INFO
    cli.keep_compiled()
    if not _DISTRIBUTED.value:
        build.use_cores(_CONFIG.value.data.batch)
    else:
        jax.distributed.initialize(
            num_processes=_integer("JAX_NUM_PROCESSES"),
            process_id=_integer("JAX_PROCESS_ID"),
        )
    path = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"]))
    workdir = _WORKDIR.value or f"runs/{path.stem}"
    settings = [arg for arg in sys.argv[1:] if arg.startswith("--config.")]
    origin = identity.origin(path.name, settings)
    try:
        train.train(_CONFIG.value, workdir, origin=origin)
    except train.ERRORS as error:
        if os.environ.get("JAXSR_TRACEBACK"):
            raise
        sys.exit(f"error: {error}\n(JAXSR_TRACEBACK=1 shows where.)")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=_parse)

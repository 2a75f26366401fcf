"""Checkpoints by Orbax: asynchronous, atomic, verified when they are restored."""

import contextlib
import hashlib
import itertools
import logging
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from jaxsr.training import step as steps


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or none of a directory can be restored."""


def open_directory(
    directory: str | pathlib.Path, *, keep: int = 3
) -> ocp.CheckpointManager:
    """The manager of a directory's checkpoints, which is made where it is missing.

    Args:
        keep: how many of the newest stay, beside the best by validation PSNR among
            those saved with one.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1; got {keep}.")
    directory = pathlib.Path(directory).absolute()
    logging.getLogger("absl").addFilter(_is_news)
    return ocp.CheckpointManager(
        directory,
        options=ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [
                    checkpoint_managers.LatestN(keep),
                    checkpoint_managers.BestN(
                        get_metric_fn=lambda metrics: metrics["psnr"],
                        n=1,
                        keep_checkpoints_without_metrics=False,
                    ),
                ]
            ),
            # Orbax saves metrics only if it has a function that ranks them.
            best_fn=lambda metrics: metrics["psnr"],
            cleanup_tmp_directories=True,
        ),
    )


def save(
    manager: ocp.CheckpointManager,
    state: steps.TrainState,
    *,
    psnr: float | None = None,
) -> None:
    """Begins to save a state under its step; the arrays may be donated at once.

    Returns while the files are being written. A failed write is raised as a
    CheckpointError by the next `save` or by `close`. A step that is already saved is
    not written again.

    Args:
        psnr: in dB on the validation images, where it was just measured.
    """
    step = int(state.step)
    with _named_failure(manager):
        manager.check_for_errors()
        if step in manager.all_steps():
            return
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                digests=ocp.args.JsonSave(_digests(state)),
            ),
            metrics=None if psnr is None else {"psnr": float(psnr)},
        )


def restore(
    manager: ocp.CheckpointManager, like: steps.TrainState
) -> steps.TrainState | None:
    """The newest undamaged state, or None from a directory without checkpoints.

    A checkpoint that is unreadable or altered is reported, and renamed to STEP.damaged
    once an older one has been restored.

    Args:
        like: a state of the shapes, types and shardings to be restored to; the number
            of devices may differ from that of the saving run.

    Raises:
        CheckpointError: if there are checkpoints, but all are damaged.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    reasons = {}  # of the damaged ones, newest first
    for step in steps:
        try:
            state = _restore(manager, step, like)
        except Exception as error:  # Orbax raises whatever its parts raise
            text = str(error).strip() or type(error).__name__
            reasons[step] = text.splitlines()[0]
            continue
        for damaged, reason in reasons.items():
            logging.warning(
                "The checkpoint of step %d is damaged: %s. It now lies in %s.",
                damaged,
                reason,
                _put_aside(manager, damaged),
            )
        return state
    if steps:
        raise CheckpointError(
            f"none of the checkpoints in {manager.directory} (steps {steps}) can be "
            f"restored: {reasons[steps[0]]}. Choose another workdir to start over."
        )
    return None


def _restore(manager, step, like):
    restored = manager.restore(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardRestore(
                jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
            ),
            digests=ocp.args.JsonRestore(),
        ),
    )
    changed = _changed(restored["digests"], _digests(restored["state"]))
    if changed:
        raise ValueError(f"its {', '.join(changed)} differ from what was saved")
    return restored["state"]


def close(manager: ocp.CheckpointManager) -> None:
    """Waits until everything is written; raises a CheckpointError if that fails."""
    with _named_failure(manager):
        manager.wait_until_finished()
        manager.check_for_errors()
        manager.close()


def _is_news(record: logging.LogRecord) -> bool:
    """Drops Orbax's note on saves without metrics: most are between validations."""
    return "did not provide metrics" not in record.getMessage()


@contextlib.contextmanager
def _named_failure(manager):
    try:
        yield
    except Exception as error:  # Orbax raises whatever its parts raise
        raise CheckpointError(
            f"a checkpoint could not be written: {str(error).strip() or repr(error)}. "
            f"The newest whole one in {manager.directory} is that of step "
            f"{max(manager.all_steps(), default=None)}."
        ) from error


def _put_aside(manager, step):
    directory = pathlib.Path(manager.directory)
    names = (f"{step}.damaged{n or ''}" for n in itertools.count())
    damaged = next(directory / n for n in names if not (directory / n).exists())
    if jax.process_index() == 0:
        (directory / str(step)).rename(damaged)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"{step} put aside")
    manager.reload()
    return damaged


def _digests(state: steps.TrainState) -> dict[str, str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path): hashlib.sha256(
            np.ascontiguousarray(jax.device_get(leaf)).tobytes()
        ).hexdigest()
        for path, leaf in leaves
    }


def _changed(saved, restored):
    names = sorted(saved.keys() | restored.keys())
    return [name for name in names if saved.get(name) != restored.get(name)]

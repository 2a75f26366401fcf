"""Signals, the lock and the output of a training process."""

import contextlib
import fcntl
import logging
import os
import pathlib
import signal
import sys
from collections.abc import Callable

import jax
import numpy as np
import tqdm
from jax.experimental import multihost_utils


def check_workdir(workdir: pathlib.Path) -> None:
    """Raises a ValueError if a folder cannot be a work directory.

    Its name must be UTF-8, as Orbax and TensorFlow require, and no file may be where a
    folder is needed.
    """
    try:
        str(workdir.resolve()).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the name of a work directory must be UTF-8; got {workdir}. Give another "
            "--workdir."
        ) from error
    for folder in (workdir, workdir / "checkpoints", workdir / "crops"):
        if folder.exists() and not folder.is_dir():
            raise ValueError(
                f"{folder} must be a folder, but is a file. Move it away, or give "
                "another --workdir."
            )


@contextlib.contextmanager
def alone(workdir: pathlib.Path):
    """Locks a work directory against a second run."""
    if jax.process_index() != 0:
        yield
        return
    with open(workdir / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process is training in {workdir}.") from error
        except OSError as error:  # some network file systems cannot
            logging.warning(
                "%s cannot be locked (%s): do not start a second run in it.",
                workdir,
                error,
            )
        yield


class Interrupt:
    """Records SIGINT and SIGTERM, so that the loop can save and exit."""

    def __enter__(self):
        self.number = 0
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def _note(self, number, frame):
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        # Neither print nor an error: the loop may be printing, or its reader be gone.
        with contextlib.suppress(OSError):
            os.write(2, b"\nSaving, then leaving; a second signal leaves at once.\n")

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def agree(number: int, late: bool) -> tuple[int, bool]:
    """The signal and the need to save, if any process has them."""
    if jax.process_count() > 1:
        flags = multihost_utils.process_allgather(np.array([number, int(late)]))
        number, late = flags.max(axis=0).tolist()
    return int(number), bool(late)


def from_first(value):
    """The first process's value, on every process."""
    if jax.process_count() > 1:
        value = multihost_utils.broadcast_one_to_all(np.asarray(value))
    return value


def say(text: str) -> None:
    """Prints above the progress bar, on the first process.

    If the reader has gone (Ctrl-C also ends the `tee` of a pipe), saving continues.
    """
    if jax.process_index() != 0:
        return
    try:
        tqdm.tqdm.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Profile:
    """A compiled update that traces some of its calls, but for the first.

    Args:
        update: (state, data, inputs) -> outputs, for inputs with an axis of updates.
        folder: of the trace; None where `updates` is 0.
        updates: how many to trace; 0 for none.
    """

    def __init__(self, update: Callable, folder: pathlib.Path | None, updates: int):
        self.update, self.folder, self.left = update, folder, updates
        self.compiled = self.tracing = False

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self._stop()

    def __call__(self, state, data, inputs):
        if self.left > 0 and self.compiled and not self.tracing:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self.tracing = True
        outputs = self.update(state, data, inputs)
        self.compiled = True
        if self.tracing:
            self.left -= len(jax.tree.leaves(inputs)[0])
            if self.left <= 0:
                jax.block_until_ready(outputs)
                self._stop()
        return outputs

    def _stop(self) -> None:
        if self.tracing:
            jax.profiler.stop_trace()
            self.tracing = False
            say(f"Wrote a trace to {self.folder}.")

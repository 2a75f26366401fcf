"""Logs of a run: metrics.jsonl, and TensorBoard where TensorFlow is installed.

A run that was stopped and resumed writes the same records as an uninterrupted one,
except for the measured "seconds" and "images_per_second".
"""

import json
import logging
import math
import pathlib
import time
from collections.abc import Iterable

import numpy as np

from jaxsr import files

FIRST = (1, 10)  # updates that are recorded at once, whatever `every` is
TIMED = 9  # updates by which the time of all is estimated
QUICK = "experiments/quickstart.py"


# metric -> the value at which a warning is logged, and the warning
ALARMS = {
    "won": (
        500,
        "for 500 updates the discriminator has separated true from generated images "
        "perfectly, so the generator learns nothing from it. A lower learning rate or "
        "a better trained generator to start from may help.",
    ),
    "collapsed": (
        500,
        "for 500 updates the generated images have been all but flat. Start again "
        "from the trained generator, at a lower learning rate.",
    ),
}


class Log:
    """Writes the mean metrics of every `every` updates, and those at `FIRST`.

    Args:
        directory: holds metrics.jsonl, to which records are appended, and
            averages.json, the sums of a record that a checkpoint came before.
        step: the update that the run resumes at; records of later ones, of a run that
            was killed after its last checkpoint, are dropped.
        every: updates between two records.
    """

    def __init__(self, directory: pathlib.Path, *, step: int, every: int):
        self._path = directory / "metrics.jsonl"
        self._every = every
        self._held_path = directory / "averages.json"
        self._held = _read_held(self._held_path)
        sums, self._count = self._held.get(step, ({}, 0))
        self._sums = dict(sums)  # those held stay as they are, for another resumption
        kept = [record for record in read(directory) if record["step"] <= step]
        files.write_text(self._path, "".join(json.dumps(r) + "\n" for r in kept))
        self._written = [r.keys() for r in kept if r["step"] == step]
        self._from = step
        try:
            from clu import metric_writers

            from jaxsr.data import tfdata  # noqa: F401  hides the GPU from TensorFlow

            self._writer = metric_writers.create_default_writer(
                directory, asynchronous=False
            )
        except ImportError:
            logging.info("TensorFlow is not installed: no TensorBoard summaries.")
            self._writer = None

    def update(self, step: int, metrics: dict[str, float]) -> dict[str, float] | None:
        """Takes one update's metrics; returns the averages when a record is due."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._count += 1
        if step % self._every and step not in FIRST:
            return None
        means = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def hold(self, step: int, steps: Iterable[int]) -> None:
        """Keeps the sums so far, for a run that resumes at this step.

        Args:
            step: about to be saved as a checkpoint.
            steps: of the checkpoints that there are, whose sums stay.
        """
        self._held = {s: self._held[s] for s in steps if s in self._held}
        self._held[step] = dict(self._sums), self._count
        files.write_text(self._held_path, json.dumps(self._held))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Appends a record, and the same to TensorBoard.

        Skipped if a resumed run was already validated at this step.
        """
        finite = {name: x for name, x in scalars.items() if math.isfinite(x)}
        if step == self._from and {"step", *finite} in self._written:
            return
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, **finite}) + "\n")
        if self._writer:
            self._writer.write_scalars(step, finite)
            self._writer.flush()

    def write_images(self, step: int, images: dict[str, np.ndarray]) -> None:
        """Shows images [B, H, W, C] in [0, 1] in TensorBoard."""
        if self._writer:
            self._writer.write_images(step, images)
            self._writer.flush()


class Clock:
    """The wall time of a run, summed over its resumptions.

    For runs of versions without this clock it is estimated from the records.
    """

    def __init__(self, directory: pathlib.Path):
        self._path = directory / "seconds.txt"
        try:
            self._before = float(self._path.read_text())
        except (OSError, ValueError):
            records = read(directory)
            self._before = sum(record.get("seconds", 0.0) for record in records)
        self._since = time.monotonic()

    def seconds(self) -> float:
        """The training time so far."""
        return self._before + time.monotonic() - self._since

    def save(self) -> None:
        """Writes the time so far, for the next process."""
        files.write_text(self._path, f"{self.seconds():.1f}\n")


class Pace:
    """How fast a run is, and how long the rest of it will take.

    Args:
        step: the update that the run resumes at.
        total: the last one.
        batch: patches in an update.
    """

    def __init__(self, *, step: int, total: int, batch: int):
        self._total, self._batch = total, batch
        self._since = (step, time.monotonic())
        self._first = None  # (step, time) after the first dispatch, which compiles
        self._told = False

    def measure(self, step: int) -> dict[str, float]:
        """The seconds since the last call, and the patches trained on per second."""
        since, self._since = self._since, (step, time.monotonic())
        updates, seconds = np.subtract(self._since, since).tolist()
        rate = updates * self._batch / max(seconds, 1e-9)
        return {"seconds": seconds, "images_per_second": rate}

    def estimate(self, step: int) -> str:
        """The estimated remaining time, once, after `TIMED` updates; else nothing."""
        if self._first is None:
            self._first = (step, time.monotonic())
        if self._told or step < self._first[0] + TIMED:
            return ""
        self._told = True
        now = (step, time.monotonic())
        updates, seconds = np.subtract(now, self._first).tolist()
        left = seconds / updates * (self._total - step)
        return (
            f"The {self._total - step:,} updates left will take about {span(left)} on "
            "this device, validations not counted."
            + f" {QUICK} trains a useful model in minutes."
            * (left > 3600)
        )


def alarms(metrics: dict[str, np.ndarray]) -> list[str]:
    """The warnings of `ALARMS` that are due in the metrics [updates] of a dispatch."""
    return [
        text for name, (limit, text) in ALARMS.items() if limit in metrics.get(name, ())
    ]


def span(seconds: float) -> str:
    """A duration as text: "40 seconds", "25 minutes", "7.5 hours" or "3.2 days"."""
    for size, unit in ((86400, "days"), (3600, "hours")):
        if seconds >= 2 * size or (unit == "hours" and seconds >= size):
            return f"{seconds / size:.1f} {unit}"
    if seconds >= 120:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds:.0f} seconds"


def read(directory: pathlib.Path) -> list[dict]:
    """The records of a run so far, oldest first.

    Damaged lines, such as one truncated by a kill, are skipped with a warning.
    """
    path = directory / "metrics.jsonl"
    records = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
            if not _is_record(record):
                raise ValueError("no record")
            records.append(record)
        except (ValueError, RecursionError):
            logging.warning(
                "%s has a damaged line, which is skipped: %r.", path, line[:60]
            )
    return records


def _is_record(record) -> bool:
    """Whether it is one of `Log.write`: a step and numbers."""
    return (
        isinstance(record, dict)
        and type(record.get("step")) is int
        and all(type(value) in (int, float) for value in record.values())
    )


def _read_held(path: pathlib.Path) -> dict[int, tuple[dict[str, float], int]]:
    """Step -> (sums, count) of `Log.hold`; nothing from a damaged file."""
    try:
        held = json.loads(path.read_bytes()) if path.exists() else {}
        return {
            int(step): ({str(name): float(x) for name, x in sums.items()}, int(count))
            for step, (sums, count) in held.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        logging.warning("%s is damaged: the next record averages fewer updates.", path)
        return {}

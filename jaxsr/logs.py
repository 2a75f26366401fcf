"""Where a run's numbers go: metrics.jsonl always, TensorBoard where TensorFlow is."""

import json
import logging
import math
import pathlib

import numpy as np

from jaxsr import files


class Log:
    """Averages what updates report and writes it every so often.

    Args:
        directory: holds metrics.jsonl, to which records are appended.
        step: the update that the run goes on from; records of later ones, of a run that
            was killed after its last checkpoint, are dropped.
        every: updates between two records.
    """

    def __init__(self, directory: pathlib.Path, *, step: int, every: int):
        self._path = directory / "metrics.jsonl"
        self._every = every
        self._sums: dict[str, float] = {}
        self._count = 0
        kept = [record for record in read(directory) if record["step"] <= step]
        files.write_text(self._path, "".join(json.dumps(r) + "\n" for r in kept))
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
        if step % self._every:
            return None
        means = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Appends a record, and the same to TensorBoard."""
        finite = {name: x for name, x in scalars.items() if math.isfinite(x)}
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


def read(directory: pathlib.Path) -> list[dict]:
    """The records of a run so far, oldest first; a line cut by a kill is left out."""
    path = directory / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            logging.warning("%s has a line that is cut short: %r.", path, line)
    return records

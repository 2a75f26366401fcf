"""Lists the studies and what they cost, and how far the runs of one are."""

import functools
import json
import pathlib
from collections.abc import Iterator

from jaxsr import models
from jaxsr.data import sets, sources
from jaxsr.reproduction import runner, study
from jaxsr.training import factories, logs

SPEED = 60.0  # GFLOP/s of an update on two CPU cores, as in benchmarks/README.md


def studies() -> Iterator[str]:
    """Yields the lines of a Markdown table of the studies in the package.

    Hours are those of all variants at full length, by the arithmetic of their
    convolutions at `SPEED`. They are missing where an image set is.
    """
    yield "| study | varies | source | variants | hours on two CPU cores |"
    yield "| --- | --- | --- | --- | --- |"
    for name in study.names():
        one = study.load(name)
        trained = [v for v, own in one.variants.items() if "model" not in own]
        try:
            total = f"{sum(hours(one.config(v)) for v in trained):,.1f}"
        except sources.DataNotFound:
            total = "-"
        cells = name, one.varies, one.source, str(len(one.variants)), total
        yield f"| {' | '.join(cells)} |"


def hours(config: dict) -> float:
    """Hours that the arithmetic of a run takes at `SPEED`.

    Raises:
        DataNotFound: where its images, which say how long an epoch is, are missing.
    """
    source = _open(config["data"]["name"])
    input = models.NETWORKS[config["network"]["name"]].cls.input
    epoch = factories.make_plan(config["data"], source, input).epoch
    update = factories.gflop(config) * config["data"]["batch"]
    return config["epochs"] * epoch * update / SPEED / 3600


@functools.cache
def _open(name: str) -> sources.Source:
    return sources.join("", [sets.open_source(part) for part in sets.parts_of(name)])


def status(name: str, workdir: pathlib.Path) -> Iterator[str]:
    """Yields the lines of a Markdown table of the runs in the folder of a study.

    Raises:
        ValueError: where none has begun there.
    """
    path = workdir / "study.json"
    if not path.exists():
        raise ValueError(f"no study has begun in {workdir}: there is no {path.name}.")
    budget = json.loads(path.read_text())["budget"]
    found = (workdir / "runs").glob("*-seed*")
    seeds = 1 + max((int(run.name.rpartition("seed")[2]) for run in found), default=0)
    yield "| variant | seed | state |"
    yield "| --- | --- | --- |"
    for job in runner.plan(study.load(name), workdir, budget=budget, seeds=seeds):
        yield f"| {job.variant} | {job.seed} | {_state(job)} |"


def _state(job: study.Job) -> str:
    if measured := job.measured:
        return f"failed: {measured['failed']}" if "failed" in measured else "done"
    records = logs.read(job.workdir) if job.workdir.exists() else []
    return f"update {records[-1]['step']}" if records else "not begun"

"""Runs a study variant by variant.

The folder of a study holds study.json, which says what study it is, a work directory
for each run in runs/, and the files that `outcome.write` makes of them. Whatever ends
the command, the same command resumes.
"""

import json
import logging
import math
import pathlib

import ml_collections

from jaxsr import devices, files, weights
from jaxsr.data import fetching, sets, sources
from jaxsr.evaluation import protocol
from jaxsr.reproduction import measures, outcome, sweep
from jaxsr.reproduction import study as studies
from jaxsr.training import config as configs
from jaxsr.training import identity, loop

logger = logging.getLogger(__name__)


def reproduce(
    name: str, workdir: pathlib.Path, *, budget: float = 1.0, seeds: int = 1
) -> bool:
    """Runs what of a study has not run yet, and writes its table and figure.

    Args:
        name: of a study, or of a Python file with a STUDY.
        workdir: the folder of the study.
        budget: the fraction of the full length that every variant is trained for.
        seeds: how many runs of each variant, which differ in their first weights.

    Returns whether all images could be read.

    Raises:
        ValueError: for a wrong name or number, or a folder of another study or budget.
        DataNotFound, FetchError: if an image set is missing and cannot be downloaded.
        SystemExit: as `loop.train` raises it after a signal.
    """
    study, name = studies.load(name), pathlib.Path(name).stem
    jobs = plan(study, workdir, budget=budget, seeds=seeds)
    devices.use_cores(math.gcd(*(job.config["data"]["batch"] for job in jobs)))
    for job in jobs:
        if not job.model:
            configs.check(job.config)
    fetch(study, jobs)
    claim(study, name, workdir, budget)
    bicubic = measure_bicubic(study, jobs, workdir)
    complete = True
    for i, job in enumerate(jobs):
        if job.measured is None:
            title = f"{job.variant}, seed {job.seed} ({i + 1} of {len(jobs)})"
            logger.info("\n== %s: %s ==", name, title)
            _train_seeds_at_once(jobs, job)
            complete &= run(study, job)
            outcome.write(study, name, jobs, bicubic, workdir, budget)
    outcome.write(study, name, jobs, bicubic, workdir, budget)
    return complete


def plan(
    study: studies.Study, workdir: pathlib.Path, *, budget: float, seeds: int
) -> list[studies.Job]:
    """The runs of a study, all variants of the first seed before the second.

    Raises:
        ValueError: for a budget that is not in (0, 1] or less than one seed.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"the budget must be above 0 and at most 1; got {budget}.")
    if seeds < 1:
        raise ValueError(f"there must be at least one seed; got {seeds}.")
    jobs = []
    for seed in range(seeds):
        for variant in study.order():
            own = study.variants[variant]
            config = study.config(variant, budget=budget, seed=seed)
            if config["start"] in study.variants:
                start = _folder(workdir, config["start"], seed)
                named = study.variants[config["start"]].get("model")
                config["start"] = named or str(start / weights.MODEL)
            folder, model = _folder(workdir, variant, seed), own.get("model", "")
            if not (model and seed):
                jobs.append(studies.Job(variant, seed, config, folder, model))
    return jobs


def _folder(workdir, variant, seed):
    safe = "".join(c if c.isalnum() or c in "-." else "_" for c in variant)
    return workdir / "runs" / f"{safe}-seed{seed}"


def fetch(study: studies.Study, jobs: list[studies.Job]) -> None:
    """Fetches the image sets that are missing, before any work.

    Raises:
        DataNotFound, FetchError: for one that cannot be downloaded.
    """
    trained_on = {job.config["data"]["name"] for job in jobs if not job.model}
    wanted = {part for name in trained_on for part in sets.parts_of(name)}
    for name in [*sorted(wanted), *study.sets]:
        try:
            fetching.open_or_fetch(name, None)
        except (sources.DataNotFound, fetching.FetchError) as error:
            raise type(error)(f"this study needs {name}. {error}") from error


def claim(
    study: studies.Study, name: str, workdir: pathlib.Path, budget: float
) -> None:
    """Marks a folder as this study's, or checks that it belongs to this study.

    Raises:
        ValueError: for a folder of another study, budget or version of this study.
    """
    path = workdir / "study.json"
    own = {"study": name, "budget": budget, "settings": study.settings}
    own = json.loads(json.dumps(own | {"variants": study.variants}))
    if not path.exists():
        workdir.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps(own, indent=1) + "\n")
        return
    try:
        theirs = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}. Give another --workdir."
        ) from error
    for key in ("study", "budget", "settings", "variants"):
        if own[key] != theirs[key]:
            raise ValueError(
                f"{workdir} holds {theirs['study']} at a budget of {theirs['budget']}"
                + (f" with other {key}" if key in ("settings", "variants") else "")
                + ". Give another --workdir."
            )


def _train_seeds_at_once(jobs: list[studies.Job], job: studies.Job) -> None:
    """Trains a run with those of other seeds as one program, where that is faster."""
    alike = [
        sweep.Job(
            f"seed {other.seed}",
            other.config,
            other.workdir,
            identity.origin(other.workdir.name, []),
        )
        for other in jobs
        if other.variant == job.variant and not other.model and not other.measured
    ]
    if len(alike) > 1:
        sweep.train_at_once(alike, in_study=True)


def run(study: studies.Study, job: studies.Job) -> bool:
    """Trains and measures one run; its row of the table is then in measured.json.

    A run whose loss is not finite has failed, and its row says so. Returns whether all
    images could be read.
    """
    complete, failed = True, None
    start = pathlib.Path(job.config["start"])
    try:
        if start.name == weights.MODEL and not start.exists():
            failed = f"{start.parent.name}, from which it starts, failed"
        elif not job.model:
            config = ml_collections.ConfigDict(job.config)
            origin = identity.origin(job.workdir.name, [])
            loop.train(config, job.workdir, origin=origin, in_study=True)
    except FloatingPointError as error:
        logger.warning("%s failed: %s", job.variant, error)
        failed = str(error).partition(". ")[0]
    except SystemExit as stop:
        if stop.code != 1:  # a signal; 1 says that some images cannot be read
            raise
        complete = False
    job.workdir.mkdir(parents=True, exist_ok=True)
    found = {"failed": failed}
    if not failed:
        found = {"columns": study.measure(job.trained())}
        if study.timed:
            seconds = measures.seconds(job.trained(), study.sets[0])
            files.write_text(job.workdir / studies.SECONDS, f"{seconds:.4g}\n")
    files.write_text(job.workdir / studies.MEASURED, json.dumps(found) + "\n")
    return complete


def measure_bicubic(
    study: studies.Study, jobs: list[studies.Job], workdir: pathlib.Path
) -> dict[str, float]:
    """Column -> the score of bicubic, which is measured once for all variants.

    Where some variants are networks of Y and others of RGB, it is that of Y.
    """
    path = workdir / "bicubic.json"
    if path.exists():
        return json.loads(path.read_text())
    found, kinds = {}, {}
    for job in jobs:
        config = job.trained().config if job.model else job.config
        kinds[config["color"], config["data"]["scales"]] = config
    for color, scales in sorted(kinds, key=lambda kind: kind[0] != "y"):
        blur = kinds[color, scales]["data"]["blur"]
        model = protocol.baseline(color=color, blur=blur)
        run = studies.Run(kinds[color, scales], model, [], workdir)
        found = measures.psnr(*study.sets)(run) | study.measure(run) | found
    found.pop("parameters", None)
    files.write_text(path, json.dumps(found) + "\n")
    return found

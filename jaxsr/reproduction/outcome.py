"""The table and the figure of a study, of as many of its runs as have run.

What is written depends on the measured scores alone: a study that was stopped and
resumed ends with the same bytes. Times and devices are in times.json.
"""

import json
import pathlib
from collections.abc import Iterator

import numpy as np

from jaxsr import files, weights
from jaxsr.evaluation import papers, tables
from jaxsr.reproduction import measures, study
from jaxsr.training import logs


def write(
    of: study.Study,
    name: str,
    jobs: list[study.Job],
    bicubic: dict[str, float],
    workdir: pathlib.Path,
    budget: float,
) -> None:
    """Writes results.md, results.json, times.json and the figures into a folder."""
    results = gather(of, name, jobs, bicubic, budget)
    files.write_text(workdir / "results.md", text(of, name, jobs, results, budget))
    content = {"study": name, "source": of.source, "budget": budget}
    content |= {"bicubic": bicubic, "paper": results.paper}
    content["runs"] = list(_facts(jobs))
    _write_json(workdir / "results.json", content)
    _write_json(workdir / "times.json", {j.workdir.name: time(j) for j in jobs})
    if any(any(rows) for rows in results.measured.values()):
        title = f"{name}: {of.source}\n{length(jobs, budget)}"
        for file, draw in {"figure.png": of.draw, "crops.png": of.strip}.items():
            if draw:
                figure = draw(results)
                figure.suptitle(title, fontsize=9)
                figure.savefig(workdir / file, dpi=110)


def _write_json(path, content):
    files.write_text(path, json.dumps(content, indent=1) + "\n")


def gather(
    of: study.Study,
    name: str,
    jobs: list[study.Job],
    bicubic: dict[str, float],
    budget: float,
) -> study.Results:
    """The scores of the runs that have been measured."""
    paper = papers.study(name) if of.cells is None else of.cells
    measured = {variant: [] for variant in [*of.variants, *paper]}
    curves = {variant: [] for variant in of.variants}
    seconds = {variant: [] for variant in of.variants}
    for job in jobs:
        if (row := job.measured) is not None:
            measured[job.variant].append(row.get("columns", {}))
            # Of a run that failed, the last step is not that of the full length.
            curve = [] if "failed" in row else _curve(job, budget)
            curves[job.variant].append(curve)
            path = job.workdir / study.SECONDS
            if path.exists():
                seconds[job.variant].append(float(path.read_text()))
    done = [job for job in jobs if job.measured and "columns" in job.measured]
    return study.Results(measured, paper, bicubic, curves, seconds, done)


def _curve(job: study.Job, budget: float) -> list[tuple[float, float]]:
    """(epoch of the full length, PSNR in dB) of a run's validations."""
    points = measures.curve(study.Run(job.config, None, logs.read(job.workdir), None))
    if not points:
        return []
    last, full = points[-1][0], job.config["epochs"] / budget
    return [(full * step / last, psnr) for step, psnr in points]


def text(
    of: study.Study,
    name: str,
    jobs: list[study.Job],
    results: study.Results,
    budget: float,
) -> str:
    """The table with its head, in Markdown.

    A cell holds the mean over seeds, with more than one of them the standard deviation,
    and in brackets the number that the paper prints.
    """
    lines = [f"# {name}: {of.source}", "", f"{of.varies}.", f"{length(jobs, budget)}."]
    if of.along:
        name = of.sets[0]
        lines.append(f"{name} was measured along the way; nothing was chosen by it.")
    lines += [f"{of.notes}."] * bool(of.notes)
    lines.append("Scores are PSNR in dB unless the column says otherwise.")
    lines += ["In brackets: the number that the paper prints."] * bool(results.paper)
    rows = [row for runs in results.measured.values() for row in runs]
    rows += [results.bicubic, *results.paper.values()]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines += [
        "",
        tables.markdown_row(["variant", *columns]),
        tables.markdown_row(["---"] * (1 + len(columns))),
    ]
    if results.bicubic:
        cells = [
            _cell([results.bicubic[c]] if c in results.bicubic else []) for c in columns
        ]
        lines.append(tables.markdown_row(["bicubic", *cells]))
    for variant, runs in results.measured.items():
        paper = results.paper.get(variant, {})
        values = ([row[c] for row in runs if c in row] for c in columns)
        cells = [_cell(v, paper.get(c)) for v, c in zip(values, columns)]
        lines.append(tables.markdown_row([variant, *cells]))
    failed = [
        f"- {job.variant}, seed {job.seed}: {job.measured['failed']}."
        for job in jobs
        if job.measured and "failed" in job.measured
    ]
    lines += ["", "Failed:", "", *failed] if failed else []
    return "\n".join(lines) + "\n"


def length(jobs: list[study.Job], budget: float) -> str:
    """The length of the runs and the number of seeds, in words."""
    if all(job.model for job in jobs):
        return "Trained models, measured as they are"
    share = "full length" if budget == 1 else f"{budget:g} of the full length"
    seeds = len({job.seed for job in jobs})
    return f"At {share}; {seeds} seed{'s' * (seeds != 1)}"


def _cell(values: list[float], paper: float | None = None) -> str:
    if not values:
        return "-" if paper is None else f"- ({_number(paper)})"
    found = _number(float(np.mean(values)))
    if len(set(values)) > 1:
        found += f" ± {np.std(values):.2f}"
    return found if paper is None else f"{found} ({_number(paper)})"


def _number(x: float) -> str:
    return f"{x:,.0f}" if x >= 1000 else f"{x:.2f}" if x >= 2 else f"{x:.4f}"


def _facts(jobs: list[study.Job]) -> Iterator[dict]:
    for job in jobs:
        facts = {"variant": job.variant, "seed": job.seed, "config": job.config}
        facts |= job.measured or {"state": "not run"}
        path = job.workdir / weights.MODEL
        if job.model:
            facts = facts | {"model": job.model}
        elif job.measured and path.exists():
            card = weights.load(path).card
            facts |= {"updates": card["step"], "digest": card["digest"]}
        yield facts


def time(job: study.Job) -> dict:
    """Hours and device of a run, and the seconds of its network for an image."""
    path, found = job.workdir / weights.MODEL, {}
    if path.exists():
        card = weights.load(path).card
        found = {"hours": card["hours"], "device": card["device"]}
    path = job.workdir / study.SECONDS
    if path.exists():
        found["seconds_per_image"] = float(path.read_text())
    return found

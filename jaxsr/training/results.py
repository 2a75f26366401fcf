"""What a run leaves in the end: its model's scores, and pictures of them."""

import pathlib

import numpy as np
import tqdm

from jaxsr import files, weights
from jaxsr.data import fetching, sets, sources
from jaxsr.evaluation import figures, protocol, tables
from jaxsr.importers import features
from jaxsr.training import logs, process


def finish(
    config: dict,
    workdir: pathlib.Path,
    validation: sources.Source,
    lpips: dict | None,
) -> tuple[str, ...]:
    """Scores the run's model on the benchmark sets at hand and shows the table.

    Where none is, it is scored on the validation images. `lpips` is of `load_lpips`.

    Returns what is wrong with images that were left out.
    """
    path = workdir / weights.MODEL
    model = weights.load(path)
    benchmarks = open_benchmarks(config) or [validation]
    scales = config["data"]["scales"]
    benchmarks = [
        protocol.measurable(source, scales, lpips=lpips is not None)
        for source in benchmarks
    ]
    left_out = tuple(reason for source in benchmarks for reason in source.left_out)
    scored = set(model.card["scores"])
    if scored == {b.name for b in benchmarks} and (workdir / "results.md").exists():
        process.say((workdir / "results.md").read_text())
        return left_out
    rows = protocol.compare(model, benchmarks, scales, lpips=lpips)
    total = 2 * len(scales) * sum(len(source.names) + 1 for source in benchmarks)
    scores = list(tqdm.tqdm(rows, "scoring", total, leave=False, disable=None))
    model = protocol.with_scores(model, scores)
    text = tables.text(scores, model.card)
    tables.write_json(workdir / "results.json", scores, card=model.card)
    source = benchmarks[0]
    pixels = [source.read(i) for i in range(min(4, len(source.names)))]
    figures.crops(
        workdir / "crops.png",
        [protocol.crops(model, p, max(scales), side=64) for p in pixels],
        titles=["bicubic", f"{model.card['network']} x{max(scales)}", "true"],
    )
    runs = {workdir.name: logs.read(workdir)}
    curves = ["loss", "validation_psnr"] + ["validation_lpips"] * (lpips is not None)
    bicubic = _bicubic(model.card["color"], validation, scales, lpips)
    figures.curves(workdir / "curves.png", runs, y=curves, bicubic=bicubic)
    files.write_text(workdir / "results.md", text)
    weights.save(path, model)
    process.say(text)
    return left_out


def _bicubic(color, validation, scales, lpips) -> dict[str, float]:
    """What a validation would say of bicubic."""
    baseline = protocol.baseline(color=color)
    rows = protocol.evaluate(baseline, validation, scales, lpips=lpips)
    means = [row for row in rows if row.image == "mean"]
    found = {"validation_psnr": float(np.mean([row.psnr for row in means]))}
    if lpips is not None:
        found["validation_lpips"] = float(np.mean([row.lpips for row in means]))
    return found


def load_lpips(config: dict) -> dict | None:
    """The params of LPIPS, where a run is measured by it and its file is there."""
    if config["validation"]["best_by"] != "lpips":
        return None
    try:
        return features.load_lpips(config["perceptual"]["lpips"] or None)
    except sources.DataNotFound as error:
        process.say(f"The best model is told by PSNR instead of LPIPS: {error}")
        return None


def best_by(config: dict, lpips: dict | None) -> str:
    """What a run's best model is told by: what its config says, where that is there."""
    by = config["validation"]["best_by"]
    return "psnr" if by == "lpips" and lpips is None else by


def open_benchmarks(config: dict, *, fetch: bool = False) -> list[sources.Source]:
    """The benchmark sets of a config that are on this machine.

    Args:
        config: of the run.
        fetch: fetches the others; one line says which cannot be had.
    """
    found, missing, data_dir = [], {}, config["data"]["dir"] or None
    for name in config["evaluation"]["sets"]:
        able = fetch and not missing  # where one cannot be had, others cannot either
        opened = fetching.open_or_fetch if able else sets.open_source
        try:
            found.append(opened(name, data_dir))
        except (sources.DataNotFound, fetching.FetchError) as error:
            missing[name] = error
    if missing:
        process.say(
            f"Not in the table of results: {', '.join(missing)}. "
            f"{next(iter(missing.values()))}"
        )
    return found

"""Validation during a run, and its scores and figures at the end."""

import logging
import pathlib
from collections.abc import Callable

import numpy as np
import tqdm

from jaxsr import files, weights
from jaxsr.data import fetching, sets, sources
from jaxsr.evaluation import figures, protocol, tables
from jaxsr.importers import features
from jaxsr.training import config as configs
from jaxsr.training import logs, process

# Score that selects the best model -> 1 if higher is better, -1 if lower is better.
SIGNS = {"psnr": 1, "lpips": -1}


def validate(
    model: weights.Model,
    source: sources.Source,
    scales: tuple[float, ...],
    *,
    lpips: dict | None,
    stopped: Callable[[], bool],
) -> dict[str, float]:
    """Mean scores on the validation images: PSNR in dB, overall and by scale.

    Args:
        model: to score.
        source: the validation images.
        scales: to score it at.
        lpips: the params of LPIPS, where it is measured.
        stopped: called between images; if it returns True the result is empty.
    """
    means = []
    rows = protocol.evaluate(model, source, scales, lpips=lpips)
    total = len(scales) * (len(source.names) + 1)
    for row in tqdm.tqdm(rows, "validating", total, leave=False, disable=None):
        if stopped():
            return {}
        if row.image == "mean":
            means.append(row)
    # A blank image is restored exactly, to an infinite PSNR.
    psnr = float(min(np.mean([row.psnr for row in means]), 100.0))
    scores = {f"validation_psnr_x{row.scale}": row.psnr for row in means}
    scores["validation_psnr"] = psnr
    for name in ("ssim", "lpips"):
        values = [getattr(row, name) for row in means]
        if None not in values:
            scores[f"validation_{name}"] = float(np.mean(values))
    return scores


def best_so_far(
    path: pathlib.Path, config: dict, data: str, lpips: dict | None
) -> float | None:
    """How good the model at `path` is by `best_by` on the images of `data`, if known.

    The higher the better: it is multiplied by `SIGNS`.
    """
    try:
        card = weights.load(path).card
    except FileNotFoundError:
        return None
    except ValueError as error:
        logging.warning("%s. It will be overwritten.", error)
        return None
    validation, by = card.get("validation", {}), best_by(config, lpips)
    same = validation.get("data") == data
    same &= card.get("blur", 0.0) == config["data"]["blur"]
    return SIGNS[by] * validation[by] if same and by in validation else None


def crops_of(
    model: weights.Model,
    source: sources.Source,
    scale: int,
    *,
    count: int = 3,
    side: int = 96,
) -> list[list[np.ndarray]]:
    """[bicubic, ours, true] of the first images, where bicubic is furthest off."""
    first = range(min(count, len(source.names)))
    pairs = [(source.read(i), scale, sources.read_low(source, i, scale)) for i in first]
    return [protocol.crops([model], *pair, side=side) for pair in pairs]


def finish(
    config: dict,
    workdir: pathlib.Path,
    validation: sources.Source,
    lpips: dict | None,
) -> tuple[str, ...]:
    """Scores the run's model on the benchmark sets that are present; prints the table.

    Without any, it is scored on the validation images. `lpips` is that of `load_lpips`.

    Returns the reasons for which images were skipped.
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
    figures.crops(
        workdir / "crops.png",
        crops_of(model, benchmarks[0], max(scales), count=4, side=64),
        titles=["bicubic", f"{model.card['network']} x{max(scales)}", "true"],
    )
    runs = {workdir.name: logs.read(workdir)}
    curves = ["loss", "validation_psnr"] + ["validation_lpips"] * (lpips is not None)
    bicubic = _bicubic(model, validation, scales, lpips)
    figures.curves(workdir / "curves.png", runs, y=curves, bicubic=bicubic)
    files.write_text(workdir / "results.md", text)
    weights.save(path, model)
    process.say(text)
    return left_out


def _bicubic(model, validation, scales, lpips) -> dict[str, float]:
    """The scores of bicubic on the validation images, degraded as the model's."""
    bicubic = protocol.bicubic_of(model)
    rows = protocol.evaluate(bicubic, validation, scales, lpips=lpips)
    means = [row for row in rows if row.image == "mean"]
    found = {"validation_psnr": float(np.mean([row.psnr for row in means]))}
    if lpips is not None:
        found["validation_lpips"] = float(np.mean([row.lpips for row in means]))
    return found


def load_lpips(config: dict) -> dict | None:
    """The params of LPIPS, if the run is measured by it and its file is found."""
    if config["validation"]["best_by"] != "lpips":
        return None
    try:
        return features.load_lpips(config["perceptual"]["lpips"] or None)
    except sources.DataNotFound as error:
        process.say(f"The best model is chosen by PSNR instead of LPIPS: {error}")
        return None


def best_by(config: dict, lpips: dict | None) -> str:
    """The score that selects the best model: the config's, if it is measured."""
    by = config["validation"]["best_by"]
    return "psnr" if by == "lpips" and lpips is None else by


def open_benchmarks(config: dict, *, fetch: bool = False) -> list[sources.Source]:
    """The benchmark sets of a config that are on this machine.

    Args:
        config: of the run.
        fetch: whether to download the others; one line names those that are missing.
    """
    found, missing, data_dir = [], {}, config["data"]["dir"] or None
    for name in config["evaluation"]["sets"]:
        able = fetch and not missing  # after one failure the others would fail too
        opened = fetching.open_or_fetch if able else sets.open_source
        try:
            found.append(opened(name, data_dir, channels=configs.stack_of(config)))
        except (sources.DataNotFound, fetching.FetchError) as error:
            missing[name] = error
    if missing:
        process.say(
            f"Not in the table of results: {', '.join(missing)}. "
            f"{next(iter(missing.values()))}"
        )
    return found

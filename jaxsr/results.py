"""What a run leaves in the end: its model's scores, and pictures of them."""

import pathlib

import tqdm

from jaxsr import evaluate, files, logs, process, report, weights
from jaxsr.data import sources
from jaxsr.published import features


def finish(
    config: dict, workdir: pathlib.Path, validation: sources.Source
) -> tuple[str, ...]:
    """Scores the run's model on the benchmark sets at hand and shows the table.

    Where none is, it is scored on the validation images.

    Returns what is wrong with images that were left out.
    """
    path = workdir / weights.MODEL
    model = weights.load(path)
    benchmarks = open_benchmarks(config) or [validation]
    scales = config["data"]["scales"]
    lpips = load_lpips(config)
    benchmarks = [
        evaluate.measurable(source, scales, lpips=lpips is not None)
        for source in benchmarks
    ]
    left_out = tuple(reason for source in benchmarks for reason in source.left_out)
    scored = set(model.card["scores"])
    if scored == {b.name for b in benchmarks} and (workdir / "results.md").exists():
        process.say((workdir / "results.md").read_text())
        return left_out
    rows = evaluate.compare(model, benchmarks, scales, lpips=lpips)
    total = 2 * len(scales) * sum(len(source.names) + 1 for source in benchmarks)
    scores = list(tqdm.tqdm(rows, "scoring", total, leave=False, disable=None))
    model = evaluate.with_scores(model, scores)
    text = report.text(scores, model.card)
    report.write_json(workdir / "results.json", scores, card=model.card)
    source = benchmarks[0]
    pixels = [source.read(i) for i in range(min(4, len(source.names)))]
    report.crops(
        workdir / "crops.png",
        [evaluate.crops(model, p, max(scales), side=64) for p in pixels],
        titles=["bicubic", f"{model.card['network']} x{max(scales)}", "true"],
    )
    runs = {workdir.name: logs.read(workdir)}
    curves = ["loss", "validation_psnr"] + ["validation_lpips"] * (lpips is not None)
    report.curves(workdir / "curves.png", runs, y=curves)
    files.write_text(workdir / "results.md", text)
    weights.save(path, model)
    process.say(text)
    return left_out


def load_lpips(config: dict) -> dict | None:
    """The params of LPIPS, where a run is measured by it."""
    if config["validation"]["best_by"] != "lpips":
        return None
    try:
        return features.load_lpips(config["perceptual"]["lpips"] or None)
    except sources.DataNotFound as error:
        raise sources.DataNotFound(
            f"{error} Or do without: validation.best_by='' keeps the newest model."
        ) from error


def open_benchmarks(config: dict) -> list[sources.Source]:
    """The benchmark sets of a config that are on this machine."""
    found = []
    for name in config["evaluation"]["sets"]:
        try:
            found.append(sources.open_source(name, config["data"]["dir"] or None))
        except sources.DataNotFound as error:
            process.say(f"Not in the table of results: {error}")
    return found

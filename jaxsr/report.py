"""Rows of scores -> tables (Markdown, JSON) and figures (PNG)."""

import importlib.resources
import json
import pathlib
from collections.abc import Iterable

import einops
import numpy as np

from jaxsr import image
from jaxsr.evaluate import Score

# network -> where `published.json` has the figures of its paper
PUBLISHED = {
    "bicubic": ("Bicubic", "VDSR-table3"),
    "vdsr": ("VDSR", "paper-table3"),
}


def published(network: str, data: str, scale: int) -> tuple[float, float] | None:
    """(PSNR in dB, SSIM) that the network's paper prints, or None."""
    if network not in PUBLISHED:
        return None
    name, variant = PUBLISHED[network]
    text = importlib.resources.files("jaxsr").joinpath("published.json").read_text()
    score = json.loads(text)[name][variant].get(data, {}).get(f"x{scale}")
    return None if score is None else (score["psnr"], score["ssim"])


def table(scores: Iterable[Score], network: str) -> str:
    """A Markdown table of the means: one row for each set and scale.

    Its columns are the labels in the order they first come, each as PSNR / SSIM, and
    last what the paper of `network` prints.
    """
    means = {(s.data, s.scale, s.network): s for s in scores if s.image == "mean"}
    labels = list(dict.fromkeys(label for _, _, label in means))
    header = ["data", "scale", *labels, f"published ({network})"]
    lines = [header, ["---"] * len(header)]
    for data, scale in dict.fromkeys(key[:2] for key in means):
        cells = [means.get((data, scale, label)) for label in labels]
        values = [None if s is None else (s.psnr, s.ssim) for s in cells]
        values.append(published(network, data, scale))
        lines.append([data, f"x{scale}", *map(_cell, values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value):
    return "-" if value is None else f"{value[0]:.2f} / {value[1]:.4f}"


def write_json(path: str | pathlib.Path, scores: Iterable[Score], **facts) -> None:
    """Writes the scores, and facts about how they came about, as JSON."""
    scores = [score._asdict() for score in scores]
    text = json.dumps({**facts, "scores": scores}, indent=1)
    pathlib.Path(path).write_text(text + "\n")


def crop_box(sr: np.ndarray, hr: np.ndarray, side: int = 64) -> tuple[int, int]:
    """(top, left) of the square in which `sr` [H, W, 1] is furthest from `hr`."""
    height, width = (n // side * side for n in hr.shape[:2])
    if not height or not width:
        return 0, 0
    error = ((sr - hr) ** 2)[:height, :width, 0]
    blocks = einops.reduce(error, "(y a) (x b) -> y x", "sum", a=side, b=side)
    top, left = np.unravel_index(np.argmax(blocks), blocks.shape)
    return int(top) * side, int(left) * side


def crops(
    path: str | pathlib.Path,
    titled: dict[str, list[np.ndarray]],
    *,
    boxes: list[tuple[int, int]],
    side: int = 64,
) -> None:
    """Writes a PNG of crops side by side: a column for each title, a row for each image.

    Args:
        titled: title -> images [H, W, 1 or 3] in [0, 1], one for each row.
        boxes: (top, left) of each row's crop.
        side: of a crop in pixels.
    """
    from matplotlib import figure

    rows, columns = len(boxes), len(titled)
    fig = figure.Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    axes = np.reshape(fig.subplots(rows, columns), (rows, columns))
    for column, (title, images) in enumerate(titled.items()):
        for row, (top, left) in enumerate(boxes):
            ax = axes[row, column]
            crop = images[row][top : top + side, left : left + side]
            ax.imshow(
                image.to_uint(crop), cmap="gray", vmin=0, vmax=255, interpolation="none"
            )
            ax.set_axis_off()
            if row == 0:
                ax.set_title(title, fontsize=9)
    fig.savefig(path, dpi=110)


def curve(
    path: str | pathlib.Path, records: Iterable[dict], *, x: str, y: list[str]
) -> None:
    """Writes a PNG with a panel for each of the names `y` over `x` in the records."""
    from matplotlib import figure

    records = list(records)
    fig = figure.Figure(figsize=(4 * len(y), 3), layout="constrained")
    for ax, name in zip(np.ravel(fig.subplots(1, len(y))), y):
        points = [(r[x], r[name]) for r in records if name in r]
        ax.plot(*zip(*points)) if points else None
        ax.set_xlabel(x)
        ax.set_title(name)
    fig.savefig(path, dpi=110)

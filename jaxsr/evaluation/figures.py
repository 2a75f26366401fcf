"""Figures of scores, crops and training curves, as PNG files."""

import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from jaxsr import image, weights
from jaxsr.evaluation import tables
from jaxsr.models import cost


def tradeoff(path: str | pathlib.Path, named: dict[str, weights.Model], data: str):
    """Writes a PNG of the PSNR on a set against parameters and multiply-adds.

    One row of panels for each scale, of at least 0.5 dB. A network has the same colour
    in all panels; hollow marks are the paper's scores of the same network.
    """
    from matplotlib import figure, lines

    points = [p for p in tables.points(named, [data]) if p.cost.parameters]
    colors = _colors(p.name for p in points)
    scales = sorted({p.scale for p in points})
    fig = figure.Figure(figsize=(9, 3 * len(scales)), layout="constrained")
    kinds = cost.Cost._fields
    grid = fig.subplots(len(scales), len(kinds), squeeze=False, sharex="col")
    for row, scale in zip(grid, scales):
        for ax, kind in zip(row, kinds):
            for p in (p for p in points if p.scale == scale):
                x, ours, paper = getattr(p.cost, kind), p.ours[0], p.papers[0]
                color = colors[_network(p.name)]
                if ours is not None:
                    ax.plot(x, ours["psnr"], "o", color=color)
                if paper is not None:
                    ax.plot(x, paper, "o", color=color, fillstyle="none")
            ax.set(xscale="log", xlabel=kind.replace("_", "-"))
            ax.set(ylabel=f"PSNR on {data} x{scale}, dB")
            ax.margins(0.1)
            low, high = ax.get_ylim()
            missing = max(0.5 - (high - low), 0)
            ax.set_ylim(low - missing / 2, high + missing / 2)
            ax.grid(alpha=0.3)
    marks = {"color": "gray", "marker": "o", "linestyle": "none"}
    handles = [
        lines.Line2D([], [], **(marks | {"color": color}), label=name)
        for name, color in colors.items()
    ]
    handles.append(lines.Line2D([], [], **marks, fillstyle="none", label="published"))
    fig.legend(handles=handles, loc="outside right upper", frameon=False)
    fig.savefig(path, dpi=110)


def _colors(names: Iterable[str]) -> dict[str, str]:
    """Network -> a colour of matplotlib's cycle, for models of these names."""
    return {n: f"C{i}" for i, n in enumerate(dict.fromkeys(map(_network, names)))}


def _network(name: str) -> str:
    """The name of a model without its scale."""
    return re.sub(r"_x\d+", "", name)


def crops(
    path: str | pathlib.Path, rows: list[list[np.ndarray]], *, titles: list[str]
) -> None:
    """Writes a PNG of images [h, w, 1 or 3] in [0, 1], a column under each title."""
    strip(rows, titles=titles).savefig(path, dpi=110)


def strip(rows: list[list[np.ndarray]], *, titles: list[str]):
    """The figure that `crops` writes."""
    from matplotlib import figure

    fig = figure.Figure(
        figsize=(2.2 * len(titles), 2.2 * len(rows) + 0.2), layout="constrained"
    )
    grid = fig.subplots(len(rows), len(titles), squeeze=False)
    for axes, images in zip(grid, rows):
        for ax, pixels in zip(axes, images):
            ax.imshow(
                image.to_uint(pixels),
                cmap="gray",
                vmin=0,
                vmax=255,
                interpolation="none",
            )
            ax.set_axis_off()
    for ax, title in zip(grid[0], titles):
        ax.set_title(title, fontsize=9)
    return fig


def curves(
    path: str | pathlib.Path,
    runs: dict[str, Iterable[dict]],
    *,
    y: Sequence[str],
    bicubic: dict[str, float] | None = None,
) -> None:
    """Writes a PNG with a panel for each of the names `y`, over the updates.

    Args:
        path: of the PNG.
        runs: name -> records, as `logs.read` gives them; each is one line of a panel
            where its records have the name.
        y: names of logged values, such as "loss" and "validation_psnr".
        bicubic: name -> bicubic's value, drawn as another line of the panel.
    """
    from matplotlib import figure

    height = max(3.5, 0.25 * len(runs) + 0.5)
    fig = figure.Figure(figsize=(5 * len(y), height), layout="constrained")
    lines = {}
    for ax, name in zip(np.ravel(fig.subplots(1, len(y))), y):
        for i, (label, records) in enumerate(runs.items()):
            points = [(r["step"], r[name]) for r in records if name in r]
            if points:
                style = {"color": f"C{i}", "linestyle": STYLES[i // 10 % len(STYLES)]}
                (lines[label],) = ax.plot(*zip(*points), marker=".", **style)
        if bicubic and name in bicubic:
            ax.axhline(bicubic[name], color="gray", linestyle="--")
            ax.annotate("bicubic", (0.98, bicubic[name]), **BELOW)
        ax.set(xlabel="updates", title=name.replace("_", " "))
        ax.grid(alpha=0.3)
    if len(runs) > 1:
        fig.legend(lines.values(), lines, loc="outside right upper")
    fig.savefig(path, dpi=110)


# Places text below a horizontal line, at its right end.
BELOW = {
    "xycoords": ("axes fraction", "data"),
    "xytext": (0, -3),
    "textcoords": "offset points",
    "ha": "right",
    "va": "top",
    "color": "gray",
}
STYLES = ("-", "--", ":")  # one for each ten lines, the number of colours

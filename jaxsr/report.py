"""Rows of scores -> tables (Markdown, JSON) and figures (PNG)."""

import importlib.resources
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxsr import evaluate, files, image, models, weights
from jaxsr.models import catalog

# network -> its rows in `published.json`: name, variant, and what tells it: fields, and
# "loss" and "objective" of the card
PUBLISHED = {
    "bicubic": [("Bicubic", "VDSR-table3", {})],
    "nearest": [("Nearest", "SRGAN-table2", {})],
    "drcn": [("DRCN", "paper", {})],
    "drrn": [("DRRN", f"B1U{u}", {"blocks": 1, "units": u}) for u in (25, 9)],
    "edsr": [("EDSR", "baseline", {"blocks": 16}), ("EDSR", "full", {"blocks": 32})],
    "espcn": [
        ("ESPCN", "tanh (91 images)", {"activation": "tanh"}),
        ("ESPCN", "ReLU (91 images)", {"activation": "relu"}),
    ],
    "fsrcnn": [
        ("FSRCNN", "56-12-4 (91+General-100)", {"width": 56, "narrow": 12, "depth": 4}),
        ("FSRCNN", "s 32-5-1 (91+General-100)", {"width": 32, "narrow": 5, "depth": 1}),
    ],
    "lapsrn": [("LapSRN", "own-scale model", {})],
    "mdsr": [("MDSR", "baseline", {"blocks": 16}), ("MDSR", "full", {"blocks": 80})],
    "ms_lapsrn": [("MS-LapSRN", f"D5R{r}", {"recursions": r}) for r in (8, 5, 2)],
    "red": [("RED", f"RED{depth}", {"depth": depth}) for depth in (30, 20, 10)],
    "srcnn": [
        ("SRCNN", "9-1-5 (91 images)", {"sides": [9, 1, 5]}),
        ("SRCNN", "9-3-5 (ImageNet)", {"sides": [9, 3, 5]}),
        ("SRCNN", "9-5-5 (VDSR-table3)", {"sides": [9, 5, 5]}),
    ],
    "srdensenet": [("SRDenseNet", "All", {})],
    "srresnet": [
        ("SRResNet", "MSE", {"objective": "supervised", "loss": "mse"}),
        ("SRResNet", "VGG22", {"objective": "supervised", "loss": "vgg conv2_2"}),
        ("SRGAN", "MSE", {"objective": "adversarial", "loss": "mse"}),
        ("SRGAN", "VGG22", {"objective": "adversarial", "loss": "vgg conv2_2"}),
        ("SRGAN", "VGG54", {"objective": "adversarial", "loss": "vgg conv5_4"}),
    ],
    "vdsr": [("VDSR", "paper-table3", {})],
}


def published_as(card: dict) -> tuple[str, str] | None:
    """(name, variant) of the row in `published.json` to compare a model with.

    The first of its network, where its fields are those of none; None without any.
    """
    rows = PUBLISHED.get(card["network"], [])
    facts = card["fields"] | {key: card.get(key) for key in ("loss", "objective")}
    for *row, told_by in rows:
        if all(facts.get(name) == value for name, value in told_by.items()):
            return tuple(row)
    return rows[0][:2] if rows else None


def published(card: dict, data: str, scale: int) -> tuple[float, float | None] | None:
    """(PSNR in dB, SSIM or None) that the network's paper prints, or None."""
    if (row := published_as(card)) is None:
        return None
    score = _published(*row, data, scale)
    return None if score is None else (score["psnr"], score["ssim"])


def _published(name, variant, data, scale):
    text = importlib.resources.files("jaxsr").joinpath("published.json").read_text()
    return json.loads(text)[name][variant].get(data, {}).get(f"x{scale}")


def table(scores: Iterable[evaluate.Score], card: dict) -> str:
    """A Markdown table of the means: one row for each set and scale.

    Its columns are the labels in the order they first come, each as PSNR / SSIM, or
    PSNR / SSIM / LPIPS, and last what the paper of the card's network prints.
    """
    means = {(s.data, s.scale, s.network): s for s in scores if s.image == "mean"}
    labels = list(dict.fromkeys(label for _, _, label in means))
    whose = " ".join(published_as(card) or [card["network"]])
    header = ["data", "scale", *labels, f"published ({whose})"]
    lines = [header, ["---"] * len(header)]
    for data, scale in dict.fromkeys(key[:2] for key in means):
        cells = [means.get((data, scale, label)) for label in labels]
        values = [None if s is None else (s.psnr, s.ssim, s.lpips) for s in cells]
        values.append(published(card, data, scale))
        lines.append([data, f"x{scale}", *map(_cell, values)])
    return "\n".join(map(_line, lines))


def _cell(value):
    if value is None:
        return "-"
    psnr, *others = value
    return " / ".join([f"{psnr:.2f}", *(f"{x:.4f}" for x in others if x is not None)])


def overview(named: dict[str, weights.Model], data: Sequence[str]) -> str:
    """A Markdown table of models: cost, and mean PSNR / SSIM by their cards, by scale.

    In brackets stands the PSNR that their papers print, also beside a smaller network.
    `NAME+` is the mean over eight flips and rotations, where a card has it.
    Multiply-adds are as in `networks`.

    Args:
        named: name -> model.
        data: names of sets, the columns.
    """
    header = ["model", "scale", "parameters", "multiply-adds (G)", *data]
    lines = [header, ["---"] * len(header)]
    for point in sorted(_points(named, data), key=lambda p: (p.scale, p.cost)):
        count, adds = point.cost.parameters, point.cost.multiply_adds / 1e9
        line = [point.name, f"x{point.scale}", f"{count:,}", f"{adds:,.1f}"]
        for ours, paper in zip(point.ours, point.papers):
            both = [] if ours is None else [_cell((ours["psnr"], ours["ssim"]))]
            both += [] if paper is None else [f"({paper:.2f})"]
            line.append(" ".join(both) or "-")
        lines.append(line)
    return "\n".join(map(_line, lines))


def tradeoff(path: str | pathlib.Path, named: dict[str, weights.Model], data: str):
    """Writes a PNG of the PSNR on a set against parameters and multiply-adds.

    A row of panels for each scale; hollow marks are what papers print of the networks
    that are theirs to the letter.
    """
    from matplotlib import figure

    points = [p for p in _points(named, [data]) if p.cost.parameters]
    scales = sorted({p.scale for p in points})
    fig = figure.Figure(figsize=(9, 3 * len(scales)), layout="constrained")
    kinds = catalog.Cost._fields
    grid = fig.subplots(len(scales), len(kinds), squeeze=False, sharex="col")
    for row, scale in zip(grid, scales):
        for ax, kind in zip(row, kinds):
            for i, p in enumerate(p for p in points if p.scale == scale):
                x, ours, paper = getattr(p.cost, kind), p.ours[0], p.papers[0]
                if ours is not None:
                    ax.plot(x, ours["psnr"], "o", color=f"C{i}", label=p.name)
                if paper is not None and p.is_papers:
                    ax.plot(x, paper, "o", color=f"C{i}", fillstyle="none")
            ax.set(xscale="log", xlabel=kind.replace("_", "-"))
            ax.set(ylabel=f"PSNR on {data} x{scale}, dB")
            ax.margins(0.1)
            ax.grid(alpha=0.3)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    fig.savefig(path, dpi=110)


# The rows of the tables 1 and 2 of the SRGAN paper, as in `published.json`.
TABLE2 = "SRGAN-table2"
PERCEPTUAL = (
    *((name, TABLE2) for name in ["Nearest", "Bicubic", "SRCNN", "ESPCN", "DRCN"]),
    *(("SRResNet", loss) for loss in ("MSE", "VGG22")),
    *(("SRGAN", loss) for loss in ("MSE", "VGG22", "VGG54")),
)


def perceptual(named: dict[str, weights.Model], data: Sequence[str]) -> str:
    """A Markdown table of the SRGAN paper's x4 rows, ours beside the paper's.

    Ours are PSNR / SSIM / LPIPS, by the cards; the paper's PSNR / SSIM / MOS, the
    opinion of 26 people from 1 (bad) to 5.

    Args:
        named: name -> model. Of several that are one row's the best by PSNR is taken.
        data: names of sets, two columns each.

    Source: Ledig et al., CVPR 2017, tables 1 and 2.
    """
    header = ["network", "ours", *(f"{d}{of}" for d in data for of in ("", ", paper"))]
    lines = [header, ["---"] * len(header)]
    for row in PERCEPTUAL:
        name, scores = _best_of(row, named)
        line = [" ".join(row).removesuffix(f" {TABLE2}"), name]
        for d in data:
            ours, paper = scores.get(d, {}).get("x4"), _published(*row, d, 4)
            line.append(_cell(ours and (ours["psnr"], ours["ssim"], ours.get("lpips"))))
            both = _cell(paper and (paper["psnr"], paper["ssim"]))
            line.append(f"{both} / {paper['mos']:.2f}" if paper else both)
        lines.append(line)
    return "\n".join(map(_line, lines))


def _best_of(row, named):
    """(name, scores) of the model of a row of `PERCEPTUAL` that is best on Set5."""
    name, variant = row
    found = [("-", {})]
    for label, (_, _, card) in named.items():
        theirs = published_as(card) or ("", "")
        if theirs == row or (variant == TABLE2 and theirs[0] == name):
            found.append((label, card["scores"]))
    psnr = [scores.get("Set5", {}).get("x4", {}).get("psnr", 0) for _, scores in found]
    return found[int(np.argmax(psnr))]


class _Point(NamedTuple):
    """A model at one scale: its card's scores on each set, and its paper's PSNR."""

    name: str
    scale: int
    cost: catalog.Cost
    ours: list[dict | None]
    papers: list[float | None]
    is_papers: bool  # a variant of `catalog`, not a smaller one


def _points(named, data):
    for name, (net, _, card) in named.items():
        variants = catalog.CATALOG[card["network"]].variants
        is_papers = net in [models.make(card["network"], **v) for v in variants]
        for scale in card["scales"]:
            branch = scale if hasattr(net, "scales") else None
            cost = catalog.cost(net, image.channels(card["color"]), scale=branch)
            papers = [published(card, d, scale) or [None] for d in data]
            papers = [score[0] for score in papers]
            ours = [card["scores"].get(d, {}).get(f"x{scale}") for d in data]
            yield _Point(name, scale, cost, ours, papers, is_papers)
            if ensemble := card.get("ensemble"):
                cost = cost._replace(multiply_adds=8 * cost.multiply_adds)
                ours = [ensemble.get(d, {}).get(f"x{scale}") for d in data]
                papers = [None] * len(data)
                yield _Point(f"{name}+", scale, cost, ours, papers, False)


def networks(names: Sequence[str] = ()) -> Iterator[str]:
    """Yields the lines of a Markdown table of networks: the papers' and those shipped.

    Multiply-adds, in billions, are those of an image of 1280x720 made from what the
    network takes; the halo is in pixels of its input. Last are the names of the shipped
    models.

    Args:
        names: of `models.MODELS`; without any, all.
    """
    for name in names:
        models.make(name)  # a wrong name before the first line
    shipped = {name: weights.load(name).net for name in weights.shipped()}
    header = ["network", "fields", "parameters", "multiply-adds (G)", "halo", "input"]
    header += ["paper", "trained"]
    yield _line(header)
    yield _line(["---"] * len(header))
    for name, entry in catalog.CATALOG.items():
        if names and name not in names:
            continue
        nets = {models.make(name, **fields): fields for fields in entry.variants}
        for net in shipped.values():
            if models.name_of(net) == name:
                nets.setdefault(net, _own_fields(net))
        for net, fields in nets.items():
            costs = {
                scale: catalog.cost(net, image.channels(entry.color), scale=scale)
                for scale in getattr(net, "scales", [None])
            }
            adds = [
                f"{cost.multiply_adds / 1e9:,.1f}" + (f" (x{scale})" if scale else "")
                for scale, cost in costs.items()
            ]
            yield _line(
                [
                    name,
                    ", ".join(f"{key}={value}" for key, value in fields.items()),
                    f"{next(iter(costs.values())).parameters:,}",
                    ", ".join(adds),
                    str(net.halo),
                    net.input,
                    entry.paper,
                    ", ".join(key for key, other in shipped.items() if other == net),
                ]
            )


def _own_fields(net):
    """The fields of a network that are not its paper's, and its scale."""
    defaults = models.fields_of(type(net))
    return {
        name: value
        for name, value in models.fields_of(net).items()
        if value != defaults[name] or name == "scale"
    }


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def text(scores: Iterable[evaluate.Score], card: dict) -> str:
    """The table of a model's scores, and under it how they were measured."""
    scores = list(scores)
    lpips = any(s.lpips is not None for s in scores)
    return (
        f"{table(scores, card)}\n\nPSNR in dB / SSIM{' / LPIPS' * lpips}. Trained on "
        f"{card['trained_on']}. Protocol: "
        f"{evaluate.protocol(scores, card['color'])}.\n"
    )


def write_json(
    path: str | pathlib.Path, scores: Iterable[evaluate.Score], **facts
) -> None:
    """Writes the scores, and facts about how they came about, as JSON."""
    scores = [
        {k: None if v == float("inf") else v for k, v in score._asdict().items()}
        for score in scores
    ]
    text = json.dumps({**facts, "scores": scores}, indent=1, allow_nan=False)
    files.write_text(path, text + "\n")


def crops(
    path: str | pathlib.Path, rows: list[list[np.ndarray]], *, titles: list[str]
) -> None:
    """Writes a PNG of images [h, w, 1 or 3] in [0, 1], a column under each title."""
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
    fig.savefig(path, dpi=110)


def curves(
    path: str | pathlib.Path, runs: dict[str, Iterable[dict]], *, y: Sequence[str]
) -> None:
    """Writes a PNG with a panel for each of the names `y`, over the updates.

    Args:
        path: of the PNG.
        runs: name -> records, as `logs.read` gives them; each is one line of a panel
            where its records have the name.
        y: names of what was logged, as "loss" and "validation_psnr".
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
        ax.set(xlabel="updates", title=name.replace("_", " "))
        ax.grid(alpha=0.3)
    if len(runs) > 1:
        fig.legend(lines.values(), lines, loc="outside right upper")
    fig.savefig(path, dpi=110)


STYLES = ("-", "--", ":")  # one for each ten lines, that many colours there are

"""Scores as tables, in Markdown and JSON."""

import itertools
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxsr import files, models, weights
from jaxsr.data import sets
from jaxsr.evaluation import papers, protocol
from jaxsr.models import cost

# Fields that do not decide which row of a paper a model belongs to: what the paper
# leaves open, or uses at every scale.
OPEN = {
    *("scale", "dtype", "axis_name", "frozen", "mean"),
    *("padding", "shrinking", "shared_tail", "output_tanh"),
}


def rows_of(card: dict, scale: int) -> list[models.Row]:
    """The rows of `models.NETWORKS` that describe a model at a scale.

    Empty where its network differs from the paper's, or it is measured on images
    degraded in another way, or of channels that are no colours.
    """
    network = models.NETWORKS.get(card["network"])
    if network is None or card.get("blur") or "channels" in card:
        return []
    defaults = models.fields_of(network.cls)
    fields = _comparable(defaults | card["fields"])
    return [
        row
        for row in network.rows
        if scale in (row.scales or (scale,))
        and fields == _comparable(defaults | row.fields)
        and all(card.get(key) == value for key, value in row.trained.items())
    ]


def _comparable(fields):
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in fields.items()
        if key not in OPEN
    }


def paper_score(card: dict, data: str, scale: int) -> tuple[float, float | None] | None:
    """(PSNR in dB, SSIM or None) that the network's paper prints, or None."""
    row = _row_of(card, scale)
    known = data in sets.SETS and sets.SETS[data].split == "test"
    if row is None or not known:  # the name of a folder does not identify a set
        return None
    score = papers.score(row.name, row.variant, data, scale)
    return None if score is None else (score["psnr"], score["ssim"])


def _row_of(card, scale):
    """The first of `rows_of`, except those quoted by the SRGAN paper, or None."""
    rows = [row for row in rows_of(card, scale) if row.variant != models.TABLE2]
    return rows[0] if rows else None


def table(scores: Iterable[protocol.Score], card: dict) -> str:
    """A Markdown table of the means: one row for each set and scale.

    Its columns are the labels in order of appearance, each as PSNR / SSIM or
    PSNR / SSIM / LPIPS, and last the scores printed in the paper of the card's network.
    """
    means = {(s.data, s.scale, s.network): s for s in scores if s.image == "mean"}
    labels = list(dict.fromkeys(label for _, _, label in means))
    rows = [_row_of(card, scale) for scale in dict.fromkeys(s for _, s, _ in means)]
    whose = dict.fromkeys(f"{row.name} {row.variant}" for row in rows if row)
    header = ["data", "scale", *labels, f"published ({', '.join(whose) or '-'})"]
    lines = [header, ["---"] * len(header)]
    for data, scale in dict.fromkeys(key[:2] for key in means):
        cells = [means.get((data, scale, label)) for label in labels]
        values = [None if s is None else (s.psnr, s.ssim, s.lpips) for s in cells]
        values.append(paper_score(card, data, scale))
        lines.append([data, f"x{scale}", *map(_cell, values)])
    return "\n".join(map(markdown_row, lines))


def _cell(value):
    if value is None:
        return "-"
    psnr, *others = value
    first = "infinite" if psnr is None else f"{psnr:.2f}"
    return " / ".join([first, *(f"{x:.4f}" for x in others if x is not None)])


def overview(named: dict[str, weights.Model], data: Sequence[str]) -> str:
    """A Markdown table of models: cost, and mean PSNR / SSIM by their cards, by scale.

    The PSNR in brackets is the one that the paper prints for the same network.
    `NAME+` is the mean over eight flips and rotations, where a card has it.
    Multiply-adds are for an output of 1280x720 pixels.

    Args:
        named: name -> model.
        data: names of sets, the columns.
    """
    header = ["model", "scale", "parameters", "multiply-adds (G)", *data]
    lines = [header, ["---"] * len(header)]
    for point in sorted(points(named, data), key=lambda p: (p.scale, p.cost)):
        count, adds = point.cost.parameters, point.cost.multiply_adds / 1e9
        beaten = point.beaten and f" (worse than {point.beaten} and bicubic)"
        line = [point.name + beaten, f"x{point.scale}", f"{count:,}", f"{adds:,.1f}"]
        for ours, paper in zip(point.ours, point.papers):
            both = [] if ours is None else [_cell((ours["psnr"], ours["ssim"]))]
            both += [] if paper is None else [f"({paper:.2f})"]
            line.append(" ".join(both) or "-")
        lines.append(line)
    return "\n".join(map(markdown_row, lines))


# The rows of the tables 1 and 2 of the SRGAN paper, as in `papers.json`.
PERCEPTUAL = (
    *(("Nearest", models.TABLE2), ("Bicubic", models.TABLE2), ("SRCNN", models.TABLE2)),
    *(("SelfExSR", models.TABLE2), ("DRCN", models.TABLE2), ("ESPCN", models.TABLE2)),
    *(("SRResNet", loss) for loss in ("MSE", "VGG22")),
    *(("SRGAN", loss) for loss in ("MSE", "VGG22", "VGG54")),
    ("HR", models.TABLE2),
)
DAALA = (
    "The SRGAN paper measures SSIM with the program daala, whose values differ from "
    "ours: bicubic x4 has 0.8211 on Set5 there and 0.8113 here. Compare them only "
    "with each other."
)


def perceptual(named: dict[str, weights.Model], data: Sequence[str]) -> str:
    """A Markdown table of the SRGAN paper's x4 rows, ours beside the paper's.

    Ours are PSNR / SSIM / LPIPS, by the cards; the paper's PSNR / SSIM / MOS, the
    opinion of 26 people from 1 (bad) to 5; HR are the true images.

    Args:
        named: name -> model. If several match a row, the best by PSNR is used.
        data: names of sets, two columns each.

    Source: Ledig et al., CVPR 2017, tables 1 and 2.
    """
    header = ["network", "ours", *(f"{d}{of}" for d in data for of in ("", ", paper"))]
    lines = [header, ["---"] * len(header)]
    for row in itertools.starmap(models.Row, PERCEPTUAL):
        name, scores = _best_of(row, named)
        line = [f"{row.name} {row.variant}".removesuffix(f" {models.TABLE2}"), name]
        for d in data:
            ours, paper = (
                scores.get(d, {}).get("x4"),
                papers.score(row.name, row.variant, d, 4),
            )
            line.append(_cell(ours and (ours["psnr"], ours["ssim"], ours.get("lpips"))))
            both = _cell(paper and (paper["psnr"], paper["ssim"]))
            line.append(f"{both} / {paper['mos']:.2f}" if paper else both)
        lines.append(line)
    return "\n".join([*map(markdown_row, lines), "", DAALA])


def _best_of(row, named):
    """(name, scores) of the model of a row of `PERCEPTUAL` that is best on Set5."""
    found = [("-", {})]
    for label, (_, _, card) in named.items():
        if row[:2] in [theirs[:2] for theirs in rows_of(card, 4)]:
            found.append((label, card["scores"]))
    psnr = [scores.get("Set5", {}).get("x4", {}).get("psnr", 0) for _, scores in found]
    return found[int(np.argmax(psnr))]


class Point(NamedTuple):
    """A model at one scale: its card's scores on each set, and its paper's PSNR."""

    name: str
    scale: int
    cost: cost.Cost
    ours: list[dict | None]
    papers: list[float | None]
    beaten: str = ""  # by which model of another scale, see `_beaten_by`


def points(named, data):
    for name, (net, _, card) in named.items():
        counted = card.get("cost") or cost.facts(net, weights.channels_of(card))
        for scale in card["scales"]:
            adds = counted["multiply_adds"]
            own = cost.Cost(counted["parameters"], adds.get(str(scale), adds.get("")))
            printed = [paper_score(card, d, scale) or [None] for d in data]
            theirs = [score[0] for score in printed]
            ours = [card["scores"].get(d, {}).get(f"x{scale}") for d in data]
            beaten = _beaten_by(name, scale, named)
            yield Point(name, scale, own, ours, theirs, beaten)
            if ensemble := card.get("ensemble"):
                own = own._replace(multiply_adds=8 * own.multiply_adds)
                ours = [ensemble.get(d, {}).get(f"x{scale}") for d in data]
                theirs = [None] * len(data)
                yield Point(f"{name}+", scale, own, ours, theirs)


def _beaten_by(name, scale, named):
    """The model of another scale that is better at this one, at no higher cost.

    Compares the tables of `rating.rated`, where bicubic follows the network; better
    means by 0.05 dB. "" if there is none, or if a model of this scale is as good.
    """
    tables = {other: card.get("upscaling", {}) for other, (_, _, card) in named.items()}
    rows = {other: t[str(scale)] for other, t in tables.items() if str(scale) in t}
    if name not in rows:
        return ""
    adds = rows[name]["multiply_adds"]
    # Those as cheap -> PSNR, of this scale and of others.
    here, elsewhere = (
        {
            other: row["psnr"]
            for other, row in rows.items()
            if row["multiply_adds"] <= adds
            and (scale in named[other].card["scales"]) == of_scale
        }
        for of_scale in (True, False)
    )
    best = max(elsewhere, key=elsewhere.get, default="")
    return best if best and elsewhere[best] > max(here.values()) + 0.05 else ""


def markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def text(scores: Iterable[protocol.Score], card: dict) -> str:
    """The table of a model's scores, with the image counts and the protocol."""
    scores = list(scores)
    lpips = any(s.lpips is not None for s in scores)
    counts = {}
    for s in scores:
        counts.setdefault(s.data, set()).add(s.image)
    images = ", ".join(f"{len(names - {'mean'})} of {d}" for d, names in counts.items())
    rows = [_row_of(card, scale) for scale in {s.scale for s in scores}]
    daala = any(row and row.name in ("SRResNet", "SRGAN") for row in rows)
    return (
        f"{table(scores, card)}\n\nPSNR in dB / SSIM{' / LPIPS' * lpips}. Images: "
        f"{images}. Trained on {card['trained_on']}. Protocol: "
        f"{protocol.protocol(scores, card)}.{f' {DAALA}' * daala}\n"
    )


def write_json(
    path: str | pathlib.Path, scores: Iterable[protocol.Score], **facts
) -> None:
    """Writes the scores, and how they were measured, as JSON."""
    scores = [
        {k: None if v == float("inf") else v for k, v in score._asdict().items()}
        for score in scores
    ]
    text = json.dumps({**facts, "scores": scores}, indent=1, allow_nan=False)
    files.write_text(path, text + "\n")

"""A model and benchmark sets -> rows of scores, by the one protocol of `PROTOCOLS`."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import einops
import jax
import numpy as np

from jaxsr import enlarge, image, metrics, models, perceptual, tiling, weights
from jaxsr.data import pairs, sources

_Y = (
    "Y of MATLAB's rgb2ycbcr rounded to 8 bits, bicubic degradation, low resolution "
    "not rounded, output rounded to 8 bits, border of `scale` pixels left out, mean "
    "over images"
)

# color -> how it is measured, said beside every figure
PROTOCOLS = {
    "y": _Y,
    "ycbcr": _Y,
    "rgb": (
        "RGB, bicubic degradation, low resolution and output rounded to 8 bits, Y of "
        "both, border of `scale` pixels left out, mean over images"
    ),
}
# Beside any of them: of what `restore_rgb` gives, no border left out.
LPIPS_PROTOCOL = (
    "LPIPS (AlexNet, version 0.1, the lower the better) of whole RGB images, border "
    "included, rounded to 8 bits, chroma by bicubic where the network is one of Y"
)


class Score(NamedTuple):
    """What a model reached on one image, or on average over a set."""

    network: str
    data: str  # name of the set
    image: str  # its file; "mean" for the whole set
    scale: int
    psnr: float  # dB
    ssim: float
    lpips: float | None = None  # where asked for; the lower, the more alike


def baseline(name: str = "bicubic", color: str = "y") -> weights.Model:
    """An interpolation of `models.MODELS`: a model without weights, at any scale."""
    net = models.make(name)
    card = weights.make_card(net, color=color, scales=[], trained_on="nothing")
    return weights.Model(net, {}, card)


def restore_image(
    model: weights.Model, pixels: np.ndarray, scale: int
) -> tuple[np.ndarray, np.ndarray]:
    """(sr, hr), float32 [H, W, 1]: an image degraded and restored, and the true one.

    Both are Y as the protocol compares them, before the border is left out.

    Args:
        model: of any colour.
        pixels: the true image, uint8 [H, W, 1 or 3].
        scale: by which it is reduced.
    """
    color = model.card["color"]
    return tuple(_as_y(x, color) for x in _restore(model, pixels, scale))


def restore_rgb(
    model: weights.Model, pixels: np.ndarray, scale: int
) -> tuple[np.ndarray, np.ndarray]:
    """(sr, hr), float32 RGB [H, W, 3] of 8 bits: as a viewer sees the images.

    The arguments are those of `restore_image`. A network of Y gets its chroma from
    bicubic, and gray is three equal channels, as in `enlarge.upscale`.
    """
    sr, _ = _restore(model, pixels, scale)
    return _as_rgb(sr, pixels, scale, model.card["color"])


def _restore(model, pixels, scale, **options):
    """(sr, hr) in the colour of the model, sr neither clipped nor rounded."""
    color, net = model.card["color"], model.net
    x, hr = pairs.make_pair(pixels, scale, color=color, input=net.input)
    branch = scale if hasattr(net, "scales") else None
    if net.input == "low" and tiling.enlargement(net, branch) != scale:
        raise ValueError(
            f"{model.card['network']} enlarges by {net.scale}, not {scale}."
        )
    return tiling.apply(net, model.variables, x, scale=branch, **options), hr


def _as_y(x, color):
    x = image.quantise(x)
    return image.rgb_to_y(x) if color == "rgb" else x[..., :1]


def _as_rgb(sr, pixels, scale, color):
    """(sr, hr) of a network's sr, in its colour, and of the true pixels."""
    hr = image.modcrop(image.from_uint(pixels), scale)
    bicubic = image.enlarge(image.degrade(hr, scale), scale)
    sr = image.quantise(enlarge.merged(sr, bicubic, color))
    return tuple(np.broadcast_to(x, (*x.shape[:2], 3)) for x in (sr, hr))


def measurable(
    source: sources.Source, scales: Sequence[int], *, lpips: bool = False
) -> sources.Source:
    """The source but for images too small to be measured; reads every image.

    Raises:
        ValueError: where none is large enough, or one cannot be read.
    """
    reasons = {}
    for i, name in enumerate(source.names):
        height, width = source.read(i).shape[:2]
        # SSIM's window inside the border, and what LPIPS sees
        least = perceptual.LPIPS_SIDE if lpips else 0
        needed = {s: max(11 + 2 * s, least) for s in scales}
        if any(n - n % s < needed[s] for n in (height, width) for s in scales):
            reasons[i] = (
                f"{source.name}/{name} has {height}x{width} pixels; to be measured at "
                f"x{max(scales)} it needs {needed[max(scales)]} a side or a few more."
            )
    return sources.without(source, reasons)


def evaluate(
    model: weights.Model,
    source: sources.Source,
    scales: Iterable[int],
    *,
    lpips: dict | None = None,
    precision: str = "float32",
    ensemble: bool = False,
) -> Iterator[Score]:
    """Yields the score of each image, and after each scale the mean over the set.

    Args:
        model: what is measured.
        source: the true images.
        scales: integer factors.
        lpips: the params of `perceptual.LPIPS`, to measure that as well.
        precision: of `models.PRECISIONS`.
        ensemble: measures the mean over eight flips and rotations, as `NAME+`.
    """
    label, color = model.card["network"] + "+" * ensemble, model.card["color"]
    if precision != "float32":
        label += f" {precision}"
    for scale in scales:
        rows = []
        for i, name in enumerate(source.names):
            pixels = source.read(i)
            sr, hr = _restore(
                model, pixels, scale, precision=precision, ensemble=ensemble
            )
            pair = (_as_y(x, color)[None] for x in (sr, hr))
            values = _measure(*pair, border=scale)
            if lpips is not None:
                pair = (x[None] for x in _as_rgb(sr, pixels, scale, color))
                values += (_lpips(lpips, *pair),)
            rows.append([float(value[0]) for value in values])
            yield Score(label, source.name, name, scale, *rows[-1])
        means = np.mean(rows, axis=0).tolist()
        yield Score(label, source.name, "mean", scale, *means)


def protocol(scores: Iterable[Score], color: str) -> str:
    """How the scores of a model of that colour were measured."""
    if any(s.lpips is not None for s in scores):
        return f"{PROTOCOLS[color]}; {LPIPS_PROTOCOL}"
    return PROTOCOLS[color]


def with_scores(
    model: weights.Model, scores: Iterable[Score], label: str | None = None
) -> weights.Model:
    """The model with its means, and how they were measured, on its card.

    Those of its ensemble too, where they were measured.

    A blank image is restored exactly, to an infinite PSNR, which counts as 100 dB.

    Args:
        scores: of this model, and maybe of others.
        label: this one's in `scores`; by default its network.
    """
    scores, label = list(scores), label or model.card["network"]
    card = {key: value for key, value in model.card.items() if key != "ensemble"}
    card |= {
        "scores": _means(scores, label),
        "protocol": protocol(scores, model.card["color"]),
    }
    if ensemble := _means(scores, f"{label}+"):
        card["ensemble"] = ensemble
    return model._replace(card=card)


def _means(scores, label):
    """Data -> "x2" -> {"psnr", "ssim"}, maybe "lpips" too, of the means of a label."""
    means = {}
    for s in scores:
        if s.image == "mean" and s.network == label:
            value = {"psnr": min(s.psnr, 100.0), "ssim": s.ssim}
            value |= {} if s.lpips is None else {"lpips": s.lpips}
            means.setdefault(s.data, {})[f"x{s.scale}"] = value
    return means


def crops(
    model: weights.Model, pixels: np.ndarray, scale: int, *, side: int
) -> list[np.ndarray]:
    """[bicubic, sr, hr] [side, side, C]: the square in which bicubic is furthest off.

    Smaller where the image is; in colour for a network of RGB. The arguments are those
    of `restore_image`.
    """
    restore = restore_rgb if model.card["color"] == "rgb" else restore_image
    sr, hr = restore(model, pixels, scale)
    base, _ = restore(baseline(color=model.card["color"]), pixels, scale)
    height, width = (n // side * side for n in hr.shape[:2])
    top = left = 0
    if height and width:
        error = ((base - hr) ** 2)[:height, :width]
        blocks = einops.reduce(error, "(y a) (x b) c -> y x", "sum", a=side, b=side)
        top, left = side * np.array(np.unravel_index(blocks.argmax(), blocks.shape))
    return [x[top : top + side, left : left + side] for x in (base, sr, hr)]


def compare(
    model: weights.Model,
    benchmarks: Iterable[sources.Source],
    scales: Sequence[int],
    *,
    lpips: dict | None = None,
    precision: str = "float32",
    ensemble: bool = False,
) -> Iterator[Score]:
    """Yields the scores of bicubic, of a model and maybe of its ensemble, set by set.

    Bicubic is measured in float32; the other arguments are those of `evaluate`.
    """
    for source in benchmarks:
        bicubic = baseline(color=model.card["color"])
        yield from evaluate(bicubic, source, scales, lpips=lpips)
        for averaged in (False, True)[: 1 + ensemble]:
            yield from evaluate(
                model,
                source,
                scales,
                lpips=lpips,
                precision=precision,
                ensemble=averaged,
            )


def evaluate_all(
    named: dict[str, weights.Model],
    benchmarks: Iterable[sources.Source],
    *,
    ensemble: bool = False,
) -> Iterator[Score]:
    """Yields the scores of each model, under its name, at the scales of its card.

    Where an `ensemble` is asked for, that of each network as `NAME+` too.
    """
    for source in benchmarks:
        for name, model in named.items():
            able = ensemble and bool(model.variables)  # an interpolation has none
            for averaged in (False, True)[: 1 + able]:
                scales = model.card["scales"]
                for score in evaluate(model, source, scales, ensemble=averaged):
                    yield score._replace(network=name + "+" * averaged)


@functools.partial(jax.jit, static_argnames="border")
def _measure(sr, hr, border):
    return (
        metrics.psnr(sr, hr, border=border),
        metrics.ssim(sr, hr, border=border),
    )


@jax.jit
def _lpips(params, sr, hr):
    with jax.default_matmul_precision("highest"):
        return perceptual.lpips(params, sr, hr)

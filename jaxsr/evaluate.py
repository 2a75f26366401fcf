"""A model and benchmark sets -> rows of scores, by the one protocol of `PROTOCOLS`."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import einops
import jax
import numpy as np

from jaxsr import image, metrics, models, tiling, weights
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


class Score(NamedTuple):
    """What a model reached on one image, or on average over a set."""

    network: str
    data: str  # name of the set
    image: str  # its file; "mean" for the whole set
    scale: int
    psnr: float  # dB
    ssim: float


def bicubic(color: str = "y") -> weights.Model:
    """The baseline: a model without weights, at any scale."""
    net = models.make("bicubic")
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
    color, net = model.card["color"], model.net
    x, hr = pairs.make_pair(pixels, scale, color=color, input=net.input)
    branch = scale if hasattr(net, "scales") else None
    if net.input == "low" and tiling.enlargement(net, branch) != scale:
        raise ValueError(
            f"{model.card['network']} enlarges by {net.scale}, not {scale}."
        )
    sr = image.quantise(tiling.apply(net, model.variables, x, scale=branch))
    if color == "rgb":
        sr, hr = image.rgb_to_y(sr), image.rgb_to_y(hr)
    return sr[..., :1], hr[..., :1]


def measurable(source: sources.Source, scales: Sequence[int]) -> sources.Source:
    """The source but for images too small to be measured; reads every image.

    Raises:
        ValueError: where none is large enough, or one cannot be read.
    """
    reasons = {}
    for i, name in enumerate(source.names):
        height, width = source.read(i).shape[:2]
        inside = [n - n % s - 2 * s for n in (height, width) for s in scales]
        if min(inside) < 11:  # SSIM's window
            reasons[i] = (
                f"{source.name}/{name} has {height}x{width} pixels; to be measured at "
                f"x{max(scales)} it needs {11 + 2 * max(scales)} a side or a few more."
            )
    return sources.without(source, reasons)


def evaluate(
    model: weights.Model, source: sources.Source, scales: Iterable[int]
) -> Iterator[Score]:
    """Yields the score of each image, and after each scale the mean over the set.

    Args:
        model: what is measured.
        source: the true images.
        scales: integer factors.
    """
    label = model.card["network"]
    for scale in scales:
        scores = []
        for i, name in enumerate(source.names):
            sr, hr = restore_image(model, source.read(i), scale)
            psnr, ssim = _measure(sr[None], hr[None], border=scale)
            scores.append(
                Score(label, source.name, name, scale, float(psnr[0]), float(ssim[0]))
            )
            yield scores[-1]
        means = np.mean([(s.psnr, s.ssim) for s in scores], axis=0).tolist()
        yield Score(label, source.name, "mean", scale, *means)


def with_scores(
    model: weights.Model, scores: Iterable[Score], label: str | None = None
) -> weights.Model:
    """The model with its means, and how they were measured, on its card.

    A blank image is restored exactly, to an infinite PSNR, which counts as 100 dB.

    Args:
        scores: of this model, and maybe of others.
        label: this one's in `scores`; by default its network.
    """
    means = {}
    for s in scores:
        if s.image == "mean" and s.network == (label or model.card["network"]):
            value = {"psnr": min(s.psnr, 100.0), "ssim": s.ssim}
            means.setdefault(s.data, {})[f"x{s.scale}"] = value
    facts = {"scores": means, "protocol": PROTOCOLS[model.card["color"]]}
    return model._replace(card=model.card | facts)


def crops(
    model: weights.Model, pixels: np.ndarray, scale: int, *, side: int
) -> list[np.ndarray]:
    """[bicubic, sr, hr] [side, side, 1]: the square in which bicubic is furthest off.

    Smaller where the image is. The arguments are those of `restore_image`.
    """
    sr, hr = restore_image(model, pixels, scale)
    base, _ = restore_image(bicubic(model.card["color"]), pixels, scale)
    height, width = (n // side * side for n in hr.shape[:2])
    top = left = 0
    if height and width:
        error = ((base - hr) ** 2)[:height, :width, 0]
        blocks = einops.reduce(error, "(y a) (x b) -> y x", "sum", a=side, b=side)
        top, left = side * np.array(np.unravel_index(blocks.argmax(), blocks.shape))
    return [x[top : top + side, left : left + side] for x in (base, sr, hr)]


def compare(
    model: weights.Model, benchmarks: Iterable[sources.Source], scales: Iterable[int]
) -> Iterator[Score]:
    """Yields the scores of bicubic and of a model, set by set."""
    for source in benchmarks:
        for scored in (bicubic(model.card["color"]), model):
            yield from evaluate(scored, source, scales)


def evaluate_all(
    named: dict[str, weights.Model], benchmarks: Iterable[sources.Source]
) -> Iterator[Score]:
    """Yields the scores of each model, under its name, at the scales of its card."""
    for source in benchmarks:
        for name, model in named.items():
            for score in evaluate(model, source, model.card["scales"]):
                yield score._replace(network=name)


@functools.partial(jax.jit, static_argnames="border")
def _measure(sr, hr, border):
    return (
        metrics.psnr(sr, hr, border=border),
        metrics.ssim(sr, hr, border=border),
    )

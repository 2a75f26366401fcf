"""Scores of a model on image sets, by the usual protocol of the papers."""

import functools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import einops
import jax
import numpy as np

from jaxsr import image, metrics, models, perceptual, weights
from jaxsr.data import pairs, sources
from jaxsr.inference import program, tiling

_Y = (
    "Y of MATLAB's rgb2ycbcr rounded to 8 bits, bicubic degradation, low resolution "
    "not rounded, output rounded to 8 bits, border of `scale` pixels left out, mean "
    "over images"
)

# color -> description of the protocol, printed with every score
PROTOCOLS = {
    "y": _Y,
    "ycbcr": _Y,
    "rgb": (
        "RGB, bicubic degradation, low resolution and output rounded to 8 bits, Y of "
        "both, border of `scale` pixels left out, mean over images"
    ),
    "channels": (
        "all channels over the range of their dtype, bicubic degradation, low "
        "resolution not rounded, output rounded to the dtype of the images (floats are "
        "not), border of `scale` pixels left out, squared error and SSIM averaged over "
        "channels, mean over images"
    ),
}
# Printed with LPIPS: measured on the images of `restore_rgb`, borders included.
LPIPS_PROTOCOL = (
    "LPIPS (AlexNet, version 0.1, the lower the better) of whole RGB images, border "
    "included, rounded to 8 bits, chroma by bicubic where the network is one of Y"
)


class Score(NamedTuple):
    """The scores of a model on one image, or their mean over a set."""

    network: str
    data: str  # name of the set
    image: str  # its file; "mean" for the whole set
    scale: float  # an int where it is integer
    psnr: float  # dB
    ssim: float
    lpips: float | None = None  # None if not measured; lower is better
    from_files: bool = False  # whether low-resolution images were not made by bicubic


def baseline(
    name: str = "bicubic", color: str = "y", *, blur: float = 0.0, **more
) -> weights.Model:
    """An interpolation of `models.NETWORKS`: a model without weights, at any scale.

    Args:
        name: of the interpolation.
        color: in which it is measured.
        blur: as in `image.degrade`, of the images that it is measured on.
        **more: of its card, such as the number of "channels".
    """
    net = models.make(name)
    more |= {"blur": blur} if blur else {}
    card = weights.make_card(net, color=color, scales=[], trained_on="nothing", **more)
    return weights.Model(net, {}, card)


def shipped() -> dict[str, weights.Model]:
    """Name -> shipped model, and bicubic at their scales."""
    named = {name: weights.load(name) for name in weights.shipped()}
    bicubic = baseline()
    scales = {scale for model in named.values() for scale in model.card["scales"]}
    bicubic.card["scales"] = sorted(scales)
    return {"bicubic": bicubic} | named


def bicubic_of(model: weights.Model) -> weights.Model:
    """Bicubic interpolation as a model to be measured."""
    kept = ("color", "blur", "channels")
    return baseline(**{key: x for key, x in model.card.items() if key in kept})


def restore_image(
    model: weights.Model, pixels: np.ndarray, scale: int, low: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(sr, hr), float32 [H, W, 1]: an image degraded and restored, and the true one.

    Both are Y as the protocol compares them, before the border is left out; of a model
    of "channels" all channels [H, W, C]. A model with a "blur" on its card gets images
    with that blur.

    Args:
        model: of any colour.
        pixels: the true image, uint8 [H, W, 1 or 3].
        scale: by which it is reduced.
        low: as in `pairs.make_pair`.
    """
    color, dtype = model.card["color"], pixels.dtype
    restored = _restore(model, pixels, scale, low)
    return tuple(_compared(x, color, dtype) for x in restored)


def restore_rgb(
    model: weights.Model, pixels: np.ndarray, scale: int, low: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(sr, hr), float32 RGB [H, W, 3] of 8 bits, as displayed.

    The arguments are those of `restore_image`. A network of Y gets its chroma from
    bicubic, and gray is three equal channels, as in `upscale.upscale`. Of "channels"
    the first three are shown, or the first, over the range of the true image.
    """
    sr, _ = _restore(model, pixels, scale, low)
    return _as_rgb(sr, pixels, scale, low, model.card)


def _restore(model, pixels, scale, low, **options):
    """(sr, hr) in the colour of the model, sr neither clipped nor rounded."""
    color, net = model.card["color"], model.net
    kinds = {"color": color, "input": net.input, "blur": model.card.get("blur", 0.0)}
    x, hr = pairs.make_pair(pixels, scale, low=low, **kinds)
    branch = models.static_arguments(net, scale).get("scale")
    if net.input == "low" and tiling.enlargement(net, branch) != scale:
        raise ValueError(
            f"{model.card['network']} upscales by {net.scale}, not {scale}."
        )
    return tiling.apply(net, model.variables, x, scale=branch, **options), hr


def _compared(x, color, dtype):
    """What is compared of an image in the colour of a model: Y, or all "channels"."""
    if color == "channels":
        return (
            x.clip(0, 1) if dtype.kind == "f" else image.quantise(x, 8 * dtype.itemsize)
        )
    x = image.quantise(x)
    return image.rgb_to_y(x) if color == "rgb" else x[..., :1]


def _as_rgb(sr, pixels, scale, low, card):
    """(sr, hr) of a network's sr, in its colour, and of the true pixels."""
    hr = image.modcrop(image.to_floats(pixels), scale)
    if card["color"] == "channels":
        shown = slice(3 if hr.shape[2] > 2 else 1)
        top = max(float(hr[..., shown].max()), 1e-6)
        sr, hr = (image.quantise(x[..., shown] / np.float32(top)) for x in (sr, hr))
        return tuple(np.broadcast_to(x, (*x.shape[:2], 3)) for x in (sr, hr))
    if low is None:
        x = image.degrade(hr, scale, blur=card.get("blur", 0.0))
    else:
        x = pairs.given(low, pixels, "rgb")
    bicubic = image.resize(x, size=hr.shape[:2])
    sr = image.quantise(program.merged(sr, bicubic, card["color"]))
    return tuple(np.broadcast_to(x, (*x.shape[:2], 3)) for x in (sr, hr))


def measurable(
    source: sources.Source, scales: Sequence[int], *, lpips: bool = False
) -> sources.Source:
    """The source without images too small to measure; reads every image.

    Raises:
        ValueError: if no image is large enough, or one cannot be read.
    """
    reasons = {}
    for i, name in enumerate(source.names):
        height, width = source.read(i).shape[:2]
        # SSIM's window inside the border, and what LPIPS sees
        least = perceptual.LPIPS_SIDE if lpips else 0
        needed = {s: max(11 + 2 * math.ceil(s), least) for s in scales}
        shorter = min(height, width)
        if any(image.cropped_side(shorter, s) < needed[s] for s in scales):
            reasons[i] = (
                f"{source.name}/{name} has {height}x{width} pixels; to be measured at "
                f"x{max(scales)} it needs {needed[max(scales)]} a side or a few more."
            )
    return sources.without(source, reasons)


def evaluate(
    model: weights.Model,
    source: sources.Source,
    scales: Iterable[float],
    *,
    lpips: dict | None = None,
    precision: str = "float32",
    ensemble: bool = False,
) -> Iterator[Score]:
    """Yields the score of each image, and after each scale the mean over the set.

    Args:
        model: what is measured.
        source: the true images.
        scales: factors; fractional ones only for networks of interpolated images.
        lpips: the params of `perceptual.LPIPS`, to measure that as well.
        precision: of `models.PRECISIONS`.
        ensemble: measures the mean over eight flips and rotations, as `NAME+`.
    """
    label, color = model.card["network"] + "+" * ensemble, model.card["color"]
    if lpips is not None and color == "channels":
        raise ValueError("LPIPS is of RGB images; the model has channels of no colour.")
    made = {"from_files": source.low is not None}
    if precision != "float32":
        label += f" {precision}"
    for scale in scales:
        rows = []
        for i, name in enumerate(source.names):
            pixels, low = source.read(i), sources.read_low(source, i, scale)
            sr, hr = _restore(
                model, pixels, scale, low, precision=precision, ensemble=ensemble
            )
            pair = (_compared(x, color, pixels.dtype)[None] for x in (sr, hr))
            values = _measure(*pair, border=math.ceil(scale))
            if lpips is not None:
                pair = (x[None] for x in _as_rgb(sr, pixels, scale, low, model.card))
                values += (_lpips(lpips, *pair),)
            rows.append([float(value[0]) for value in values])
            yield Score(label, source.name, name, scale, *rows[-1], **made)
        means = np.mean(rows, axis=0).tolist()
        yield Score(label, source.name, "mean", scale, *means, **made)


def protocol(scores: Iterable[Score], card: dict) -> str:
    """How the scores of a model were measured."""
    scores = list(scores)
    text = PROTOCOLS[card["color"]]
    if any(s.scale != int(s.scale) for s in scores):
        text += (
            "; at fractional scales nothing is cropped, low-resolution sides and the "
            "border are rounded up, and each axis has the quotient of its sizes"
        )
    if any(s.from_files for s in scores):
        bicubic = "bicubic degradation, low resolution (not rounded,|and)"
        text = re.sub(bicubic, "low-resolution images from files,", text)
    elif blur := card.get("blur"):
        every = f"every `scale`-th pixel after a Gaussian of sigma {blur:g} pixels"
        text = text.replace("bicubic degradation", every)
    if any(s.lpips is not None for s in scores):
        text += f"; {LPIPS_PROTOCOL}"
    return text


def with_scores(
    model: weights.Model, scores: Iterable[Score], label: str | None = None
) -> weights.Model:
    """The model with its mean scores and their protocol on its card.

    Scores of its ensemble are included if they were measured. A blank image is
    restored exactly, to an infinite PSNR, which counts as 100 dB.

    Args:
        scores: of this model, and maybe of others.
        label: this one's in `scores`; by default its network.
    """
    scores, label = list(scores), label or model.card["network"]
    card = {key: value for key, value in model.card.items() if key != "ensemble"}
    card |= {
        "scores": _means(scores, label),
        "protocol": protocol(scores, model.card),
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
    models: Sequence[weights.Model],
    pixels: np.ndarray,
    scale: int,
    low: np.ndarray | None = None,
    *,
    side: int,
) -> list[np.ndarray]:
    """[bicubic, *srs, hr] [side, side, 3]: the square where bicubic's error is largest.

    In colour; smaller where the image is. Bicubic is in the colour of the first of the
    models. The other arguments are those of `restore_image`.
    """
    first = bicubic_of(models[0]) if models else baseline()
    base, hr = restore_rgb(first, pixels, scale, low)
    srs = [restore_rgb(model, pixels, scale, low)[0] for model in models]
    height, width = (n // side * side for n in hr.shape[:2])
    top = left = 0
    if height and width:
        error = ((base - hr) ** 2)[:height, :width]
        blocks = einops.reduce(error, "(y a) (x b) c -> y x", "sum", a=side, b=side)
        top, left = side * np.array(np.unravel_index(blocks.argmax(), blocks.shape))
    return [x[top : top + side, left : left + side] for x in (base, *srs, hr)]


def compare(
    model: weights.Model,
    benchmarks: Iterable[sources.Source],
    scales: Sequence[int],
    *,
    lpips: dict | None = None,
    precision: str = "float32",
    ensemble: bool = False,
) -> Iterator[Score]:
    """Yields the scores of bicubic, a model and, if asked, its ensemble, set by set.

    Bicubic is measured in float32; the other arguments are those of `evaluate`.
    """
    for source in benchmarks:
        yield from evaluate(bicubic_of(model), source, scales, lpips=lpips)
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

    With `ensemble`, also those of each network's ensemble, as `NAME+`.
    """
    for source in benchmarks:
        for name, model in named.items():
            able = ensemble and bool(model.variables)  # not for interpolations
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

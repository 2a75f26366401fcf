"""Quality and cost of a model by scale, by which `jaxsr upscale` chooses one."""

import fractions
import math
from collections.abc import Sequence

import numpy as np

from jaxsr import image, metrics, weights
from jaxsr.data import sources
from jaxsr.inference import tiling, upscale
from jaxsr.models import cost

# Scales at which `rated` measures a model.
SCALES = (1.5, 2, 2.5, 3, 4, 6, 8)


def rated(
    model: weights.Model, source: sources.Source, scales: Sequence[float] = SCALES
) -> weights.Model:
    """The model with its quality and cost by scale on its card, for model selection.

    "upscaling" is scale, as "2.5" -> {"psnr", "multiply_adds"}: the mean PSNR in dB of
    `upscaled_psnr`, and the network's multiply-adds for an output of 1280x720 pixels.
    "cost" is `cost.facts`, and "rated_on" says how many images of what.

    Args:
        model: of any network, also for scales that are not its own.
        source: the true images.
        scales: with few digits, since images are cropped to sizes that they divide.
    """
    net = model.net
    costs = cost.facts(net, weights.channels_of(model.card))
    table = {}
    for scale in scales:
        psnrs = [
            upscaled_psnr(model, source.read(i), scale)
            for i in range(len(source.names))
        ]
        branch = upscale.branch(net, scale)
        factor = tiling.enlargement(net, branch)
        made = (factor / scale) ** 2 if net.input == "low" else 1
        adds = costs["multiply_adds"][str(branch or "")]
        table[f"{scale:g}"] = {
            "psnr": float(np.mean(psnrs)),
            "multiply_adds": round(adds * made),
        }
    rated_on = f"{len(source.names)} images of {source.name}"
    facts = {"upscaling": table, "cost": costs, "rated_on": rated_on}
    return model._replace(card=model.card | facts)


def upscaled_psnr(model: weights.Model, pixels: np.ndarray, scale: float) -> float:
    """PSNR in dB of an image reduced by a scale and upscaled again, as users get it.

    The low-resolution image has the colours and 8 bits of `pixels`; PSNR is that of Y
    rounded to 8 bits without a border of the scale, rounded up. A blank image is
    restored exactly, which counts as 100 dB.
    """
    ratio = fractions.Fraction(scale).limit_denominator(100)
    hr = image.modcrop(pixels, ratio.numerator)
    low = image.to_uint(image.resize(image.from_uint(hr), 1 / scale))
    sr = upscale.to_size(low, hr.shape[:2], model, tiling.Options())
    psnr = metrics.psnr(
        *(image.luma(x)[None] for x in (sr, hr)), border=math.ceil(scale)
    )
    return min(float(psnr[0]), 100.0)

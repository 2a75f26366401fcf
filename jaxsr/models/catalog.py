"""What each network costs, and the variants that its paper has.

Counting takes seconds, so `jaxsr models` reads what `python -m jaxsr.models.catalog`
has written to networks.json, to be run again where `CATALOG` or a network changes.
"""

import json
import math
import pathlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr import image, models
from jaxsr.models import blocks


class Entry(NamedTuple):
    """A row of `CATALOG`."""

    paper: str
    color: str  # that the paper trains on: "y" or "rgb"
    variants: tuple[dict, ...]  # fields that differ from the default


class Cost(NamedTuple):
    """What a network takes, whatever its weights."""

    parameters: int  # biases, slopes and normalisation included
    multiply_adds: int  # of its convolutions, for one image


def cost(
    net: nn.Module,
    channels: int,
    *,
    size: tuple[int, int] = (720, 1280),
    scale: int | None = None,
) -> Cost:
    """The cost for an output of about `size`; computes nothing but shapes.

    A convolution counts its kernel at every output pixel, a transposed one at every
    input pixel. (Tables in the literature take the output's there too: their FSRCNN x2
    has 6.0 G, here 2.9 G.)

    Args:
        net: takes and returns `channels`.
        channels: 1 or 3.
        size: (height, width) in pixels.
        scale: one of `net.scales`, where it has several.
    """
    static = {"scale": scale} if scale else {}
    factor = scale or getattr(net, "scale", 1)
    total = 0

    def count(call, args, kwargs, context):
        nonlocal total
        out = call(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(context.module, KINDS):
            kernel = context.module.variables["params"]["kernel"]
            pixels = math.prod(out.shape[:-1])
            if isinstance(context.module, blocks.ConvTranspose):
                pixels //= context.module.stride**2
            total += pixels * kernel.size
        return out

    lr = jax.ShapeDtypeStruct((1, *(n // factor for n in size), channels), jnp.float32)
    variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), lr)
    with nn.intercept_methods(count):
        jax.eval_shape(lambda v, x: net.apply(v, x, **static), variables, lr)
    leaves = jax.tree.leaves(variables.get("params", {}))
    return Cost(sum(x.size for x in leaves), total)


def by_scale(net: nn.Module, channels: int) -> dict[int | None, Cost]:
    """The cost at each scale of a network of several, else under None."""
    return {
        scale: cost(net, channels, scale=scale)
        for scale in getattr(net, "scales", [None])
    }


def facts(net: nn.Module, channels: int) -> dict:
    """What a table of networks shows of one, as JSON values.

    "parameters", "halo", "input", and "multiply_adds" for 1280x720 pixels by scale, ""
    where the network has one or any.
    """
    costs = by_scale(net, channels)
    return {
        "parameters": next(iter(costs.values())).parameters,
        "halo": net.halo,
        "input": net.input,
        "multiply_adds": {str(s or ""): c.multiply_adds for s, c in costs.items()},
    }


def listed(name: str) -> dict:
    """What `FILE` holds of a network of `CATALOG`: its defaults and its variants."""
    entry = CATALOG[name]
    variants = [
        {"fields": fields}
        | facts(models.make(name, **fields), image.channels(entry.color))
        for fields in entry.variants
    ]
    defaults = models.fields_of(models.MODELS[name])
    row = {"paper": entry.paper, "defaults": defaults, "variants": variants}
    return json.loads(json.dumps(row))


FILE = pathlib.Path(__file__).parent / "networks.json"
KINDS = (nn.Conv, blocks.ConvTranspose)

_BASELINE = {"blocks": 16, "width": 64, "residual_scale": 1.0}
FSRCNN_S = {"width": 32, "narrow": 5, "depth": 1}

# network -> its paper and variants
CATALOG = {
    "nearest": Entry("-", "y", ({},)),
    "bilinear": Entry("-", "y", ({},)),
    "bicubic": Entry("Keys, TASSP 1981", "y", ({},)),
    "lanczos": Entry("Duchon, JAM 1979", "y", ({},)),
    "srcnn": Entry(
        "Dong et al., TPAMI 2016",
        "y",
        tuple({"sides": (9, side, 5)} for side in (1, 3, 5)),
    ),
    "fsrcnn": Entry(
        "Dong et al., ECCV 2016",
        "y",
        tuple({"scale": s, **small} for small in ({}, FSRCNN_S) for s in (2, 3, 4)),
    ),
    "espcn": Entry(
        "Shi et al., CVPR 2016", "y", tuple({"scale": s} for s in (2, 3, 4))
    ),
    "vdsr": Entry("Kim et al., CVPR 2016", "y", ({}, {"residual": False})),
    "drcn": Entry("Kim et al., CVPR 2016", "y", ({},)),
    "red": Entry(
        "Mao et al., NIPS 2016",
        "y",
        ({"depth": 10, "skip_every": 0}, {"depth": 20}, {"depth": 30}),
    ),
    "drrn": Entry(
        "Tai et al., CVPR 2017",
        "y",
        ({"units": 9}, {"units": 25}, {"units": 25, "norm": False, "bias": False}),
    ),
    "lapsrn": Entry(
        "Lai et al., CVPR 2017",
        "y",
        ({"scales": (2,)}, {"scales": (2, 4)}, {"scales": (2, 4, 8), "depth": 5}),
    ),
    "ms_lapsrn": Entry(
        "Lai et al., TPAMI 2018", "y", tuple({"recursions": r} for r in (2, 5, 8))
    ),
    "srdensenet": Entry(
        "Tong et al., ICCV 2017",
        "y",
        tuple({"features": f} for f in ("h", "hl", "all")),
    ),
    "srresnet": Entry("Ledig et al., CVPR 2017", "rgb", ({"scale": 2}, {"scale": 4})),
    "edsr": Entry(
        "Lim et al., CVPRW 2017",
        "rgb",
        tuple({"scale": s, **fields} for fields in (_BASELINE, {}) for s in (2, 3, 4)),
    ),
    "mdsr": Entry("Lim et al., CVPRW 2017", "rgb", ({"blocks": 16}, {})),
}


if __name__ == "__main__":
    text = json.dumps({name: listed(name) for name in CATALOG}, indent=1)
    FILE.write_text(text + "\n")

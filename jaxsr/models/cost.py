"""What each network costs, and the variants that its paper has.

Counting takes seconds, so `jaxsr models` reads what `python -m jaxsr.models.cost`
has written to networks.json, to be run again where a network or its variants change.
"""

import functools
import json
import math
import pathlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr import image, models
from jaxsr.models import blocks


class Cost(NamedTuple):
    """The cost of a network."""

    parameters: int  # biases, slopes and normalisation included
    multiply_adds: int  # of its convolutions, for one image


@functools.lru_cache(maxsize=1024)
def count(
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
    static = models.static_arguments(net, scale)
    factor = scale or min(models.scales_of(net) or [1])
    total = 0

    def counted(call, args, kwargs, context):
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

    def init(x):
        return net.init(jax.random.key(0), x)

    if static:  # a call then uses some of the layers that are made
        variables = jax.eval_shape(init, lr)
        with nn.intercept_methods(counted):
            jax.eval_shape(lambda v, x: net.apply(v, x, **static), variables, lr)
    else:
        with nn.intercept_methods(counted):
            variables = jax.eval_shape(init, lr)
    leaves = jax.tree.leaves(variables.get("params", {}))
    return Cost(sum(x.size for x in leaves), total)


def by_scale(net: nn.Module, channels: int) -> dict[int | None, Cost]:
    """The cost at each scale of a network of several, else under None."""
    return {
        scale: count(net, channels, scale=scale)
        for scale in (net.scales if models.is_multiscale(net) else [None])
    }


def facts(net: nn.Module, channels: int) -> dict:
    """The facts that a table of networks shows, as JSON values.

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
    """The entry of a network in `FILE`: its defaults and its variants."""
    entry = models.NETWORKS[name]
    variants = [
        {"fields": fields}
        | facts(models.make(name, **fields), image.channels(entry.color))
        for fields in entry.variants
    ]
    defaults = models.fields_of(models.NETWORKS[name].cls)
    row = {"paper": entry.paper, "defaults": defaults, "variants": variants}
    return json.loads(json.dumps(row))


FILE = pathlib.Path(__file__).parent / "networks.json"
KINDS = (nn.Conv, blocks.ConvTranspose)


if __name__ == "__main__":
    text = json.dumps({name: listed(name) for name in models.NETWORKS}, indent=1)
    FILE.write_text(text + "\n")

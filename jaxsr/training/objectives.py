"""Training objectives: (variables, batch, step) -> (loss [B], aux).

`aux` has "batch_stats", the statistics after the step ({} without batch normalisation),
"mse", the mean squared error of the batch, and "metrics", a dict of scalars to log that
are means over the batch. Makers take the network, a loss (sr, hr) ->
[B], and settings of their own.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr import image, models
from jaxsr.models import blocks

Objective = Callable[[dict, dict, jax.Array], tuple[jax.Array, dict]]


def supervised(net: nn.Module, loss: Callable) -> Objective:
    """The objective `loss(net(lr), hr)` of a network with one output.

    A network that gives less than hr, as one of unpadded convolutions does, is compared
    with the part of hr at its `offset`, by default the centre. One of several scales is
    trained at that of the batch.
    """
    offset = getattr(net, "offset", None)

    def objective(variables, batch, step):
        del step
        sr, batch_stats = apply(net, variables, batch)
        if 0 in sr.shape:
            height, width = batch["lr"].shape[1:3]
            raise ValueError(
                "the network's layers without padding leave no pixel of an input of "
                f"{height}x{width}. Set a larger data.patch."
            )
        hr = _part(batch["hr"], sr.shape[1:3], offset)
        return loss(sr, hr), aux(sr, hr, batch_stats)

    return objective


def shuffled(net: nn.Module, loss: Callable) -> Objective:
    """The loss before a network's pixel shuffle, against hr shuffled back.

    The pixels are those of `supervised` in another order, so that a loss of pixels, as
    "mse", and its gradient are the same; nothing is shuffled backwards.

    Args:
        net: its method `shuffled` gives [B, h, w, C*scale*scale].
        loss: (sr, hr) -> [B].

    Source: Shi et al., CVPR 2016, section 3.2.
    """

    def objective(variables, batch, step):
        del step
        sr, batch_stats = apply(net, variables, batch, method="shuffled")
        hr = blocks.pixel_unshuffle(batch["hr"], net.scale)
        return loss(sr, hr), aux(sr, hr, batch_stats)

    return objective


def pyramid(net: nn.Module, loss: Callable) -> Objective:
    """The sum of the losses of every level of a LapSRN, the targets reduced by bicubic.

    Source: Lai, Huang, Ahuja and Yang, CVPR 2017, section 3.2.
    """

    def objective(variables, batch, step):
        del step
        levels, batch_stats = apply(net, variables, batch, method="levels")
        hr, total = batch["hr"], 0.0
        for sr in levels:
            factor = hr.shape[1] // sr.shape[1]
            target = hr if factor == 1 else image.degrade(hr, factor)
            total += loss(sr, target)
        return total, aux(levels[-1], hr, batch_stats)

    return objective


def recursive(net: nn.Module, loss: Callable, *, updates: int) -> Objective:
    """alpha times the mean loss of DRCN's recursions, 1 - alpha times the ensemble's.

    Args:
        net: its method `recursions` gives all images [D, B, H, W, C] and their sum
            by the learned weights [B, H, W, C].
        loss: (sr, hr) -> [B].
        updates: alpha falls linearly from 1 to 0 over these. The paper prints no
            schedule.

    Source: Kim, Lee and Lee, "Deeply-Recursive Convolutional Network", CVPR 2016.
    """

    def objective(variables, batch, step):
        (every, ensemble), batch_stats = apply(
            net, variables, batch, method="recursions"
        )
        alpha = jnp.maximum(0.0, 1.0 - step / updates)
        hr = batch["hr"]
        deep = jnp.mean(jax.vmap(lambda sr: loss(sr, hr))(every), axis=0)
        parts = aux(ensemble, hr, batch_stats)
        parts["metrics"]["alpha"] = alpha
        return alpha * deep + (1 - alpha) * loss(ensemble, hr), parts

    return objective


def apply(
    net: nn.Module, variables: dict, batch: dict, method: str | None = None
) -> tuple[Any, dict]:
    """(the network's output in training, its new batch statistics)."""
    static = {}
    if models.is_multiscale(net):
        static["scale"] = batch["hr"].shape[1] // batch["lr"].shape[1]
    if "batch_stats" not in variables:
        return net.apply(variables, batch["lr"], method=method, **static), {}
    out, changed = net.apply(
        variables,
        batch["lr"],
        train=True,
        method=method,
        mutable=["batch_stats"],
        **static,
    )
    return out, changed["batch_stats"]


def _part(images, size, offset):
    top, left = (
        (whole - part) // 2 if offset is None else offset
        for whole, part in zip(images.shape[1:3], size)
    )
    return images[:, top : top + size[0], left : left + size[1]]


def aux(sr: jax.Array, hr: jax.Array, batch_stats: dict) -> dict:
    """The second part of what an objective returns."""
    # Not PSNRs, whose mean is not the batch's, and which can be infinite.
    mse = jnp.mean((sr - hr) ** 2)
    return {"batch_stats": batch_stats, "mse": mse, "metrics": {}}


OBJECTIVES = {
    "pyramid": pyramid,
    "recursive": recursive,
    "shuffled": shuffled,
    "supervised": supervised,
}

"""How a network is trained: (variables, batch, step) -> (loss [B], aux).

`aux` has "batch_stats", the statistics after the step ({} without batch normalisation),
and "metrics", a dict of scalars to log.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

Objective = Callable[[dict, dict, jax.Array], tuple[jax.Array, dict]]


def supervised(net: nn.Module, loss: Callable) -> Objective:
    """The objective `loss(net(lr), hr)` of a network with one output.

    Args:
        net: takes batch["lr"], gives images of the shape of batch["hr"].
        loss: (sr, hr) -> [B].
    """

    def objective(variables, batch, step):
        del step
        sr = net.apply(variables, batch["lr"])
        # One PSNR for the whole batch: that of a flat patch alone can be infinite.
        psnr = -10 * jnp.log10(jnp.mean((sr - batch["hr"]) ** 2))
        return loss(sr, batch["hr"]), {"batch_stats": {}, "metrics": {"psnr": psnr}}

    return objective

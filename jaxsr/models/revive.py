"""Filters that ReLU has silenced, found and drawn anew without changing the output.

A filter whose output is negative everywhere has no gradient, so that it stays silent
however long a network is trained. Adam at high rates leaves many: it moves all weights
of a filter by as much, whose sum, the answer to brightness, then outweighs the answer
to detail. Networks with revived filters want lower rates, such as 2e-4.
"""

import collections
import itertools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util


def heard(
    net: nn.Module, variables: dict, inputs: jax.Array, **arguments
) -> dict[tuple[str, str], np.ndarray]:
    """Which features of a convolution reach the next one, not zero everywhere.

    Only of convolutions that a network calls once, one after another.

    Args:
        net: the network.
        variables: its own.
        inputs: [B, H, W, C], what it takes.
        **arguments: the others that it takes, as the scale of MDSR.

    Returns:
        (name, name of the next), such as ("conv_0", "conv_1") -> bool [features].
    """
    calls = []

    def note(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if isinstance(context.module, nn.Conv) and context.method_name == "__call__":
            calls.append(("/".join(context.module.path), args[0], out.shape[-1]))
        return out

    with nn.intercept_methods(note):
        net.apply(variables, inputs, **arguments)
    count = collections.Counter(name for name, _, _ in calls)
    return {
        (name, after): np.asarray((given != 0).any((0, 1, 2)))
        for (name, _, width), (after, given, _) in itertools.pairwise(calls)
        if width == given.shape[-1] and count[name] == count[after] == 1
    }


def revived(
    net: nn.Module,
    variables: dict,
    inputs: Sequence[tuple[jax.Array, dict]],
    rng: jax.Array,
) -> tuple[dict, int]:
    """(variables, count): those with every silent filter drawn anew, and how many.

    A filter is silent where none of its features is positive for any of `inputs`. Its
    weights become normal (He et al., ICCV 2015), less their mean over each input
    channel, for it to answer to detail and not to brightness, and its bias zero. The
    next layer's weights for it become zero, from which the first update moves them.

    Args:
        net: the network.
        variables: its own.
        inputs: those of several images, and the other arguments, as `heard` takes them.
        rng: a key.

    Raises:
        ValueError: where the output would change, since more than the next layer takes
            the features.
    """
    alive: dict = {}
    for x, arguments in inputs:
        for key, found in heard(net, variables, x, **arguments).items():
            alive[key] = alive.get(key, False) | found
    flat, count = traverse_util.flatten_dict(variables, sep="/"), 0
    for i, ((name, after), found) in enumerate(alive.items()):
        kernel, nexts = f"params/{name}/kernel", f"params/{after}/kernel"
        draw = nn.initializers.he_normal()(
            jax.random.fold_in(rng, i), flat[kernel].shape
        )
        # A filter of one pixel has nothing but its channels to differ in.
        draw -= draw.mean((0, 1) if draw[..., 0, 0].size > 1 else 2, keepdims=True)
        flat[kernel] = jnp.where(found, flat[kernel], draw)
        flat[nexts] = jnp.where(found[:, None], flat[nexts], 0)
        if (bias := f"params/{name}/bias") in flat:
            flat[bias] = jnp.where(found, flat[bias], 0)
        count += int((~found).sum())
    new = traverse_util.unflatten_dict(flat, sep="/")
    x, arguments = inputs[0]
    old, now = (net.apply(v, x, **arguments) for v in (variables, new))
    if not np.allclose(old, now, atol=1e-4):
        raise ValueError(
            "revive must be False for a network whose features reach more than the "
            f"next convolution; {type(net).__name__} is one."
        )
    return new, count

"""FSRCNN and FSRCNN-s: the authors' MATLAB files."""

import flax.errors
import jax.numpy as jnp
import numpy as np

from jaxsr import models
from jaxsr.published import matlab

CELLS = ["weights_conv", "biases_conv", "prelu_conv"]
SCALES = (2, 3, 4)
GRAY = 0.05  # how far from itself a network at its own scale may move a gray image


def convert(data: bytes, suffix: str):
    """(net, variables, card) of an FSRCNN; its slopes, one a layer, are repeated."""
    if suffix != ".mat":
        raise ValueError(f"the file must end in .mat; got {suffix!r}.")
    found = matlab.read(data)
    matlab.check_names(found, CELLS)
    kernels, biases, slopes = ([*found[name].flat] for name in CELLS)
    depth = len(kernels) - 4
    if depth < 0 or not len(kernels) == len(biases) == len(slopes):
        raise ValueError(
            "expected cells for at least 4 layers, as many in each; found "
            f"{len(kernels)}, {len(biases)} and {len(slopes)}."
        )
    layers = ["extract", "shrink", *[f"map_{i}" for i in range(depth)], "expand"]
    params = {}
    for layer, kernel, bias, slope in zip([*layers, "deconv"], kernels, biases, slopes):
        bias = bias.astype(np.float32).ravel()
        params[layer] = {"kernel": matlab.kernel(kernel), "bias": bias}
        if layer != "deconv":
            slope = np.broadcast_to(slope.astype(np.float32).ravel(), bias.shape)
            params[f"prelu_{layer}"] = {"slope": slope}
    deconv = params["deconv"]
    deconv["kernel"] = deconv["kernel"].swapaxes(2, 3)  # stored as [out, k*k, in]
    width, narrow = (params[name]["bias"].size for name in ("extract", "shrink"))
    net = models.FSRCNN(width=width, narrow=narrow, depth=depth)
    net = net.clone(scale=_scale(net, params))
    about = {"color": "y", "scales": [net.scale], "trained_on": "published weights"}
    return net, {"params": params}, about


def _scale(net, params):
    """The scale at which a gray image stays gray: the shapes are those of any."""
    levels = jnp.array([0.2, 0.5, 0.8]).reshape(3, 1, 1, 1)
    x = jnp.broadcast_to(levels, (3, 4, 4, 1))
    errors = {}
    for scale in SCALES:
        try:
            sr = net.clone(scale=scale).apply({"params": params}, x)
        except flax.errors.ScopeParamShapeError:
            return scale  # any: weights.check then lists what is wrong
        errors[scale] = float(jnp.abs(sr - levels).max())
    best = min(errors, key=errors.get)
    if not errors[best] < GRAY:
        raise ValueError(
            f"expected a gray image to stay gray at one of the scales {SCALES}, to "
            f"{GRAY}; found {errors}."
        )
    return best

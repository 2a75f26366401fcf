"""FSRCNN and FSRCNN-s: the authors' MATLAB files, and PyTorch's."""

import flax.errors
import jax.numpy as jnp
import numpy as np

from jaxsr import models
from jaxsr.importers import formats, matlab, torch_files

CELLS = ["weights_conv", "biases_conv", "prelu_conv"]
SCALES = (2, 3, 4)
GRAY = 0.05  # largest change of a gray image by a network at its own scale


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of an FSRCNN; a slope for a whole layer is repeated.

    Ports in PyTorch pad with zeros, where this network repeats its border.
    """
    readers = {
        ".mat": _mat_layers,
        **dict.fromkeys(torch_files.SUFFIXES, _torch_layers),
    }
    kernels, biases, slopes = formats.reader(readers, suffix)(data)
    depth = len(kernels) - 4
    if depth < 0 or not len(kernels) == len(biases) == len(slopes):
        raise ValueError(
            "expected kernels, biases and slopes of at least 4 layers, as many of "
            f"each; found {len(kernels)}, {len(biases)} and {len(slopes)}."
        )
    names = ["extract", "shrink", *[f"map_{i}" for i in range(depth)], "expand"]
    params = {}
    for name, kernel, bias, slope in zip([*names, "deconv"], kernels, biases, slopes):
        params[name] = {"kernel": kernel, "bias": bias}
        if name != "deconv":
            slope = np.broadcast_to(slope.astype(np.float32).ravel(), bias.shape)
            params[f"prelu_{name}"] = {"slope": slope}
    width, narrow = (params[name]["bias"].size for name in ("extract", "shrink"))
    net = models.FSRCNN(width=width, narrow=narrow, depth=depth)
    net = net.clone(scale=_scale(net, params))
    if suffix != ".mat" and net.scale % 2:  # ports cut off half a kernel at any scale
        net = net.clone(crop=len(kernels[-1]) // 2)
    about = {"color": "y", "scales": [net.scale], "trained_on": "published weights"}
    return net, {"params": params}, about


def _mat_layers(data):
    found = matlab.read(data)
    matlab.check_names(found, CELLS)
    kernels, biases, slopes = ([*found[name].flat] for name in CELLS)
    kernels = [matlab.kernel(kernel) for kernel in kernels]
    kernels[-1:] = [x.swapaxes(2, 3) for x in kernels[-1:]]  # stored [out, k*k, in]
    return kernels, [x.astype(np.float32).ravel() for x in biases], slopes


def _torch_layers(tensors):
    layers = torch_files.convolutions(tensors)
    *before, (_, kernel, bias, _) = layers
    if any(layer.slope is None for layer in before):
        raise ValueError("expected a PReLU after each convolution but the last.")
    found = formats.plain([layer._replace(slope=None) for layer in before])
    found.append(  # transposed: [in, out, h, w]
        {
            "kernel": kernel.transpose(2, 3, 0, 1).astype(np.float32),
            "bias": formats.bias_of(layers[-1], kernel.shape[1]),
        }
    )
    slopes = [layer.slope for layer in layers]
    return [x["kernel"] for x in found], [x["bias"] for x in found], slopes


def _scale(net, params):
    """The scale at which a gray image stays gray; shapes do not depend on it."""
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

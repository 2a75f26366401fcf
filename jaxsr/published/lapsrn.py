"""LapSRN and MS-LapSRN: the authors' MatConvNet files, a struct 'net' of a DagNN."""

import re

import numpy as np
from flax import traverse_util

from jaxsr import models
from jaxsr.published import matlab

# the end of a layer's name, in the file -> here; convolutions are counted from 1 there
LAYERS = {"upconv": "up", "residual_conv": "residual", "img_up": "image"}


def convert(data: bytes, suffix: str):
    """(net, variables, card) of a LapSRN file; levels, depth and width as it has them.

    The file counts its levels down: the last makes the largest image.
    """
    tensors, _ = _read(data, suffix)
    levels = max(_numbers(r"level(\d+)_", tensors))
    depth = max(_numbers(r"level\d+_conv(\d+)_f", tensors))
    names = {"input_conv": "conv_in"}
    for level in range(levels):
        theirs = f"level{levels - level}_"
        for source, name in _level(depth).items():
            names[theirs + source] = f"level_{level}_{name}"
    scales = tuple(2 ** (level + 1) for level in range(levels))
    params = _params(tensors, names)
    net = models.LapSRN(scales=scales, depth=depth, width=_width(params))
    return net, {"params": params}, _about(scales)


def convert_shared(data: bytes, suffix: str):
    """(net, variables, card) of an MS-LapSRN file.

    The scales and recursions are told by the names of its layers, as no weight does.
    """
    tensors, layers = _read(data, suffix)
    depth = max(_numbers(r"^conv(\d+)_f", tensors))
    recursions = max(_numbers(r"_R(\d+)_", layers))
    scales = tuple(sorted(set(_numbers(r"^x(\d+)SR_", layers))))
    params = _params(tensors, {"input_conv": "conv_in"} | _level(depth))
    net = models.MSLapSRN(
        scales=scales, depth=depth, recursions=recursions, width=_width(params)
    )
    return net, {"params": params}, _about(scales)


def _about(scales):
    return {
        "color": "y",
        "scales": list(scales),
        "trained_on": "T91 and BSDS200 (published weights)",
    }


def _level(depth):
    return {f"conv{i + 1}": f"conv_{i}" for i in range(depth)} | LAYERS


def _width(params):
    return params["conv_in"]["kernel"].shape[-1]


def _read(data, suffix):
    """({name: array} of the parameters, names of the layers) of a DagNN."""
    if suffix != ".mat":
        raise ValueError(f"the file must end in '.mat'; got {suffix!r}.")
    variables = matlab.read(data)
    net = variables.get("net", np.empty(0))
    if net.size != 1 or not _is_struct(net, "params", "layers"):
        raise ValueError(
            "expected a struct 'net' of the structs 'params' and 'layers', found "
            f"{sorted(variables)}."
        )
    params, layers = net["params"].item(), net["layers"].item()
    if not (_is_struct(params, "name", "value") and _is_struct(layers, "name")):
        raise ValueError(
            "expected the fields 'name' and 'value' in 'params' and 'name' in "
            f"'layers', found {params.dtype.names} and {layers.dtype.names}."
        )
    tensors = {str(p["name"].item()): p["value"] for p in params.flat}
    return tensors, [str(layer["name"].item()) for layer in layers.flat]


def _is_struct(array, *fields):
    return set(fields) <= set(array.dtype.names or ())


def _numbers(pattern, names):
    """The numbers that the pattern finds in names; there must be some."""
    found = [int(n) for name in names for n in re.findall(pattern, name)]
    if not found:
        raise ValueError(f"expected names with {pattern!r}, found {sorted(names)}.")
    return found


def _params(tensors, names):
    """The parameters of our names, of the tensors NAME_f (kernels) and NAME_b."""
    params = {}
    for source, name in names.items():
        params[f"{source}_f"] = f"{name}/kernel"
        if not source.endswith("img_up"):
            params[f"{source}_b"] = f"{name}/bias"
    if params.keys() != tensors.keys():
        raise ValueError(
            f"expected also {sorted(params.keys() - tensors.keys())}, "
            f"found {sorted(tensors.keys() - params.keys())} beyond what was expected."
        )
    return traverse_util.unflatten_dict(
        {path: _tensor(source, tensors[source]) for source, path in params.items()},
        sep="/",
    )


def _tensor(name, value):
    value = value.astype(np.float32)
    if name.endswith("_b"):
        return value.ravel()
    # MATLAB drops trailing axes of length one.
    kernel = value.reshape(value.shape + (1,) * (4 - value.ndim))
    # A transposed convolution's is [h, w, out, in].
    return kernel.swapaxes(2, 3) if "up" in name else kernel

"""LapSRN and MS-LapSRN: the authors' MatConvNet files, and twtygqyy/pytorch-LapSRN's.

The former hold a struct 'net' of a DagNN.
"""

import re

import numpy as np
from flax import traverse_util

from jaxsr import models
from jaxsr.importers import formats, matlab, torch_files

# the end of a layer's name, in the file -> here; convolutions are counted from 1 there
LAYERS = {"upconv": "up", "residual_conv": "residual", "img_up": "image"}


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of a LapSRN; levels, depth and width as in the file."""
    readers = {
        ".mat": _mat_layers,
        **dict.fromkeys(torch_files.SUFFIXES, _torch_layers),
    }
    levels, depth, params = formats.reader(readers, suffix)(data)
    net = models.LapSRN(
        scales=tuple(2 ** (level + 1) for level in range(levels)),
        depth=depth,
        width=_width(params),
        up_side=len(params["level_0_up"]["kernel"]),
    )
    return net, {"params": params}, _about(net.scales)


def _mat_layers(data):
    """(levels, depth, params); the file's last level makes the largest image."""
    tensors, _ = _read(data)
    levels = max(_numbers(r"level(\d+)_", tensors))
    depth = max(_numbers(r"level\d+_conv(\d+)_f", tensors))
    names = {"input_conv": "conv_in"}
    for level in range(levels):
        theirs = f"level{levels - level}_"
        for source, name in _level(depth).items():
            names[theirs + source] = f"level_{level}_{name}"
    return levels, depth, _params(tensors, names)


def _torch_layers(tensors):
    """Likewise; no layer has a bias, and the features of a level are a Sequential."""
    levels = max(_numbers(r"convt_F(\d+)\.", tensors))
    depth = max(_numbers(r"convt_F\d+\.0\.cov_block\.(\d+)\.", tensors, 2)) // 2
    names = {"conv_input": "conv_in"}
    for level in range(levels):
        for source, name in (
            *((f"F{{}}.0.cov_block.{2 * i}", f"conv_{i}") for i in range(depth)),
            (f"F{{}}.0.cov_block.{2 * depth}", "up"),
            ("R{}", "residual"),
            ("I{}", "image"),
        ):
            names[f"convt_{source.format(level + 1)}"] = f"level_{level}_{name}"
    params = formats.rename(
        tensors,
        {f"{source}.weight": f"{name}/kernel" for source, name in names.items()},
    )
    for name, layer in params.items():
        if name.endswith(("up", "image")):  # transposed, [in, out, h, w] in the file
            layer["kernel"] = layer["kernel"].swapaxes(2, 3)
        if not name.endswith("image"):
            layer["bias"] = np.zeros(layer["kernel"].shape[-1], np.float32)
    return levels, depth, params


def convert_shared(data: bytes, suffix: str):
    """(net, variables, card) of an MS-LapSRN file.

    The names of its layers give the scales and recursions; the weights do not.
    """
    tensors, layers = formats.reader({".mat": _read}, suffix)(data)
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


def _read(data):
    """({name: array} of the parameters, names of the layers) of a DagNN."""
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


def _numbers(pattern, names, step=1):
    """The numbers, by steps, that the pattern finds in names; there must be some."""
    found = [int(n) for name in names for n in re.findall(pattern, name)]
    if not found or max(found) > step * max(64, len(names)):
        raise ValueError(
            f"expected names with {pattern!r}, numbered up to their count, found "
            f"{sorted(names)}."
        )
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

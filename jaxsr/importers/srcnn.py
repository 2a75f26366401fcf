"""SRCNN: MATLAB files of the authors, and PyTorch's; their names hold the scale."""

import numpy as np

from jaxsr import models
from jaxsr.importers import formats, matlab, torch_files

LAYERS = ["conv_0", "conv_1", "conv_out"]


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of an SRCNN, its sides and widths read off its shapes.

    Ports in PyTorch pad with zeros, where this network repeats its border.
    """
    readers = {
        ".mat": _mat_layers,
        **dict.fromkeys(torch_files.SUFFIXES, _torch_layers),
    }
    params = dict(zip(LAYERS, formats.reader(readers, suffix)(data)))
    kernels = [layer["kernel"] for layer in params.values()]
    net = models.SRCNN(
        sides=tuple(len(kernel) for kernel in kernels),
        widths=tuple(kernel.shape[-1] for kernel in kernels[:-1]),
    )
    about = {"color": "y", "trained_on": "published weights"}
    return net, {"params": params}, about


def _mat_layers(data):
    found = matlab.read(data)
    numbers = range(1, len(LAYERS) + 1)
    names = [f"{kind}_conv{i}" for kind in ("weights", "biases") for i in numbers]
    matlab.check_names(found, names)
    layers = []
    for i in numbers:
        columns = found[f"weights_conv{i}"]
        if i == 1:  # of one channel, whose axis it lacks
            columns = columns[np.newaxis]
        bias = found[f"biases_conv{i}"].astype(np.float32).ravel()
        layers.append({"kernel": matlab.kernel(columns), "bias": bias})
    return layers


def _torch_layers(tensors):
    return formats.plain(torch_files.convolutions(tensors), count=len(LAYERS))

"""VDSR: the authors' MatConvNet file, huangzehao/caffe-vdsr's, and PyTorch's."""

import numpy as np

from jaxsr import models
from jaxsr.importers import caffe, formats, matlab, torch_files

Layers = list[tuple[np.ndarray, np.ndarray]]  # kernels HWIO and biases, input first


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of a VDSR file; depth and width follow from its shapes."""
    readers = {".mat": _mat_layers, ".caffemodel": caffe.read_layers}
    readers |= dict.fromkeys(torch_files.SUFFIXES, _torch_layers)
    layers = formats.reader(readers, suffix)(data)
    if len(layers) < 2:
        raise ValueError(f"expected at least 2 convolutions, found {len(layers)}.")
    net = models.VDSR(depth=len(layers), width=layers[0][0].shape[-1])
    names = [f"conv_{i}" for i in range(net.depth - 1)] + ["conv_out"]
    params = {
        name: {"kernel": kernel, "bias": bias}
        for name, (kernel, bias) in zip(names, layers)
    }
    about = {"color": "y", "scales": [2, 3, 4], "trained_on": "291 (published weights)"}
    return net, {"params": params}, about


def _mat_layers(data) -> Layers:
    """The layers in a struct "model" of two cells, "weight" (HWIO) and "bias"."""
    variables = matlab.read(data)
    model = variables.get("model", np.empty(0))
    if model.size != 1 or not {"weight", "bias"} <= set(model.dtype.names or ()):
        raise ValueError(
            "expected a struct 'model' of the cells 'weight' and 'bias', found "
            f"{sorted(variables)}."
        )
    kernels, biases = model["weight"].item(), model["bias"].item()
    return [
        (_with_rank_4(kernel.astype(np.float32)), bias.astype(np.float32).ravel())
        for kernel, bias in zip(kernels.flat, biases.flat, strict=True)
    ]


def _with_rank_4(kernel):
    """The kernel with the trailing axes of length one that MATLAB drops."""
    return kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))


def _torch_layers(tensors) -> Layers:
    """The first has one channel in, the last one out, wherever they are defined."""
    found = torch_files.convolutions(tensors)
    found.sort(key=lambda x: (x.kernel.shape[0] == 1) - (x.kernel.shape[1] == 1))
    return [(layer["kernel"], layer["bias"]) for layer in formats.plain(found)]

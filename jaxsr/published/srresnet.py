"""SRResNet: layers numbered in the order of their use, as .npz."""

import numpy as np

from jaxsr import models
from jaxsr.published import tensors as files

NORM = {
    "gamma": "params/{}/scale",
    "beta": "params/{}/bias",
    "moving_mean": "batch_stats/{}/mean",
    "moving_var": "batch_stats/{}/var",
}


def convert(data: bytes, suffix: str):
    """(net, variables, card) of an SRResNet file, its variant read off its shapes.

    Convolutions before a normalisation have no bias there, and one of zero here.
    """
    if suffix != ".npz":
        raise ValueError(f"the file must end in '.npz'; got {suffix!r}.")
    tensors = files.read_npz(data)
    norms = sum(name.endswith("_gamma") for name in tensors)
    blocks = range(max(0, norms - 1) // 2)
    doublings = sum(name.startswith("leakyrelu") for name in tensors)
    ups = [f"up_{i}" for i in range(max(1, doublings - 1 - len(blocks)))]
    pairs = [f"block_{i}_{{}}_{j}" for i in blocks for j in range(2)]
    names = {}
    layers = [*(name.format("conv") for name in pairs), "body_out"]
    for i, name in enumerate(["head", *layers, *ups, "tail"]):
        names[f"convolution{i}_weight"] = f"params/{name}/kernel"
        if name not in layers:
            names[f"convolution{i}_bias"] = f"params/{name}/bias"
    for i, name in enumerate([*(name.format("norm") for name in pairs), "body_norm"]):
        names |= {f"batchnorm{i}_{k}": path.format(name) for k, path in NORM.items()}
    prelus = ["head", *(f"block_{i}" for i in blocks), *ups]
    for i, name in enumerate(prelus):
        names[f"leakyrelu{i}_weight"] = f"params/{name}_prelu/slope"
    variables = files.rename(tensors, names)
    for name in layers:
        kernel = variables["params"][name]["kernel"]
        variables["params"][name]["bias"] = np.zeros(kernel.shape[-1], np.float32)
    scale = 2 ** len(ups)
    width = variables["params"]["head"]["bias"].size
    net = models.SRResNet(scale=scale, blocks=len(blocks), width=width)
    # What the weights were trained on is not said with them.
    about = {"color": "rgb", "scales": [scale], "trained_on": "published weights"}
    return net, variables, about

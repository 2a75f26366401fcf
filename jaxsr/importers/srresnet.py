"""SRResNet: layers numbered in the order of their use, as .npz, and state dicts.

The latter are those of https://github.com/Lornatang/SRGAN-PyTorch
"""

import collections
import re

import numpy as np

from jaxsr import models
from jaxsr.importers import formats, torch_files

NORM = {
    "gamma": "params/{}/scale",
    "beta": "params/{}/bias",
    "moving_mean": "batch_stats/{}/mean",
    "moving_var": "batch_stats/{}/var",
}
# name in a state dict -> in an archive, of the parts of a normalisation
NORM_PARTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_var",
}
TORCH_LAYERS = re.compile(
    r"conv(_block)?([12]\.\d|3)|trunk\.\d+\.rcb\.\d|upsampling\.\d+\.upsample_block\.\d"
)


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of an SRResNet file, its variant read off its shapes.

    Convolutions before a normalisation have no bias there, and one of zero here.
    """
    readers = {".npz": formats.read_npz}
    readers |= dict.fromkeys(torch_files.SUFFIXES, _read_torch)
    tensors = formats.reader(readers, suffix)(data)
    norms = sum(name.endswith("_gamma") for name in tensors)
    blocks = range(max(0, norms - 1) // 2)
    prelus_there = sum(name.startswith("leakyrelu") for name in tensors)
    ups = [f"up_{i}" for i in range(max(1, prelus_there - 1 - len(blocks)))]
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
    variables = formats.rename(tensors, names)
    params = variables["params"]
    for name in layers:
        kernel = params[name]["kernel"]
        params[name]["bias"] = np.zeros(kernel.shape[-1], np.float32)
    scale = 2 ** len(ups)
    width = params["head"]["bias"].size
    for name in prelus:  # a state dict has one slope a layer
        slope = params[f"{name}_prelu"]["slope"]
        params[f"{name}_prelu"]["slope"] = np.broadcast_to(slope, width)
    if suffix != ".npz":  # of a network that gives [0, 1], where ours gives [-1, 1]
        tail = params["tail"]
        params["tail"] = {"kernel": 2 * tail["kernel"], "bias": 2 * tail["bias"] - 1}
    net = models.SRResNet(scale=scale, blocks=len(blocks), width=width)
    # The training set is not published with the weights.
    about = {"color": "rgb", "scales": [scale], "trained_on": "published weights"}
    return net, variables, about


def _read_torch(found):
    """The tensors of a state dict, in the order of use, named as in an archive."""
    layers = collections.defaultdict(dict)
    for name, x in found.items():
        layer, _, part = name.rpartition(".")
        if not TORCH_LAYERS.fullmatch(layer):
            raise ValueError(f"expected layers {TORCH_LAYERS.pattern}, found {name}.")
        if part != "num_batches_tracked":
            layers[layer][part] = x
    tensors, counts = {}, collections.Counter()
    for parts in layers.values():
        kind = "convolution" if np.ndim(parts.get("weight")) == 4 else "leakyrelu"
        if "running_mean" in parts:
            kind = "batchnorm"
            parts = {NORM_PARTS.get(part, part): x for part, x in parts.items()}
        tensors |= {f"{kind}{counts[kind]}_{part}": x for part, x in parts.items()}
        counts[kind] += 1
    return tensors

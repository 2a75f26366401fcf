"""DRRN: weights of the ports without batch normalisation and biases, B1U25 and B1U9.

Sources: https://github.com/jt827859032/DRRN-pytorch (state dicts, and those as .npz, in
order of use) and https://github.com/yjn870/DRRN-pytorch (state dicts).
"""

from jaxsr import models
from jaxsr.importers import formats, torch_files


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of a DRRN file of one block, its width read off a shape.

    All units share their weights, so files do not hold their number: it is that of the
    published port, 25 for jt827859032 and 9 for yjn870.
    """
    readers = {".npz": formats.read_npz} | dict.fromkeys(torch_files.SUFFIXES, dict)
    tensors = formats.reader(readers, suffix)(data)
    # the port that has most of the names found
    names, units = max(PORTS, key=lambda port: len(port[0].keys() & tensors.keys()))
    params = formats.rename(tensors, names)
    width = params["block_0_head"]["kernel"].shape[-1]
    net = models.DRRN(units=units, width=width, norm=False, bias=False, rectified=True)
    about = {"color": "y", "scales": [2, 3, 4], "trained_on": "291 (published weights)"}
    return net, {"params": params}, about


def _kernels(*names):
    """Name in the file -> name here, for names in order of use."""
    layers = ("block_0_head", "block_0_a", "block_0_b", "tail")
    return {name: f"{layer}/kernel" for name, layer in zip(names, layers)}


# (names in the file, units of the network it was published as)
PORTS = [
    (_kernels("input.weight", "conv1.weight", "conv2.weight", "output.weight"), 25),
    (_kernels("learned_0", "learned_1", "learned_2", "learned_3"), 25),
    (
        _kernels(
            "rbs.0.h0.module.1.weight",
            "rbs.0.ru.module.0.module.1.weight",
            "rbs.0.ru.module.1.module.1.weight",
            "rec.module.1.weight",
        ),
        9,
    ),
]

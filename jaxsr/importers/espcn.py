"""ESPCN: the frozen TensorFlow graphs of fannymonori/TF-ESPCN, and PyTorch's."""

import math

import numpy as np

from jaxsr import models
from jaxsr.importers import formats, protobuf, torch_files

LAYERS = {"1": "conv_0", "2": "conv_1", "3": "conv_out"}
FLOAT = 1  # TensorFlow's number for float32


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of an ESPCN, read off its shapes and operations.

    A PyTorch file does not hold the operations: the paper's are assumed.
    """
    readers = {
        ".pb": _graph_layers,
        **dict.fromkeys(torch_files.SUFFIXES, _torch_layers),
    }
    layers, operations = formats.reader(readers, suffix)(data)
    params = dict(zip(LAYERS.values(), layers))
    net = models.ESPCN(
        math.isqrt(params["conv_out"]["bias"].size),
        widths=tuple(params[name]["bias"].size for name in ("conv_0", "conv_1")),
        activation="relu" if "Relu" in operations else "tanh",
        # beside the two of the layers, or none where they are ReLUs
        output_tanh=operations.count("Tanh") % 2 == 1,
    )
    about = {"color": "y", "scales": [net.scale], "trained_on": "published weights"}
    return net, {"params": params}, about


def _torch_layers(tensors):
    return formats.plain(torch_files.convolutions(tensors), count=len(LAYERS)), []


def _graph_layers(data):
    operations, tensors = _read(data)
    names = sorted(kind + number for kind in "bf" for number in LAYERS)
    shuffles = operations.count("DepthToSpace")
    if sorted(tensors) != names or shuffles != 1:
        raise ValueError(
            f"expected the constants {names} and one DepthToSpace, found "
            f"{sorted(tensors)} and {shuffles}."
        )
    layers = [{"kernel": tensors[f"f{n}"], "bias": tensors[f"b{n}"]} for n in LAYERS]
    return layers, operations


def _read(data) -> tuple[list[str], dict[str, np.ndarray]]:
    """The operations of a GraphDef in order, and its float32 constants by name.

    Source: https://github.com/tensorflow/tensorflow, tensorflow/core/framework:
    graph.proto, node_def.proto, attr_value.proto, tensor.proto, tensor_shape.proto
    """
    operations, tensors = [], {}
    for node in map(protobuf.message, protobuf.message(data)[1]):
        name, operation = (b"".join(node[field]).decode() for field in (1, 2))
        operations.append(operation)
        if operation != "Const":
            continue
        for attribute in map(protobuf.message, node[5]):
            if attribute[1] == [b"value"]:
                value = protobuf.message(b"".join(attribute[2]))
                tensor = protobuf.message(b"".join(value[8]))
                if tensor[1] == [FLOAT]:
                    tensors[name] = _tensor(tensor)
    return operations, tensors


def _tensor(tensor):
    shape = protobuf.message(b"".join(tensor[2]))
    dims = [sum(protobuf.message(dim)[1]) for dim in shape[2]]
    return np.frombuffer(b"".join(tensor[4]), "<f4").reshape(dims)

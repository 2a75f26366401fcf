"""EDSR: state dicts of EDSR-PyTorch, and krasserm/super-resolution's as .npz."""

import itertools

import numpy as np

from jaxsr import models
from jaxsr.models import edsr
from jaxsr.published import tensors as files
from jaxsr.published import torch_files


def convert(data: bytes, suffix: str):
    """(net, variables, card) of an EDSR file, all but one field read off its shapes.

    The residual scale is in no file: as in the paper, it is 0.1 for a width of 256.
    """
    readers = {".npz": _npz_layers, ".pt": _torch_layers, ".pth": _torch_layers}
    if suffix not in readers:
        raise ValueError(f"the file must end in {sorted(readers)}; got {suffix!r}.")
    blocks, scale, params = readers[suffix](data)
    width = params["head"]["bias"].size
    net = models.EDSR(
        scale=scale,
        blocks=blocks,
        width=width,
        residual_scale=0.1 if width == 256 else 1.0,
    )
    about = {
        "color": "rgb",
        "scales": [scale],
        "trained_on": "DIV2K (published weights)",
    }
    return net, {"params": params}, about


def layer_names(layers: dict[str, str], separator: str = ".") -> dict[str, str]:
    """The `files.rename` names of convolutions: name in the file -> name here."""
    parts = {"weight": "kernel", "bias": "bias"}
    return {
        f"{source}{separator}{part}": f"{name}/{leaf}"
        for source, name in layers.items()
        for part, leaf in parts.items()
    }


def body_layers(tensors: dict) -> dict[str, str]:
    """The layers of the body of EDSR-PyTorch's networks: name there -> name here."""
    layers = {}
    for i in itertools.count():
        if f"body.{i}.body.0.weight" not in tensors:
            return layers | {f"body.{i}": "body_out"}
        layers[f"body.{i}.body.0"] = f"block_{i}_conv_0"
        layers[f"body.{i}.body.2"] = f"block_{i}_conv_1"


def without_mean(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors less EDSR-PyTorch's fixed layers, where those are the paper's."""
    fixed = {
        f"{name}.{part}": value
        for name, sign in (("sub_mean", -1), ("add_mean", 1))
        for part, value in (
            ("weight", np.eye(3).reshape(3, 3, 1, 1)),
            ("bias", sign * 255 * np.array(edsr.DIV2K_MEAN)),
        )
    }
    return _without(tensors, fixed)


def _torch_layers(data):
    tensors = without_mean(torch_files.read_state_dict(data))
    body = body_layers(tensors)
    ups = [f"tail.0.{i}" for i in (0, 2) if i == 0 or f"tail.0.{i}.weight" in tensors]
    layers = {"head.0": "head", **body, "tail.1": "tail"}
    layers |= {source: f"up_{i}" for i, source in enumerate(ups)}
    params = files.rename(tensors, layer_names(layers))
    scale = files.enlargement(tensors[f"{source}.weight"] for source in ups)
    return len(body) // 2, scale, params


def _npz_layers(data):
    """Of convolutions numbered in the order of their use.

    That network works on (x - mean) / 127.5, ours on x - mean, of 0..255: the first
    and the last layer make up for it. Its pixel shuffles have TensorFlow's order.
    """
    mean = np.reshape(edsr.DIV2K_MEAN, (1, 3, 1, 1))
    fixed = {"DIV2K_mean": mean, "neg_DIV2K_mean": -mean}
    tensors = _without(files.read_npz(data), fixed)
    kernels = []
    while (name := f"convolution{len(kernels)}_weight") in tensors:
        kernels.append(tensors[name])
    # All but the first, the last, and those of pixel shuffles have as many out as in.
    ups = [x for x in kernels[1:-1] if x.ndim == 4 and x.shape[0] > x.shape[1]]
    blocks = max(0, len(kernels) - len(ups) - 3) // 2
    names = [
        "head",
        *(f"block_{i}_conv_{j}" for i in range(blocks) for j in range(2)),
        "body_out",
        *(f"up_{i}" for i in range(len(ups))),
        "tail",
    ]
    layers = {f"convolution{i}": name for i, name in enumerate(names)}
    params = files.rename(tensors, layer_names(layers, "_"))
    params["head"]["kernel"] /= 127.5
    params["tail"] = {name: x * 127.5 for name, x in params["tail"].items()}
    for i in range(len(ups)):
        params[f"up_{i}"] = {
            name: _from_tensorflow_order(x, params["head"]["bias"].size)
            for name, x in params[f"up_{i}"].items()
        }
    return blocks, files.enlargement(ups), params


def _from_tensorflow_order(x, width):
    """Channels of row, of column, of image -> of image, of row, of column."""
    return x.reshape(*x.shape[:-1], -1, width).swapaxes(-1, -2).reshape(x.shape)


def _without(tensors, fixed):
    for name, expected in fixed.items():
        found = tensors.get(name, expected)
        if found.shape != expected.shape or not np.allclose(found, expected, atol=1e-3):
            raise ValueError(
                f"{name}: expected {expected.tolist()}, found {found.tolist()}."
            )
    return {name: x for name, x in tensors.items() if name not in fixed}

"""EDSR: PyTorch's state dicts, and krasserm/super-resolution's as .npz.

The former are those of EDSR-PyTorch, or of ports such as BasicSR that define the layers
in the order of use, under any names.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from jaxsr import models
from jaxsr.importers import formats, torch_files
from jaxsr.models import edsr


def convert(data: bytes | dict, suffix: str):
    """(net, variables, card) of an EDSR file; its shapes give all fields but one.

    Files do not hold the residual scale: as in the paper, it is 0.1 for width 256.
    """
    readers = {
        ".npz": _npz_layers,
        **dict.fromkeys(torch_files.SUFFIXES, _torch_layers),
    }
    blocks, scale, mean, params = formats.reader(readers, suffix)(data)
    width = params["head"]["bias"].size
    net = models.EDSR(
        scale=scale,
        blocks=blocks,
        width=width,
        residual_scale=0.1 if width == 256 else 1.0,
        mean=mean,
    )
    about = {
        "color": "rgb" if len(mean) == 3 else "y",
        "scales": [scale],
        "trained_on": "DIV2K (published weights)",
    }
    return net, {"params": params}, about


def layer_names(layers: dict[str, str], separator: str = ".") -> dict[str, str]:
    """The `formats.rename` names of convolutions: name in the file -> name here."""
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


def without_mean(
    tensors: dict[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], tuple[float, ...]]:
    """The tensors without EDSR-PyTorch's fixed layers, and the mean stored in those.

    Without them it is the paper's of RGB, and 0 of one channel, as in BasicSR. Networks
    of images in [0, 1] instead of 0..255 are made ones of the latter.
    """
    first = next((x for x in tensors.values() if x.ndim == 4), np.empty([0, 3]))
    shift = tensors.get("sub_mean.bias")
    if shift is None:
        mean = edsr.DIV2K_MEAN if first.shape[1] == 3 else (0.0,) * first.shape[1]
    else:
        top = 1 if 0 < np.abs(shift).max(initial=0) <= 1 else 255
        mean = tuple((-np.float64(shift) / top).tolist())
        close = len(mean) == 3 and _is_close(shift, -top * np.array(edsr.DIV2K_MEAN))
        if top == 1:
            tensors = {name: _of_bytes(name, x, mean) for name, x in tensors.items()}
        mean = edsr.DIV2K_MEAN if close else mean
    eye = np.eye(len(mean)).reshape(len(mean), -1, 1, 1)
    fixed = {
        f"{name}.{part}": value
        for name, sign in (("sub_mean", -1), ("add_mean", 1))
        for part, value in (("weight", eye), ("bias", sign * 255 * np.array(mean)))
    }
    return _without(tensors, fixed), mean


def _of_bytes(name, x, mean):
    """A tensor of a network of 0..255, of one of [0, 1]; only its ends differ."""
    if name.startswith(("sub_mean", "add_mean")):
        return x * np.float32(255) if name.endswith("bias") else x
    if x.shape[1:2] == (len(mean),):
        return np.float32(x) / 255
    return np.float32(x) * 255 if x.shape[:1] == (len(mean),) else x


def _torch_layers(tensors):
    tensors, mean = without_mean(tensors)
    found = torch_files.convolutions(tensors)
    names, blocks, ups = _names([layer.kernel for layer in found])
    params = dict(zip(names, formats.plain(found, count=len(names))))
    return blocks, formats.enlargement(ups), mean, params


def _names(kernels):
    """(our names of the kernels in the order of use, blocks, those that enlarge)."""
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
    return names, blocks, ups


def _npz_layers(data):
    """Of convolutions numbered in the order of their use.

    That network works on (x - mean) / 127.5, ours on x - mean, of 0..255: the first
    and the last layer compensate. Its pixel shuffles have TensorFlow's order.
    """
    mean = np.reshape(edsr.DIV2K_MEAN, (1, 3, 1, 1))
    fixed = {"DIV2K_mean": mean, "neg_DIV2K_mean": -mean}
    tensors = _without(formats.read_npz(data), fixed)
    kernels = []
    while (name := f"convolution{len(kernels)}_weight") in tensors:
        kernels.append(tensors[name])
    names, blocks, ups = _names(kernels)
    layers = {f"convolution{i}": name for i, name in enumerate(names)}
    params = formats.rename(tensors, layer_names(layers, "_"))
    params["head"]["kernel"] /= 127.5
    params["tail"] = {name: x * 127.5 for name, x in params["tail"].items()}
    for i in range(len(ups)):
        params[f"up_{i}"] = {
            name: _from_tensorflow_order(x, params["head"]["bias"].size)
            for name, x in params[f"up_{i}"].items()
        }
    return blocks, formats.enlargement(ups), edsr.DIV2K_MEAN, params


def _from_tensorflow_order(x, width):
    """Channels of row, of column, of image -> of image, of row, of column."""
    return x.reshape(*x.shape[:-1], -1, width).swapaxes(-1, -2).reshape(x.shape)


def _without(tensors, fixed):
    for name, expected in fixed.items():
        found = tensors.get(name, expected)
        if found.shape != expected.shape or not _is_close(found, expected):
            raise ValueError(
                f"{name}: expected {expected.tolist()}, found {found.tolist()}."
            )
    return {name: x for name, x in tensors.items() if name not in fixed}


def _is_close(found, expected):
    """Whether they are equal, to the precision of the type in the file."""
    precision = float(jnp.finfo(found.dtype).eps)
    return np.allclose(found.astype(np.float64), expected, rtol=precision, atol=1e-3)

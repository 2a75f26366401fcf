"""Helpers for weight files that several importers share."""

import io
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from flax import traverse_util

from jaxsr.importers import torch_files


def read_npz(data: bytes) -> dict[str, np.ndarray]:
    """Name -> array of a NumPy archive, read without pickle."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return dict(file)
    except Exception as error:  # whatever a cut or foreign file leads NumPy into
        raise ValueError(f"it is not a whole .npz file ({error!r}).") from error


def reader(readers: dict[str, Callable], suffix: str) -> Callable:
    """The entry for a suffix; the ValueError for another lists the known ones."""
    if suffix not in readers:
        raise ValueError(f"the file must end in {sorted(readers)}; got {suffix!r}.")
    return readers[suffix]


def plain(
    layers: Sequence[torch_files.Convolution], *, count: int | None = None
) -> list[dict[str, np.ndarray]]:
    """{"kernel": HWIO, "bias"} of each of a PyTorch file's convolutions, float32.

    A missing bias is zero.

    Args:
        layers: in the order of their use, followed by no PReLU.
        count: the required number.
    """
    if any(layer.slope is not None for layer in layers):
        raise ValueError("expected only convolutions; found the slopes of a PReLU.")
    if count is not None and len(layers) != count:
        raise ValueError(
            f"expected {count} convolutions, found {[layer.name for layer in layers]}."
        )
    return [
        {
            "kernel": layer.kernel.transpose(2, 3, 1, 0).astype(np.float32),
            "bias": bias_of(layer, len(layer.kernel)),
        }
        for layer in layers
    ]


def bias_of(layer: torch_files.Convolution, width: int) -> np.ndarray:
    """A convolution's bias [width], float32; zeros where it has none."""
    return np.zeros(width, np.float32) if layer.bias is None else np.float32(layer.bias)


def rename(tensors: dict[str, np.ndarray], names: dict[str, str]) -> dict:
    """Variables, nested dictionaries of float32, of tensors by their names in a file.

    Args:
        tensors: as the file has them, kernels [out, in, h, w].
        names: name in the file -> "collection/layer/kernel", and the like.

    Raises:
        ValueError: where a name is missing, or one is not in `names`.
    """
    if tensors.keys() != names.keys():
        raise ValueError(
            f"expected also {sorted(names.keys() - tensors.keys())}, "
            f"found {sorted(tensors.keys() - names.keys())} beyond what was expected."
        )
    variables = {}
    for source, path in names.items():
        tensor = tensors[source].astype(np.float32)
        if path.endswith("/kernel"):
            if tensor.ndim != 4:
                raise ValueError(
                    f"{source}: expected a kernel [out, in, h, w], found shape "
                    f"{tensor.shape}."
                )
            tensor = tensor.transpose(2, 3, 1, 0)
        variables[path] = tensor
    return traverse_util.unflatten_dict(variables, sep="/")


def enlargement(kernels: Iterable[np.ndarray]) -> int:
    """The scale of pixel shuffles, each after a kernel [in * factor**2, in, h, w]."""
    factors = (
        math.isqrt(kernel.shape[0] // max(1, kernel.shape[1]))
        for kernel in kernels
        if kernel.ndim == 4
    )
    return math.prod(factors)

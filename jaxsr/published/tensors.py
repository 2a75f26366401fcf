"""Files of named tensors, and what several importers do with them."""

import io
import math
from collections.abc import Iterable

import numpy as np
from flax import traverse_util


def read_npz(data: bytes) -> dict[str, np.ndarray]:
    """Name -> array of a NumPy archive; nothing in it is unpickled."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return dict(file)
    except Exception as error:  # whatever a cut or foreign file leads NumPy into
        raise ValueError(f"it is not a whole .npz file ({error!r}).") from error


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

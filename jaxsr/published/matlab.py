"""MATLAB's files as NumPy arrays."""

import io
import math

import numpy as np
import scipy.io


def read(data: bytes) -> dict[str, np.ndarray]:
    """The variables of a .mat file of versions 4 to 7; cells are arrays of objects."""
    try:
        variables = scipy.io.loadmat(io.BytesIO(data))
    except Exception as error:  # whatever a cut or foreign file leads SciPy into
        raise ValueError(f"it is not a whole .mat file ({error!r}).") from error
    return {name: x for name, x in variables.items() if not name.startswith("__")}


def kernel(columns: np.ndarray) -> np.ndarray:
    """The kernel HWIO, float32, of [in, k*k, out], whose k*k run down columns first.

    MATLAB drops trailing axes of length one; they are put back.
    """
    columns = columns.reshape(columns.shape + (1,) * (3 - columns.ndim))
    inputs, pixels, outputs = columns.shape
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"expected kernels [in, k*k, out], found {columns.shape}.")
    columns = columns.reshape(inputs, side, side, outputs)
    return columns.transpose(2, 1, 0, 3).astype(np.float32)


def check_names(variables: dict[str, np.ndarray], expected: list[str]) -> None:
    """Raises a ValueError that lists both where the names are not those expected."""
    if sorted(variables) != sorted(expected):
        raise ValueError(
            f"expected the variables {sorted(expected)}, found {sorted(variables)}."
        )

"""MATLAB's files as NumPy arrays."""

import io
import math
import struct
import zlib

import numpy as np
import scipy.io


def read(data: bytes) -> dict[str, np.ndarray]:
    """The variables of a .mat file of versions 5 to 7; cells are arrays of objects."""
    try:
        _check_sizes(data)
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
    """Raises a ValueError that lists both if the names differ from those expected."""
    if sorted(variables) != sorted(expected):
        raise ValueError(
            f"expected the variables {sorted(expected)}, found {sorted(variables)}."
        )


# Of MATLAB's format, version 5 (its document "MAT-File Format"):
HEADER = 128  # bytes before the first element; the last two say the byte order
MATRIX, COMPRESSED = 14, 15  # types of elements
PLAIN = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}  # those of numbers and text
CELL, STRUCTS, SPARSE, OPAQUE = 1, (2, 3), 5, 16  # classes; from OPAQUE on, code
DEEPEST = 32  # a cell in a struct in a cell ...
DENSEST = 64  # bytes that one compressed byte may stand for


def _check_sizes(data: bytes) -> None:
    """Raises a ValueError if a size stated in the file exceeds its content.

    SciPy allocates and seeks by these sizes unchecked, and indexes a table by the types
    of elements without checking their range.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[HEADER - 2 : HEADER])
    if order is None or 0 in data[:4]:
        raise ValueError("it is not of version 5 to 7")
    for kind, content in _elements(data[HEADER:], order):
        inside = [(kind, content)]
        if kind == COMPRESSED:
            inflate = zlib.decompressobj()
            content = inflate.decompress(content, DENSEST * len(content))
            if not inflate.eof:
                raise ValueError("its compressed part is truncated")
            inside = _elements(content, order)
        for matrix in inside:
            _check_matrix(*matrix, order)


def _elements(data: bytes, order: str) -> list[tuple[int, bytes]]:
    """(type, content) of the elements that follow one another."""
    found, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}2I", data, at)
        start = at + 8
        if kind >> 16:  # the type, the size and up to four bytes within eight
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if start + size > len(data) or (start == at + 4 and size > 4):
            raise ValueError("it is cut")
        found.append((kind, data[start : start + size]))
        at = start + size + (0 if kind == COMPRESSED else -(start + size - at) % 8)
    return found


def _check_matrix(kind: int, content: bytes, order: str, depth: int = 0) -> None:
    """Likewise for a matrix, and those inside it; others hold nothing to allocate."""
    if kind != MATRIX or not content:
        return
    (_, flags), (_, dims), *rest = _elements(content, order)
    of_class = struct.unpack(f"{order}2I", flags)[0] & 0xFF
    dims = struct.unpack(f"{order}{len(dims) // 4}i", dims)
    if not 0 < of_class < OPAQUE or of_class == SPARSE or depth > DEEPEST:
        raise ValueError("it is nested too deeply, or holds more than plain arrays")
    if unknown := {kind for kind, _ in rest} - PLAIN - {MATRIX}:
        raise ValueError(f"it is damaged: there are no elements of type {unknown}")
    inner = [x for x in rest if x[0] == MATRIX]
    count, most = math.prod(dims), len(content)  # a number takes a byte at least
    if of_class == CELL:
        most = len(inner)
    elif of_class in STRUCTS:  # of the names of all fields, each of 64 bytes at most
        names = [x for kind, x in rest if kind != MATRIX][-1]
        count *= len(names)
        most = 64 * len(inner)
    if min(dims, default=-1) < 0 or count > most:
        raise ValueError(f"it is truncated: an array of {dims} exceeds what it holds")
    for kind, content in inner:
        _check_matrix(kind, content, order, depth + 1)

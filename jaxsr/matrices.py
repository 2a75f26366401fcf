"""Sparse matrices that resize or blur one axis of an image, in float64."""

import functools
import math
from collections.abc import Callable

import numpy as np
import scipy.sparse


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _linear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0.0)


def _box(x: np.ndarray) -> np.ndarray:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _lanczos3(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


@functools.lru_cache(maxsize=256)
def resize(
    length: int, out_length: int, scale: float, method: str = "bicubic"
) -> scipy.sparse.csr_array:
    """Weights [out_length, length], float64, that resize an axis as MATLAB's imresize.

    When shrinking, the kernel is stretched by 1 / scale (antialiasing); borders are
    mirrored; pixel centres are aligned.

    Args:
        length: pixels along the axis before, >= 1.
        out_length: pixels after, >= 1.
        scale: ratio of pixel densities, > 0; out_length / length or close to it.
        method: a key of `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {sorted(METHODS)}; got {method!r}.")
    if length < 1 or out_length < 1 or scale <= 0:
        raise ValueError(
            "length, out_length and scale must be positive; "
            f"got {length}, {out_length} and {scale}."
        )
    kernel, width = METHODS[method]
    # As in MATLAB, nearest is not antialiased.
    stretch = 1.0 if method == "nearest" else min(scale, 1.0)
    width /= stretch
    centre = (np.arange(out_length) + 0.5) / scale - 0.5
    taps = math.ceil(width) + 2
    left = np.floor(centre - width / 2).astype(np.int64)
    index = left[:, None] + np.arange(taps)
    weights = kernel((centre[:, None] - index) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = index % (2 * length)
    mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    rows = np.repeat(np.arange(out_length), taps)
    matrix = scipy.sparse.coo_array(
        (weights.ravel(), (rows, mirrored.ravel())), shape=(out_length, length)
    ).tocsr()  # sums the weights of a pixel that is met twice at a border
    matrix.eliminate_zeros()
    return matrix


@functools.lru_cache(maxsize=256)
def blur(length: int, sigma: float) -> scipy.sparse.csr_array:
    """Weights [length, length], float64, of a Gaussian of `sigma` > 0; edges mirrored.

    The kernel ends at 3 sigma and sums to one.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive; got {sigma}.")
    radius = math.ceil(3 * sigma)
    offsets = np.arange(-radius, radius + 1)
    taps = np.exp(-(offsets**2) / (2 * sigma**2))
    taps /= taps.sum()
    index = (np.arange(length)[:, None] + offsets) % (2 * length)
    index = np.where(index < length, index, 2 * length - 1 - index)
    rows = np.repeat(np.arange(length), len(taps))
    return scipy.sparse.coo_array(
        (np.tile(taps, length), (rows, index.ravel())), shape=(length, length)
    ).tocsr()


def band(matrix: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """A matrix as columns, int64, and weights, float32, both [out, taps].

    Rows that need fewer taps end in weights of zero.
    """
    counts = np.diff(matrix.indptr)
    columns = np.repeat(matrix.indices[matrix.indptr[:-1], None], counts.max(), axis=1)
    columns, weights = columns.astype(np.int64), np.zeros(columns.shape, np.float32)
    rows = np.repeat(np.arange(len(counts)), counts)
    taps = np.arange(matrix.nnz) - matrix.indptr[rows]
    columns[rows, taps], weights[rows, taps] = matrix.indices, matrix.data
    return columns, weights


METHODS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (_cubic, 4.0),
    "bilinear": (_linear, 2.0),
    "lanczos3": (_lanczos3, 6.0),
    "nearest": (_box, 1.0),
}

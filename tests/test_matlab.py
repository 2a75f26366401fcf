"""MATLAB's files: sizes are bounded by the file before anything is allocated."""

import io
import struct

import numpy as np
import pytest
import scipy.io

from jaxsr.importers import matlab


def written(compressed=False, **variables):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=compressed)
    return file.getvalue()


CELLS = np.empty((1, 3), object)
CELLS[0] = [np.ones((2, 2)), np.zeros((3, 1), np.float32), np.empty((0, 0))]
STRUCT = np.zeros((1, 2), [("name", object), ("value", object)])
STRUCT[0] = [("a", np.eye(2)), ("b", np.eye(3))]


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read(compressed):
    numbers = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    data = written(compressed, a=numbers, b=CELLS, c=STRUCT, text="name", d=np.int8(3))
    found = matlab.read(data)
    assert set(found) == {"a", "b", "c", "d", "text"}
    np.testing.assert_array_equal(found["a"], numbers)
    np.testing.assert_array_equal(found["b"][0, 1], np.zeros((3, 1)))
    np.testing.assert_array_equal(found["c"]["value"][0, 1], np.eye(3))


def dims(rows, columns):
    return struct.pack("<4I", 5, 8, rows, columns)


@pytest.mark.parametrize(
    ("variable", "shape"), [(np.eye(4), (4, 4)), (CELLS, (1, 3)), (STRUCT, (1, 2))]
)
@pytest.mark.parametrize("size", [2**31 - 1, 10**6, 2**32 - 1])
def test_dimensions_that_exceed_the_file_are_refused(variable, shape, size):
    data = written(x=variable)
    assert data.count(dims(*shape)) == 1
    damaged = data.replace(dims(*shape), dims(size, shape[1]))
    with pytest.raises(ValueError, match="exceeds what it holds"):
        matlab.read(damaged)


@pytest.mark.parametrize("kind", [0, 8, 23559, 2**15])
def test_numbers_of_a_type_that_there_is_not_are_refused(kind):
    data = written(x=np.full((3, 3), 0.1))  # of doubles, type 9, in 72 bytes
    assert data.count(struct.pack("<2I", 9, 72)) == 1
    damaged = data.replace(struct.pack("<2I", 9, 72), struct.pack("<2I", kind, 72))
    with pytest.raises(ValueError, match=rf"no elements of type \{{{kind}\}}"):
        matlab.read(damaged)


def test_foreign_versions_bombs_and_depth_are_refused():
    data = written(x=np.eye(2))
    with pytest.raises(ValueError, match="not of version 5 to 7"):
        matlab.read(b"\0" + data[1:])  # what SciPy takes for version 4
    with pytest.raises(ValueError, match="is truncated"):
        matlab.read(written(True, x=np.zeros(10**6)))
    deep = np.eye(2)
    for _ in range(40):
        cell = np.empty((1, 1), object)
        cell[0, 0] = deep
        deep = cell
    with pytest.raises(ValueError, match="nested too deeply"):
        matlab.read(written(x=deep))
    with pytest.raises(ValueError, match="plain arrays"):
        matlab.read(written(x=scipy.sparse.eye(3).tocsc()))
    for size in range(0, len(data), 7):
        with pytest.raises(ValueError, match="not a whole .mat file"):
            matlab.read(data[:size])

"""The tensors of a PyTorch file, read without PyTorch and without running its code.

Such a file is a pickle, and a pickle calls whatever it names. Here it may name what
dictionaries of tensors are made of, and nothing else.
"""

import collections
import io
import math
import operator
import pickle
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C  # begins the format before PyTorch 1.6
DTYPES = {
    "BoolStorage": "?",
    "ByteStorage": "<u1",
    "CharStorage": "<i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
}


def read_state_dict(data: bytes) -> dict[str, np.ndarray]:
    """Name -> array of the one dictionary of tensors in a .pt or .pth file.

    It may be an entry of another dictionary, as in a checkpoint. Where all names begin
    with "module.", as nn.DataParallel has it, they lose that.

    Raises:
        ValueError: where the file is cut or foreign, or holds more than tensors.
    """
    try:
        content, read = _read(data)
        tensors = _find(content)
        arrays = {name: _array(tensor, read) for name, tensor in tensors.items()}
    except Exception as error:  # whatever a cut or hostile file leads a reader into
        raise ValueError(
            f"it is not a whole PyTorch file of tensors alone ({error}). Save the "
            "state_dict() of a network where it holds one."
        ) from error
    prefix = "module." if all(name.startswith("module.") for name in arrays) else ""
    return {name.removeprefix(prefix): array for name, array in arrays.items()}


class _Storage(NamedTuple):
    """Numbers in a row, somewhere in the file."""

    key: str
    dtype: str


class _Tensor(NamedTuple):
    """A view of a storage, its offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries, lists, numbers, strings and _Tensor."""

    def __init__(self, file):
        super().__init__(file, encoding="utf-8")
        self.storages = {}

    def find_class(self, module, name):
        if module in ("torch", "torch.cuda") and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        # A pickle can set attributes of a function: each time it is given a new one.
        if module == "torch._utils":
            if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
                return lambda storage, offset, shape, strides, *_: _Tensor(
                    storage, offset, shape, strides
                )
            if name == "_rebuild_parameter":
                return lambda tensor, *_: tensor
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid):
        kind, dtype, key, *_, view = pid if len(pid) == 6 else (*pid, None)
        if kind != "storage" or dtype not in DTYPES.values() or view is not None:
            raise pickle.UnpicklingError(f"it refers to {pid!r}")
        return self.storages.setdefault(key, _Storage(key, dtype))


def _read(data) -> tuple[object, Callable]:
    """What was saved, with a _Tensor for each tensor; key -> bytes of a storage."""
    stream = io.BytesIO(data)
    if zipfile.is_zipfile(stream):
        return _read_zip(zipfile.ZipFile(stream))
    stream.seek(0)
    return _read_stream(stream)


def _read_zip(file):
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.infolist()):
        raise ValueError("it is compressed")
    names = file.namelist()
    (root,) = (
        name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")
    )
    if f"{root}byteorder" in names:
        _check_order(file.read(f"{root}byteorder") == b"little")
    content = _Unpickler(io.BytesIO(file.read(f"{root}data.pkl"))).load()
    return content, lambda key: file.read(f"{root}data/{key}")


def _read_stream(stream):
    """The format before PyTorch 1.6: pickles in a row, then the storages."""
    magic, _, system = (_Unpickler(stream).load() for _ in range(3))
    if magic != MAGIC:
        raise ValueError("it begins otherwise")
    _check_order(system["little_endian"])
    unpickler = _Unpickler(stream)
    content = unpickler.load()
    storages = {}
    for key in _Unpickler(stream).load():
        size = int.from_bytes(stream.read(8), "little")
        size *= np.dtype(unpickler.storages[key].dtype).itemsize
        storages[key] = stream.read(size)
        if len(storages[key]) != size:
            raise ValueError("it is cut")
    return content, storages.__getitem__


def _check_order(little):
    if not little:
        raise ValueError("its numbers are big-endian")


def _find(content) -> dict[str, _Tensor]:
    """The one dictionary of tensors that is the content, or a value of it."""
    found = [x for x in (content, *content.values()) if _holds_tensors(x)]
    if len(found) != 1:
        raise ValueError(
            f"expected one dictionary of tensors, found {len(found)} in {[*content]}"
        )
    return found[0]


def _holds_tensors(x):
    return (
        isinstance(x, dict)
        and len(x) > 0
        and all(isinstance(name, str) for name in x)
        and all(isinstance(value, _Tensor) for value in x.values())
    )


def _array(tensor, read):
    storage, offset, shape, strides = tensor
    numbers = np.frombuffer(read(storage.key), storage.dtype)
    shape, strides = (tuple(map(operator.index, x)) for x in (shape, strides))
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides))
    if (
        min([offset, *shape, *strides]) < 0
        or max(last + 1, math.prod(shape)) > len(numbers)
        or len(shape) != len(strides)
    ):
        raise ValueError("a tensor exceeds its storage")
    strides = [numbers.itemsize * stride for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, strides).copy()

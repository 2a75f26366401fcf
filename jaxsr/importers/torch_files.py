"""The tensors of a PyTorch file, read without PyTorch and without running its code.

Such a file is a pickle, which may call any function that it names. Only the types that
dictionaries of tensors consist of are allowed here.
"""

import collections
import io
import logging
import math
import operator
import pickle
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np

SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".tar")  # .pth.tar ends in .tar
MAGIC = 0x1950A86A20F9469CFC6C  # begins the format before PyTorch 1.6
DTYPES = {
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16).name,
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


# Prefixes that wrappers of networks add to all names, and counters that they add.
PREFIXES = ("module.", "model.", "net_g.", "netG.", "generator.", "_orig_mod.")
COUNTS = ("n_averaged",)
SHARED = 16  # times that the tensors may be as large as the file


def read_state_dict(data: bytes, key: str | None = None) -> dict[str, np.ndarray]:
    """Name -> array of a dictionary of tensors in a .pt, .pth, .bin or .pth.tar file.

    It may be an entry of another dictionary, as in a checkpoint. Of several entries,
    the average, with a key that ends in "ema", is used, and this is logged. `PREFIXES`
    that all names share are removed. If there are names of a generator, only these are
    used.

    Args:
        data: the file.
        key: of the dictionary, where the file has several.

    Raises:
        ValueError: if the file is truncated, of another format, or holds other objects.
    """
    try:
        content, read = _read(data)
        tensors = _unwrapped(_find(content, key))
        arrays = _arrays(tensors, read, len(data))
    except Exception as error:  # whatever a cut or hostile file leads a reader into
        raise ValueError(
            f"it is not a whole PyTorch file of tensors alone ({error}). Save the "
            "state_dict() of a network where it holds one."
        ) from error
    return arrays


class Convolution(NamedTuple):
    """A convolution of a plain network, and the PReLU after it."""

    name: str
    kernel: np.ndarray  # [out, in, h, w]; of a transposed one [in, out, h, w]
    bias: np.ndarray | None
    slope: np.ndarray | None  # one for each channel, or one


def convolutions(tensors: dict[str, np.ndarray]) -> list[Convolution]:
    """The convolutions in the order of the file, whatever their names are.

    Raises:
        ValueError: where there is anything but convolutions and PReLUs.
    """
    layers = []
    for name, x in tensors.items():
        layer, _, part = name.rpartition(".")
        last = layers[-1] if layers else None
        if part == "weight" and x.ndim == 4:
            layers.append(Convolution(layer, x, None, None))
        elif part == "bias" and x.ndim == 1 and last and layer == last.name:
            layers[-1] = last._replace(bias=x)
        elif part == "weight" and x.ndim == 1 and last and last.slope is None:
            layers[-1] = last._replace(slope=x)
        else:
            raise ValueError(
                "expected the weights and biases of convolutions and slopes of PReLUs, "
                f"found {name} of shape {x.shape}."
            )
    return layers


class _Storage(NamedTuple):
    """A contiguous array of numbers in the file."""

    key: str
    dtype: str


class _Tensor(NamedTuple):
    """A view of a storage, its offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle._Unpickler):
    """Makes dictionaries, lists, numbers, strings and _Tensor.

    This is the unpickler in Python: the one in C allocates any size in a damaged file.
    """

    dispatch = dict(pickle._Unpickler.dispatch)
    del dispatch[pickle.BYTEARRAY8[0]]  # it allocates any size too

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


def _find(content, key) -> dict[str, _Tensor]:
    """The dictionary of tensors that is the content, or a value of it."""
    if _holds_tensors(content) and key is None:
        return content
    found = {name: x for name, x in content.items() if _holds_tensors(x)}
    if key is None and len(found) > 1:
        averages = [name for name in found if str(name).lower().endswith("ema")]
        if len(averages) == 1:
            (key,) = averages
            logging.getLogger("jaxsr").info(
                "Of the weights %s, the averaged ones, %s, are imported (--key "
                "selects others).",
                ", ".join(map(str, found)),
                key,
            )
    if key is None and len(found) == 1:
        (key,) = found
    if key not in found:
        raise ValueError(
            f"expected one dictionary of tensors, found {len(found)} in {[*content]}"
            + f"; select one with --key: {[*found]}" * bool(found)
        )
    return found[key]


def _unwrapped(tensors: dict[str, _Tensor]) -> dict[str, _Tensor]:
    """The tensors, without the prefixes that wrappers add to their names."""
    tensors = {name: x for name, x in tensors.items() if name not in COUNTS}
    for prefix in ("net_g.", "netG.", "generator."):
        if any(name.startswith(prefix) for name in tensors):
            tensors = {n: x for n, x in tensors.items() if n.startswith(prefix)}
    while prefix := next(
        (p for p in PREFIXES if tensors and all(n.startswith(p) for n in tensors)), ""
    ):
        tensors = {name.removeprefix(prefix): x for name, x in tensors.items()}
    return tensors


def _holds_tensors(x):
    return (
        isinstance(x, dict)
        and len(x) > 0
        and all(isinstance(name, str) for name in x)
        and all(isinstance(value, _Tensor) for value in x.values())
    )


def _arrays(tensors, read, most):
    """Name -> array; tensors may share a storage, up to a limit on the total size."""
    storages, views = {}, {}
    for name, tensor in tensors.items():
        key = tensor.storage.key
        if key not in storages:
            storages[key] = read(key)
            if sum(map(len, storages.values())) > most:
                raise ValueError("its storages exceed the file")
        views[name] = _view(tensor, storages[key])
    if sum(view.nbytes for view in views.values()) > SHARED * most:
        raise ValueError("its tensors exceed the file")
    return {name: view.copy() for name, view in views.items()}


def _view(tensor, content):
    storage, offset, shape, strides = tensor
    numbers = np.frombuffer(content, storage.dtype)
    shape, strides = (tuple(map(operator.index, x)) for x in (shape, strides))
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides))
    if (
        min([offset, *shape, *strides]) < 0
        or max(last + 1, math.prod(shape)) > len(numbers)
        or len(shape) != len(strides)
    ):
        raise ValueError("a tensor exceeds its storage")
    strides = [numbers.itemsize * stride for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, strides)

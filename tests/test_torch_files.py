import io
import pickle
import zipfile
from typing import NamedTuple

import numpy as np
import pytest

from jaxsr.importers import torch_files


def write_zip(content, storages=(), name="archive/data.pkl", **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        archive.writestr(name, content)
        for key, array in dict(storages).items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return file.getvalue()


class Global(NamedTuple):
    """Pickles as the bare name of something in a module."""

    module: str
    name: str


class Call(NamedTuple):
    """Pickles as the call of a name."""

    function: Global
    arguments: tuple


class Storage(NamedTuple):
    """Pickles as a reference to a storage."""

    kind: Global
    key: str


class Pickler(pickle._Pickler):
    """PyTorch's pickles without PyTorch, and others that only a hand can write."""

    def save(self, x, **options):
        if isinstance(x, Global):
            self.write(f"c{x.module}\n{x.name}\n".encode())
        elif isinstance(x, Call):
            self.save(x.function)
            self.save(x.arguments)
            self.write(pickle.REDUCE)
        elif isinstance(x, Storage):
            self.save(("storage", x.kind, x.key, "cpu", 0))
            self.write(pickle.BINPERSID)
        else:
            super().save(x, **options)


def dumps(x):
    file = io.BytesIO()
    Pickler(file, protocol=2).dump(x)
    return file.getvalue()


def tensor(key, offset, shape, strides, kind="FloatStorage"):
    hooks = Call(Global("collections", "OrderedDict"), ())
    storage = Storage(Global("torch", kind), key)
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, (storage, offset, shape, strides, False, hooks))


NUMBERS = np.arange(6, dtype=np.float32)


def test_a_view_of_a_storage_is_read_as_it_was():
    data = dumps({"a": tensor("0", 0, (2, 3), (3, 1)), "b": tensor("0", 1, (2,), (3,))})
    arrays = torch_files.read_state_dict(write_zip(data, {"0": NUMBERS}))
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["b"], [1, 4])
    assert arrays["a"].dtype == np.float32
    arrays["a"][0] = 7  # an array of its own
    np.testing.assert_array_equal(arrays["b"], [1, 4])


def test_a_checkpoint_gives_its_only_dictionary_of_tensors():
    inner = {"module.a": tensor("0", 0, (), (), "DoubleStorage")}
    data = dumps({"epoch": 3, "optimizer": {"param_groups": []}, "model": inner})
    storages = {"0": np.array([1.5])}
    arrays = torch_files.read_state_dict(write_zip(data, storages))
    assert {name: x.item() for name, x in arrays.items()} == {"a": 1.5}
    data = dumps({"a": inner, "b": inner})
    with pytest.raises(
        ValueError, match=r"found 2 in .*select one with --key: \['a', 'b'\]"
    ):
        torch_files.read_state_dict(write_zip(data, storages))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (1, (2, 3), (3, 1)),
        (-1, (2,), (1,)),
        (5, (2,), (-1,)),
        (0, (10**9,), (0,)),
        (0, (2, 2), (1,)),
        (0, (2,), (0.5,)),
        (float("nan"), (2,), (1,)),
    ],
)
def test_no_tensor_reaches_beyond_its_storage(offset, shape, strides):
    data = dumps({"a": tensor("0", offset, shape, strides)})
    with pytest.raises(ValueError, match="not a whole PyTorch file"):
        torch_files.read_state_dict(write_zip(data, {"0": NUMBERS}))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("collections", "namedtuple"),
        ("torch", "load"),
        ("torch.nn.modules.conv", "Conv2d"),
        ("numpy", "load"),
    ],
)
def test_a_pickle_that_names_code_is_refused_and_not_run(tmp_path, module, name):
    trace = tmp_path / "trace"
    data = dumps({"a": Call(Global(module, name), (f"touch {trace}",))})
    start = dumps(torch_files.MAGIC) + dumps(1001) + dumps({"little_endian": True})
    for file in (data, write_zip(data), start + data):
        with pytest.raises(ValueError, match=f"it names {module}.{name}"):
            torch_files.read_state_dict(file)
    assert not trace.exists()


def test_what_a_pickle_sets_on_a_function_is_gone_with_it():
    function = Global("torch._utils", "_rebuild_tensor_v2")
    state = pickle.MARK + dumps("__defaults__")[2:-1] + dumps((1,))[2:-1] + b"d"
    data = dumps(function)[:-1] + b"N" + state + pickle.TUPLE2 + pickle.BUILD + b"."
    with pytest.raises(ValueError, match="not a whole PyTorch file"):
        torch_files.read_state_dict(write_zip(data))
    test_a_view_of_a_storage_is_read_as_it_was()


def test_foreign_and_compressed_files_are_refused():
    good = dumps({"a": tensor("0", 0, (6,), (1,))})
    whole = write_zip(good, {"0": NUMBERS})
    for file, message in [
        (b"", "not a whole PyTorch file"),
        (b"These are no weights.\n" * 20, "not a whole PyTorch file"),
        (dumps([1, 2]), "not a whole PyTorch file"),
        (write_zip(dumps({"epoch": 3})), r"found 0 in \['epoch'\]"),
        (write_zip(good, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (write_zip(good), "archive/data/0"),
        (write_zip(good, name="other/x.txt"), "not a whole PyTorch file"),
    ]:
        with pytest.raises(ValueError, match=message):
            torch_files.read_state_dict(file)
    for size in range(0, len(whole), 13):
        with pytest.raises(ValueError, match="not a whole PyTorch file"):
            torch_files.read_state_dict(whole[:size])


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_a_file_of_pytorchs_own_is_read(new):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).half()
    net[0].float()
    expected = net.state_dict()
    extra = {
        "turned": expected["0.weight"].transpose(0, 3)[1:],
        "scalar": torch.ones(()),
    }
    expected = dict(expected) | extra
    contents = [expected, {"model": torch.nn.ParameterDict(extra).state_dict()}]
    contents.append({"parameters": dict(net[0].named_parameters())})
    for content in contents:
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=new)
        whole = file.getvalue()
        arrays = torch_files.read_state_dict(whole)
        (wanted,) = content.values() if len(content) == 1 else [content]
        assert list(arrays) == list(wanted)
        for name, array in arrays.items():
            wish = wanted[name].detach().numpy()
            np.testing.assert_array_equal(array, wish, strict=True)
        for size in range(0, len(whole), 97):
            with pytest.raises(ValueError, match="not a whole PyTorch file"):
                torch_files.read_state_dict(whole[:size])


def test_a_whole_network_is_refused():
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save(torch.nn.Conv2d(1, 1, 3), file)
    with pytest.raises(ValueError, match=r"Conv2d.*Save the state_dict"):
        torch_files.read_state_dict(file.getvalue())


def test_a_number_in_a_pickle_allocates_nothing():
    """The memo of Python's own reader in C grows to the largest number named."""
    put = pickle.LONG_BINPUT + (2**32 - 1).to_bytes(4, "little")
    data = b"\x80\x02}" + put + b"."
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="found 0"):
        torch_files.read_state_dict(write_zip(data))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 200_000  # KiB; it was 32 GiB


def test_tensors_that_share_a_storage_beyond_all_measure_are_refused():
    tensors = {f"{i}": tensor("0", 0, (6,), (1,)) for i in range(2000)}
    numbers = np.zeros(100_000, np.float32)
    data = {name: tensor("0", 0, (100_000,), (1,)) for name in tensors}
    with pytest.raises(ValueError, match="its tensors exceed the file"):
        torch_files.read_state_dict(write_zip(dumps(data), {"0": numbers}))

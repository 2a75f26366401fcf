"""Finds and reads the weights of VGG19, LPIPS and DISTS, and the numbers of NIQE."""

import functools
import importlib
import io
import os
import pathlib
import re
from collections.abc import Sequence

import jax
import numpy as np
import scipy.io
from flax import traverse_util

from jaxsr import perceptual
from jaxsr.data import sets, sources
from jaxsr.importers import formats, torch_files

# Means that Keras' weights expect subtracted, and torchvision's, with its divisors; RGB
# in 0..255.
KERAS_MEAN = (123.68, 116.779, 103.939)
TORCH_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
TORCH_DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)

# Keras' file, as keras.applications has its address and MD5.
KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19"
KERAS_MD5 = "253f8cb515780f3b799900260a226db6"

# LPIPS consists of torchvision's AlexNet and the authors' channel weights.
LPIPS_URLS = (
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/"
    "weights/v0.1/alex.pth",
)

# DISTS consists of torchvision's VGG16 and the authors' weights.
DISTS_URLS = (
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "https://raw.githubusercontent.com/dingkeyan93/DISTS/master/DISTS_pytorch/"
    "weights.pt",
)
NIQE_URL = (
    "https://raw.githubusercontent.com/XPixelGroup/BasicSR/master/basicsr/metrics/"
    "niqe_pris_params.npz"
)

TORCH = torch_files.SUFFIXES


def load_vgg19(path: str | os.PathLike | None = None) -> dict:
    """The params of `perceptual.VGG19`, trained on ImageNet.

    Args:
        path: Keras' file, with or without its last layers (.h5); an archive of its
            tensors, as "block1_conv1_kernel" [h, w, in, out] and "block1_conv1_bias"
            (.npz); or the state dict of torchvision's vgg19 (.pth). Without one, the
            file in the folder "vgg19" of $JAXSR_WEIGHTS, $JAXSR_DATA or
            ~/.cache/jaxsr/data; without that, where Keras is installed, the one that
            Keras fetches and keeps.

    Raises:
        sources.DataNotFound: there is no file, and none can be downloaded.
        ValueError: the file is foreign, or a tensor is missing or of a wrong shape.
    """
    path = path or _found("vgg19") or _fetched_by_keras()
    return _load(path, "VGG19", _vgg19, perceptual.VGG19(), inputs=1)


def load_lpips(path: str | os.PathLike | None = None) -> dict:
    """The params of `perceptual.LPIPS`: of AlexNet, and the learned channel weights.

    Args:
        path: the state dict of lpips.LPIPS(net="alex") (.pth); a folder with the two
            files of `LPIPS_URLS`; or an archive of the tensors, kernels
            [h, w, in, out], as "AlexNet_0_Conv_0_kernel" and
            "NetLinLayer_0_Conv_0_kernel" (.npz).
            Without one, what is in the folder "lpips" of the places that `load_vgg19`
            names.

    Raises:
        sources.DataNotFound: there is no file.
        ValueError: the file is foreign, or a tensor is missing or of a wrong shape.
    """
    path = path or _needed("lpips", "LPIPS", LPIPS_URLS)
    return _load(path, "LPIPS", _lpips, perceptual.LPIPS(), inputs=2)


def load_dists(path: str | os.PathLike | None = None) -> dict:
    """The params of `perceptual.DISTS`: of VGG16, and the learned channel weights.

    Args:
        path: a folder with the two files of `DISTS_URLS`, or an archive of their
            tensors, kernels [h, w, in, out] (.npz). Without one, what is in the folder
            "dists" of the places that `load_vgg19` names.

    Raises:
        sources.DataNotFound: there is no file.
        ValueError: the file is foreign, or a tensor is missing or of a wrong shape.
    """
    path = path or _needed("dists", "DISTS", DISTS_URLS)
    return _load(path, "DISTS", _dists, perceptual.DISTS(), inputs=2)


def load_niqe(path: str | os.PathLike | None = None) -> dict:
    """The params of `metrics.niqe`, float64.

    Args:
        path: the file of `NIQE_URL` (.npz), or the authors' modelparameters.mat.
            Without one, what is in the folder "niqe" of the places that `load_vgg19`
            names.

    Raises:
        sources.DataNotFound: there is no file.
        ValueError: the file is foreign, or an array is missing or of a wrong shape.
    """
    path = pathlib.Path(path or _needed("niqe", "NIQE", [NIQE_URL])).expanduser()
    if path.is_dir():
        path = next(iter(_weight_files(path)), path)
    readers = {".npz": formats.read_npz, ".mat": _read_mat}
    try:
        arrays = formats.reader(readers, path.suffix)(path.read_bytes())
        arrays = {
            name.replace("pris_param", "prisparam"): x for name, x in arrays.items()
        }
        found = {}
        for key, name in (("mean", "mu_prisparam"), ("covariance", "cov_prisparam")):
            found[key] = np.squeeze(np.asarray(arrays.get(name, ()), np.float64))
        shapes = [x.shape for x in found.values()]
        if shapes != [(36,), (36, 36)]:
            raise ValueError(
                "expected mu_prisparam [1, 36] and cov_prisparam [36, 36], found "
                f"{sorted(arrays)}, with shapes {shapes}."
            )
    except ValueError as error:
        raise ValueError(f"Cannot read {path} as NIQE: {error}") from error
    return found


def _dists(tensors: dict, suffix: str) -> tuple[dict, dict]:
    """As `_vgg19`."""
    names = {"alpha": "alpha", "beta": "beta"}
    index = 0
    for i, (count, _) in enumerate(perceptual.VGG16_BLOCKS, 1):
        for j in range(1, count + 1):
            for ours, theirs in (("kernel", "weight"), ("bias", "bias")):
                names[f"conv{i}_{j}/{ours}"] = f"features.{index}.{theirs}"
            index += 2  # each is followed by a ReLU
        index += 1  # and each block by a maximum
    params = {path: tensors[name] for path, name in names.items() if name in tensors}
    for name in {"alpha", "beta"} & set(params):
        params[name] = params[name].reshape(-1)
    return params, names


def _lpips(tensors: dict, suffix: str) -> tuple[dict, dict]:
    """As `_vgg19`."""
    names = {}
    for i, index in enumerate((0, 3, 6, 8, 10)):  # of convolutions among the layers
        conv, linear = f"net.slice{i + 1}.{index}", f"lin{i}.model.1.weight"
        if f"features.{index}.weight" in tensors:  # of torchvision
            conv = f"features.{index}"
        kernel, bias = f"{conv}.weight", f"{conv}.bias"
        if suffix not in TORCH:
            conv, linear = f"AlexNet_0_Conv_{i}", f"NetLinLayer_{i}_Conv_0_kernel"
            kernel, bias = f"{conv}_kernel", f"{conv}_bias"
        names[f"conv{i + 1}/kernel"], names[f"conv{i + 1}/bias"] = kernel, bias
        names[f"lin{i + 1}/kernel"] = linear
    params = {path: tensors[name] for path, name in names.items() if name in tensors}
    return params, names


def _vgg19(tensors: dict, suffix: str) -> tuple[dict, dict]:
    """(params, path in them -> name in the file) of a file's tensors."""
    torch = suffix in TORCH
    names, index = {}, 0
    for layer in perceptual.VGG19_LAYERS:
        block, _, number = layer.removeprefix("conv").partition("_")
        if torch:
            # Each convolution is followed by a ReLU, each block by a maximum.
            index += number == "1" and block != "1"
            names[f"{layer}/kernel"] = f"features.{index}.weight"
            names[f"{layer}/bias"] = f"features.{index}.bias"
            index += 2
        else:
            for part in ("kernel", "bias"):
                names[f"{layer}/{part}"] = f"block{block}_conv{number}_{part}"
    params = {path: tensors[name] for path, name in names.items() if name in tensors}
    params["mean"] = np.array(TORCH_MEAN if torch else KERAS_MEAN)
    first = params.get("conv1_1/kernel", np.empty(0))
    if first.shape == (3, 3, 3, 64):  # other shapes are refused later
        if torch:
            first = first / np.reshape(TORCH_DEVIATION, (3, 1))
        else:
            first = first[:, :, ::-1]  # of BGR
        params["conv1_1/kernel"] = first
    return params, names


def _load(path, whose, convert, net, *, inputs) -> dict:
    """The params of `net` in a file, all there and each of its shape, float32."""
    path = pathlib.Path(path).expanduser()
    example = [jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)] * inputs
    shapes = jax.eval_shape(functools.partial(net.init, jax.random.key(0)), *example)
    shapes = traverse_util.flatten_dict(shapes["params"], sep="/")
    try:
        paths = [path]
        if path.is_dir():
            paths = _weight_files(path)
        tensors = {}
        for file in paths:
            tensors |= formats.reader(READERS, file.suffix)(file.read_bytes())
        params, names = convert(tensors, paths[0].suffix if paths else "")
        if missing := [name for key, name in names.items() if key not in params]:
            raise ValueError(
                f"expected the tensors {', '.join(missing)}, found {sorted(tensors)}."
            )
        for key, shape in shapes.items():
            if params[key].shape != shape.shape:
                raise ValueError(
                    f"{names[key]}: expected shape {shape.shape} (kernels as "
                    f"[h, w, in, out]), found {params[key].shape}."
                )
    except ValueError as error:
        raise ValueError(f"Cannot read {path} as {whose}: {error}") from error
    params = {key: params[key].astype(np.float32) for key in shapes}
    return traverse_util.unflatten_dict(params, sep="/")


def _found(folder: str) -> pathlib.Path | None:
    """The first weight file in a folder of $JAXSR_WEIGHTS or of the image sets'."""
    found = (file for place in _places(folder) for file in _weight_files(place))
    return next(found, None)


def _needed(folder: str, whose: str, urls: Sequence[str]) -> pathlib.Path:
    """The file that `_found` gives, or where it is PyTorch's, its folder."""
    if path := _found(folder):
        return path.parent if path.suffix in TORCH else path
    raise sources.DataNotFound(
        f"the weights of {whose} were not found at "
        f"{', '.join(map(str, _places(folder)))}; put the file{'s' * (len(urls) > 1)} "
        f"{' and '.join(urls)} there."
    )


def _weight_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return [x for x in sorted(folder.glob("*")) if x.suffix in READERS | {".mat": None}]


def _places(folder: str) -> list[pathlib.Path]:
    return [place / folder for place in sets.data_dirs(os.getenv("JAXSR_WEIGHTS"))]


def _fetched_by_keras() -> str:
    try:
        keras = importlib.import_module("keras")
        return keras.utils.get_file(
            KERAS_FILE,
            f"{KERAS_URL}/{KERAS_FILE}",
            cache_subdir="models",
            file_hash=KERAS_MD5,
        )
    except Exception as error:  # Keras raises nearly any kind, and may lack a backend
        raise sources.DataNotFound(
            "the weights of VGG19 were not found at "
            f"{', '.join(map(str, _places('vgg19')))}, and Keras could not download "
            f"them ({error!r}). Put {KERAS_FILE} from {KERAS_URL} there, or pass the "
            "path of a file."
        ) from error


def _read_h5(data: bytes) -> dict[str, np.ndarray]:
    """The tensors "block1_conv1_kernel" and so on of a Keras file."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "h5py is not installed; pip install 'jaxsr[train]' brings it."
        ) from error
    tensors = {}

    def take(name, item):
        layer = re.search(r"(?:^|/)(block\d_conv\d)/", name)
        if layer and isinstance(item, h5py.Dataset):
            part = "kernel" if item.ndim > 1 else "bias"
            tensors[f"{layer[1]}_{part}"] = item[()]

    try:
        with h5py.File(io.BytesIO(data)) as file:
            file.visititems(take)
    except Exception as error:  # whatever a cut or foreign file leads HDF5 into
        raise ValueError(f"it is not a whole HDF5 file ({error!r}).") from error
    return tensors


def _read_mat(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a MATLAB file."""
    try:
        return scipy.io.loadmat(io.BytesIO(data))
    except Exception as error:  # whatever a cut or foreign file leads SciPy into
        raise ValueError(f"it is not a whole MATLAB file ({error!r}).") from error


def _read_torch(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a state dict, kernels [h, w, in, out] as in the other files."""
    tensors = torch_files.read_state_dict(data)
    return {
        name: x.transpose(2, 3, 1, 0) if x.ndim == 4 else x
        for name, x in tensors.items()
    }


READERS = {
    ".npz": formats.read_npz,
    ".h5": _read_h5,
    **dict.fromkeys(TORCH, _read_torch),
}

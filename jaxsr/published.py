"""Weights that the authors of papers, and of ports, published, as jaxsr models."""

import hashlib
import io
import os
import pathlib
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import scipy.io

from jaxsr import models, weights

Layers = list[tuple[np.ndarray, np.ndarray]]  # kernels HWIO and biases, input first


def import_weights(path: str | os.PathLike, network: str) -> weights.Model:
    """The model of a published file; `network` is a key of `IMPORTERS`.

    Raises:
        ValueError: where the file is cut, foreign, or of another network.
    """
    if network not in IMPORTERS:
        known = sorted(IMPORTERS)
        raise ValueError(f"network must be one of {known}; got {network!r}.")
    path = pathlib.Path(path)
    data = path.read_bytes()
    try:
        net, params, about = IMPORTERS[network](data, path.suffix)
        digest = hashlib.sha256(data).hexdigest()
        card = weights.make_card(net, digest=digest, source=path.name, **about)
        variables = {"params": jax.tree.map(jnp.asarray, params)}
        model = weights.Model(net, variables, card)
        weights.check(model)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"Cannot import {path} as {network}: {error}") from error
    return model


def _vdsr(data, suffix):
    """The authors' MatConvNet file, or the Caffe one of huangzehao/caffe-vdsr."""
    readers = {".mat": _mat_layers, ".caffemodel": _caffe_layers}
    if suffix not in readers:
        raise ValueError(f"the file must end in {sorted(readers)}; got {suffix!r}.")
    layers = readers[suffix](data)
    if len(layers) < 2:
        raise ValueError(f"expected at least 2 convolutions, found {len(layers)}.")
    net = models.VDSR(depth=len(layers), width=layers[0][0].shape[-1])
    names = [f"conv_{i}" for i in range(net.depth - 1)] + ["conv_out"]
    params = {
        name: {"kernel": kernel, "bias": bias}
        for name, (kernel, bias) in zip(names, layers)
    }
    about = {"color": "y", "scales": [2, 3, 4], "trained_on": "291 (published weights)"}
    return net, params, about


def _mat_layers(data) -> Layers:
    """The layers in a struct "model" of two cells, "weight" (HWIO) and "bias"."""
    try:
        variables = scipy.io.loadmat(io.BytesIO(data))
    except Exception as error:  # whatever a cut or foreign file leads SciPy into
        raise ValueError(f"it is not a whole .mat file ({error!r}).") from error
    model = variables.get("model", np.empty(0))
    if model.size != 1 or not {"weight", "bias"} <= set(model.dtype.names or ()):
        raise ValueError(
            "expected a struct 'model' of the cells 'weight' and 'bias', found "
            f"{[name for name in variables if not name.startswith('__')]}."
        )
    kernels, biases = model["weight"].item(), model["bias"].item()
    return [
        (_with_rank_4(kernel.astype(np.float32)), bias.astype(np.float32).ravel())
        for kernel, bias in zip(kernels.flat, biases.flat, strict=True)
    ]


def _with_rank_4(kernel):
    """The kernel with the trailing axes of length one that MATLAB drops."""
    return kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))


def _caffe_layers(data) -> Layers:
    """The convolutions of a NetParameter, whose every layer with blobs must be one.

    Caffe reads the HDF5 files that MATLAB writes with rows and columns exchanged, so
    what it stores as [out, in, h, w] is [out, in, w, h] of the training images.

    Source: https://github.com/BVLC/caffe, src/caffe/proto/caffe.proto
    """
    net = _message(data)
    if net[2]:
        raise ValueError(
            "it is in Caffe's first format, or not a Caffe model; Caffe's tool "
            "upgrade_net_proto_binary brings it up to date."
        )
    layers = []
    for layer in map(_message, net[100]):
        blobs = [_blob(blob) for blob in layer[7]]
        if not blobs:
            continue
        if [blob.ndim for blob in blobs] != [4, 1]:
            raise ValueError(
                "expected a kernel [out, in, w, h] and a bias [out] in the layer "
                f"{b''.join(layer[1])!r}, found {[blob.shape for blob in blobs]}."
            )
        layers.append((blobs[0].transpose(3, 2, 1, 0), blobs[1]))
    return layers


def _blob(data):
    """The array of a BlobProto: its shape in field 7, its floats in field 5."""
    blob = _message(data)
    dims = _varints(b"".join(_message(b"".join(blob[7]))[1]))
    return np.frombuffer(b"".join(blob[5]), "<f4").reshape(dims)


def _message(data) -> dict[int, list[bytes]]:
    """Field number -> values of a protobuf message, without its integer fields.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    fields, at = defaultdict(list), 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(data, at)
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"it is not a Caffe model (wire type {kind}).")
        if at + length > len(data):
            raise ValueError("it is cut, or not a Caffe model.")
        fields[key >> 3].append(data[at : at + length])
        at += length
    return fields


def _varints(data) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _varint(data, at) -> tuple[int, int]:
    """The integer that starts at `at`, and where the next field starts."""
    value = 0
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError("it is cut, or not a Caffe model.")


IMPORTERS = {
    "vdsr": _vdsr,
}

"""Caffe's binary models, read without Caffe."""

from collections import defaultdict

import numpy as np


def read_layers(data: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels HWIO and biases of a NetParameter whose every layer with blobs is a conv.

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

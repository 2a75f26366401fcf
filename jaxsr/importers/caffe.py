"""Caffe's binary models, read without Caffe."""

import numpy as np

from jaxsr.importers import protobuf


def read_layers(data: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels HWIO and biases of a NetParameter; every layer with blobs is a conv.

    Caffe reads the HDF5 files that MATLAB writes with rows and columns exchanged, so
    what it stores as [out, in, h, w] is [out, in, w, h] of the training images.

    Source: https://github.com/BVLC/caffe, src/caffe/proto/caffe.proto
    """
    net = protobuf.message(data)
    if net[2]:
        raise ValueError(
            "it is not a Caffe model, or in Caffe's oldest format, which Caffe's "
            "tool upgrade_net_proto_binary converts."
        )
    layers = []
    for layer in map(protobuf.message, net[100]):
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
    blob = protobuf.message(data)
    dims = protobuf.varints(b"".join(protobuf.message(b"".join(blob[7]))[1]))
    return np.frombuffer(b"".join(blob[5]), "<f4").reshape(dims)

"""Image sets of TensorFlow Datasets, by random access; Pillow decodes."""

import io

import numpy as np

from jaxsr import checks
from jaxsr.data import sources
from jaxsr.files import reading


def make_builder(name: str, data_dir):
    """The TFDS builder of "tfds:NAME[/config][:split]", and the split."""
    tfds = checks.extra("tensorflow_datasets")
    dataset, _, split = name.removeprefix("tfds:").partition(":")
    try:
        return tfds.builder(dataset, data_dir=data_dir), split or "train"
    except tfds.core.DatasetNotFoundError:
        raise ValueError(f"TFDS has no data set {dataset!r}.") from None


def open_source(name: str, data_dir) -> sources.Source:
    """A TFDS image set by random access; Pillow decodes, as for all sources."""
    tfds = checks.extra("tensorflow_datasets")
    builder, split = make_builder(name, data_dir)
    if not builder.is_prepared():
        raise sources.DataNotFound(
            f"{name} is not prepared at {builder.data_dir}. `jaxsr prepare {name}` "
            "downloads and prepares it."
        )
    images = {
        key: tfds.decode.SkipDecoding()
        for key, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image) and feature.np_dtype != np.float32
    }
    if not images:
        raise ValueError(
            f"{name} holds no images; its features: {builder.info.features}."
        )
    key = "hr" if "hr" in images else next(iter(images))
    try:
        records = builder.as_data_source(split, decoders=images)
    except NotImplementedError:
        raise sources.DataNotFound(
            f"{builder.data_dir} is stored as {builder.info.file_format.value}, which "
            f"has no random access. `jaxsr prepare {name}` with another data folder "
            "prepares it as array_record; `tfds convert_format` converts it."
        ) from None

    def read(index):
        return reading.read_as_stored(
            io.BytesIO(records[index][key]), f"image {index} of {name}"
        )

    def encoded(index):
        content = records[index][key]
        return content if reading.plain_size(io.BytesIO(content)) else None

    names = tuple(map(str, range(len(records))))
    return sources.Source(name, names, read, sizes=None, encoded=encoded)

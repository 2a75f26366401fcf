"""Images of any number of channels, such as those of microscopes, in their own dtype.

They are in .npy and TIFF files. No channel is taken for a colour or for alpha, and
metadata is not carried over.
"""

import math
import os
import pathlib

import numpy as np
import PIL.Image
import tifffile

from jaxsr import files, terminal
from jaxsr.files import reading, tiff, writing

SUFFIXES = (".npy", ".tif", ".tiff")
DTYPES = ("uint8", "uint16", "float32")


def is_stack(path: pathlib.PurePath) -> bool:
    """Whether a file in a folder is such an image, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def read(path: str | os.PathLike, channels: int) -> np.ndarray:
    """[H, W, channels] of `DTYPES`, as stored; of one channel maybe [H, W].

    Floats lie in [0, 1]. A TIFF holds the channels as samples or as pages; without
    names for its axes the first one of `channels` pages, or the last axis, has them.
    Nothing is unpickled.

    Raises:
        ValueError: for a file that cannot be read, or has other channels, dtypes or
            values; it says the file's name.
    """
    path = pathlib.Path(path)
    with reading.named(terminal.shown(path)):
        with open(path, "rb") as file:
            numpy = file.read(len(MAGIC)) == MAGIC or path.suffix.lower() == ".npy"
        pixels = _read_npy(path) if numpy else _read_tiff(path, channels)
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise ValueError(f"its shape must be (H, W, channels); got {pixels.shape}")
        found = 1 if pixels.ndim == 2 else pixels.shape[2]
        if found != channels:
            raise ValueError(
                f"it must have {channels} channels (config.channels); got {found}, of "
                f"shape {pixels.shape}"
            )
        if pixels.dtype.name not in DTYPES:
            raise ValueError(
                f"its dtype must be one of {', '.join(DTYPES)}; got {pixels.dtype}. "
                "Convert it, as by x.astype(np.float32)"
            )
        pixels = np.array(pixels, pixels.dtype.newbyteorder("="), order="C")
        if pixels.dtype.kind == "f":
            low, high = pixels.min(), pixels.max()
            if not (low >= 0 and high <= 1):  # NaN neither
                raise ValueError(
                    f"its floats must lie in [0, 1]; got {low:g} to {high:g}. Divide "
                    "them by their range"
                )
        return pixels


def _read_npy(path: pathlib.Path) -> np.ndarray:
    # Mapped, so that a header cannot ask for more memory than the file has; of arrays
    # of objects it raises an error.
    return np.lib.format.open_memmap(path, mode="r")


def _read_tiff(path: pathlib.Path, channels: int) -> np.ndarray:
    with tiff.quiet(), tifffile.TiffFile(path) as opened:
        if not opened.series:
            raise ValueError("it holds no image")
        series = opened.series[0]
        shape, axes = series.shape, series.axes
        limit = 2 * (PIL.Image.MAX_IMAGE_PIXELS or math.inf)
        if (pixels := math.prod(shape) // channels) > limit:
            raise PIL.Image.DecompressionBombError(
                f"Image size ({pixels} pixels) exceeds the limit of {limit}"
            )
        array = series.asarray()
    if array.ndim != 3:
        return array
    named = [i for i, axis in enumerate(axes) if axis in "CS"]
    first = shape[0] == channels or shape[2] != channels
    return np.moveaxis(array, named[0] if named else 0 if first else 2, 2)


def check_kind(suffix: str | None, levels: writing.Levels) -> None:
    """Raises a ValueError where no file of that suffix and level can be written."""
    if suffix is not None and suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"images of any number of channels are written as {', '.join(SUFFIXES)}; "
            f"got {suffix!r}."
        )
    if given := levels.given():
        raise ValueError(f".npy and TIFF files have no level; got {given}.")


def write(pixels: np.ndarray, path: pathlib.Path) -> None:
    """Writes [H, W] or [H, W, C] as .npy, or as TIFF with C samples a pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.written_whole(path) as file:
        if path.suffix.lower() == ".npy":
            np.lib.format.write_array(file, pixels, allow_pickle=False)
            return
        channels = math.prod(pixels.shape[2:])
        tifffile.imwrite(
            file,
            pixels if channels > 1 else pixels.reshape(pixels.shape[:2]),
            photometric="rgb" if channels == 3 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            metadata=None,
        )


MAGIC = np.lib.format.MAGIC_PREFIX

"""Reducing image files as MATLAB's imresize does, to make low-resolution images."""

import os
from collections.abc import Iterable

import numpy as np
import PIL.Image
import tqdm

from jaxsr import files, image
from jaxsr.files import depth, reading, writing
from jaxsr.inference import jobs, targets


def reduced(
    pixels: np.ndarray, scale: float, *, method: str = "bicubic", blur: float = 0.0
) -> np.ndarray:
    """uint8 or uint16 [ceil(H / scale), ceil(W / scale), C], of pixels of that type.

    MATLAB's imresize(pixels, 1 / scale, method): it clips and rounds after each axis,
    rows first, because its result has the class of its input. A resize in floats,
    rounded once, differs in a tenth of the pixels at x4.

    Args:
        pixels: uint8 or uint16 [H, W, C].
        scale: >= 1.
        method: a key of `matrices.METHODS`.
        blur: as in `image.degrade`, for integer scales, instead of the method.
    """
    if blur:
        low = image.degrade(image.from_uint(pixels, np.float64), scale, blur=blur)
        return image.to_uint(low, 8 * pixels.dtype.itemsize)
    # In levels, not in [0, 1], where values halfway between two levels would be lost.
    x, top = pixels.astype(np.float64), np.iinfo(pixels.dtype).max
    for factors in ((1 / scale, 1.0), (1.0, 1 / scale)):
        x = np.floor(np.clip(image.resize(x, factors, method=method), 0, top) + 0.5)
    return x.astype(pixels.dtype)


def degrade_files(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    scale: float,
    *,
    method: str = "bicubic",
    blur: float = 0.0,
    crop: bool = True,
    suffix: str = ".png",
    existing: str = "error",
) -> jobs.Summary:
    """Writes the low-resolution images of files, and of the images in folders.

    They keep names and folders, and lie in `output`. Alpha and metadata are dropped,
    16 bits are kept. EXIF orientation is not applied, as in training and evaluation.

    Args:
        inputs: files, folders and patterns.
        output: a folder, or the file for a single input.
        scale: >= 1.
        method: as in `reduced`.
        blur: as in `reduced`.
        crop: whether images are first cropped to multiples of an integer scale, as by
            `image.modcrop`.
        suffix: of the files written.
        existing: "error", "overwrite" or "skip", for files that exist.

    Raises:
        ValueError: for a wrong argument.
    """
    if not scale >= 1:
        raise ValueError(f"scale must be at least 1; got {scale}.")
    scale = int(scale) if scale % 1 == 0 else scale
    if blur and not (crop and isinstance(scale, int)):
        raise ValueError("a blur needs an integer scale, and images cropped to it.")
    files.check_existing(existing)
    summary = jobs.Summary([], [], [])

    def fail(source, reason):
        summary.failed.append(jobs.Failure(source, reason))

    found = list(targets.pairs(inputs, output, "", suffix, writing.DEFAULTS, fail))
    for source, target in tqdm.tqdm(found, unit="image", leave=False, disable=None):
        try:
            if not files.to_write(target, existing):
                summary.skipped.append(target)
                continue
            with reading.named("it"):
                photo = reading.decoded(source, [], upright=False)
            pixels = depth.without_alpha(photo.pixels)
            if pixels.dtype.kind == "f":
                raise ValueError("it holds floats. Convert it to 8 or 16 bits.")
            if crop:
                pixels = image.modcrop(pixels, scale)
            low = reduced(pixels, scale, method=method, blur=blur)
            target.parent.mkdir(parents=True, exist_ok=True)
            writing.check_fits(low, low.shape[:2], target)
            writing.write(reading.Photo(low, {}, PIL.Image.Exif()), target)
            summary.done.append(target)
        except (ValueError, OSError, MemoryError) as error:
            fail(source, str(error))
    return summary

"""The image files of a folder: which they are, their sizes, and what they are for."""

import concurrent.futures
import pathlib
from collections.abc import Callable

import numpy as np
import PIL.Image
import tqdm

from jaxsr import terminal
from jaxsr.data import naming
from jaxsr.files import reading, stacks


def image_files(
    folder: pathlib.Path,
    is_image: Callable[[pathlib.Path], bool] = reading.is_image,
) -> list[pathlib.Path]:
    """All image files below a folder, sorted; hidden ones are skipped."""
    return sorted(
        file
        for file in folder.rglob("*")
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not file.is_dir()
        and is_image(file)
    )


def read_stack(path: pathlib.Path, channels: int) -> np.ndarray:
    """[H, W, channels] of `stacks.DTYPES`, see `stacks.read`."""
    pixels = stacks.read(path, channels)
    return pixels.reshape(*pixels.shape[:2], channels)


def header_size(path: pathlib.Path) -> tuple[int, int]:
    """(height, width) by the file's header; decoding shows whether it is complete."""
    with reading.named(terminal.shown(path)), PIL.Image.open(path) as picture:
        return picture.height, picture.width


def sizes_of(
    paths: list[pathlib.Path], size: Callable[[pathlib.Path], tuple[int, int]]
) -> tuple[list[tuple[int, int]], dict[int, str]]:
    """(height, width) of each file by `size`, and index -> reason of the bad ones."""
    sizes, reasons = [(0, 0)] * len(paths), {}
    pool = concurrent.futures.ThreadPoolExecutor()
    try:
        futures = [pool.submit(size, path) for path in paths]
        bar = tqdm.tqdm(futures, "checking images", leave=False, disable=None)
        for i, future in enumerate(bar):
            try:
                sizes[i] = future.result()
            except ValueError as error:
                reasons[i] = str(error)
    finally:
        pool.shutdown(cancel_futures=True)
    return sizes, reasons


def reference_images(
    folder: pathlib.Path, names: list[str], sizes: list[tuple[int, int]], *, skip: bool
) -> list[int]:
    """Indices of the images that are not low-resolution ones beside others."""
    low = naming.low_ones(names, sizes)
    true = [i for i in range(len(names)) if i not in low]
    below, above = (
        list(dict.fromkeys(pathlib.PurePosixPath(names[i]).parent for i in indices))
        for indices in (sorted(low), true)
    )
    if not low or (not true and len(below) == 1):
        return list(range(len(names)))
    if skip and true:
        return true
    below, above = (", ".join(map(str, places[:4])) for places in (below, above))
    raise ValueError(
        f"{folder} holds {len(low)} low-resolution images (in {below}) beside "
        f"{len(true)} others (in {above or 'none'}), and all would be taken as "
        "reference images. Pass the folder of the reference images alone; data.low or "
        "--low takes that of the low-resolution ones."
    )

"""The image files of a folder: their sizes, and which show the same image."""

import concurrent.futures
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import PIL.Image
import tqdm

from jaxsr import terminal
from jaxsr.files import reading, stacks

# Endings that only say that a file is the reference image.
TRUE = re.compile(r"(?i)[ _.-]*(hr|gt|true|ref)$")
# Text allowed after the name of the reference image: "_SR", "-out", " (2)", "x4".
MORE = re.compile(r"(?i)$|[ _.(-]|x\d")
# The scale of a low-resolution image: "x2", "X2", "LRbicx2", "SRF_2", "LR4", "_2x".
SCALE = re.compile(
    r"(?i)(?:x|lr|srf_)(\d(?:\.\d+)?)(?=$|[ _)-])|(?:^|[ _(-])(\d)x(?=$|[ _)-])|^(\d)$"
)
# Parts of the names of low-resolution images, and of their folders.
LOW = re.compile(r"(?i)(^|[^a-z])lr(bic|[^a-z]|$)|low_?res|^x[2348]$")
LOW_OR_HIGH = re.compile(r"(?i)[^a-z0-9](lr|hr)(?=[^a-z]|$)")

Item = TypeVar("Item")


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
    low = low_ones(names, sizes)
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


def key(name: str) -> str:
    """What the names of all files that belong to a reference image begin with.

    Its own name in lower case, without folder, suffix and endings like "_HR" and "_GT".
    """
    return TRUE.sub("", pathlib.PurePath(name).stem).lower()


def owners(name: str, keys: dict) -> Iterator[tuple[str, str]]:
    """Yields (key, rest) of the reference images whose names a name may begin with.

    The longest first, to which it belongs. The rest is empty or begins with a separator
    or "x" and a digit: baby_x4_SR.png, babyx2.png and baby.png belong to baby_GT.bmp.
    """
    stem = pathlib.PurePath(name).stem.lower()
    for end in range(len(stem), 0, -1):
        if stem[:end] in keys and MORE.match(stem[end:]):
            yield stem[:end], stem[end:]


def unique(named: Iterable[tuple[object, str, Item]]) -> dict[object, Item]:
    """Key -> item of (key, name, item).

    Raises:
        ValueError: for two items of one key, with their names.
    """
    found, names = {}, {}
    for which, name, item in named:
        if which in found:
            raise ValueError(
                f"{terminal.shown(names[which])} and {terminal.shown(name)} stand for "
                "the same image. Keep one of them in the folder."
            )
        found[which], names[which] = item, name
    return found


def scale_of(rest: str, folders: Sequence[str]) -> float | None:
    """The scale that a low-resolution image names, None where it names none.

    Args:
        rest: of its name, after that of the reference image.
        folders: that it lies in, of which the last counts most.
    """
    for part in (rest, *reversed(folders)):
        if found := SCALE.search(part):
            scale = float(found[1] or found[2] or found[3])
            return int(scale) if scale == int(scale) else scale
    return None


def low_ones(names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> set[int]:
    """Indices of the images that are low-resolution ones, beside others or not.

    By the names of their folders, as in HR/ and LR_bicubic/X2/ or GTmod12/ and
    LRbicx2/; by their own beside others, as in img_001_SRF_2_LR.png; and where they
    have the name of another, or that and a scale, and a fraction of its size.

    Args:
        names: paths relative to their folder.
        sizes: (height, width) of each, (0, 0) where it is unknown.
    """
    paths = [pathlib.PurePosixPath(name) for name in names]
    low = {i for i, path in enumerate(paths) if any(map(LOW.search, path.parts[:-1]))}
    alike = {}  # files of one folder whose names differ only in LR and HR
    for i in set(range(len(paths))) - low:
        path = paths[i].with_name(LOW_OR_HIGH.sub("", paths[i].stem))
        alike.setdefault(path, []).append(i)
    for same in alike.values():
        low |= {i for i in same if LOW.search(paths[i].stem) and len(same) > 1}
    keys = {}
    for i in set(range(len(paths))) - low:
        keys.setdefault(key(names[i]), []).append(i)
    reduced = set()
    for i in set(range(len(paths))) - low:
        for name, rest in owners(names[i], keys):
            scale = scale_of(rest, ())
            if rest and scale is None:
                continue
            scales = range(2, 9) if scale is None else [scale]
            if any(
                _is_reduced(sizes[i], sizes[j], s) for j in keys[name] for s in scales
            ):
                reduced.add(i)
    return low | reduced


def _is_reduced(size, true, scale):
    """Whether both sides are those of the true image over the scale, rounded."""
    return all(
        0 < low < n and abs(low * scale - n) < scale for low, n in zip(size, true)
    )

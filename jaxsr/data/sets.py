"""Named image sets, folders and TFDS data sets, each opened as a `sources.Source`.

A name is a key of `SETS` or `COMBINED`, a folder, "tfds:NAME[/config][:split]", or
several of these joined by "+". This module downloads nothing.
"""

import contextlib
import functools
import hashlib
import importlib
import importlib.resources
import json
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxsr import checks, files, image, terminal
from jaxsr.data import folders, sources, tfds
from jaxsr.files import reading, stacks

SKIMAGE = "scikit-image"  # stands for the folder of images in that package


class ImageSet(NamedTuple):
    """A row of `SETS`: images of one folder."""

    split: str  # what they may be used for: "train", "validation" or "test"
    folder: str
    count: int | None = None  # images that the folder must hold; None for any number
    keep: Callable[[list[pathlib.Path]], list[pathlib.Path]] = lambda files: files
    files: tuple[str, ...] = ()  # if given, only these files of the folder
    halved: tuple[str, ...] = ()  # suffixes of files reduced by two when read


def open_source(
    name: str,
    data_dir: str | os.PathLike | None = None,
    *,
    low: str = "error",
    channels: int | None = None,
) -> sources.Source:
    """The images that `name` stands for.

    For named sets only file headers are read; the files of a folder are decoded once to
    find damaged ones.

    Args:
        name: see the top of this file.
        data_dir: folder of the named sets, searched before $JAXSR_DATA and
            ~/.cache/jaxsr/data; for "tfds:" names TFDS's own data_dir.
        low: what is done with the low-resolution images that lie in a folder beside
            others, see `folders.low_ones`: "error", "skip" or "keep".
        channels: of images that are no photographs, but the .npy and TIFF files of a
            folder, see `stacks.read`; they all have one dtype.

    Raises:
        DataNotFound: a set is missing or incomplete; the message says how to get it.
        ValueError: an unknown name, a folder without a good image, or bad files in a
            named set, all of which are listed; with `channels` for any bad file.
    """
    opened = [_open_part(part, data_dir, low, channels) for part in parts_of(name)]
    return sources.join(name, opened)


def open_each(
    names: Iterable[str],
    data_dir: str | os.PathLike | None = None,
    *,
    channels: int | None = None,
) -> list[sources.Source]:
    """The sources of these names, each once; two folders of one name as two."""
    opened = {name: open_source(name, data_dir, channels=channels) for name in names}
    found = [source.name for source in opened.values()]
    twice = [name for name, s in opened.items() if found.count(s.name) > 1]
    short = files.short_names(
        name for name in twice if os.path.isdir(name) and opened[name].name not in SETS
    )
    renamed = [
        source._replace(name=short[name]) if name in short else source
        for name, source in opened.items()
    ]
    return list({source.name: source for source in renamed}.values())


def split_of(name: str) -> str:
    """What the images of a source may be used for: "train", "validation" or "test"."""
    [split] = {_split_of_part(part) for part in parts_of(name)}
    return split


def parts_of(name: str) -> list[str]:
    """The sources that a name joins: all known, and all to be used for the same."""
    if _is_folder(name):
        return [name]
    expanded = "+".join(COMBINED.get(part, part) for part in name.split("+"))
    splits = {}
    for part in expanded.split("+"):
        if part not in SETS and not _is_folder(part) and not part.startswith("tfds:"):
            raise ValueError(
                f"a source must be one of {sorted([*SETS, *COMBINED])}, an existing "
                f"folder, tfds:NAME, or several joined by +; got {part!r}."
            )
        splits[part] = _split_of_part(part)
    if len(set(splits.values())) > 1:
        raise ValueError(f"only sources of one split can be joined; got {splits}.")
    return list(splits)


def _split_of_part(part: str) -> str:
    known = part
    if part.startswith("tfds:jaxsr_images/"):
        known = part.split("/")[1].split(":")[0]
    elif _is_folder(part):
        known = pathlib.Path(part).expanduser().resolve().name
    return SETS[known].split if known in SETS else "train"


def _is_folder(name: str) -> bool:
    known = name in SETS or name in COMBINED
    return bool(name) and not known and pathlib.Path(name).expanduser().is_dir()


def _open_part(name: str, data_dir, low: str, channels) -> sources.Source:
    if channels is not None and not _is_folder(name):
        raise sources.DataNotFound(
            f"images of {channels} channels are the .npy and TIFF files of a folder; "
            f"{name} is a set of photographs. Pass a folder as data.name, "
            "validation.name or --data."
        )
    if name.startswith("tfds:"):
        return tfds.open_source(name, data_dir)
    if name not in SETS:
        return _open_folder(pathlib.Path(name).expanduser(), low, channels)
    entry, paths = SETS[name], _set_files(name, data_dir)
    sizes, reasons = folders.sizes_of(paths, folders.header_size)
    if reasons:
        text = f"{len(reasons)} of the {len(paths)} files of {name} cannot be read:"
        raise ValueError("\n".join([text, *reasons.values()]))
    title = name
    if entry.split == "test" and benchmark_of(paths) != name:
        logging.warning(
            "The images in %s are not those of %s (their checksums differ), so no "
            "published figures are shown beside theirs. `jaxsr prepare %s` fetches "
            "them.",
            *(set_folder(name, data_dir), name, name),
        )
        title = f"{name} (unverified)"
    halved = [path.suffix.lower() in entry.halved for path in paths]
    sizes = [
        image.resized_size(size, 0.5) if half else size
        for size, half in zip(sizes, halved)
    ]

    def read(index):
        pixels = reading.read_as_stored(paths[index])
        if halved[index]:
            pixels = image.to_uint(image.resize(image.from_uint(pixels), 0.5))
        return pixels

    @functools.cache
    def encoded(index):
        return None if halved[index] else _plain(paths[index])

    names = tuple(path.stem for path in paths)
    sizes = np.array(sizes, np.int32)
    return sources.Source(title, names, read, sizes, encoded=encoded)


def _plain(path: pathlib.Path) -> str | None:
    """The path, where the file is of one of the kinds `reading.PLAIN`."""
    return str(path) if reading.plain_size(path) else None


def _open_folder(folder: pathlib.Path, low: str, channels) -> sources.Source:
    read, is_image, what = reading.read_as_stored, reading.is_image, "image"
    if channels is not None:
        read = functools.partial(folders.read_stack, channels=channels)
        is_image, what = stacks.is_stack, ".npy or TIFF"
    paths = folders.image_files(folder, is_image)
    if not paths:
        raise ValueError(f"{folder} holds no {what} file.")
    dtypes = {}  # -> the first file

    def size(path):
        pixels = read(path)
        dtypes.setdefault(pixels.dtype, path)
        return pixels.shape[:2]

    sizes, reasons = folders.sizes_of(paths, size)
    if channels is not None:
        for reason in reasons.values():
            raise ValueError(reason)
        if len(dtypes) > 1:
            found = ", ".join(f"{x} {terminal.shown(p)}" for x, p in dtypes.items())
            raise ValueError(f"all images of a folder need one dtype; got {found}.")
    names = [terminal.shown(path.relative_to(folder).as_posix()) for path in paths]
    kept = range(len(paths))
    if low != "keep":
        kept = folders.reference_images(folder, names, sizes, skip=low == "skip")
    paths = [paths[i] for i in kept]
    title = terminal.shown(folder.resolve().name)  # no paths in cards and tables
    if channels is None and (set_name := benchmark_of(paths)):
        title = set_name
    elif title in SETS and SETS[title].split == "test":
        title = f"{title} (unverified)"
    source = sources.Source(
        title,
        tuple(names[i] for i in kept),
        lambda index: read(paths[index]),
        np.array([sizes[i] for i in kept], np.int32),
        encoded=functools.cache(lambda index: _plain(paths[index])),
        channels=channels,
        dtype=next(iter(dtypes), np.dtype(np.uint8)),
    )
    bad = {k: reasons[i] for k, i in enumerate(kept) if i in reasons}
    return sources.without(source, bad)


def benchmark_of(paths: Sequence[pathlib.Path]) -> str | None:
    """The benchmark set whose images these files hold, by their checksums, or None."""
    for name, entry in SETS.items():
        images = manifest().get(entry.folder, {}).get("images", [])
        if entry.split != "test" or len(images) != len(paths):
            continue
        files_, pixels = (
            {image[key]: image["name"] for image in images}
            for key in ("sha256", "pixels_sha256")
        )
        found = set()
        for path in paths:
            known = files_.get(hashlib.sha256(path.read_bytes()).hexdigest())
            if known is None:
                with contextlib.suppress(ValueError):
                    content = reading.read_as_stored(path).tobytes()
                    known = pixels.get(hashlib.sha256(content).hexdigest())
            if known is None:
                break
            found.add(known)
        if len(found) == len(images):
            return name
    return None


def data_dirs(data_dir=None) -> list[pathlib.Path]:
    """The folders searched for sets, in this order; downloads go to the first."""
    places = [data_dir, os.environ.get("JAXSR_DATA"), "~/.cache/jaxsr/data"]
    return [pathlib.Path(place).expanduser() for place in places if place]


def set_folder(name: str, data_dir=None) -> pathlib.Path:
    folder = SETS[name].folder
    if folder == SKIMAGE:
        return pathlib.Path(checks.extra("skimage").__file__).parent / "data"
    places = [place / folder for place in data_dirs(data_dir)]
    for place in places:
        if place.is_dir():
            return place
    raise sources.DataNotFound(
        f"the image set {name} was not found at {', '.join(map(str, places))}. "
        f"{_remedy(name)}"
    )


def _set_files(name: str, data_dir=None) -> list[pathlib.Path]:
    entry, folder = SETS[name], set_folder(name, data_dir)
    if entry.files:
        return [folder / file for file in entry.files]
    paths = folders.image_files(folder)
    if entry.count is not None and len(paths) != entry.count:
        kind = sources.DataNotFound if len(paths) < entry.count else ValueError
        raise kind(
            f"{name} needs {entry.count} images in {folder}; {len(paths)} are there. "
            f"{_remedy(name)}"
        )
    return entry.keep(paths)


def _remedy(name: str) -> str:
    folder = SETS[name].folder
    if folder in manifest():
        return f"`jaxsr prepare {name}` fetches what is missing."
    return f"It cannot be downloaded; put its files into {folder}."


@functools.cache
def manifest() -> dict:
    """Where sets are found: folder -> repository, commit, checksums of each file.

    Where a set has no repository of its own, each of its images has one.
    """
    file = importlib.resources.files("jaxsr.data") / "image_sets.json"
    return json.loads(file.read_text())["sets"]


@functools.cache
def weight_files() -> dict:
    """Where authors' weights are found: "vdsr/FILE" -> repository, commit, checksum."""
    file = importlib.resources.files("jaxsr.data") / "weight_files.json"
    return json.loads(file.read_text())["files"]


SETS: dict[str, ImageSet] = {
    "T91": ImageSet("train", "T91", 91),
    "BSD200": ImageSet("train", "BSD200", 200),
    # The other 200 of BSDS500's images, of which every tenth is never trained on.
    "BSD180": ImageSet(
        "train",
        "BSD200_extra",
        200,
        lambda files: [file for i, file in enumerate(files) if i % 10],
    ),
    "validation": ImageSet(
        "validation", "BSD200_extra", 200, lambda files: files[::10]
    ),
    "General100": ImageSet("train", "General100", 100),
    # The JPEG files are photographs of 4K, sharp only at half of it.
    "OpenPhotos": ImageSet("train", "OpenPhotos", halved=(".jpg", ".jpeg")),
    "Set5": ImageSet("test", "Set5", 5),
    "Set14": ImageSet("test", "Set14", 14),
    "B100": ImageSet("test", "B100", 100),
    "Urban100": ImageSet("test", "Urban100", 100),
    "Kodak24": ImageSet("test", "Kodak24", 24),
    # The photographs in scikit-image that it states to be CC0, in the public domain or
    # without known restrictions; the sharp ones, for cell, clock_motion and retina have
    # nothing that bicubic x2 loses (over 46 dB).
    "samples": ImageSet(
        "train",
        SKIMAGE,
        files=(
            "astronaut.png",
            "brick.png",
            "camera.png",
            "coffee.png",
            "grass.png",
            "gravel.png",
            "hubble_deep_field.jpg",
            "ihc.png",
        ),
    ),
    "samples-validation": ImageSet(
        "validation", SKIMAGE, files=("chelsea.png", "coins.png", "rocket.jpg")
    ),
}

COMBINED = {"291": "T91+BSD200"}

"""Input and output files of `jaxsr upscale`."""

import collections
import contextlib
import glob
import itertools
import logging
import os
import pathlib
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import PIL.Image

from jaxsr import image, terminal
from jaxsr.files import reading, stacks, writing
from jaxsr.inference import upscale

logger = logging.getLogger(__name__)


class Kind(NamedTuple):
    """The files that are upscaled: photographs, unless other functions are given."""

    is_image: Callable[[pathlib.Path], bool] = reading.is_image  # of those in a folder
    size_of: Callable[[pathlib.Path], tuple[int, int]] = reading.size_of
    check: Callable[[str, writing.Levels], None] = writing.check_kind  # of targets


PHOTOGRAPHS = Kind()


def pairs(
    inputs, output, ending, suffix, levels, fail, kind: Kind = PHOTOGRAPHS
) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """Yields (source, target) of each image with a target of its own.

    Without a suffix a target has that of its source.
    """
    output = None if output is None else pathlib.Path(output)
    found = _find(inputs, output, fail, kind)
    known = PIL.Image.registered_extensions().keys() | set(stacks.SUFFIXES)
    named = output and output.suffix.lower() in known and not output.is_dir()
    last = output.suffix if named else suffix
    kind.check(last, levels)
    if named and len(found) > 1:
        raise ValueError(
            f"{output} is one file, but there are {len(found)} inputs. Name a folder."
        )
    owners = collections.defaultdict(list)  # real target -> (source, target)
    for source, below in found.items():
        target = source if output is None else output / below
        target = output if named else renamed(target, ending, suffix or source.suffix)
        owners[os.path.realpath(target)].append((source, target))
    originals = {os.path.realpath(source) for source in found}
    for real, pairs in owners.items():
        for source, target in pairs:
            if real in originals:
                fail(
                    source,
                    f"it would be written over the input {terminal.shown(target)}.",
                )
            elif len(pairs) > 1:
                others = [other for other, _ in pairs if other != source]
                fail(source, clash(others, target))
            else:
                yield source, target


def renamed(path: pathlib.PurePath, ending: str, suffix: str) -> pathlib.PurePath:
    """The path of the result for an image: photo.jpg becomes photo_x2.png."""
    return path.with_name(path.stem + ending + suffix)


def clash(others: Iterable[str | os.PathLike], target: str | os.PathLike) -> str:
    """The failure of an image with the same target as others."""
    return (
        f"it and {', '.join(map(terminal.shown, others))} would both be written to "
        f"{terminal.shown(target)}. Rename one or pass different output folders."
    )


def _find(inputs, output, fail, kind) -> dict[pathlib.Path, pathlib.Path]:
    """Image file -> its path below the input, for all inputs; `fail`s the others."""
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    found = {}
    for item in inputs:
        text = os.fspath(item)
        if glob.has_magic(text) and not os.path.lexists(text):
            parts = pathlib.Path(text).parts
            fixed = itertools.takewhile(lambda part: not glob.has_magic(part), parts)
            root = pathlib.Path(*fixed)
            paths = map(pathlib.Path, sorted(glob.glob(text, recursive=True)))
            paths = [path for path in paths if not path.is_dir()]
            paths = _originals(paths, root, output, kind)
            lack = "no image matches."
        elif os.path.isdir(text):
            root = pathlib.Path(text)
            paths = _originals(_walk(root, fail), root, output, kind)
            lack = "the folder holds no images."
        else:
            paths = [pathlib.Path(text)]
            root = paths[0].parent
        if not paths:
            fail(pathlib.Path(text), lack)
        for path in paths:
            try:
                if not stat.S_ISREG(path.stat().st_mode):
                    raise ValueError("it must be a file or a folder.")
                found[path] = path.relative_to(root)
            except OSError as error:
                fail(path, f"it cannot be read: {error.strerror}.")
            except ValueError as error:
                fail(path, str(error))
    return found


def _walk(folder: pathlib.Path, fail) -> Iterator[pathlib.Path]:
    """The files in a folder and below."""

    def unreadable(error):
        fail(pathlib.Path(error.filename), f"it cannot be read: {error.strerror}.")

    for root, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (pathlib.Path(root, name) for name in sorted(names))


def _originals(
    paths: Iterable[pathlib.Path],
    root: pathlib.Path,
    output: pathlib.Path | None,
    kind: Kind,
) -> list[pathlib.Path]:
    """The images among the paths, without the results of earlier runs."""
    images = [
        path for path in paths if not path.name.startswith(".") and kind.is_image(path)
    ]
    stems = {}
    for path in images:
        stems.setdefault(path.with_suffix(""), []).append(path)
    folder = os.path.realpath(output) if output else ""
    nested = _lies_in(folder, os.path.realpath(root))
    made = [
        path
        for path in images
        if _is_result(path, stems, kind)
        or (nested and _lies_in(os.path.realpath(path), folder))
    ]
    if made:
        names = ", ".join(terminal.shown(path.name) for path in made[:3])
        more = ", ..." if len(made) > 3 else ""
        logger.info("%d results of earlier runs: %s%s.", len(made), names, more)
    passed = set(made)
    return [path for path in images if path not in passed]


def _lies_in(path: str, folder: str) -> bool:
    """Whether a path lies below a folder."""
    return path.startswith(os.path.join(folder, ""))


def _is_result(path: pathlib.Path, stems: dict[pathlib.Path, list], kind) -> bool:
    """Whether an image has the name and size of an upscaled copy of another here.

    If a size cannot be read, only the name is compared.
    """
    name = MADE.fullmatch(path.stem)
    for original in stems.get(path.with_name(name[1]), ()) if name else ():
        try:
            old, new = kind.size_of(original), kind.size_of(path)
        except ValueError:
            return True
        with contextlib.suppress(ValueError):
            found = name.groupdict()
            scale = float(found["scale"] or 1)
            upscale.check_scale(scale)
            sides = [found["height"] or found["h"], found["width"] or found["w"]]
            size = tuple(side and int(side) for side in sides) if any(sides) else None
            if found["pixels"]:
                size = float(found["pixels"])
            if goal(old, scale, size)[0] == new:
                return True
    return False


# (height, width), of which one may be None; or megapixels
Size = tuple[int | None, int | None] | float


def check_size(size: Size) -> None:
    """Raises a ValueError unless the numbers of a size are positive."""
    numbers = [size] if isinstance(size, float) else [x for x in size if x is not None]
    if not numbers or not min(numbers) > 0:
        raise ValueError(f"size must be positive; got {size}.")


def goal(
    old: tuple[int, int], scale: float, size: Size | None
) -> tuple[tuple[int, int], float]:
    """The (height, width) and the scale of an image that is upscaled.

    Args:
        old: its (height, width).
        scale: by which it is upscaled,
        size: unless it becomes as large as fits inside this, with its proportions.

    Raises:
        ValueError: for an image that is larger than the size.
    """
    if size is None:
        return image.resized_size(old, scale), scale
    if isinstance(size, float):
        scale = (1e6 * size / (old[0] * old[1])) ** 0.5
    else:
        scale = min(new / side for new, side in zip(size, old) if new is not None)
    if scale < 1:
        raise ValueError(
            f"it has {old[1]}x{old[0]} pixels, more than the requested "
            f"{ending(1, size)[1:]}; images are never reduced."
        )
    return tuple(round(side * scale) for side in old), scale


def ending(scale: float, size: Size | None) -> str:
    """What the name of a result ends in: "_x2.5", "_3840x2160", "_w3840", "_24MP"."""
    if size is None:
        return f"_x{scale:g}"
    if isinstance(size, float):
        return f"_{size:g}MP"
    height, width = size
    if None in size:
        return f"_w{width}" if height is None else f"_h{height}"
    return f"_{width}x{height}"


# Names with an `ending`.
MADE = re.compile(
    r"(.+)_(?:x(?P<scale>[\d.]+)|(?P<pixels>[\d.]+)MP"
    r"|w(?P<w>\d+)|h(?P<h>\d+)|(?P<width>\d+)x(?P<height>\d+))",
    re.DOTALL,
)

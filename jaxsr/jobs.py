"""Files and folders of images, enlarged: what becomes what, and what goes wrong."""

import collections
import concurrent.futures
import contextlib
import functools
import glob
import itertools
import logging
import os
import pathlib
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import PIL.Image
import tqdm
import tqdm.contrib.logging

from jaxsr import enlarge, files, image, models, terminal, weights

logger = logging.getLogger(__name__)


class Failure(NamedTuple):
    """An input that was not enlarged."""

    source: pathlib.Path
    reason: str


class Summary(NamedTuple):
    """What became of the inputs."""

    done: list[pathlib.Path]  # the files written
    skipped: list[pathlib.Path]  # those that were there before
    failed: list[Failure]


def upscale_files(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike | None = None,
    scale: float = 2.0,
    model: weights.Model | str | os.PathLike = enlarge.AUTO,
    *,
    size: tuple[int, int] | None = None,
    suffix: str = ".png",
    existing: str = "error",
    dry_run: bool = False,
    quality: str = "balanced",
    precision: str = "float32",
    data_range: int | None = None,
    level: int | None = None,
    max_megapixels: float | None = None,
    **options,
) -> Summary:
    """Enlarges files, and the images in folders and below; a bad one stops no other.

    Writes photo_x2.5.png for photo.jpg, each file whole or not at all. EXIF orientation
    is applied; colour profile, EXIF, XMP and resolution are carried over where the
    format can hold them. While one image is enlarged the next is read and the last one
    written.

    Args:
        inputs: files, folders and patterns like "photos/**/*.jpg". Links to folders are
            not followed, hidden ones passed over. So are the results of earlier runs,
            told by name and size, with a line that counts them.
        output: a file, for one input; or a folder, in which the structure below the
            input folders, or below the fixed part of a pattern, is kept; or None for a
            place beside each input.
        scale: as in `enlarge.upscale`.
        model: as in `enlarge.upscale`.
        size: (height, width) instead of a scale: each image becomes as large as fits
            inside, its proportions kept. One that is larger fails.
        suffix: a key of `files.FORMATS`, of the files to write.
        existing: what to do where the file to write is there: "error" (that input
            fails), "overwrite" or "skip".
        dry_run: say what would be done, by the headers of the files, and write nothing.
        quality: as in `enlarge.upscale`.
        precision: as in `enlarge.upscale`.
        data_range: as in `enlarge.upscale`.
        level: of the quality of JPEG and WebP, 1 to 100 (95).
        max_megapixels: of an input, above which it fails; by default as in Pillow, 179.
        **options: `tile` and `ensemble`, as in `enlarge.upscale`.

    Raises:
        ValueError: before anything is written, for an argument that cannot be meant.
            Two inputs that would be written to one file, or one over an input, fail
            alone.
    """
    if size is None:
        enlarge.check_scale(scale)
    elif min(size) < 1:
        raise ValueError(f"size must be positive; got {size}.")
    files.check_existing(existing)
    models.check_precision(precision)
    with files.limited_to(max_megapixels):
        return _upscale_files(
            inputs,
            output,
            scale,
            functools.cache(lambda scale: _chosen(model, scale, quality)),
            size=size,
            suffix=suffix,
            existing=existing,
            dry_run=dry_run,
            level=level,
            precision=precision,
            data_range=data_range,
            **options,
        )


def _chosen(model, scale, quality) -> tuple[weights.Model, str]:
    """The model that enlarges by a scale, and its name where it has one."""
    if isinstance(model, weights.Model):
        return model, ""
    name = weights.choose(scale, quality) if model == enlarge.AUTO else model
    return enlarge.choose(name, scale, quality), f" ({terminal.shown(name)})"


def _upscale_files(
    inputs, output, scale, chosen, *, size, suffix, existing, dry_run, level, **options
) -> Summary:
    chosen(scale)  # a wrong one is told before the work
    summary = Summary([], [], [])

    def fail(source, reason):
        summary.failed.append(Failure(source, reason))
        logger.error("%s: %s", terminal.shown(source), reason)

    ending = f"_x{scale:g}" if size is None else f"_{size[1]}x{size[0]}"
    jobs = []
    for source, target in _targets(inputs, output, ending, suffix, level, fail):
        try:
            if not files.to_write(target, existing):
                summary.skipped.append(target)
                continue
            old = files.size_of(source)
            jobs.append(_Job(source, target, old, *_goal(old, scale, size)))
        except ValueError as error:
            fail(source, str(error))
    if dry_run:
        for job in jobs:
            _tell(job)
            summary.done.append(job.target)
    else:
        _run(jobs, chosen, summary.done, fail, level=level, **options)
    return summary


class _Job(NamedTuple):
    """One image to enlarge; sizes are (height, width)."""

    source: pathlib.Path
    target: pathlib.Path
    old: tuple[int, int]
    size: tuple[int, int]
    scale: float


def _tell(job: _Job) -> None:
    logger.info(
        "%s, %dx%d -> %s, %dx%d",
        *(terminal.shown(job.source), *job.old[::-1]),
        *(terminal.shown(job.target), *job.size[::-1]),
    )


def _goal(old, scale, box):
    """The size and the scale of an image that is enlarged by a scale or into a box."""
    if box is None:
        return image.resized_size(old, scale), scale
    scale = min(new / side for new, side in zip(box, old))
    if scale < 1:
        raise ValueError(
            f"it has {old[1]}x{old[0]} pixels, more than the {box[1]}x{box[0]} asked "
            "for, and nothing is made smaller."
        )
    return tuple(round(side * scale) for side in old), scale


def _run(
    jobs: list[_Job],
    chosen: Callable[[float], tuple[weights.Model, str]],
    done: list[pathlib.Path],
    fail: Callable[[pathlib.Path, str], None],
    level: int | None,
    **options,
) -> None:
    """Does the jobs with a progress bar: reads one ahead, writes one behind."""
    said = set()

    def note(job, notes):
        if notes:
            logger.warning("%s: %s.", terminal.shown(job.source), "; ".join(notes))

    def enlarged(job, reading, bar):
        photo, notes = reading.result()
        del reading  # which would keep the pixels
        note(job, notes + _range_note(photo.pixels, options["data_range"]))
        if photo.pixels.shape[:2] != job.old:
            raise ValueError(
                f"its header says {job.old[1]}x{job.old[0]} pixels, but it holds "
                f"{photo.pixels.shape[1]}x{photo.pixels.shape[0]}."
            )
        photo = photo._replace(pixels=files.fitted(photo.pixels, job.target))
        files.check_fits(photo.pixels, job.size, job.target)
        model, name = chosen(job.scale)
        line = f"Running {enlarge.way(model, job.scale)} on {_devices()}{name}."
        if line not in said:
            logger.info(line)
            said.add(line)
        pixels = enlarge.to_size(
            photo.pixels,
            job.size,
            model,
            advance=lambda count: bar.update(count / 1e6),
            **options,
        )
        return photo._replace(pixels=pixels)

    @contextlib.contextmanager
    def settled(job):
        try:
            yield
        except ERRORS as error:
            fail(job.source, str(error) or type(error).__name__)

    def settle(writings):
        while writings:
            job, writing = writings.popleft()
            with settled(job):
                note(job, writing.result())
                done.append(job.target)
                _tell(job)

    ends = np.cumsum([np.prod(job.size) / 1e6 for job in jobs])
    readings, writings = collections.deque(), collections.deque()
    with (
        tqdm.contrib.logging.logging_redirect_tqdm(),
        tqdm.tqdm(total=ends[-1] if jobs else 0, disable=None, bar_format=BAR) as bar,
        concurrent.futures.ThreadPoolExecutor(1) as reader,
        concurrent.futures.ThreadPoolExecutor(1) as writer,
    ):
        for i, (job, end) in enumerate(zip(jobs, ends)):
            bar.set_description_str(terminal.shown(job.source.name))
            for ahead in jobs[i + len(readings) : i + 2]:
                readings.append(reader.submit(files.read, ahead.source))
            with settled(job):
                photo = enlarged(job, readings.popleft(), bar)
                settle(writings)
                writing = writer.submit(files.write, photo, job.target, level)
                writings.append((job, writing))
                if photo.pixels.nbytes > LARGE:
                    settle(writings)
                del photo
            bar.update(end - bar.n)
        settle(writings)


def _range_note(pixels: np.ndarray, given: int | None) -> list[str]:
    """What to say where fewer than 16 bits are taken for the range of a file."""
    if pixels.dtype != np.uint16 or given is not None:
        return []
    top = image.data_range(image.without_alpha(pixels))
    if top == image.RANGES[-1]:
        return []
    return [f"its 16-bit values are taken as 0..{top}; --range sets another"]


def _devices() -> str:
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return "the CPU"
    many = f"{len(devices)} " if len(devices) > 1 else ""
    return many + devices[0].device_kind


def _targets(
    inputs, output, ending, suffix, level, fail
) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """Yields (source, target) of each image whose target is its own."""
    output = None if output is None else pathlib.Path(output)
    found = _find(inputs, output, fail)
    kinds = PIL.Image.registered_extensions()
    named = output and output.suffix.lower() in kinds and not output.is_dir()
    last = output.suffix if named else suffix
    files.check_kind(last, level)
    if named and len(found) > 1:
        raise ValueError(
            f"{output} is one file, but there are {len(found)} inputs. Name a folder."
        )
    owners = collections.defaultdict(list)  # real target -> (source, target)
    for source, below in found.items():
        target = source if output is None else output / below
        target = output if named else target.with_name(target.stem + ending + suffix)
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
                others = [
                    terminal.shown(other) for other, _ in pairs if other != source
                ]
                fail(
                    source,
                    f"it and {', '.join(others)} would be written to one file, "
                    f"{terminal.shown(target)}. Rename one, or enlarge them apart.",
                )
            else:
                yield source, target


def _find(inputs, output, fail) -> dict[pathlib.Path, pathlib.Path]:
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
            paths = _originals(paths, root, output)
            lack = "no image matches."
        elif os.path.isdir(text):
            root = pathlib.Path(text)
            paths = _originals(_walk(root, fail), root, output)
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
    paths: Iterable[pathlib.Path], root: pathlib.Path, output: pathlib.Path | None
) -> list[pathlib.Path]:
    """The images among the paths, but for what an earlier run wrote."""
    images = [
        path for path in paths if not path.name.startswith(".") and files.is_image(path)
    ]
    stems = {}
    for path in images:
        stems.setdefault(path.with_suffix(""), []).append(path)
    apart = output and os.path.realpath(output) != os.path.realpath(root)
    inside = apart and os.path.join(os.path.realpath(output), "")
    made = [
        path
        for path in images
        if _is_result(path, stems)
        or (inside and os.path.realpath(path).startswith(inside))
    ]
    if made:
        names = ", ".join(terminal.shown(path.name) for path in made[:3])
        more = ", ..." if len(made) > 3 else ""
        logger.info("%d results of earlier runs: %s%s.", len(made), names, more)
    passed = set(made)
    return [path for path in images if path not in passed]


def _is_result(path: pathlib.Path, stems: dict[pathlib.Path, list]) -> bool:
    """Whether an image has the name and the size of what is made of another here.

    The name alone counts where a size cannot be read.
    """
    name = MADE.fullmatch(path.stem)
    for original in stems.get(path.with_name(name[1]), ()) if name else ():
        try:
            old, new = files.size_of(original), files.size_of(path)
        except ValueError:
            return True
        with contextlib.suppress(ValueError):
            box = name[3] and (int(name[4]), int(name[3]))
            scale = float(name[2] or 1)
            enlarge.check_scale(scale)
            if _goal(old, scale, box)[0] == new:
                return True
    return False


ERRORS = (OSError, ValueError, MemoryError, jax.errors.JaxRuntimeError)
# The names that are given here: stem, then scale, or width and height.
MADE = re.compile(r"(.+)_(?:x([\d.]+)|(\d+)x(\d+))", re.DOTALL)
# Bytes of pixels of which no second image is begun before they are written.
LARGE = 2**28
BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} megapixels "
    "[{elapsed}<{remaining}]"
)

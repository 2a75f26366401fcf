"""Upscaling of image files and folders."""

import collections
import concurrent.futures
import contextlib
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import numpy as np
import tqdm
import tqdm.contrib.logging

from jaxsr import cards, files, terminal, weights
from jaxsr.files import depth, reading, stacks, writing
from jaxsr.inference import targets, tiling, upscale

logger = logging.getLogger(__name__)


class Failure(NamedTuple):
    """An input that was not upscaled."""

    source: pathlib.Path
    reason: str


class Summary(NamedTuple):
    """The results for all inputs."""

    done: list[pathlib.Path]  # the files written
    skipped: list[pathlib.Path]  # existing outputs
    failed: list[Failure]


def upscale_files(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike | None = None,
    scale: float = 2.0,
    model: weights.Model | str | os.PathLike = upscale.AUTO,
    *,
    size: targets.Size | None = None,
    suffix: str | None = None,
    existing: str = "error",
    dry_run: bool = False,
    quality: str = "balanced",
    data_range: int | None = None,
    level: int | None = None,
    png_level: int | None = None,
    max_megapixels: float | None = None,
    **options,
) -> Summary:
    """Upscales files, and the images in folders and below; a failure affects one image.

    Writes photo_x2.5.png for photo.jpg, atomically. EXIF orientation
    is applied; colour profile, EXIF, XMP and resolution are carried over where the
    format can hold them. While one image is upscaled the next is read and the last one
    written. A model of "channels" upscales .npy and TIFF files of so many, see
    `stacks.read`, in their dtype.

    Args:
        inputs: files, folders and patterns like "photos/**/*.jpg". Links to folders are
            not followed. Hidden files are skipped, and so are results of earlier runs,
            recognised by name and size; their number is logged.
        output: a file, for one input; or a folder, in which the structure below the
            input folders, or below the fixed part of a pattern, is kept; or None for a
            place beside each input.
        scale: as in `upscale.upscale`.
        model: as in `upscale.upscale`.
        size: instead of a scale, (height, width), of which one may be None, or a float
            of megapixels: each image becomes as large as fits inside, its proportions
            kept. One that is larger fails.
        suffix: a key of `writing.FORMATS`, of the files to write; by default ".png",
            and for a model of "channels" that of each input.
        existing: what to do if the output exists: "error" (that input
            fails), "overwrite" or "skip".
        dry_run: print what would be done, from the files' headers; write nothing.
        quality: as in `upscale.upscale`.
        data_range: as in `upscale.upscale`.
        level: quality, 1 to 100, of JPEG and WebP (95) and AVIF (90).
        png_level: compression of PNG, 0 to 9 (3).
        max_megapixels: of an input, above which it fails; by default as in Pillow, 179.
        **options: those of `tiling.Options`.

    Raises:
        ValueError: before anything is written, for an invalid argument. Two inputs with
            the same output, or an output that is an input, are failures of these alone.
    """
    if size is None:
        upscale.check_scale(scale)
    else:
        targets.check_size(size)
    files.check_existing(existing)
    options = tiling.Options(**options)
    tiling.check_options(options)
    chosen = functools.cache(lambda scale: _chosen(model, scale, quality))
    first, _ = chosen(scale)  # fails before any work if the model does not exist
    upscaled = _upscale_files if "channels" not in first.card else _upscale_stacks
    with reading.limited_to(max_megapixels):
        return upscaled(
            inputs,
            output,
            scale,
            chosen,
            size=size,
            suffix=suffix,
            existing=existing,
            dry_run=dry_run,
            levels=writing.Levels(level, png_level),
            options=options,
            data_range=data_range,
        )


def _chosen(model, scale, quality) -> tuple[weights.Model, str]:
    """The model that upscales by a scale, and its name where it has one."""
    if isinstance(model, weights.Model):
        return model, ""
    name = cards.choose(scale, quality) if model == upscale.AUTO else model
    return upscale.choose(name, scale, quality), f" ({terminal.shown(name)})"


def _upscale_files(
    inputs, output, scale, chosen, *, size, suffix, existing, dry_run, levels, **how
) -> Summary:
    summary, fail = _noted()
    ending, suffix = targets.ending(scale, size), suffix or ".png"
    jobs = []
    for source, target in targets.pairs(inputs, output, ending, suffix, levels, fail):
        try:
            if not files.to_write(target, existing):
                summary.skipped.append(target)
                continue
            old = reading.size_of(source)
            jobs.append(_Job(source, target, old, *targets.goal(old, scale, size)))
        except ValueError as error:
            fail(source, str(error))
    if dry_run:
        for job in jobs:
            _tell(job)
            summary.done.append(job.target)
    else:
        _run(jobs, chosen, summary.done, fail, levels=levels, **how)
    return summary


def _upscale_stacks(
    inputs, output, scale, chosen, *, size, suffix, existing, dry_run, levels, **how
) -> Summary:
    """`upscale_files` of files of `stacks`, by a model of "channels"."""
    (model, _), (summary, fail) = chosen(scale), _noted()
    read = functools.partial(stacks.read, channels=model.card["channels"])
    kind = targets.Kind(
        stacks.is_stack, lambda path: read(path).shape[:2], stacks.check_kind
    )
    ending = targets.ending(scale, size)
    found = targets.pairs(inputs, output, ending, suffix, levels, fail, kind)
    for source, target in tqdm.tqdm(
        list(found), unit="image", leave=False, disable=None
    ):
        try:
            if not files.to_write(target, existing):
                summary.skipped.append(target)
                continue
            pixels = read(source)
            old = pixels.shape[:2]
            job = _Job(source, target, old, *targets.goal(old, scale, size))
            if not dry_run:
                stacks.write(upscale.to_size(pixels, job.size, model, **how), target)
            summary.done.append(target)
            _tell(job)
        except ERRORS as error:
            fail(source, str(error) or type(error).__name__)
    return summary


def _noted() -> tuple[Summary, Callable[[pathlib.Path, str], None]]:
    """An empty summary, and a function that logs and adds a failure."""
    summary = Summary([], [], [])

    def fail(source, reason):
        summary.failed.append(Failure(source, reason))
        logger.error("%s: %s", terminal.shown(source), reason)

    return summary, fail


class _Job(NamedTuple):
    """One image to upscale; sizes are (height, width)."""

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


def _run(
    jobs: list[_Job],
    chosen: Callable[[float], tuple[weights.Model, str]],
    done: list[pathlib.Path],
    fail: Callable[[pathlib.Path, str], None],
    levels: writing.Levels,
    **how,
) -> None:
    """Does the jobs with a progress bar: reads one ahead, writes one behind."""
    said = functools.cache(logger.info)  # a line for all images is logged once

    @contextlib.contextmanager
    def settled(job):
        try:
            yield
        except ERRORS as error:
            fail(job.source, str(error) or type(error).__name__)

    def settle(writings):
        while writings:
            job, written = writings.popleft()
            with settled(job):
                _note(job, written.result())
                done.append(job.target)
                _tell(job)

    ends = np.cumsum([np.prod(job.size) / 1e6 for job in jobs])
    readings, writings = collections.deque(), collections.deque()
    with (
        tqdm.contrib.logging.logging_redirect_tqdm(),
        tqdm.tqdm(
            total=ends[-1] if jobs else 0,
            unit="megapixels",
            disable=None,
            bar_format=BAR,
        ) as bar,
        concurrent.futures.ThreadPoolExecutor(1) as reader,
        concurrent.futures.ThreadPoolExecutor(1) as writer,
    ):
        for i, (job, end) in enumerate(zip(jobs, ends)):
            bar.set_description_str(terminal.shown(job.source.name))
            for ahead in jobs[i + len(readings) : i + 2]:
                readings.append(reader.submit(reading.read_upright, ahead.source))
            with settled(job):
                photo = _upscaled(job, readings, chosen, said, bar, **how)
                settle(writings)
                written = writer.submit(writing.write, photo, job.target, levels)
                writings.append((job, written))
                if photo.pixels.nbytes > LARGE:
                    settle(writings)
                del photo
            if not bar.disable:  # it does not count then
                bar.update(end - bar.n)
        settle(writings)


def _upscaled(
    job: _Job,
    readings: collections.deque[concurrent.futures.Future],
    chosen: Callable[[float], tuple[weights.Model, str]],
    said: Callable[[str], None],
    bar: tqdm.tqdm,
    *,
    options: tiling.Options,
    data_range: int | None,
) -> reading.Photo:
    """The upscaled photo of the job whose file is read by the first of `readings`.

    Raises:
        ValueError: also where the file's header gives another size than its pixels.
    """
    photo, notes = readings.popleft().result()
    _note(job, notes + _range_note(photo.pixels, data_range))
    if photo.pixels.shape[:2] != job.old:
        raise ValueError(
            f"its header says {job.old[1]}x{job.old[0]} pixels, but it holds "
            f"{photo.pixels.shape[1]}x{photo.pixels.shape[0]}."
        )
    photo = photo._replace(pixels=writing.fitted(photo.pixels, job.target))
    writing.check_fits(photo.pixels, job.size, job.target)
    model, name = chosen(job.scale)
    said(f"Running {upscale.method_text(model, job.scale)} on {_devices()}{name}.")
    pixels = upscale.to_size(
        photo.pixels,
        job.size,
        model,
        options,
        data_range=data_range,
        advance=lambda count: bar.update(count / 1e6),
        empty=writing.empty,
    )
    return photo._replace(pixels=pixels)


def _note(job: _Job, notes: list[str]) -> None:
    if notes:
        logger.warning("%s: %s.", terminal.shown(job.source), "; ".join(notes))


def _range_note(pixels: np.ndarray, given: int | None) -> list[str]:
    """What to say where fewer than 16 bits are taken for the range of a file."""
    if pixels.dtype != np.uint16 or given is not None:
        return []
    top = depth.data_range(depth.without_alpha(pixels))
    if top == depth.RANGES[-1]:
        return []
    return [f"its 16-bit values are taken as 0..{top}; --range sets another"]


def _devices() -> str:
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return "the CPU"
    many = f"{len(devices)} " if len(devices) > 1 else ""
    return many + devices[0].device_kind


ERRORS = (OSError, ValueError, MemoryError, jax.errors.JaxRuntimeError)
# Bytes of pixels of which no second image is begun before they are written.
LARGE = 2**28
BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} {unit} "
    "[{elapsed}<{remaining}]"
)

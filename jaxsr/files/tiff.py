"""16-bit TIFF files, read by tifffile: Pillow reads few of their forms."""

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image
import tifffile

from jaxsr import image
from jaxsr.files import depth, metadata

TOP = 65535


class Deep(NamedTuple):
    """The content of such a file, upright."""

    pixels: np.ndarray  # uint16 [H, W] or [H, W, 2 to 4]; the last of 2 or 4 is alpha
    info: dict  # as PIL.Image.Image.info
    exif: PIL.Image.Exif
    notes: list[str]  # what was converted or left out


def read(file) -> Deep | None:
    """The first image of a TIFF of 16-bit numbers; None for any other file.

    None also where Pillow reads the form, and tifffile needs the package `imagecodecs`
    for its compression.

    Args:
        file: a path or a binary file.

    Raises:
        ValueError: for colours, numbers or a compression that cannot be read, and for
            a damaged file; then tifffile may raise other errors too.
    """
    with _page(file) as page:
        if page is None:
            return None
        extra = _check(page)
        if page.compression not in tifffile.TIFF.DECOMPRESSORS:
            if page.planarconfig == 1 and (page.photometric, *extra) in BY_PILLOW:
                return None
            name = getattr(page.compression, "name", page.compression)
            raise ValueError(
                f"its compression, {name}, cannot be read. Run pip install imagecodecs."
            )
        pixels = page.asarray()
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
        if pixels.dtype.kind == "i" and pixels.min() < 0:
            raise ValueError(f"values must lie in 0..{TOP}; got {pixels.min()}.")
        pixels, notes = _simplified(page, pixels.astype(np.uint16, copy=False), extra)
        if (frames := len(page.parent.pages)) > 1:
            notes.append(f"the first of {frames} frames is taken")
        info, exif = _metadata(page, notes)
        pixels = image.symmetry(pixels, _symmetry(page))
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return Deep(np.ascontiguousarray(pixels), info, exif, notes)


def size(file) -> tuple[int, int] | None:
    """The (height, width), upright, of a file that `read` reads; None for others."""
    with _page(file) as page:
        if page is None:
            return None
        stored = _stored_size(page)
        return stored[::-1] if _symmetry(page) % 2 else stored


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context in which tifffile logs nothing: our errors say what it would."""
    _quiet.on = True
    try:
        yield
    finally:
        _quiet.on = False


@contextlib.contextmanager
def _page(file) -> Iterator[tifffile.TiffPage | None]:
    """The first page of a TIFF whose samples have 16 bits, or None."""
    with quiet():
        try:
            opened = tifffile.TiffFile(file)
        except tifffile.TiffFileError:
            opened = contextlib.nullcontext()
        with opened as tiff:
            page = tiff and tiff.pages.first
            deep = page and page.bitspersample == 16 and page.dtype is not None
            if deep and not all(type(n) is int for n in _stored_size(page)):
                raise ValueError("its height and width are not one number each.")
            yield page if deep else None


def _stored_size(page: tifffile.TiffPage) -> tuple[int, int]:
    return page.imagelength, page.imagewidth


def _check(page: tifffile.TiffPage) -> list[int]:
    """The kinds of the channels beside colours; a ValueError where it cannot be read.

    Nothing of the file's size is allocated before.
    """
    colour = page.photometric
    if colour not in CHANNELS or page.tags.valueof(332, 1) != 1:  # inks
        name = getattr(colour, "name", colour)
        raise ValueError(
            f"its 16-bit values are {name}, not gray, RGB, a palette or CMYK. Convert "
            "it to RGB."
        )
    if page.dtype.kind == "f":
        raise ValueError("it holds floats of 16 bits. Convert them to 32 bits.")
    beside = page.samplesperpixel - CHANNELS[colour]
    extra = [int(kind) for kind in page.extrasamples] or [ALPHA] * (beside == 1)
    if len(extra) != beside:
        raise ValueError(
            f"it must have {CHANNELS[colour]} channels and those of tag ExtraSamples, "
            f"{len(extra)}; got {page.samplesperpixel}."
        )
    values = math.prod(page.shaped)
    limit = 2 * (PIL.Image.MAX_IMAGE_PIXELS or math.inf)
    pixels = max(values // 4, page.imagelength * page.imagewidth)
    if pixels > limit:
        raise PIL.Image.DecompressionBombError(
            f"Image size ({pixels} pixels) "
            f"exceeds the limit of {limit}, could be a decompression bomb"
        )
    if not values or page.imagedepth != 1:
        raise ValueError(f"it must be one image, not empty; got shape {page.shape}.")
    segments = list(zip(page.dataoffsets, page.databytecounts))
    end = max((offset + count for offset, count in segments), default=0)
    if (
        len(segments) < math.prod(page.chunked)
        or not all(page.databytecounts)
        or end > page.parent.filehandle.size
    ):
        raise ValueError("it is truncated: its pixels are not all there.")
    return extra


def _simplified(page, pixels: np.ndarray, extra: list[int]):
    """Pixels [H, W, C] of the file as gray or RGB, with alpha or not; and notes."""
    notes, colour = [], page.photometric
    channels = CHANNELS[colour]
    colours = pixels[..., :channels]
    if colour == tifffile.PHOTOMETRIC.MINISWHITE:
        colours = TOP - colours
    elif colour == tifffile.PHOTOMETRIC.PALETTE:
        palette = page.colormap
        if palette is None or palette.shape[-1] <= colours.max():
            raise ValueError("its palette lacks colours.")
        colours = np.moveaxis(palette[:, colours[..., 0]], 0, -1)
        notes.append("its palette is converted to RGB")
    elif colour == tifffile.PHOTOMETRIC.SEPARATED:
        light = TOP - colours.astype(np.uint32)
        colours = (light[..., :3] * light[..., 3:] + TOP // 2) // TOP
        notes.append("CMYK is converted to RGB, without its colour profile")
    at = next((i for i, kind in enumerate(extra) if kind in (ASSOCIATED, ALPHA)), None)
    if left := len(extra) - (at is not None):
        notes.append(f"{left} extra channels, neither colour nor alpha, are dropped")
    if at is not None:
        alpha = pixels[..., channels + at, None]
        if extra[at] == ASSOCIATED:
            top = depth.data_range(alpha)
            whole = np.maximum(alpha, 1).astype(np.uint32)
            colours = np.minimum((colours * np.uint32(top) + whole // 2) // whole, top)
        colours = np.concatenate([colours.astype(np.uint16), alpha], axis=-1)
    return colours.astype(np.uint16, copy=False), notes


def _symmetry(page: tifffile.TiffPage) -> int:
    """The index, for `image.symmetry`, of what turns the page upright."""
    tag, xmp = page.tags.valueof(274), page.tags.valueof(700)
    return UPRIGHT[metadata.orientation(tag, xmp)]


def _metadata(page: tifffile.TiffPage, notes: list[str]):
    """What Pillow finds in the TIFF files that it opens; it does not open all these."""
    exif = PIL.Image.Exif()
    try:
        exif.bigtiff = page.parent.is_bigtiff
        exif.endian = page.parent.byteorder
        exif.load_from_fp(page.parent.filehandle, page.offset)
        exif, damaged = metadata.settled(exif)  # while the file is open
        exif.pop(PIL.ExifTags.Base.Orientation, None)
        notes += metadata.left_out(damaged)
    except Exception:  # on damaged values almost anything
        exif = PIL.Image.Exif()
        notes += metadata.left_out(["EXIF"])
    info = {"icc_profile": page.tags.valueof(34675), "xmp": page.tags.valueof(700)}
    if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
        del info["icc_profile"]
    if page.resolutionunit in (2, 3):
        info["dpi"] = page.get_resolution(tifffile.RESUNIT.INCH)
    return {key: value for key, value in info.items() if value}, exif


CHANNELS = {
    tifffile.PHOTOMETRIC.MINISWHITE: 1,
    tifffile.PHOTOMETRIC.MINISBLACK: 1,
    tifffile.PHOTOMETRIC.RGB: 3,
    tifffile.PHOTOMETRIC.PALETTE: 1,
    tifffile.PHOTOMETRIC.SEPARATED: 4,
}
ASSOCIATED, ALPHA = 1, 2  # kinds of an extra channel: alpha, multiplied in or not
BY_PILLOW = {
    (tifffile.PHOTOMETRIC.MINISBLACK,),
    (tifffile.PHOTOMETRIC.RGB,),
    (tifffile.PHOTOMETRIC.RGB, ALPHA),
}
UPRIGHT = {1: 0, 2: 4, 3: 2, 4: 6, 5: 5, 6: 3, 7: 7, 8: 1}  # by the tag Orientation

_quiet = threading.local()
tifffile.logger().addFilter(lambda record: not getattr(_quiet, "on", False))

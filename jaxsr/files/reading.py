"""Reading of image files, upright or as stored.

Pillow has no mode for 16-bit colour, but its decoders and metadata are used for it too.
"""

import contextlib
import functools
import math
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps

from jaxsr import image, terminal
from jaxsr.files import depth, metadata, tiff


class Photo(NamedTuple):
    """The content of an image file, upright."""

    pixels: np.ndarray  # [H, W] or [H, W, 2 to 4], uint8, uint16 or float32
    info: dict  # PIL.Image.Image.info
    exif: PIL.Image.Exif


@contextlib.contextmanager
def limited_to(megapixels: float | None):
    """A context that limits images to so many megapixels; None for Pillow's limit.

    The limit is one for all threads, as Pillow's is.
    """
    before = PIL.Image.MAX_IMAGE_PIXELS
    if megapixels is not None:
        if not 0 < megapixels < math.inf:
            raise ValueError(f"max_megapixels must be positive; got {megapixels}.")
        PIL.Image.MAX_IMAGE_PIXELS = megapixels * 5e5  # which errors at twice that
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before


def open_image(file: str | os.PathLike | BinaryIO) -> PIL.Image.Image:
    """The opened file; a bomb only above twice PIL.Image.MAX_IMAGE_PIXELS.

    Raises:
        ValueError: for what is known not to be read, with the way out.
    """
    suffix = _suffix(file)
    _register()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            picture = PIL.Image.open(file)
    except PIL.UnidentifiedImageError as error:
        if suffix in HEIF:
            reason = "HEIC needs another package: pip install 'jaxsr[heif]'"
            raise ValueError(reason) from error
        raise
    if _ppm_levels(picture) == 65535 and picture.mode == "RGB":  # reduced to 8 bits
        [tile] = picture.tile
        if tile.codec_name == "ppm":
            picture.tile = [tile._replace(codec_name="raw", args=("RGB;16B", 0, 1))]
    return picture


def _suffix(file: str | os.PathLike | BinaryIO) -> str:
    """The end of a path's name, ".png"; refused where it is a camera's raw file."""
    named = isinstance(file, str | os.PathLike)
    suffix = pathlib.Path(file).suffix.lower() if named else ""
    if suffix in RAW:
        raise ValueError("it is a camera raw file. Convert it to TIFF or PNG first")
    if suffix == ".npy":
        raise ValueError("only models trained with color='channels' take .npy files")
    return suffix


@functools.cache
def _register() -> None:
    """Lets Pillow read HEIC where pillow-heif is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes, ".png" ..., of the files that are treated as images."""
    PIL.Image.init()
    kinds = PIL.Image.registered_extensions().items()
    read = {s for s, kind in kinds if kind in PIL.Image.OPEN and kind not in NO_PIXELS}
    return frozenset(read | HEIF | RAW | UNREAD)


def is_image(
    path: pathlib.PurePath, opened: Callable[[], BinaryIO] | None = None
) -> bool:
    """Whether a file in a folder is an image, by its suffix.

    Files without a suffix are recognised by their first bytes.

    Args:
        path: the file.
        opened: opens it, if it is on another file system.
    """
    if path.suffix:
        return path.suffix.lower() in suffixes()
    try:
        with (
            opened() if opened else open(path, "rb") as file,
            PIL.Image.open(file, formats=SIGNED),
        ):
            return True
    except Exception:  # on damaged files Pillow raises almost anything
        return False


def size_of(path: pathlib.Path) -> tuple[int, int]:
    """The (height, width) of an image file, upright, by its header.

    Raises:
        ValueError: if it is not an image.
    """
    with _told([]):
        _suffix(path)
        if size := tiff.size(path):
            return size
        with open_image(path) as picture:
            return metadata.upright_size(picture)


def plain_size(file: str | os.PathLike | BinaryIO) -> tuple[int, int] | None:
    """(height, width) by the header of a file of one of the kinds `PLAIN`, else None.

    Decoders of libpng and libjpeg with accurate integers give what `read_as_stored`
    does, once any alpha is dropped. The file need not be whole.
    """
    # Damaged files make decoders raise almost any error.
    with contextlib.suppress(Exception), open_image(file) as picture:
        kind = picture.format, picture.mode, _raw_mode(picture)
        one = getattr(picture, "n_frames", 1) == 1
        if kind in PLAIN and one and "transparency" not in picture.info:
            return picture.height, picture.width
    return None


def read_upright(path: pathlib.Path) -> tuple[Photo, list[str]]:
    """The image of a file, upright and simplified, and notes on it.

    Raises:
        ValueError: if it cannot be read, or changes during reading.
    """
    notes = []
    with _told(notes):
        before = _state(path)
        photo = decoded(path, notes)
    if _state(path) != before:
        raise ValueError("it changed while it was read.")
    return photo, notes


def read_as_stored(file: str | os.PathLike | BinaryIO, name: str = "") -> np.ndarray:
    """Pixels uint8 [H, W, 3], or [H, W, 1] of a gray image, as they are stored.

    Alpha is dropped, 16 bits are rounded to 8 over `depth.data_range`, palettes and
    CMYK become RGB, and of several frames the first is taken. EXIF orientation is
    not applied.

    Raises:
        ValueError: the file is missing, cut short, no image, or of more pixels than
            Pillow takes for harmless. It says `name`, by default the file's.
    """
    with named(name or terminal.shown(str(file))):
        pixels = depth.without_alpha(decoded(file, [], upright=False).pixels)
        if pixels.dtype.kind == "f":
            raise ValueError("it holds floating-point numbers, not 8 or 16 bits")
        if pixels.dtype == np.uint16:
            x = image.from_uint(pixels, np.float64, depth.data_range(pixels))
            pixels = image.to_uint(x)
        return np.ascontiguousarray(pixels)


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Errors on reading an image become ValueErrors that name it."""
    try:
        yield
    except PIL.UnidentifiedImageError:
        raise ValueError(
            f"{name} cannot be read: it is empty or not an image of a known format."
        ) from None
    except PIL.Image.DecompressionBombError as error:
        _, reason = too_large(error)
        raise ValueError(
            f"{name} cannot be read: {reason}. Cut it into smaller images."
        ) from error
    except Exception as error:  # damaged files make the decoders raise nearly any kind
        reason = str(error).rstrip(".")
        raise ValueError(f"{name} cannot be read: {reason}.") from error


def decoded(
    file: str | os.PathLike | BinaryIO, notes: list[str], *, upright: bool = True
) -> Photo:
    """The image of a file, simplified; notes on it are added to `notes`.

    On damaged files decoders raise almost any error.

    Args:
        file: a path or a binary file.
        notes: is added to.
        upright: whether EXIF's orientation is applied; that of TIFF always is.
    """
    _suffix(file)
    if deep := tiff.read(file):
        notes += deep.notes
        return Photo(deep.pixels, deep.info, deep.exif)
    with open_image(file) as picture:
        if (frames := getattr(picture, "n_frames", 1)) > 1:
            notes.append(f"the first of {frames} frames is taken")
        raw = _raw_mode(picture)
        wide = raw in OTHER_BYTES
        if (";16" in raw or _ppm_levels(picture) > 255) and not (
            wide or picture.mode.startswith("I")
        ):
            notes.append(
                "its 16 bits per channel are read as 8, for its decoder reads no more"
            )
        if upright:
            PIL.ImageOps.exif_transpose(picture, in_place=True)
        exif, damaged = metadata.settled(picture.getexif())
        notes += metadata.left_out(damaged)
        if wide:
            pixels = _wide(file, np.asarray(picture), raw, upright)
        else:
            picture, note = simplify(picture)
            notes += [note] * bool(note)
            pixels = np.asarray(picture)
        if pixels.dtype == np.uint16:
            pixels = _keyed(pixels, picture.info.get("transparency"))
        return Photo(pixels, picture.info, exif)


@contextlib.contextmanager
def _told(notes: list[str]):
    """What goes wrong on reading is a ValueError, what is warned of a note."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        notes += dict.fromkeys(str(warning.message).strip(" .") for warning in caught)
    except PIL.Image.DecompressionBombError as error:
        megapixels, reason = too_large(error)
        raise ValueError(
            f"{reason}. Pass --max-megapixels {megapixels} if you trust it"
        ) from error
    except PIL.UnidentifiedImageError as error:
        reason = "it is empty or not of a known format"
        raise ValueError(f"it cannot be read as an image: {reason}") from error
    except Exception as error:  # on damaged files decoders raise almost anything
        reason = error.strerror if isinstance(error, OSError) else None
        raise ValueError(f"it cannot be read as an image: {reason or error}") from error


def too_large(error: PIL.Image.DecompressionBombError) -> tuple[int, str]:
    """The message that an image has too many megapixels."""
    [pixels] = re.findall(r"\((\d+) pixels\)", str(error))
    megapixels = math.ceil(int(pixels) / 1e6)
    return megapixels, (
        f"it has {megapixels} megapixels; the limit against decompression bombs is "
        f"{PIL.Image.MAX_IMAGE_PIXELS * 2e-6:.0f}"
    )


def _state(path):
    """A value that changes when a file is written to or replaced."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _ppm_levels(picture: PIL.Image.Image) -> int:
    """The largest value of a PPM file, 0 of another."""
    tile = picture.tile[0] if picture.format == "PPM" else None
    return tile.args[1] if tile and tile.codec_name.startswith("ppm") else 0


def _raw_mode(picture: PIL.Image.Image) -> str:
    """Pillow's name for how the pixels of an opened file lie in it, or nothing."""
    args = picture.tile[0].args if getattr(picture, "tile", None) else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _wide(file, high: np.ndarray, raw: str, upright: bool) -> np.ndarray:
    """uint16 pixels of a file of which Pillow has decoded the high bytes.

    It is decoded once more, as if its bytes were in the other order.
    """
    with open_image(file) as picture:
        picture.tile = [
            tile._replace(
                args=(OTHER_BYTES[raw], *tile.args[1:])
                if isinstance(tile.args, tuple)
                else OTHER_BYTES[raw]
            )
            for tile in picture.tile
        ]
        if upright:
            PIL.ImageOps.exif_transpose(picture, in_place=True)
        low = np.asarray(picture)
    if raw == "LA;16B":  # read as four channels: both bytes of gray, both of alpha
        high, low = low[..., ::2], low[..., 1::2]
    pixels = high.astype(np.uint16) << 8
    pixels |= low
    return pixels


def _keyed(pixels: np.ndarray, key: int | tuple | None) -> np.ndarray:
    """The pixels, with an alpha channel where one colour stands for transparency."""
    if key is None:
        return pixels
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    visible = (pixels != np.array(key)).any(axis=-1, keepdims=True)
    alpha = visible * pixels.dtype.type(np.iinfo(pixels.dtype).max)
    return np.concatenate([pixels, alpha], axis=-1)


def simplify(picture: PIL.Image.Image) -> tuple[PIL.Image.Image, str]:
    """The image in mode L, LA, RGB, RGBA, I;16 or F, and a note on what was lost."""
    mode = picture.mode
    if mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"gray values must lie in 0..65535; got {values.min()}..{values.max()}."
            )
        plain = PIL.Image.fromarray(values.astype(np.uint16))
        plain.info = dict(picture.info)
        return plain, ""
    wanted = "L" if mode in ("1", "L", "LA", "La") else "F" if mode == "F" else "RGB"
    wanted += "A" if picture.has_transparency_data else ""
    if mode == wanted:
        return picture, ""
    plain = picture.convert(wanted)
    note = f"{mode} is converted to {wanted}"
    if mode in ("CMYK", "LAB", "HSV", "YCbCr") and plain.info.pop("icc_profile", None):
        note += ", without its colour profile"
    return plain, note


# The layout of a channel's 16 bits in a file, in Pillow's words -> the same in the
# other order, by which its decoders give the low bytes instead of the high ones. Of
# gray with alpha there is no other order, but four bytes that are no RGBA will do.
_FOREIGN = "B" if sys.byteorder == "little" else "L"
OTHER_BYTES = {"LA;16B": "RGBA"} | {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _FOREIGN))
}


# The format, the mode and the layout of ordinary files: 8 bits of gray or RGB.
PLAIN = {
    ("BMP", "RGB", "BGR"),
    ("JPEG", "L", "L"),
    ("JPEG", "RGB", "RGB"),
    *(("PNG", mode, mode) for mode in ("L", "LA", "RGB", "RGBA")),
}
# Formats with a signature, by which files without a suffix are known; and those of
# which Pillow has no own decoder.
SIGNED = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
NO_PIXELS = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
HEIF = frozenset([".heic", ".heif", ".heics", ".heifs", ".hif"])
# Cameras' raw files, of which Pillow would take the preview; and other images.
RAW = frozenset(
    [".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef"]
    + [".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2"]
    + [".rwl", ".sr2", ".srf", ".srw", ".x3f"]
)
UNREAD = frozenset([".exr", ".hdr", ".jxl", ".jxr", ".kra", ".psb", ".wdp", ".xcf"])

"""Image files: read as they are meant, written whole or not at all.

Colour profile, EXIF, XMP and resolution travel with the picture. Pillow has no colour
of 16 bits a channel, but its decoders and its metadata serve for that too.
"""

import contextlib
import functools
import io
import math
import os
import pathlib
import re
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import PIL.TiffImagePlugin

from jaxsr import metadata, terminal, tiff


class Photo(NamedTuple):
    """What a file holds, upright."""

    pixels: np.ndarray  # [H, W] or [H, W, 2 to 4], uint8, uint16 or float32
    info: dict  # PIL.Image.Image.info
    exif: PIL.Image.Exif


class Format(NamedTuple):
    """A kind of file that can be written."""

    name: str  # Pillow's
    depths: tuple[str, ...]  # dtypes of the images it can hold
    alpha: bool  # whether it can hold transparency
    side: int  # pixels at most
    options: dict  # of PIL.Image.Image.save


@contextlib.contextmanager
def written_whole(path: str | os.PathLike):
    """A binary file that takes the place of `path` when all went well, else nothing."""
    path = pathlib.Path(path).expanduser()
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file whole or not at all."""
    with written_whole(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def writable(path: str | os.PathLike) -> pathlib.Path:
    """The path, below the home folder where it begins with ~, of a file to write.

    Makes its folder, so that what cannot be written is found before the work.

    Raises:
        OSError: where no file can be written there.
    """
    path = pathlib.Path(path).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise OSError(f"{path} cannot be written: {error.strerror}{where}.") from error


def short_names(paths: Iterable[str | os.PathLike], taken=()) -> dict:
    """Path -> the shortest end of it that is neither another's nor `taken`.

    So two runs of one last name are told apart by the folders that they lie in.
    """
    full = {
        path: pathlib.Path(os.path.abspath(pathlib.Path(path).expanduser())).parts
        for path in paths
    }
    names = {}
    for path, parts in full.items():
        others = [p for p in full.values() if p != parts] + [(name,) for name in taken]
        lengths = range(1, len(parts))
        length = next(
            (n for n in lengths if all(p[-n:] != parts[-n:] for p in others)),
            len(parts),
        )
        names[path] = terminal.shown(pathlib.Path(*parts[-length:]))
    return names


@contextlib.contextmanager
def limited_to(megapixels: float | None):
    """Within it, images of up to so many megapixels are read; None for Pillow's limit.

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
            reason = "HEIC needs another package: pip install pillow-heif"
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
        raise ValueError("it is a camera's raw file. Develop it to TIFF or PNG first")
    return suffix


@functools.cache
def _register() -> None:
    """Lets Pillow read HEIC where pillow-heif is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


@functools.cache
def suffixes() -> frozenset[str]:
    """The ends of names, ".png" ..., of the files that are taken for images."""
    PIL.Image.init()
    kinds = PIL.Image.registered_extensions().items()
    read = {s for s, kind in kinds if kind in PIL.Image.OPEN and kind not in NO_PIXELS}
    return frozenset(read | HEIF | RAW | UNREAD)


def is_image(path: pathlib.Path) -> bool:
    """Whether a file in a folder is taken for an image: by its suffix.

    By its first bytes where it has none.
    """
    if path.suffix:
        return path.suffix.lower() in suffixes()
    try:
        with PIL.Image.open(path, formats=SIGNED):
            return path.is_file()
    except Exception:  # on damaged files Pillow raises almost anything
        return False


def to_write(target: pathlib.Path, existing: str) -> bool:
    """Whether a file is to be written; False where what is there is to stay.

    Raises:
        ValueError: where neither is told, for `existing` of "error".
    """
    if not os.path.lexists(target):
        return True
    if existing == "error":
        raise ValueError(
            f"{terminal.shown(target)} is there already: --overwrite replaces it, "
            "--skip-existing leaves it as it is."
        )
    return existing == "overwrite"


def check_existing(existing: str) -> None:
    """Raises a ValueError where it is no answer to a file that is there already."""
    if existing not in EXISTING:
        raise ValueError(f"existing must be one of {EXISTING}; got {existing!r}.")


def size_of(path: pathlib.Path) -> tuple[int, int]:
    """The (height, width) of an image file, upright, by its header.

    Raises:
        ValueError: where it is none.
    """
    with _told([]):
        _suffix(path)
        if size := tiff.size(path):
            return size
        with open_image(path) as picture:
            return metadata.upright_size(picture)


def read(path: pathlib.Path) -> tuple[Photo, list[str]]:
    """The image of a file, upright and simplified; and what to say of it.

    Raises:
        ValueError: where it cannot be read, or changes meanwhile.
    """
    notes = []
    with _told(notes):
        before = _state(path)
        photo = decoded(path, notes)
    if _state(path) != before:
        raise ValueError("it changed while it was read.")
    return photo, notes


def decoded(
    file: str | os.PathLike | BinaryIO, notes: list[str], *, upright: bool = True
) -> Photo:
    """The image of a file, simplified; `notes` gets what to say of it.

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
            notes.append("16 bits per channel are read as 8, for want of a decoder")
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
    except Exception as error:  # on damaged files decoders raise almost anything
        reason = error.strerror if isinstance(error, OSError) else None
        raise ValueError(f"it cannot be read as an image: {reason or error}") from error


def too_large(error: PIL.Image.DecompressionBombError) -> tuple[int, str]:
    """How many megapixels an image has, and that these are too many."""
    [pixels] = re.findall(r"\((\d+) pixels\)", str(error))
    megapixels = math.ceil(int(pixels) / 1e6)
    return megapixels, (
        f"it has {megapixels} megapixels; the limit against decompression bombs is "
        f"{PIL.Image.MAX_IMAGE_PIXELS * 2e-6:.0f}"
    )


def _state(path):
    """What is another after a file was written to or replaced."""
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
    """uint16 pixels of a file, of whose bytes Pillow has decoded the high ones.

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
    """The image in mode L, LA, RGB, RGBA, I;16 or F, and a word on what it lost."""
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


def fitted(pixels: np.ndarray, target: pathlib.Path) -> np.ndarray:
    """The pixels, without alpha that hides nothing where the file cannot hold any."""
    alpha = pixels.ndim == 3 and pixels.shape[-1] in (2, 4)
    if not alpha or FORMATS[target.suffix.lower()].alpha:
        return pixels
    top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    if (pixels[..., -1] < top).any():
        return pixels
    return pixels[..., :-1] if pixels.shape[-1] == 4 else pixels[..., 0]


def check_kind(suffix: str, level: int | None) -> None:
    """Raises a ValueError where no file of that suffix and quality can be written."""
    if suffix.lower() not in FORMATS:
        raise ValueError(f"images are written as {sorted(FORMATS)}; got {suffix!r}.")
    form = FORMATS[suffix.lower()]
    if level is not None and "quality" not in form.options:
        raise ValueError(f"only JPEG and WebP have a quality level, not {form.name}.")
    if level is not None and not 1 <= level <= 100:
        raise ValueError(f"a quality level is from 1 to 100; got {level}.")


def check_fits(pixels: np.ndarray, size: tuple[int, int], target: pathlib.Path) -> None:
    """Raises a ValueError where pixels [*size, ...] of that kind cannot be written."""
    form = FORMATS[target.suffix.lower()]
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if channels in (2, 4) and not form.alpha:
        raise ValueError(f"{form.name} cannot hold transparency. Use .png.")
    if str(pixels.dtype) not in form.depths:
        raise ValueError(
            f"{form.name} holds {' or '.join(form.depths)}; the image is "
            f"{pixels.dtype}. Use .{'tif' if pixels.dtype.kind == 'f' else 'png'}."
        )
    if max(size) > form.side:
        raise ValueError(
            f"{form.name} holds sides up to {form.side}; the result has "
            f"{size[1]}x{size[0]}. Use .png."
        )
    if form.name == "TIFF" and size[0] * size[1] * channels * pixels.itemsize >= 2**32:
        raise ValueError("TIFF holds up to 4 GB; the result has more. Use .png.")


def write(photo: Photo, target: pathlib.Path, level: int | None = None) -> list[str]:
    """Writes a file with its metadata; where that fails, what was there stays.

    Metadata with which the file could not be written and read again is left out.

    Args:
        photo: what to write.
        target: the file, of a suffix in `FORMATS`.
        level: of the quality of JPEG and WebP, 1 to 100.

    Returns:
        What to say of it.
    """
    pixels, info, exif = photo
    form = FORMATS[target.suffix.lower()]
    if level is not None:
        form = form._replace(options=form.options | {"quality": level})

    def works(options):
        file = io.BytesIO()
        try:
            _save(file, pixels[:1, :1], form, options)
            _check_whole(file, (1, 1), form)
        except Exception:  # on values of the wrong type Pillow raises almost anything
            return False
        return True

    size = pixels.shape[:2]
    options, lost = metadata.carried(info, exif, size, form.name, works)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as file:
        _save(file, pixels, form, options)
        _check_whole(file, size, form)
    return metadata.left_out(lost)


def _save(file, pixels: np.ndarray, form: Format, options: dict) -> None:
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        {"PNG": _write_png, "TIFF": _write_tiff}[form.name](file, pixels, options)
    else:
        picture = PIL.Image.fromarray(pixels)
        picture.save(file, form.name, **form.options, **options)


def _check_whole(file, size: tuple[int, int], form: Format) -> None:
    """Raises an error where a file that was written cannot be read."""
    file.seek(0)
    found = _found(file, size, form)
    if found != size:
        raise ValueError(
            f"it was written, but read with {found[1]}x{found[0]} pixels instead of "
            f"{size[1]}x{size[0]}."
        )


def _found(file, size, form) -> tuple[int, int]:
    """The (height, width) that Pillow reads; of a large file by its header alone."""
    PIL.Image.init()
    opener, _ = PIL.Image.OPEN[form.name]  # without a limit of its pixels
    try:
        with opener(file, "") as picture:
            metadata.settled(PIL.Image.Image.getexif(picture))
            if size[0] * size[1] <= 2 * (PIL.Image.MAX_IMAGE_PIXELS or math.inf):
                picture.load()
            return picture.height, picture.width
    except PIL.Image.DecompressionBombError:
        return size
    except SyntaxError:
        file.seek(0)
        if deep := tiff.read(file):  # such as gray and alpha, which Pillow lacks
            return deep.pixels.shape[:2]
        raise


def _write_png(file, pixels: np.ndarray, options: dict) -> None:
    """Writes uint16 pixels [H, W, 2 to 4] as PNG, with chunks of metadata by Pillow.

    Source: Portable Network Graphics Specification, third edition, sections 5, 7, 9.
    """
    height, width, channels = pixels.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    header = b"".join(n.to_bytes(4) for n in (width, height)) + bytes(
        [16, kind, 0, 0, 0]
    )
    chunks = io.BytesIO()
    PIL.Image.new("L", (1, 1)).save(chunks, "PNG", **options)
    chunks.seek(0)
    file.write(chunks.read(8))
    put = PIL.PngImagePlugin.putchunk
    put(file, b"IHDR", header)
    while start := chunks.read(8):
        name, body = start[4:], chunks.read(int.from_bytes(start[:4]))
        chunks.read(4)  # the checksum
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            put(file, name, body)
    compress = zlib.compressobj()
    for top in range(0, height, 256):
        rows = pixels[top : top + 256].astype(">u2").view(np.uint8)
        rows = rows.reshape(len(rows), -1)
        lines = np.ones((len(rows), 1 + rows.shape[1]), np.uint8)  # 1 is the filter Sub
        lines[:, 1:] = rows
        lines[:, 1 + 2 * channels :] -= rows[:, : -2 * channels]
        put(file, b"IDAT", compress.compress(lines))
    put(file, b"IDAT", compress.flush())
    put(file, b"IEND")


def _write_tiff(file, pixels: np.ndarray, options: dict) -> None:
    """Writes uint16 pixels [H, W, 2 to 4] as TIFF, uncompressed in one strip."""
    height, width, channels = pixels.shape
    tags = PIL.TiffImagePlugin
    ifd = tags.ImageFileDirectory_v2()
    exif = options.get("exif", {})
    for key in exif:
        group = key in PIL.TiffTags.TAGS_V2_GROUPS
        ifd[key] = exif.get_ifd(key) if group else exif[key]
    if "icc_profile" in options:
        ifd[tags.ICCPROFILE] = options["icc_profile"]
    if "dpi" in options:
        ifd[tags.RESOLUTION_UNIT] = 2
        ifd[tags.X_RESOLUTION], ifd[tags.Y_RESOLUTION] = options["dpi"]
    ifd[tags.IMAGEWIDTH], ifd[tags.IMAGELENGTH] = width, height
    ifd[tags.BITSPERSAMPLE] = (16,) * channels
    ifd[tags.COMPRESSION] = 1
    ifd[tags.PHOTOMETRIC_INTERPRETATION] = 1 if channels == 2 else 2
    ifd[tags.SAMPLESPERPIXEL] = channels
    ifd[tags.ROWSPERSTRIP] = height
    ifd[tags.STRIPOFFSETS] = 0  # from the end of the directory; Pillow adds the rest
    ifd[tags.STRIPBYTECOUNTS] = pixels.nbytes
    if channels != 3:
        ifd[tags.EXTRASAMPLES] = 2  # alpha that is not multiplied in
    ifd.save(file)
    file.write(np.ascontiguousarray(pixels, "<u2").data)


# The layout of a channel's 16 bits in a file, in Pillow's words -> the same in the
# other order, by which its decoders give the low bytes instead of the high ones. Of
# gray with alpha there is no other order, but four bytes that are no RGBA will do.
_FOREIGN = "B" if sys.byteorder == "little" else "L"
OTHER_BYTES = {"LA;16B": "RGBA"} | {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _FOREIGN))
}

FORMATS = {
    ".png": Format("PNG", ("uint8", "uint16"), True, 2**31 - 1, {}),
    ".tif": Format("TIFF", ("uint8", "uint16", "float32"), True, 2**31 - 1, {}),
    ".jpg": Format("JPEG", ("uint8",), False, 65500, {"quality": 95}),
    ".webp": Format("WEBP", ("uint8",), True, 16383, {"quality": 95}),
    ".bmp": Format("BMP", ("uint8",), False, 2**31 - 1, {}),
}
FORMATS |= {".tiff": FORMATS[".tif"], ".jpeg": FORMATS[".jpg"]}
EXISTING = ("error", "overwrite", "skip")

# Formats with a signature, by which files without a suffix are known; and those of
# which Pillow has no decoder of its own.
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

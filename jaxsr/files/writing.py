"""Atomic writing of image files, with colour profile, EXIF, XMP and resolution."""

import io
import math
import pathlib
import zlib
from typing import NamedTuple

import numpy as np
import PIL.features
import PIL.Image
import PIL.PngImagePlugin
import PIL.TiffImagePlugin

from jaxsr.files import metadata, reading, tiff, written_whole


class Format(NamedTuple):
    """A kind of file that can be written."""

    name: str  # Pillow's
    depths: tuple[str, ...]  # dtypes of the images it can hold
    alpha: bool  # whether it can hold transparency
    side: int  # pixels at most
    options: dict  # of PIL.Image.Image.save


class Levels(NamedTuple):
    """How much files are compressed; None for the default of their format."""

    quality: int | None = None  # of JPEG, WebP and AVIF, 1 to 100
    compress_level: int | None = None  # of PNG, 0 to 9

    def given(self) -> dict[str, int]:
        """Those that are not None, as options of PIL.Image.Image.save."""
        return {name: x for name, x in self._asdict().items() if x is not None}


DEFAULTS = Levels()


def fitted(pixels: np.ndarray, target: pathlib.Path) -> np.ndarray:
    """The pixels; fully opaque alpha is dropped if the file cannot hold alpha."""
    alpha = pixels.ndim == 3 and pixels.shape[-1] in (2, 4)
    if not alpha or FORMATS[target.suffix.lower()].alpha:
        return pixels
    top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    if (pixels[..., -1] < top).any():
        return pixels
    return pixels[..., :-1] if pixels.shape[-1] == 4 else pixels[..., 0]


def check_kind(suffix: str, levels: Levels) -> None:
    """Raises a ValueError where no file of that suffix and level can be written."""
    if suffix.lower() not in FORMATS:
        raise ValueError(f"images are written as {sorted(FORMATS)}; got {suffix!r}.")
    form = FORMATS[suffix.lower()]
    for name, level in levels.given().items():
        what, formats, lowest, highest = LEVELS[name]
        if name not in form.options:
            raise ValueError(f"only {formats} have a {what}, not {form.name}.")
        if not lowest <= level <= highest:
            raise ValueError(f"a {what} is from {lowest} to {highest}; got {level}.")


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
        more = " Use .png." if form.side < FORMATS[".png"].side else ""
        raise ValueError(
            f"{form.name} holds sides up to {form.side}; the result has "
            f"{size[1]}x{size[0]}.{more}"
        )
    if form.name == "TIFF" and size[0] * size[1] * channels * pixels.itemsize >= 2**32:
        raise ValueError("TIFF holds up to 4 GB; the result has more. Use .png.")


def write(
    photo: reading.Photo, target: pathlib.Path, levels: Levels = DEFAULTS
) -> list[str]:
    """Writes a file with its metadata; on failure an existing file is kept.

    Metadata that makes the file unwritable or unreadable is dropped.

    Args:
        photo: what to write; its pixels may also be [H, W, 1].
        target: the file, of a suffix in `FORMATS`.
        levels: how much it is compressed.

    Returns:
        Notes on what was changed or dropped.
    """
    pixels, info, exif = photo
    if pixels.shape[2:] == (1,):
        pixels = pixels[..., 0]
    form = FORMATS[target.suffix.lower()]
    form = form._replace(options=form.options | levels.given())

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
    if form.name == "PNG":
        _write_png(file, pixels, form.options | options)
    elif pixels.dtype == np.uint16 and pixels.ndim == 3:
        _write_tiff(file, pixels, options)
    else:
        picture = _shared(pixels) if form.name == "JPEG" else None
        picture = picture or PIL.Image.fromarray(pixels)
        picture.save(file, form.name, **form.options, **options)


def empty(shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """An array [H, W, C], not initialised, that is written as JPEG without a copy.

    In Pillow's images a pixel of three channels takes four bytes, and so here.
    """
    if dtype == np.uint8 and shape[-1] == 3:
        return np.empty((*shape[:2], 4), dtype)[..., :3]
    return np.empty(shape, dtype)


def _shared(pixels):
    """The Pillow image with the memory of pixels that are from `empty`, else None."""
    whole = pixels.base
    if not isinstance(whole, np.ndarray) or pixels.ctypes.data != whole.ctypes.data:
        return None
    height, width, *_ = pixels.shape
    if whole.shape != (height, width, 4) or pixels.strides != (4 * width, 4, 1):
        return None
    return PIL.Image.frombuffer("RGBX", (width, height), whole, "raw", "RGBX", 0, 1)


def _check_whole(file, size: tuple[int, int], form: Format) -> None:
    """Raises an error where a file that was written cannot be read."""
    file.seek(0)
    found = _found(file, size, form)
    if found != size:
        raise ValueError(
            f"it was written, but reads back with {found[1]}x{found[0]} pixels "
            f"instead of {size[1]}x{size[0]}."
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
    """Writes uint8 or uint16 pixels [H, W] or [H, W, C], with Pillow's metadata.

    Of a large image Pillow would make a copy, and try five filters for each row, which
    takes twice as long as one for a file 4% smaller.

    Source: Portable Network Graphics Specification, third edition, sections 5, 7, 9.
    """
    height, width, *channels = pixels.shape
    kind = {(): 0, (2,): 4, (3,): 2, (4,): 6}[tuple(channels)]
    pixel = math.prod(channels) * pixels.itemsize
    header = b"".join(n.to_bytes(4) for n in (width, height)) + bytes(
        [8 * pixels.itemsize, kind, 0, 0, 0]
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
    compress = zlib.compressobj(options["compress_level"])
    for top in range(0, height, 256):
        rows = pixels[top : top + 256]
        rows = rows.astype(rows.dtype.newbyteorder(">"), order="C").view(np.uint8)
        rows = rows.reshape(len(rows), -1)
        lines = np.ones((len(rows), 1 + rows.shape[1]), np.uint8)  # 1 is the filter Sub
        lines[:, 1:] = rows
        lines[:, 1 + pixel :] -= rows[:, :-pixel]
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


# Field of `Levels` -> (its name in messages, its formats, lowest, highest value).
LEVELS = {
    "quality": ("quality level", "JPEG, WebP and AVIF", 1, 100),
    "compress_level": ("PNG level", "PNG files", 0, 9),
}
FORMATS = {
    # Of a photograph of 7 megapixels, level 6, Pillow's default, takes 3.5 times as
    # long for a file 5% smaller; level 1 takes 0.6 times as long, for one 6% larger.
    ".png": Format("PNG", ("uint8", "uint16"), True, 2**31 - 1, {"compress_level": 3}),
    ".tif": Format("TIFF", ("uint8", "uint16", "float32"), True, 2**31 - 1, {}),
    ".jpg": Format("JPEG", ("uint8",), False, 65500, {"quality": 95}),
    ".webp": Format("WEBP", ("uint8",), True, 16383, {"quality": 95}),
    ".bmp": Format("BMP", ("uint8",), False, 2**31 - 1, {}),
}
FORMATS |= {".tiff": FORMATS[".tif"], ".jpeg": FORMATS[".jpg"]}
if PIL.features.check("avif"):
    FORMATS[".avif"] = Format("AVIF", ("uint8",), True, 65535, {"quality": 90})

"""Image files: read as they are meant, written whole or not at all.

Colour profile, EXIF, XMP and resolution travel with the picture.
"""

import contextlib
import os
import pathlib
import warnings
from typing import NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import PIL.TiffImagePlugin


class Format(NamedTuple):
    """A kind of file that can be written."""

    name: str  # Pillow's
    modes: tuple[str, ...]  # Pillow's modes of the images it can hold
    side: int  # pixels at most
    options: dict  # of PIL.Image.Image.save


@contextlib.contextmanager
def written_whole(path: str | os.PathLike):
    """A binary file that takes the place of `path` when all went well, else nothing."""
    path = pathlib.Path(path)
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
        file.write(text.encode())


def open_image(path: pathlib.Path) -> PIL.Image.Image:
    """The opened file; a bomb only above twice PIL.Image.MAX_IMAGE_PIXELS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        return PIL.Image.open(path)


def megapixels(path: pathlib.Path) -> float:
    try:
        with open_image(path) as file:
            return file.width * file.height / 1e6
    except Exception:  # said when its turn comes
        return 0.0


def read(
    path: pathlib.Path,
) -> tuple[PIL.Image.Image, PIL.Image.Exif, list[str]]:
    """The image of a file, upright and simplified; its EXIF; what to say of it."""
    notes = []
    try:
        with open_image(path) as picture:
            if (frames := getattr(picture, "n_frames", 1)) > 1:
                notes.append(f"the first of {frames} frames is taken")
            if ";16" in str(picture.tile) and not picture.mode.startswith("I"):
                notes.append(
                    "16 bits per channel are read as 8, as Pillow does for colour"
                )
            PIL.ImageOps.exif_transpose(picture, in_place=True)
            exif = picture.getexif()
            plain, note = simplify(picture)
    except Exception as error:  # on damaged files decoders raise almost anything
        raise ValueError(f"it cannot be read as an image: {error}") from error
    return plain, exif, notes + [note] * bool(note)


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


def check_fits(mode: str, size: tuple[int, int], target: pathlib.Path) -> None:
    """Raises a ValueError, before the work is done, where it could not be written."""
    form = FORMATS[target.suffix.lower()]
    if mode not in form.modes:
        raise ValueError(f"{form.name} cannot hold {mode}, but {form.modes}. Use .tif.")
    if max(size) > form.side:
        raise ValueError(
            f"{form.name} holds sides up to {form.side}; the result has "
            f"{size[1]}x{size[0]}. Use .png."
        )


def write(
    picture: PIL.Image.Image, info: dict, exif: PIL.Image.Exif, target: pathlib.Path
) -> None:
    """Writes a file with its metadata; where that fails, what was there stays."""
    form = FORMATS[target.suffix.lower()]
    metadata = {key: info[key] for key in KEPT if key in info and key != "exif"}
    for tag in LAYOUT_TAGS.intersection(exif):
        del exif[tag]
    details = exif.get_ifd(PIL.ExifTags.IFD.Exif)
    for tag, side in zip(SIZE_TAGS, picture.size):
        if tag in details:
            details[tag] = side
    if form.name == "TIFF" and "xmp" in info:
        exif[PIL.TiffImagePlugin.XMP] = info["xmp"]
    if exif:
        metadata["exif"] = exif
    if form.name == "PNG" and "xmp" in info:
        metadata["pnginfo"] = PIL.PngImagePlugin.PngInfo()
        metadata["pnginfo"].add_itxt(
            "XML:com.adobe.xmp", info["xmp"].decode(errors="replace")
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as file:
        picture.save(file, form.name, **form.options, **metadata)


# What of PIL.Image.Image.info says how to show an image, not how it was stored.
KEPT = ("icc_profile", "exif", "xmp", "dpi")

# Width and height in EXIF, to be corrected; and TIFF's tags that must not be carried
# over: how pixels are stored, and what goes another way.
SIZE_TAGS = (PIL.ExifTags.Base.ExifImageWidth, PIL.ExifTags.Base.ExifImageHeight)
LAYOUT_TAGS = frozenset(
    [256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320]
    + [322, 323, 324, 325, 330, 338, 339, 347, 513, 514, 700, 34675]
)

FORMATS = {
    ".png": Format("PNG", ("L", "LA", "RGB", "RGBA", "I;16"), 2**31 - 1, {}),
    ".tif": Format("TIFF", ("L", "LA", "RGB", "RGBA", "I;16", "F"), 2**31 - 1, {}),
    ".jpg": Format("JPEG", ("L", "RGB"), 65500, {"quality": 95}),
    ".webp": Format("WEBP", ("L", "LA", "RGB", "RGBA"), 16383, {"quality": 95}),
    ".bmp": Format("BMP", ("L", "RGB"), 2**31 - 1, {}),
}
FORMATS |= {".tiff": FORMATS[".tif"], ".jpeg": FORMATS[".jpg"]}
READABLE = {*FORMATS, ".gif", ".pgm", ".ppm"}

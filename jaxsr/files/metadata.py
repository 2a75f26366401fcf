"""Metadata of image files: EXIF, XMP, colour profile and resolution.

Metadata that cannot be read or written is dropped and listed; the image is kept.
"""

import math
import re
from collections.abc import Callable

import PIL.ExifTags
import PIL.Image
import PIL.PngImagePlugin
import PIL.TiffImagePlugin

GROUPS = (PIL.ExifTags.IFD.Exif, PIL.ExifTags.IFD.GPSInfo)
# Width and height in EXIF, to be corrected; and TIFF's tags that must not be carried
# over: how pixels are stored and shown, and what goes another way.
SIZE_TAGS = (PIL.ExifTags.Base.ExifImageWidth, PIL.ExifTags.Base.ExifImageHeight)
LAYOUT_TAGS = frozenset(
    [256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320]
    + [322, 323, 324, 325, 330, 338, 339, 347, 513, 514, 700, 34675]
)
# Entries of PIL.Image.Image.info that say how to show an image, not how it was stored.
KEPT = ("icc_profile", "exif", "xmp", "dpi")


class Text(str):
    """A tag's text, whose bytes are kept.

    Pillow reads each byte as a character of Latin-1, but writes ASCII: of UTF-8, or of
    an umlaut, only question marks would be left.
    """

    def encode(self, *_) -> bytes:
        return super().encode("latin-1", "replace")


def stored_size(picture: PIL.Image.Image) -> tuple[int, int]:
    """The (height, width) of an opened file's pixels, as they are stored."""
    if picture.format == "TIFF":  # Pillow has already swapped some sizes
        tags = PIL.TiffImagePlugin
        return picture.tag_v2[tags.IMAGELENGTH], picture.tag_v2[tags.IMAGEWIDTH]
    return picture.height, picture.width


def upright_size(picture: PIL.Image.Image) -> tuple[int, int]:
    """The (height, width) of an opened file's picture once it is loaded and upright.

    Nothing is decoded; the picture cannot be loaded afterwards.
    """
    if picture.format == "PNG":
        picture.load_prepare()  # of a PNG, metadata may lie behind the pixels
        picture.load_end()
    size = stored_size(picture)
    # Not PNG's own, which decodes the whole image.
    exif = PIL.Image.Image.getexif(picture)
    tag = exif.get(PIL.ExifTags.Base.Orientation)
    return size[::-1] if orientation(tag) >= 5 else size


def orientation(tag, xmp=None) -> int:
    """How a picture lies, as PIL.ImageOps.exif_transpose takes it: 1 to 8.

    Args:
        tag: the value of EXIF's or TIFF's tag, None where there is none.
        xmp: counts where there is no tag; Pillow puts it into the EXIF it reads.
    """
    if tag is None and isinstance(xmp, bytes) and (found := ORIENTATION.search(xmp)):
        tag = int(found[2])
    return int(tag) if tag in range(2, 9) else 1


def settled(exif: PIL.Image.Exif) -> tuple[PIL.Image.Exif, list[str]]:
    """The tags, independent of their file, and the names of damaged tags, dropped."""
    plain, lost = PIL.Image.Exif(), []
    plain.endian = exif.endian
    for group in (None, *GROUPS):
        try:
            tags = exif if group is None else exif.get_ifd(group)
        except Exception:  # on damaged files Pillow raises almost anything
            lost.append(group.name)
            continue
        for tag in list(tags):
            try:
                value = tags[tag]
                if tag == PIL.ExifTags.IFD.Interop:
                    value = exif.get_ifd(tag)
                if tag not in GROUPS:
                    _put(plain, group, tag, value)
            except Exception:
                lost.append(_name(tag, group))
    return plain, lost


def left_out(names: list[str]) -> list[str]:
    """The note on metadata that was dropped."""
    names = list(dict.fromkeys(names))
    if not names:
        return []
    more = f" and {len(names) - 3} more" * (len(names) > 3)
    return [f"damaged metadata is dropped: {', '.join(names[:3])}{more}"]


def carried(
    info: dict,
    exif: PIL.Image.Exif,
    size: tuple[int, int],
    kind: str,
    works: Callable[[dict], bool],
) -> tuple[dict, list[str]]:
    """Options of PIL.Image.Image.save, and the names of the metadata dropped.

    Args:
        info: PIL.Image.Image.info of the source.
        exif: of the source.
        size: (height, width) of the image to write.
        kind: of the file to write, in Pillow's words.
        works: whether a file that is written with some options can be read.
    """
    options, lost = {}, []
    for name in ("icc_profile", "dpi"):
        value = info.get(name)
        if value is None:
            continue
        if MEANT[name](value) and works({name: value}):
            options[name] = value
        else:
            lost.append(LABELS[name])
    whole, damaged = settled(exif)
    lost += damaged
    for tag in LAYOUT_TAGS.intersection(whole):
        del whole[tag]
    described = whole.get(PIL.ExifTags.Base.ImageDescription)
    if str(described).startswith('{"shape": '):  # by tifffile, of the source's size
        del whole[PIL.ExifTags.Base.ImageDescription]
    if PIL.ExifTags.IFD.Exif in whole:
        details = whole.get_ifd(PIL.ExifTags.IFD.Exif)
        sides = zip(SIZE_TAGS, size[::-1])
        details.update({tag: side for tag, side in sides if tag in details})
    whole, unwritable = _writable(whole, works)
    lost += unwritable
    if whole:
        options["exif"] = whole
    if xmp := info.get("xmp"):
        trial = _with_xmp(xmp, kind, whole)
        if trial is not None and works(trial):
            options |= trial
        else:
            lost.append(LABELS["xmp"])
    if not works(options):  # each could be written, but not all
        return {}, ["all of it"]
    return options, lost


def _writable(exif, works) -> tuple[PIL.Image.Exif, list[str]]:
    """The tags with which a file can be written, and the names of the others."""
    if not exif or works({"exif": exif}):
        return exif, []
    kept, lost = PIL.Image.Exif(), []
    kept.endian = exif.endian
    for group in (None, *GROUPS):
        for tag, value in (exif if group is None else exif.get_ifd(group)).items():
            single = PIL.Image.Exif()
            _put(single, group, tag, value)
            if tag in GROUPS:
                continue
            if works({"exif": single}):
                _put(kept, group, tag, value)
            else:
                lost.append(_name(tag, group))
    if not works({"exif": kept}):  # each could be written, but not all
        return PIL.Image.Exif(), ["EXIF"]
    return kept, lost


def _put(exif, group, tag, value) -> None:
    value = Text(value) if isinstance(value, str) else value
    if group is None:
        exif[tag] = value
    else:
        exif.get_ifd(group)[tag] = value
        exif[group] = 0  # its offset, which is known when it is written


def _with_xmp(xmp, kind: str, exif: PIL.Image.Exif) -> dict | None:
    """Options of a file with that XMP, and those EXIF tags where it is one of them."""
    xmp = xmp.encode(errors="replace") if isinstance(xmp, str) else xmp
    if not isinstance(xmp, bytes):
        return None
    xmp = ORIENTATION.sub(rb"\g<1>1", xmp)  # the pixels are upright
    if kind == "TIFF":
        both, _ = settled(exif)
        both[PIL.TiffImagePlugin.XMP] = xmp
        return {"exif": both}
    if kind == "PNG":
        chunks = PIL.PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
        return {"pnginfo": chunks}
    return {"xmp": xmp}


def _name(tag: int, group) -> str:
    names = PIL.ExifTags.GPSTAGS if group == GROUPS[1] else PIL.ExifTags.TAGS
    return f"EXIF {names.get(tag, hex(tag))}"


def _is_resolution(value) -> bool:
    try:
        return len(value) == 2 and all(
            math.isfinite(x) and 0 < x < 2**31 for x in map(float, value)
        )
    except Exception:
        return False


MEANT = {"icc_profile": lambda x: isinstance(x, bytes), "dpi": _is_resolution}
ORIENTATION = re.compile(rb"(tiff:Orientation(?:=\"|>))([0-9])")
LABELS = {"icc_profile": "colour profile", "dpi": "resolution", "xmp": "XMP"}

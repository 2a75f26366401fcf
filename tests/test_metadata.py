"""Orientation by headers and by content; metadata that cannot be carried over."""

import io
import math
import random

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
import tifffile
from test_jobs import chunk

from jaxsr import cli
from jaxsr.files import reading, writing

PROFILE = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
PICTURE = PIL.Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (13, 21, 3), np.uint8)
)


def turned(orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def save(path, picture=PICTURE, **options):
    picture.save(path, **options)


def save_png_with_xmp(path):
    text = PIL.PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    save(path, pnginfo=text)


def save_png_with_late(name):
    """A PNG whose metadata lies behind the pixels, where its standard allows it."""

    def make(path):
        save_png_with_xmp(path) if name == b"iTXt" else save(path, **turned(6))
        data = path.read_bytes()
        begin = data.index(name) - 4
        length = int.from_bytes(data[begin : begin + 4])
        moved = data[begin : begin + 12 + length]
        assert chunk(name, moved[8:-4]) == moved
        rest = data.replace(moved, b"")
        path.write_bytes(rest[:-12] + moved + rest[-12:])

    return make


def save_tiff_with_xmp(path):
    exif = PIL.Image.Exif()
    exif[700] = XMP
    save(path, exif=exif)


PLACES = {
    "exif.jpg": lambda path: save(path, **turned(6)),
    "xmp.jpg": lambda path: save(path, xmp=XMP),
    "exif.png": lambda path: save(path, **turned(6)),
    "xmp.png": save_png_with_xmp,
    "late exif.png": save_png_with_late(b"eXIf"),
    "late xmp.png": save_png_with_late(b"iTXt"),
    "exif.webp": lambda path: save(path, **turned(6)),
    "xmp.webp": lambda path: save(path, xmp=XMP),
    "tag.tif": lambda path: save(path, **turned(6)),
    "tag, lzw.tif": lambda path: save(path, compression="tiff_lzw", **turned(6)),
    "xmp.tif": save_tiff_with_xmp,
    "exif.avif": lambda path: save(path, **turned(6)),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_header_tells_the_size_that_is_read_wherever_the_orientation_lies(
    tmp_path, name
):
    path = tmp_path / name
    PLACES[name](path)
    assert reading.size_of(path) == (21, 13)
    photo, notes = reading.read_upright(path)
    assert not notes and photo.pixels.shape == (21, 13, 3)
    if name.endswith((".png", ".tif")):
        expected = np.rot90(np.asarray(PICTURE), -1)
        np.testing.assert_array_equal(photo.pixels, expected)
    for suffix in (
        ".png",
        ".jpg",
        ".tif",
        ".webp",
        ".avif",
    ):  # and what is written stays so
        writing.write(photo, tmp_path / f"out{suffix}")
        assert reading.size_of(tmp_path / f"out{suffix}") == (21, 13)
        again, _ = reading.read_upright(tmp_path / f"out{suffix}")
        assert again.pixels.shape == (21, 13, 3)


@pytest.mark.parametrize(("tag", "turns"), [(None, -1), (1, 0), (8, 1)])
def test_of_a_deep_tiff_xmp_tells_the_orientation_where_no_tag_does(
    tmp_path, tag, turns
):
    path = tmp_path / "a.tif"
    stored = np.asarray(PICTURE) * np.uint16(257)
    tags = [(700, 1, len(XMP), XMP, True)]
    tags += [(274, 3, 1, tag, True)] * (tag is not None)
    tifffile.imwrite(path, stored, photometric="rgb", extratags=tags)
    upright = np.rot90(stored, turns)
    assert reading.size_of(path) == upright.shape[:2]
    photo, _ = reading.read_upright(path)
    np.testing.assert_array_equal(photo.pixels, upright)
    writing.write(photo, tmp_path / "out.tif")  # which stays so
    np.testing.assert_array_equal(
        reading.read_upright(tmp_path / "out.tif")[0].pixels, upright
    )


@pytest.mark.parametrize("value", [0, 9, 700, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(tmp_path, value):
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    PICTURE.save(tmp_path / "a.png", exif=exif)
    assert reading.size_of(tmp_path / "a.png") == (13, 21)
    assert reading.read_upright(tmp_path / "a.png")[0].pixels.shape == (13, 21, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_a_bad_item_is_named_and_the_others_are_kept(tmp_path, suffix):
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0131] = "Maker", 2.5
    exif.get_ifd(0x8769).update({0x9003: "2020:02:02 02:02:02", 0x829A: (1, "a")})
    info = {"icc_profile": PROFILE, "dpi": (300, math.nan), "xmp": 3}
    photo = reading.Photo(np.asarray(PICTURE), info, exif)
    [note] = writing.write(photo, tmp_path / f"a{suffix}")
    assert note == (
        "damaged metadata is dropped: resolution, EXIF Software, EXIF ExposureTime "
        "and 1 more"
    )
    again, notes = reading.read_upright(tmp_path / f"a{suffix}")
    assert not notes and again.info["icc_profile"] == PROFILE
    assert again.exif[0x010F] == "Maker"
    assert again.exif.get_ifd(0x8769) == {0x9003: "2020:02:02 02:02:02"}


def test_metadata_too_long_for_jpeg_costs_no_picture(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x010E] = "Maker", "x" * 70_000
    info = {"xmp": b"x" * 70_000, "icc_profile": None}
    photo = reading.Photo(np.asarray(PICTURE), info, exif)
    [note] = writing.write(photo, tmp_path / "a.jpg")
    assert note == "damaged metadata is dropped: EXIF ImageDescription, XMP"
    assert reading.read_upright(tmp_path / "a.jpg")[0].exif[0x010F] == "Maker"


def odd(rng):
    """A value that has no place in metadata, or only in some."""
    return rng.choice(
        [None, 0, -1, 2**40, 2**70, 1.5, math.nan, math.inf, True, "text", "\udc82\0"]
        + [b"", b"bytes", b"x" * 70_000, "x" * 70_000, (), (1, 2), (0, 0), [1, "a"]]
        + [{}, {1: 2}, ("300", "300"), (300, math.nan), (1.0, 2.0, 3.0), PROFILE]
    )


def odd_exif(rng):
    exif = PIL.Image.Exif()
    for _ in range(rng.randint(0, 5)):
        tags = [0x10F, 0x112, 0x11A, 0x128, 0x131, 700, 34675, 33723, 330, 273]
        exif[rng.choice([*tags, rng.randint(1, 65535)])] = odd(rng)
    for group in (0x8769, 0x8825):
        for _ in range(rng.randint(0, 3)):
            tags = [0x9286, 0x927C, 0xA005, 0xA002, 1, 2, rng.randint(0, 65535)]
            exif.get_ifd(group)[rng.choice(tags)] = odd(rng)
            exif[group] = rng.choice([0, 8, odd(rng)])
    return exif


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_odd_metadata_costs_no_picture(tmp_path, count):
    rng, draw = random.Random(0), np.random.default_rng(0)
    for _ in range(count):
        suffix = rng.choice([".png", ".tif", ".jpg", ".webp", ".bmp"])
        wide = suffix in (".png", ".tif") and rng.random() < 0.5
        shapes = [(), (3,)] + [(2,), (4,)] * (suffix in (".png", ".tif"))
        dtype = np.uint16 if wide else np.uint8
        pixels = draw.integers(0, np.iinfo(dtype).max, (5, 7, *rng.choice(shapes)))
        pixels = pixels.astype(dtype)
        info = {name: odd(rng) for name in ("icc_profile", "dpi", "xmp", "exif")}
        target = tmp_path / f"a{suffix}"
        writing.write(reading.Photo(pixels, info, odd_exif(rng)), target)
        assert reading.size_of(target) == (5, 7)
        photo, _ = reading.read_upright(target)
        if suffix in (".png", ".tif"):
            np.testing.assert_array_equal(photo.pixels, pixels)
        if info["icc_profile"] == PROFILE and suffix != ".bmp":
            assert photo.info["icc_profile"] == PROFILE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_headers_of_damaged_files_tell_the_size_that_is_read(tmp_path, count):
    rng, whole = random.Random(0), {}
    for name, make in PLACES.items():
        make(tmp_path / name)
        whole[name] = (tmp_path / name).read_bytes()
    for suffix in (".gif", ".bmp", ".jp2", ".tga", ".ppm", ".pcx", ".sgi", ".qoi"):
        save(tmp_path / f"a{suffix}")
        whole[f"a{suffix}"] = (tmp_path / f"a{suffix}").read_bytes()
    deep = io.BytesIO()
    tifffile.imwrite(deep, np.asarray(PICTURE).astype(np.uint16) * 257)
    whole["deep.tif"] = deep.getvalue()
    for _ in range(count):
        name = rng.choice(sorted(whole))
        data = bytearray(whole[name])
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(min(len(data), rng.choice([64, 400, len(data)])))
            data[at] = rng.randrange(256)
        (tmp_path / name).write_bytes(data)
        try:
            photo, _ = reading.read_upright(tmp_path / name)
        except ValueError:
            continue
        assert reading.size_of(tmp_path / name) == photo.pixels.shape[:2]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_text_in_other_than_ascii_is_kept(tmp_path, suffix):
    """Cameras write UTF-8 or Latin-1 into tags that should be ASCII."""
    texts = {0x8298: "© Jürgen".encode(), 0x013B: "Bärbel".encode("latin-1")}
    exif = PIL.Image.Exif()
    for tag, text in texts.items():
        exif[tag] = b"@" * len(text)
    data = exif.tobytes()
    for text in texts.values():
        data = data.replace(b"@" * len(text), text, 1)
    save(tmp_path / "a.jpg", exif=data)
    command = ["upscale", str(tmp_path / "a.jpg"), "--model", "fsrcnn_x2"]
    assert cli.main([*command, "--format", suffix]) == 0
    with PIL.Image.open(tmp_path / f"a_x2.{suffix}") as picture:
        found = picture.getexif()
        assert {tag: found[tag].encode("latin-1") for tag in texts} == texts

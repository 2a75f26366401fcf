"""Real photographs as every awkward kind of file, through the real command.

Pillow writes them and Pillow reads the results, but for colours of 16 bits, which
tifffile writes or reads.
"""

import io
import logging
import math
import pathlib
import re
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile

from jaxsr import cli, terminal, weights
from jaxsr.evaluation import protocol
from jaxsr.files import reading, writing

SCALE = 1.5
WIDTH, HEIGHT = 60, 45
PROFILE = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + "é".encode() + b"</x:xmpmeta>"


def exif(orientation=1):
    tags = PIL.Image.Exif()
    tags[0x010F], tags[0x0112] = "Maker", orientation
    details = tags.get_ifd(0x8769)
    details.update({0x9003: "2020:02:02 02:02:02", 0xA002: WIDTH, 0xA003: HEIGHT})
    tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 15.5)})
    return tags


def save(mode="RGB", **options):
    """Writes the photograph in one of Pillow's modes."""

    def make(path, photo):
        picture = photo.convert("RGB" if mode.endswith("A") else mode)
        if mode.endswith("A"):
            picture = photo.convert(mode)
            ramp = np.arange(WIDTH, dtype=np.uint8) * 4
            alpha = PIL.Image.fromarray(np.tile(ramp, (HEIGHT, 1)))
            picture.putalpha(alpha)
        picture.save(path, **options)

    return make


def save_turned(orientation):
    """The photograph, stored as a camera held in that way does."""

    def make(path, photo):
        back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of PIL.Image.Transpose
        if orientation > 1:
            photo = photo.transpose(back[orientation])
        photo.save(path, exif=exif(orientation), quality=95)

    return make


def deep(photo, channels):
    """uint16 pixels whose low bytes are not nothing."""
    rgb = np.asarray(photo).astype(np.uint16) * 257
    rgb[..., 0] ^= 85
    alpha = np.full((HEIGHT, WIDTH, 1), 60000, np.uint16)
    return {
        1: rgb[..., 0],
        2: np.concatenate([rgb[..., :1], alpha], axis=-1),
        3: rgb,
        4: np.concatenate([rgb, alpha], axis=-1),
    }[channels]


def save_deep(channels, **options):
    def make(path, photo):
        pixels = deep(photo, channels)
        if path.suffix == ".png":
            info = {"icc_profile": PROFILE, "xmp": XMP, "dpi": (300, 300)}
            writing.write(reading.Photo(pixels, info, exif()), path)
        else:
            kind = "rgb" if channels > 2 else "minisblack"
            extra = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
            tifffile.imwrite(path, pixels, photometric=kind, **extra, **options)

    return make


def save_gray_key(path, photo):
    """In Pillow 16 bits of gray and alpha come back as four channels of 8."""
    PIL.Image.fromarray(deep(photo, 1)).save(path, transparency=21845)


def save_frames(path, photo):
    more = [PIL.ImageOps.invert(photo), photo]
    photo.save(path, save_all=True, append_images=more, duration=50)


def save_part(fraction):
    def make(path, photo):
        photo.save(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * fraction)])

    return make


def save_crop(width, height):
    return lambda path, photo: photo.crop((0, 0, width, height)).save(path)


def save_text(path, photo):
    path.write_text("no image")


def save_float(path, photo):
    values = np.asarray(photo.convert("L"), np.float32) / 255
    PIL.Image.fromarray(values).save(path)


def save_foreign(path, photo):
    photo.save(path, "JPEG", quality=95)


def save_broken_exif(path, photo):
    photo.save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(200)))


def save_odd_exif(path, photo):
    """One that can be read and not written: an angle that is a text."""
    data = bytearray(exif().tobytes())
    latitude = data.index(b"\0\2\0\5\0\0\0\3")  # tag 2, kind 5, of 3 values
    data[latitude + 3] = 2
    photo.save(path, exif=bytes(data))


def save_bomb(path, photo):
    save()(path, photo)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


INFO = {"exif": exif(), "icc_profile": PROFILE, "dpi": (300, 300)}
FIRST = "the first of 3 frames is taken"

# name -> (how it is made, Pillow's mode of the result, what is said)
GOOD = {
    "gray, png.png": (save("L"), "L", ""),
    "gray and alpha, png.png": (save("LA"), "LA", ""),
    "colour, png.png": (save(**INFO), "RGB", ""),
    "colour and alpha, png.png": (save("RGBA"), "RGBA", ""),
    "palette, png.png": (save("P"), "RGB", "P is converted to RGB"),
    "palette of 4, png.png": (save("P", bits=2), "RGB", "P is converted to RGB"),
    "palette, transparent, png.png": (save("P", transparency=3), "RGBA", "to RGBA"),
    "bilevel, png.png": (save("1"), "L", "1 is converted to L"),
    "transparent colour.png": (save(transparency=(1, 2, 3)), "RGBA", "to RGBA"),
    "transparent gray.png": (save("L", transparency=7), "LA", "to LA"),
    "gray 16, png.png": (save_deep(1), "I;16", ""),
    "transparent gray 16.png": (save_gray_key, "RGBA", ""),
    "gray and alpha 16, png.png": (save_deep(2), "RGBA", ""),
    "colour 16, png.png": (save_deep(3), "RGB", ""),
    "colour and alpha 16, png.png": (save_deep(4), "RGBA", ""),
    "animated, png.png": (save_frames, "RGB", FIRST),
    "colour, jpg.jpg": (save(**INFO, xmp=XMP), "RGB", ""),
    "gray, jpg.jpg": (save("L", **INFO), "L", ""),
    "progressive, jpeg.jpeg": (save(progressive=True), "RGB", ""),
    "cmyk, jpg.jpg": (save("CMYK"), "RGB", "CMYK is converted to RGB"),
    "cmyk with profile, jpg.jpg": (
        save("CMYK", icc_profile=PROFILE),
        "RGB",
        "without its colour profile",
    ),
    **{f"turned {i}.jpg": (save_turned(i), "RGB", "") for i in range(1, 9)},
    "broken exif.jpg": (save_broken_exif, "RGB", "Corrupt EXIF data"),
    "odd exif.jpg": (save_odd_exif, "RGB", "metadata is dropped: EXIF GPSLatitude"),
    "a jpeg.png": (save_foreign, "RGB", ""),
    "colour, tif.tif": (save(**INFO), "RGB", ""),
    "lzw, tiff.tiff": (save(compression="tiff_lzw", **INFO), "RGB", ""),
    "gray 16, tif.tif": (save_deep(1, byteorder=">"), "I;16", ""),
    "colour 16, tif.tif": (save_deep(3, compression="zlib"), "RGB", ""),
    "colour and alpha 16, tif.tif": (save_deep(4, byteorder=">"), "RGBA", ""),
    "cmyk, tif.tif": (save("CMYK"), "RGB", "CMYK is converted to RGB"),
    "alpha.webp": (save("RGBA", lossless=True, **INFO), "RGBA", ""),
    "animated, webp.webp": (save_frames, "RGB", FIRST),
    "animated, gif.gif": (save_frames, "RGB", FIRST),
    "colour, bmp.bmp": (save(), "RGB", ""),
    "colour, ppm.ppm": (save(), "RGB", ""),
    "gray, pgm.pgm": (save("L"), "L", ""),
    "one pixel.png": (save_crop(1, 1), "RGB", ""),
    "one row.jpg": (save_crop(WIDTH, 1), "RGB", ""),
    "one column.webp": (save_crop(1, HEIGHT), "RGB", ""),
    "Ünïcode 写真 \n line.JPG": (save(quality=95), "RGB", ""),
    "-o.png": (save(), "RGB", ""),
}
# name -> (how it is made, why it fails)
BAD = {
    "cut, jpg.jpg": (save_part(0.5), "truncated"),
    "cut, png.png": (save_part(0.7), "cannot be read as an image"),
    "header.jpg": (save_part(0.02), "cannot be read as an image"),
    "empty.png": (save_part(0), "it is empty or not of a known format"),
    "text.png": (save_text, "it is empty or not of a known format"),
    "bomb.png": (save_bomb, "900 megapixels; the limit against"),
    "float.tif": (save_float, "PNG holds uint8 or uint16; the image is float32. Use"),
}


@pytest.fixture(scope="module")
def small(photo):
    picture = PIL.Image.fromarray(photo)
    return picture.resize((WIDTH, HEIGHT), box=(0, 0, 240, 180))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "bicubic.safetensors"
    weights.save(path, protocol.baseline(color="rgb"))
    return str(path)


@pytest.fixture(scope="module")
def run(small, model, tmp_path_factory):
    """The folders before and after, the exit status, and what was said."""
    before, after = tmp_path_factory.mktemp("before"), tmp_path_factory.mktemp("after")
    for name, (make, *_) in (GOOD | BAD).items():
        make(before / name, small)
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger("jaxsr").addHandler(handler)
    options = ["-o", str(after), "--scale", str(SCALE), "--model", model]
    status = cli.main(["upscale", str(before), *options])
    logging.getLogger("jaxsr").removeHandler(handler)
    return before, after, status, said.getvalue().splitlines()


def after_of(name):
    return f"{pathlib.Path(name).stem}_x{SCALE:g}.png"


def lines_of(name, said):
    return [line for line in said if terminal.shown(name) + ": " in line]


def test_there_are_forty_and_each_has_one_outcome(run):
    before, after, status, said = run
    assert len(GOOD) >= 40 and status == 1
    assert sorted(p.name for p in after.iterdir()) == sorted(map(after_of, GOOD))
    assert any(re.match(r"Running Bicubic on the CPU \(.*\)\.", s) for s in said)


def eight_bits(picture):
    """Pillow converts 16 bits of gray by cutting values off at 255."""
    if not picture.mode.startswith("I"):
        return picture
    return PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_a_good_file_is_enlarged(run, name):
    before, after, _, said = run
    _, mode, note = GOOD[name]
    with PIL.Image.open(after / after_of(name)) as result:
        result.load()
    with PIL.Image.open(before / name) as source:
        upright = PIL.ImageOps.exif_transpose(source)
    assert result.size == tuple(math.ceil(SCALE * side) for side in upright.size)
    assert result.mode == mode
    lines = lines_of(name, said)
    assert note in lines[0] if note else not lines
    upright, result = map(eight_bits, (upright, result))
    mode = result.mode
    expected = upright.convert(mode).resize(result.size, PIL.Image.Resampling.BICUBIC)
    expected, result = (np.asarray(x, float) for x in (expected, result))
    if mode in ("LA", "RGBA"):  # colours count where they are seen
        weight = np.minimum(expected[..., -1:], result[..., -1:]) / 255
        expected[..., :-1] *= weight
        result[..., :-1] *= weight
    assert np.abs(expected - result).mean() < 3


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_the_reason(run, name):
    *_, said = run
    [line] = lines_of(name, said)
    assert BAD[name][1] in line


def tags(picture):
    """What Pillow finds of a picture's EXIF, nested, in plain values."""
    found = picture.getexif()
    groups = {k: found.get_ifd(k) for k in (0x8769, 0x8825) if k in found}
    return {0x010F: found.get(0x010F)} | {
        k: {tag: str(value) for tag, value in group.items()}
        for k, group in groups.items()
    }


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif"])
@pytest.mark.parametrize("name", ["colour, jpg.jpg", "lzw, tiff.tiff", "turned 6.jpg"])
def test_metadata_goes_into_every_format(run, model, tmp_path, name, suffix):
    before, *_ = run
    options = ["-o", str(tmp_path), "--format", suffix, "--model", model]
    assert cli.main(["upscale", str(before / name), *options]) == 0
    check_metadata(before / name, next(tmp_path.iterdir()))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_metadata_of_sixteen_bits_goes_into_what_holds_them(
    run, model, tmp_path, suffix
):
    before, *_ = run
    source = before / "colour and alpha 16, png.png"
    options = ["-o", str(tmp_path), "--format", suffix, "--model", model]
    assert cli.main(["upscale", str(source), *options]) == 0
    [result] = tmp_path.iterdir()
    check_metadata(source, result)


def check_metadata(source, result):
    with PIL.Image.open(source) as source, PIL.Image.open(result) as result:
        source.load()
        result.load()
    expected, found = tags(source), tags(result)
    if 0x8769 in expected:
        size = dict(zip((0xA002, 0xA003), map(str, result.size)))
        expected[0x8769] |= size
    assert found == expected and expected[0x010F] == "Maker"
    assert result.getexif().get(0x0112, 1) == 1
    for key in ("icc_profile", "xmp"):
        assert result.info.get(key) == source.info.get(key)
    if result.format not in ("WEBP", "AVIF"):
        expected = source.info.get("dpi", (72, 72))
        assert [round(float(n)) for n in result.info["dpi"]] == [*map(round, expected)]


def test_sixteen_bits_keep_their_low_bytes(run, small, model, tmp_path):
    before, *_ = run
    for name, channels in (
        ("colour 16, tif.tif", 3),
        ("colour and alpha 16, tif.tif", 4),
        ("colour 16, png.png", 3),
        ("gray and alpha 16, png.png", 2),
        ("gray 16, tif.tif", 1),
    ):
        options = ["-o", str(tmp_path / "a.tif"), "--model", model, "--overwrite"]
        assert cli.main(["upscale", str(before / name), "--scale", "1", *options]) == 0
        result = tifffile.imread(tmp_path / "a.tif")
        np.testing.assert_array_equal(result, deep(small, channels))


def test_twelve_megapixels_with_the_longest_side_turned(model, photo, tmp_path):
    picture = PIL.Image.fromarray(photo).resize((4000, 3000))
    picture.save(tmp_path / "large.jpg", exif=exif(6), quality=90)
    options = ["--size", "3300x9999", "--format", "jpg", "--model", model]
    assert cli.main(["upscale", str(tmp_path / "large.jpg"), *options]) == 0
    with PIL.Image.open(tmp_path / "large_3300x9999.jpg") as result:
        assert result.size == (3300, 4400)
        small = result.resize((300, 400), reducing_gap=2)
    upright = picture.transpose(PIL.Image.Transpose.ROTATE_270).resize((300, 400))
    assert np.abs(np.asarray(small, float) - np.asarray(upright)).mean() < 2

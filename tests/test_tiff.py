"""Every form of 16-bit TIFF: tifffile writes it, the values are worked out here."""

import io
import itertools
import struct

import numpy as np
import PIL.Image
import pytest
import tifffile

from jaxsr.files import reading, tiff

HEIGHT, WIDTH = 37, 41
KINDS = {"minisblack": 1, "miniswhite": 1, "rgb": 3, "separated": 4}
EXTRAS = [
    (),
    ("unassalpha",),
    ("assocalpha",),
    ("unspecified",),
    ("unspecified", "unassalpha"),
]


def lzw(data):
    """LZW of 9-bit codes: the table is cleared before it would need longer ones."""
    parts = [data[i : i + 250] for i in range(0, len(data), 250)]
    codes = [code for part in parts for code in (256, *part)] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


def packbits(data):
    parts = [data[i : i + 128] for i in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


@pytest.fixture(autouse=True)
def encoders(monkeypatch):
    """tifffile has these only with imagecodecs."""
    for code, encode in ((5, lzw), (32773, packbits)):
        monkeypatch.setitem(
            tifffile.TIFF.COMPRESSORS._codecs,
            code,
            lambda data, *args, encode=encode, **options: encode(bytes(data)),
        )


def expected_of(stored, kind, extra):
    """What stored samples mean, by TIFF 6.0."""
    count = KINDS[kind]
    colours = stored[..., :count].astype(np.float64)
    if kind == "miniswhite":
        colours = 65535 - colours
    if kind == "separated":
        light = 65535 - colours
        colours = np.rint(light[..., :3] * light[..., 3:] / 65535)
    alphas = [i for i, name in enumerate(extra) if name != "unspecified"]
    if not alphas:
        return colours
    alpha = stored[..., count + alphas[0], None].astype(np.float64)
    if "assocalpha" in extra:
        colours = np.floor(colours * 65535 / np.maximum(alpha, 1) + 0.5).clip(0, 65535)
    return np.concatenate([colours, alpha], axis=-1)


def arrangements(kind):
    """The extra channels and planar configurations that files of a kind can have."""
    for extra, planar in itertools.product(EXTRAS, ("contig", "separate")):
        if planar == "contig" or KINDS[kind] + len(extra) > 1:
            yield extra, planar


def written(file, kind, extra=(), planar="contig", seed=0, **options):
    """Writes random samples; returns what they mean."""
    channels = KINDS[kind] + len(extra)
    rng = np.random.default_rng(seed)
    stored = rng.integers(65536, size=(HEIGHT, WIDTH, channels), dtype=np.uint16)
    stored[0, 0] = 65535
    data = np.moveaxis(stored, -1, 0) if planar == "separate" else stored
    if channels == 1:
        data = stored[..., 0]
    else:
        options["planarconfig"] = planar
    tifffile.imwrite(file, data, photometric=kind, extrasamples=extra, **options)
    return expected_of(stored, kind, extra)


@pytest.mark.parametrize("compression", [None, "zlib", "lzma", "packbits"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_is_read(tmp_path, kind, compression):
    path = tmp_path / "a.tif"
    places = ({"rowsperstrip": 10}, {"tile": (16, 32)}, {"bigtiff": True})
    places = places[:1] if compression == "lzma" else places  # which is slow
    for (extra, planar), order, place, predictor in itertools.product(
        arrangements(kind), "<>", places, (False, True)
    ):
        packed = {"compression": compression, "predictor": predictor}
        expected = written(
            path,
            kind,
            extra,
            planar,
            byteorder=order,
            **place,
            **(packed if compression else {}),
        )
        photo, _ = reading.read_upright(path)
        assert photo.pixels.dtype == np.uint16
        pixels = photo.pixels.reshape(HEIGHT, WIDTH, -1)
        np.testing.assert_array_equal(pixels, expected)
        assert reading.size_of(path) == (HEIGHT, WIDTH)
        colours = expected[..., : 3 if expected.shape[-1] > 2 else 1]
        eight = reading.read_as_stored(path)
        np.testing.assert_array_equal(eight, np.rint(colours / 257))


@pytest.mark.parametrize("kind", KINDS)
def test_lzw_is_read_where_pillow_can_and_reported_where_not(
    tmp_path, monkeypatch, kind
):
    known = {k: v for k, v in tifffile.TIFF.DECOMPRESSORS._codecs.items() if k != 5}
    monkeypatch.setattr(tifffile.TIFF.DECOMPRESSORS, "_codecs", known)
    imagecodecs = tifffile.tifffile.imagecodecs
    monkeypatch.delattr(imagecodecs, "lzw_decode", raising=False)
    path = tmp_path / "a.tif"
    for (extra, planar), order, tile, predictor in itertools.product(
        arrangements(kind), "<>", (None, (16, 32)), (False, True)
    ):
        expected = written(
            path,
            kind,
            extra,
            planar,
            byteorder=order,
            tile=tile,
            compression="lzw",
            predictor=predictor,
        )
        plain = kind in ("minisblack", "rgb") and not extra
        if planar == "contig" and (plain or (kind, extra) == ("rgb", EXTRAS[1])):
            pixels = reading.read_upright(path)[0].pixels.reshape(HEIGHT, WIDTH, -1)
            np.testing.assert_array_equal(pixels, expected)
        else:
            with pytest.raises(
                ValueError, match="LZW, cannot.*pip install imagecodecs"
            ):
                reading.read_upright(path)


def test_a_palette_of_sixteen_bits_is_rgb(tmp_path):
    rng = np.random.default_rng(0)
    palette = rng.integers(65536, size=(3, 65536), dtype=np.uint16)
    index = rng.integers(65536, size=(HEIGHT, WIDTH), dtype=np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, index, photometric="palette", colormap=palette)
    photo, notes = reading.read_upright(path)
    np.testing.assert_array_equal(photo.pixels, palette.T[index])
    assert notes == ["its palette is converted to RGB"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_and_metadata_are_as_pillow_finds_them(tmp_path, orientation):
    path, plain = tmp_path / "a.tif", tmp_path / "b.tif"
    stored = np.random.default_rng(0).integers(1, 65536, size=(5, 7, 3))
    tags = [
        (274, 3, 1, orientation, True),
        (271, 2, 6, "Maker", True),
        (700, 1, 4, b"<x/>", True),
        (34675, 7, 4, b"icc!", True),
    ]
    for file, dtype in ((path, np.uint16), (plain, np.uint8)):
        options = {"resolution": (300, 300), "resolutionunit": "inch"}
        data = (stored >> 8 * (dtype == np.uint8)).astype(dtype)
        tifffile.imwrite(file, data, photometric="rgb", extratags=tags, **options)
    (deep, _), (photo, _) = reading.read_upright(path), reading.read_upright(plain)
    np.testing.assert_array_equal(deep.pixels >> 8, photo.pixels)
    assert reading.size_of(path) == photo.pixels.shape[:2]
    assert deep.exif[271] == photo.exif[271] and 274 not in deep.exif
    for key in ("icc_profile", "xmp", "dpi"):
        assert deep.info[key] == photo.info[key]
    eight = reading.read_as_stored(path)
    np.testing.assert_array_equal(eight, np.rint(deep.pixels / 257))


def test_several_frames_are_counted_and_a_stream_is_read(tmp_path):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for level in (1, 2):
            page = np.full((4, 5, 3), 1000 * level, np.uint16)
            writer.write(page, photometric="rgb", planarconfig="contig")
    notes = []
    pixels = reading.decoded(stream, notes).pixels
    assert pixels.shape == (4, 5, 3) and (pixels == 1000).all()
    assert notes == ["the first of 2 frames is taken"]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_signed_values_are_read_and_negative_ones_are_reported(tmp_path, compression):
    path = tmp_path / "a.tif"
    values = np.array([[0, 30000], [1, 2]], np.int16)
    tifffile.imwrite(path, values, compression=compression)
    np.testing.assert_array_equal(reading.read_upright(path)[0].pixels, values)
    tifffile.imwrite(path, values - 3, compression=compression)
    with pytest.raises(ValueError, match=r"must lie in 0..65535; got -3"):
        reading.read_upright(path)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.ones((4, 5), np.float16), {}, "floats of 16 bits"),
        (np.ones((4, 5, 3), np.uint16), {"photometric": "cielab"}, "CIELAB, not gray"),
        (np.ones((4, 5), np.uint16), {"photometric": "cfa"}, "CFA, not gray"),
    ],
)
def test_what_is_no_image_of_ours_is_reported(tmp_path, data, options, message):
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    with pytest.raises(ValueError, match=message):
        reading.read_upright(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"a.tif cannot be read: .*{message}"):
        reading.read_as_stored(tmp_path / "a.tif")


def tag_entry(content, code):
    """Where a tag's entry lies in a little-endian TIFF."""
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    places = range(start + 2, start + 2 + 12 * count, 12)
    return next(p for p in places if struct.unpack_from("<H", content, p)[0] == code)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (256, 2**31 - 1, "decompression bomb"),
        (257, 2**20, "truncated"),
        (279, 0, "truncated"),
        (273, 2**30, "truncated"),
        (277, 9, "ExtraSamples"),
    ],
)
def test_a_damaged_header_is_reported_before_memory_is_taken(
    tmp_path, monkeypatch, tag, value, message
):
    path = tmp_path / "a.tif"
    data = np.ones((4, 5), np.uint16)
    tifffile.imwrite(path, data, compression="zlib", rowsperstrip=4)
    content = bytearray(path.read_bytes())
    place = tag_entry(content, tag)
    kind = struct.unpack_from("<H", content, place + 2)[0]
    struct.pack_into({3: "<H", 4: "<I"}[kind], content, place + 8, value)
    path.write_bytes(content)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)
    with pytest.raises(ValueError, match=message):
        reading.read_upright(path)
    with pytest.raises(ValueError, match=message):
        reading.read_as_stored(path)


def test_a_side_that_is_several_numbers_is_reported(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((6, 5), np.uint16), photometric="minisblack")
    content = bytearray(path.read_bytes())
    # Two numbers of 16 bits.
    struct.pack_into("<HI", content, tag_entry(content, 256) + 2, 3, 2)
    path.write_bytes(content)
    for function in (tiff.size, tiff.read):
        with pytest.raises(ValueError, match="height and width are not one number"):
            function(path)


def test_other_files_are_left_to_pillow(tmp_path):
    PIL.Image.new("RGB", (4, 5)).save(tmp_path / "a.tif")
    PIL.Image.new("RGB", (4, 5)).save(tmp_path / "a.png")
    (tmp_path / "empty").touch()
    for name in ("a.tif", "a.png", "empty"):
        assert tiff.read(tmp_path / name) is None and tiff.size(tmp_path / name) is None

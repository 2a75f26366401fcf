"""Files and folders through the whole work on files."""

import contextlib
import logging
import os
import pathlib
import re
import resource
import shutil
import struct
import tempfile
import threading
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile
from test_upscale import BICUBIC, make_model, make_pixels

from jaxsr import models
from jaxsr.cli import options as cli_options
from jaxsr.files import reading, writing
from jaxsr.inference import jobs, upscale


def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width, height, bits, rows, more=b""):
    """The bytes of an RGB PNG, also of a size or depth that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def warnings_of(caplog):
    return [r for r in caplog.records if r.levelno >= logging.WARNING]


def run(inputs, output=None, scale=2, model=BICUBIC, **options):
    return jobs.upscale_files(inputs, output, scale, model, **options)


@pytest.mark.parametrize(
    ("name", "mode", "becomes", "said"),
    [
        ("a.png", "L", "L", ""),
        ("a.png", "LA", "LA", ""),
        ("a.png", "RGBA", "RGBA", ""),
        ("a.png", "I;16", "I;16", ""),
        ("a.png", "1", "L", "1 is converted to L"),
        ("a.png", "P", "RGB", "P is converted to RGB"),
        ("a.tif", "CMYK", "RGB", "CMYK is converted to RGB"),
        ("a.tif", "I;16", "I;16", ""),
        ("a.jpg", "RGB", "RGB", ""),
        ("a.jpg", "CMYK", "RGB", "CMYK is converted to RGB"),
        ("a.webp", "RGBA", "RGBA", ""),
        ("a.bmp", "RGB", "RGB", ""),
        ("a.gif", "P", "RGB", "P is converted to RGB"),
    ],
)
def test_every_kind_of_file_becomes_a_png(tmp_path, caplog, name, mode, becomes, said):
    source = PIL.Image.new(mode, (5, 4), 60000 if mode == "I;16" else None)
    source.save(tmp_path / name)
    summary = run([tmp_path / name], scale=2.5)
    assert summary == ([tmp_path / "a_x2.5.png"], [], [])
    with PIL.Image.open(tmp_path / "a_x2.5.png") as result:
        result.load()
    assert (result.mode, result.size) == (becomes, (13, 10))
    assert said in caplog.text
    assert bool(said) == bool(warnings_of(caplog))


def test_transparent_palettes_keep_their_transparency(tmp_path):
    palette = PIL.Image.new("P", (6, 6), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (0, 0, 3, 6))
    palette.save(tmp_path / "a.png", transparency=0)
    run([tmp_path / "a.png"])
    result = np.asarray(PIL.Image.open(tmp_path / "a_x2.png"))
    np.testing.assert_array_equal(
        result[3, [0, 11]], [[0, 0, 255, 255], [0, 0, 255, 0]]
    )


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path, caplog):
    frames = [PIL.Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    run([tmp_path / "a.gif"])
    result = PIL.Image.open(tmp_path / "a_x2.png").convert("RGB")
    assert result.getpixel((3, 3))[0] > 200
    assert "the first of 2 frames" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_a_channel_are_written_to_the_standards(
    tmp_path, channels, suffix
):
    """What this PNG holds is worked out by hand, the TIFF read by tifffile."""
    pixels = make_pixels(300, 20, channels, dtype=np.uint16)
    path = tmp_path / f"a{suffix}"
    writing.write(reading.Photo(pixels, {"dpi": (300, 300)}, PIL.Image.Exif()), path)
    if suffix == ".tif":
        result = tifffile.imread(path)
    else:
        data = path.read_bytes()
        assert struct.unpack(">IIBB", data[16:26])[:3] == (20, 300, 16)
        chunks, at = [], 8
        while at < len(data):
            [length] = struct.unpack(">I", data[at : at + 4])
            assert data[at : at + 12 + length] == chunk(
                data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
            )
            chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
            at += 12 + length
        lines = zlib.decompress(
            b"".join(body for name, body in chunks if name == b"IDAT")
        )
        lines = np.frombuffer(lines, np.uint8).reshape(300, -1)
        assert (lines[:, 0] == 1).all()  # each byte less that of the pixel before
        differences = lines[:, 1:].reshape(300, 20, 2 * channels)
        values = np.cumsum(differences, axis=1, dtype=np.uint8)
        result = values.view(">u2")
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_pillow_reads_the_eight_bits_that_are_written(tmp_path, channels):
    pixels = make_pixels(300, 20, *channels)
    photo = reading.Photo(pixels, {"dpi": (300, 300)}, PIL.Image.Exif())
    writing.write(photo, tmp_path / "a.png")
    with PIL.Image.open(tmp_path / "a.png") as picture:
        picture.verify()
    with PIL.Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)
        assert round(picture.info["dpi"][0]) == 300


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_an_array_that_shares_its_memory_is_written_as_any_other(tmp_path, suffix):
    pixels = make_pixels(50, 20, 4)
    shared = writing.empty((50, 20, 3), np.uint8)
    shared[:] = pixels[..., 1:]
    for i, x in enumerate((shared, pixels[..., :3], pixels[..., 1:])):
        for name in "ab":
            photo = reading.Photo(x if name == "a" else x.copy(), {}, PIL.Image.Exif())
            writing.write(photo, tmp_path / f"{name}{i}{suffix}")
        a, b = ((tmp_path / f"{name}{i}{suffix}").read_bytes() for name in "ab")
        assert a == b


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_sixteen_bits_go_in_and_come_out(tmp_path, caplog, channels, suffix):
    pixels = make_pixels(11, 30, *channels, dtype=np.uint16)
    writing.write(reading.Photo(pixels, {}, PIL.Image.Exif()), tmp_path / f"a{suffix}")
    [target] = run([tmp_path], suffix=suffix).done
    photo, notes = reading.read_upright(target)
    np.testing.assert_array_equal(photo.pixels, upscale.upscale(pixels, 2, BICUBIC))
    assert not warnings_of(caplog) and not notes


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_tiffs_of_others_are_read(
    tmp_path, channels, byteorder, compression
):
    pixels = make_pixels(20, 30, channels, dtype=np.uint16)
    extra = ["unassalpha"] * (channels - 3)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="rgb",
        extrasamples=extra,
        byteorder=byteorder,
        compression=compression,
    )
    photo, notes = reading.read_upright(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert not notes


def test_sixteen_bit_pngs_of_others_are_read_and_a_transparent_colour_is_alpha(
    tmp_path,
):
    pixels = make_pixels(9, 8, 3, dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    key = pixels[4, 5].astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(8, 9, 16, rows, chunk(b"tRNS", key)))
    photo, notes = reading.read_upright(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.pixels[..., :3], pixels)
    hidden = (pixels == pixels[4, 5]).all(axis=-1)
    np.testing.assert_array_equal(photo.pixels[..., 3], np.where(hidden, 0, 65535))
    assert hidden[4, 5] and not hidden.all() and not notes


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
def test_orientation_is_applied_once_and_metadata_is_carried_over(tmp_path, suffix):
    exif = PIL.Image.Exif()
    exif[0x0110], exif[0x0112] = "Camera", 6  # to be turned a quarter clockwise
    exif.get_ifd(0x8769).update({0xA002: 8, 0xA003: 4})
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB"))
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4] = 255
    PIL.Image.fromarray(pixels).save(
        tmp_path / "a.jpg",
        exif=exif,
        icc_profile=profile.tobytes(),
        xmp=b"<x:xmpmeta/>",
        dpi=(300, 300),
    )
    target = tmp_path / f"out{suffix}"
    assert run([tmp_path / "a.jpg"], target).done == [target]
    with PIL.Image.open(target) as result:
        result.load()
    assert result.size == (8, 16)
    brightness = np.asarray(result.convert("L"))
    assert brightness[:7].min() > 200 and brightness[9:].max() < 50
    assert result.info["icc_profile"] == profile.tobytes()
    carried = result.getexif()
    assert carried[0x0110] == "Camera" and carried.get(0x0112, 1) == 1
    assert carried.get_ifd(0x8769)[0xA002] == 8
    assert carried.get_ifd(0x8769)[0xA003] == 16
    if suffix not in (".webp", ".avif"):
        assert [round(float(x)) for x in result.info["dpi"]] == [300, 300]
    assert result.info["xmp"].startswith(b"<x:xmpmeta/>")


def test_the_layout_of_a_tiff_is_not_carried_over(tmp_path):
    PIL.Image.new("RGB", (40, 30)).save(tmp_path / "a.tif", compression="tiff_lzw")
    run([tmp_path / "a.tif"])
    with PIL.Image.open(tmp_path / "a_x2.png") as result:
        assert result.size == (80, 60)
        assert not {256, 257, 259, 273, 279} & set(result.getexif())


def test_bad_files_are_named_skipped_and_counted(tmp_path, caplog):
    good = make_pixels(40, 50, 3)
    for name in ("0.png", "z.jpg"):
        PIL.Image.fromarray(good).save(tmp_path / name)
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    photo = (tmp_path / "z.jpg").read_bytes()
    (tmp_path / "cut photo.jpg").write_bytes(photo[: len(photo) // 2])
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bomb.png").write_bytes(png(20000, 20000, 8, b""))
    (tmp_path / "notes.txt").write_text("no concern of ours")
    summary = run([tmp_path, tmp_path / "missing.png"])
    assert [path.name for path in summary.done] == ["0_x2.png", "z_x2.png"]
    reasons = {failure.source.name: failure.reason for failure in summary.failed}
    bad = {
        "text.png",
        "empty.png",
        "cut photo.jpg",
        "cut.png",
        "bomb.png",
        "missing.png",
    }
    assert set(reasons) == bad
    assert "400 megapixels; the limit" in reasons["bomb.png"]
    assert "truncated" in reasons["cut photo.jpg"].lower()
    assert "No such file" in reasons["missing.png"]
    for name in bad:
        assert name in caplog.text
    # Later runs do not enlarge what the first one wrote.
    for scale, end in ((2, "2"), (3, "3")):
        again = run([tmp_path], scale=scale, existing="overwrite")
        assert [p.name for p in again.done] == [f"0_x{end}.png", f"z_x{end}.png"]


def test_folders_keep_their_structure_and_the_output_may_lie_inside(tmp_path):
    (tmp_path / "in" / "sub dir").mkdir(parents=True)
    for name in ("a.png", "sub dir/ä\n.JPG"):
        with open(tmp_path / "in" / name, "wb") as file:
            PIL.Image.new("RGB", (4, 3)).save(file, "JPEG")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    for _ in range(2):
        out = tmp_path / "in" / "out"
        summary = run([tmp_path / "in"], out, existing="overwrite")
        below = [str(p.relative_to(tmp_path / "in" / "out")) for p in summary.done]
        assert below == ["a_x2.png", "sub dir/ä\n_x2.png"]
        assert not summary.failed


def test_the_output_may_lie_above_the_input(tmp_path):
    (tmp_path / "in").mkdir()
    PIL.Image.new("L", (4, 3)).save(tmp_path / "in" / "a.png")
    assert run([tmp_path / "in"], tmp_path).done == [tmp_path / "a_x2.png"]


def test_an_empty_folder_fails(tmp_path):
    assert run([tmp_path]).failed == [(tmp_path, "the folder holds no images.")]


def test_inputs_with_one_output_fail_alone(tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        PIL.Image.new("RGB", (4, 3)).save(tmp_path / name)
    summary = run([tmp_path])
    assert [path.name for path in summary.done] == ["b_x2.png"]
    reasons = {failure.source.name: failure.reason for failure in summary.failed}
    assert set(reasons) == {"a.png", "a.bmp"}
    assert re.search("it and .*a.bmp would both be .*x2.png. Rename", reasons["a.png"])
    [failure] = run([tmp_path / "b.png"], tmp_path / "b.png").failed
    assert "over the input" in failure.reason


def test_what_cannot_be_meant_is_refused_before_anything_is_written(tmp_path):
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (4, 3)).save(tmp_path / name)
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    for message, inputs, options in (
        ("one file, but there are 2 inputs", [a, b], {"output": tmp_path / "o.png"}),
        (r"written as.*'.gif'", [a], {"output": tmp_path / "out.gif"}),
        (r"written as.*'.gif'", [a], {"suffix": ".gif"}),
        ("at least 1", [a], {"scale": 0.9}),
        ("positive; got", [a], {"size": (0, 5)}),
        ("one of .*; got 'ask'", [a], {"existing": "ask"}),
        ("one of .*; got 'half'", [a], {"precision": "half"}),
        ("quality must be", [a], {"model": "auto", "quality": "good"}),
    ):
        with pytest.raises(ValueError, match=message):
            run(inputs, **options)
    assert sorted(tmp_path.iterdir()) == [a, b]


def test_what_is_there_already_stays_unless_told_otherwise(tmp_path):
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (4, 3)).save(tmp_path / name)
    (tmp_path / "a_x2.png").write_text("mine")
    summary = run([tmp_path])
    assert [path.name for path in summary.done] == ["b_x2.png"]
    assert "a_x2.png already exists" in summary.failed[0].reason
    summary = run([tmp_path], existing="skip")
    assert [p.name for p in summary.skipped] == ["a_x2.png", "b_x2.png"]
    assert not summary.done and not summary.failed
    assert (tmp_path / "a_x2.png").read_text() == "mine"
    assert len(run([tmp_path], existing="overwrite").done) == 2
    assert PIL.Image.open(tmp_path / "a_x2.png").size == (8, 6)


@pytest.mark.parametrize(
    ("size", "becomes"),
    [
        ("40x30", (40, 20)),
        ("500x100", (200, 100)),
        ("30x", (30, 15)),
        ("x33", (66, 33)),
        ("0.02MP", (200, 100)),
    ],
)
def test_a_size_is_the_largest_that_fits_with_the_proportions(tmp_path, size, becomes):
    """(width, height), of an image of 20x10."""
    PIL.Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    [target] = run([tmp_path / "a.png"], size=cli_options.size(size)).done
    names = {"30x": "w30", "x33": "h33"}
    assert target.name == f"a_{names.get(size, size)}.png"
    assert PIL.Image.open(target).size == becomes
    found = run([tmp_path], size=cli_options.size(size), existing="skip")
    assert found.skipped == [target]  # and it is no input
    assert not found.done


@pytest.mark.parametrize("size", ["0x", "x0", "0x10", "0MP"])
def test_a_size_of_nothing_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="size must be positive"):
        run([tmp_path], size=cli_options.size(size))


def test_what_is_larger_than_the_size_fails(tmp_path):
    PIL.Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    [failure] = run([tmp_path / "a.png"], size=(30, 19)).failed
    assert "it has 20x10 pixels, more than the requested 19x30" in failure.reason


def test_patterns_keep_the_structure_below_their_fixed_part(tmp_path):
    for name in ("in/a.png", "in/x/a.png", "in/x/y/b.png", "in/c [1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (2, 2)).save(tmp_path / name)
    out = tmp_path / "in" / "out"
    for _ in range(2):
        done = run([f"{tmp_path}/in/**/*.png"], out, existing="overwrite").done
        below = [str(path.relative_to(out)) for path in done]
        assert below == ["a_x2.png", "c [1]_x2.png", "x/a_x2.png", "x/y/b_x2.png"]
    named = run([f"{tmp_path}/in/c [1].png"], dry_run=True).done
    assert named == [tmp_path / "in" / "c [1]_x2.png"]
    [failure] = run([f"{tmp_path}/in/*.jpg"]).failed
    assert failure == (tmp_path / "in" / "*.jpg", "no image matches.")


def test_a_dry_run_says_all_and_writes_nothing(tmp_path, caplog):
    PIL.Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (4, 3)).save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "text.png").write_text("no image")
    before = sorted(tmp_path.iterdir())
    with caplog.at_level(logging.INFO):
        summary = run([tmp_path], tmp_path / "out", dry_run=True, suffix=".tif")
    assert [path.name for path in summary.done] == ["a_x2.tif", "turned_x2.tif"]
    assert [failure.source.name for failure in summary.failed] == ["text.png"]
    assert f"{tmp_path}/a.png, 4x3 -> {tmp_path}/out/a_x2.tif, 8x6" in caplog.text
    assert "turned.jpg, 3x4 ->" in caplog.text
    assert sorted(tmp_path.iterdir()) == before


def test_links_in_a_circle_and_pipes_are_named(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    PIL.Image.new("L", (2, 2)).save(tmp_path / "z.png")
    summary = run([tmp_path, tmp_path / "a.png"])
    assert [path.name for path in summary.done] == ["z_x2.png"]
    reasons = {failure.source.name: failure.reason for failure in summary.failed}
    assert set(reasons) == {"a.png", "b.png", "pipe.png"}
    assert "symbolic links" in reasons["a.png"]
    assert reasons["pipe.png"] == "it must be a file or a folder."


def test_names_are_said_on_one_line(tmp_path, caplog):
    (tmp_path / "ä \n b.png").write_text("no image")
    [failure] = run([tmp_path]).failed
    assert failure.source.name == "ä \n b.png"
    assert "ä \\n b.png: it cannot be read as an image" in caplog.text


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(make_pixels(1500, 1500, 3)).save(path)
    stop = threading.Event()

    def change():
        while not stop.wait(0.001):
            with open(path, "ab") as file:
                file.write(b"0")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        [failure] = run([path]).failed
    finally:
        stop.set()
        thread.join()
    assert failure.reason == "it changed while it was read."
    assert len(run([path]).done) == 1


@pytest.fixture
def folder():
    """A folder that all may enter, entered without the rights of root."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    run([], folder)
    for name in ("a.png", "secret.png"):
        PIL.Image.new("L", (2, 2)).save(folder / name)
    run([folder / "a.png"], folder / "b.png")  # brings in what needs rights itself
    (folder / "secret.png").chmod(0)
    (folder / "locked").mkdir(mode=0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder)


def test_what_is_not_permitted_is_named_and_the_rest_done(folder):
    summary = run([folder / "secret.png", folder / "a.png"])
    assert summary.done == [folder / "a_x2.png"]
    [(source, reason)] = summary.failed
    assert source.name == "secret.png" and "Permission denied" in reason
    [failure] = run([folder / "a.png"], folder / "locked").failed
    assert "Permission denied" in failure.reason


def test_what_a_format_cannot_hold_is_said_before_the_work(tmp_path):
    PIL.Image.new("RGBA", (4, 3)).save(tmp_path / "a.png")
    PIL.Image.new("RGB", (9000, 1)).save(tmp_path / "wide.png")
    [failure] = run([tmp_path / "a.png"], tmp_path / "out.jpg").failed
    assert "JPEG cannot hold transparency. Use .png" in failure.reason
    PIL.Image.new("I;16", (4, 3)).save(tmp_path / "deep.png")
    [failure] = run([tmp_path / "deep.png"], suffix=".webp").failed
    assert "WEBP holds uint8; the image is uint16. Use .png" in failure.reason
    [failure] = run([tmp_path / "wide.png"], tmp_path / "out.webp").failed
    assert "18000x2. Use .png" in failure.reason


@pytest.mark.parametrize(("mode", "becomes"), [("RGBA", "RGB"), ("LA", "L")])
def test_alpha_that_hides_nothing_goes_into_what_holds_none(tmp_path, mode, becomes):
    PIL.Image.new(mode, (4, 3), (200,) * (len(mode) - 1) + (255,)).save(
        tmp_path / "a.png"
    )
    [done] = run([tmp_path / "a.png"], suffix=".jpg").done
    with PIL.Image.open(done) as result:
        assert result.mode == becomes
        np.testing.assert_allclose(np.asarray(result), 200, atol=2)


def test_folders_take_what_is_an_image_and_name_what_cannot_be_read(tmp_path, caplog):
    photo = PIL.Image.fromarray(make_pixels(8, 8, 3))
    good = ["a.jfif", "b.avif", "c.jp2", "d.tga", "e.jpe", "f.pnm", "g.PNG"]
    for name in good:
        kind = PIL.Image.registered_extensions()[pathlib.Path(name).suffix.lower()]
        photo.save(tmp_path / name, kind)
    photo.convert("1").save(tmp_path / "h.pbm")
    photo.save(tmp_path / "i", "JPEG")
    (tmp_path / "j.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    photo.save(tmp_path / "k.dng", "TIFF")
    (tmp_path / "l.jxl").write_bytes(b"\xff\x0a")
    for name in ("notes.txt", "README", "movie.mpg", "data.h5", ".hidden.png"):
        (tmp_path / name).write_text("P6 is no image")
    (tmp_path / ".hidden").mkdir()
    photo.save(tmp_path / ".hidden" / "m.png")
    summary = run([tmp_path], suffix=".webp")
    assert [p.stem for p in summary.done] == [f"{n}_x2" for n in "abcdefghi"]
    reasons = {failure.source.name: failure.reason for failure in summary.failed}
    assert set(reasons) == {"j.HEIC", "k.dng", "l.jxl"}
    assert "pip install 'jaxsr[heif]'" in reasons["j.HEIC"]
    assert "Convert it to TIFF or PNG" in reasons["k.dng"]


def test_results_of_earlier_runs_are_recognised_by_name_and_size(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    PIL.Image.new("L", (40, 30)).save(tmp_path / "a.png")
    sizes = {
        "a_x2.jpg": (80, 60),  # results
        "a_x2.5.png": (100, 75),
        "a_90x60.png": (80, 60),
        "a_x3.png": (80, 60),  # none: another size than such a name's
        "a_19x10.jpg": (19, 10),
        "b_x2.png": (80, 60),  # and no image that it was made of
    }
    for name, size in sizes.items():
        PIL.Image.new("L", size).save(tmp_path / name)
    (tmp_path / "out").mkdir()
    PIL.Image.new("L", (80, 60)).save(tmp_path / "out" / "c.png")
    line = "results of earlier runs: a_90x60.png, a_x2.5.png, a_x2.jpg"
    for output, count in ((None, 3), (tmp_path / "out", 4)):
        done = run([tmp_path], output, dry_run=True, suffix=".bmp").done
        assert [path.stem for path in done] == [
            f"{stem}_x2" for stem in ("a", "a_19x10", "a_x3", "b_x2")
        ] + ["c_x2"] * (output is None)
        assert f"{count} {line}" in caplog.text


def test_a_quality_level_is_for_jpeg_and_webp(tmp_path):
    source = tmp_path / "a.png"
    PIL.Image.fromarray(make_pixels(60, 60, 3)).save(source)
    for suffix in (".jpg", ".webp", ".avif"):
        lengths = []
        for level in (10, None, 100):
            options = {"level": level, "suffix": suffix, "existing": "overwrite"}
            [done] = run([source], **options).done
            lengths.append(done.stat().st_size)
        assert lengths == sorted(lengths) and lengths[0] < 0.7 * lengths[2]
    for level, suffix, said in ((101, ".jpg", "1 to 100"), (90, ".png", "not PNG")):
        with pytest.raises(ValueError, match=said):
            run([source], suffix=suffix, level=level)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_level_changes_the_size_and_no_pixel(tmp_path, photo, dtype):
    pixels = photo[:90, :80].astype(dtype) * (257 if dtype == np.uint16 else 1)
    source = tmp_path / "a.png"
    writing.write(reading.Photo(pixels, {}, PIL.Image.Exif()), source)
    lengths, results = [], []
    for level in (0, None, 9):
        [done] = run([source], png_level=level, existing="overwrite").done
        lengths.append(done.stat().st_size)
        results.append(reading.read_upright(done)[0].pixels)
    assert lengths == sorted(lengths, reverse=True) and lengths[2] < 0.9 * lengths[0]
    assert results[0].dtype == dtype
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    for level, suffix, said in ((10, ".png", "0 to 9"), (3, ".jpg", "not JPEG")):
        with pytest.raises(ValueError, match=said):
            run([source], suffix=suffix, png_level=level)


def test_more_megapixels_can_be_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1_000_000)
    PIL.Image.new("L", (1500, 1500)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((1500, 1500), np.uint16))
    reasons = {f.reason.split(". ")[-1] for f in run([tmp_path], scale=1).failed}
    assert reasons == {"Pass --max-megapixels 3 if you trust it"}
    done = run([tmp_path], scale=1, max_megapixels=3).done
    assert [path.name for path in done] == ["a_x1.png", "b_x1.png"]
    assert PIL.Image.MAX_IMAGE_PIXELS == 1_000_000


def test_the_model_and_the_files_are_reported(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    PIL.Image.new("L", (9, 8)).save(tmp_path / "a.png")
    run([tmp_path / "a.png"], model="fsrcnn_x2")
    assert "Running FSRCNN x2 on the CPU (fsrcnn_x2)." in caplog.text
    assert f"{tmp_path}/a.png, 9x8 -> {tmp_path}/a_x2.png, 18x16" in caplog.text


@contextlib.contextmanager
def little_space():
    """No file may grow above 20 kB: what a full disk does, with another number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:  # before pytest writes its own report
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(suffix, np.uint8) for suffix in (".png", ".tif", ".jpg", ".webp", ".bmp")]
    + [(".png", np.uint16), (".tif", np.uint16)],
)
def test_no_space_left_leaves_no_half_file_and_the_old_one(tmp_path, suffix, dtype):
    noise = np.random.default_rng(0).random((50, 50, 3)) * np.iinfo(dtype).max
    source = reading.Photo(noise.astype(dtype), {}, PIL.Image.Exif())
    writing.write(source, tmp_path / "a.png")
    PIL.Image.new("L", (2, 2)).save(tmp_path / "b.png")
    old = tmp_path / "out" / f"a_x8{suffix}"
    old.parent.mkdir()
    old.write_text("of an earlier run")
    options = {"suffix": suffix, "existing": "overwrite"}
    with little_space():
        summary = run([tmp_path], old.parent, 8, **options)
    [(source, reason)] = summary.failed
    assert source.name == "a.png" and "File too large" in reason
    assert [path.name for path in summary.done] == [f"b_x8{suffix}"]
    assert old.read_text() == "of an earlier run"
    assert len(list(old.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("net", "scale", "said"),
    [
        (None, 2.5, "Running Bicubic on the CPU."),
        (models.FSRCNN(scale=3), 3, "Running FSRCNN x3 on the CPU."),
        (models.FSRCNN(scale=3), 2.5, "FSRCNN x3, reduced to x2.5 by bicubic, on"),
        (models.FSRCNN(scale=3), 4, "FSRCNN x3, enlarged to x4 by bicubic, on"),
        (models.LapSRN(scales=(2, 4)), 3, "LapSRN x4, reduced to x3 by bicubic, on"),
    ],
)
def test_the_method_and_the_device_are_logged(tmp_path, caplog, net, scale, said):
    PIL.Image.new("L", (4, 3)).save(tmp_path / "a.png")
    with caplog.at_level(logging.INFO):
        run(
            [tmp_path / "a.png"], scale=scale, model=make_model(net) if net else BICUBIC
        )
    assert said in caplog.text


def test_a_file_of_twelve_bits_is_reported_and_another_range_can_be_given(
    tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    pixels = make_pixels(9, 8, 3, dtype=np.uint16) // 16
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    expected = upscale.upscale(pixels, 2, BICUBIC)
    for given, notes in ((None, 1), (4095, 0)):
        caplog.clear()
        options = {"data_range": given, "suffix": ".tif", "existing": "overwrite"}
        [done] = run([tmp_path / "a.tif"], **options).done
        np.testing.assert_array_equal(tifffile.imread(done), expected)
        assert len(warnings_of(caplog)) == notes
    text = "its 16-bit values are taken as 0..4095; --range sets another"
    [done] = run([tmp_path / "a.tif"], existing="overwrite").done
    assert text in caplog.text
    largest = pixels.max()
    summary = run([tmp_path / "a.tif"], tmp_path / "b.png", data_range=1000)
    assert f"must be from {largest}, their largest, to" in summary.failed[0].reason
    tifffile.imwrite(tmp_path / "a.tif", pixels * 16, photometric="rgb")
    caplog.clear()
    run([tmp_path / "a.tif"], existing="overwrite")
    assert not warnings_of(caplog)

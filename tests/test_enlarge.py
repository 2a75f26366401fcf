import errno
import logging
import struct
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
from test_tiling import Branches, Shuffle, init_variables

from jaxsr import enlarge, image, models, weights


def make_model(net, color="y", channels=1):
    """A model of random weights, whose output is far from the bicubic one."""
    card = {"color": color, "scales": [2, 3]}
    return weights.Model(net, init_variables(net, channels), card)


BICUBIC = weights.Model(models.make("bicubic"), {}, {"color": "y", "scales": []})
VDSR = make_model(models.make("vdsr", depth=3, width=4))


def make_pixels(*shape, dtype=np.uint8):
    """Smooth, so that a bicubic enlargement stays inside [0, 1]."""
    height, width, *channels = shape
    y, x = np.mgrid[:height, :width]
    phases = np.arange(*channels) if channels else np.zeros(())
    wave = np.sin((x + 2 * y).reshape(height, width, *[1] * len(channels)) / 9 + phases)
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return ((0.5 + 0.4 * wave) * top).astype(dtype)


# Arrays and Pillow images.


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays_keep_their_kind_and_a_bicubic_network_gives_bicubic(channels, dtype):
    pixels = make_pixels(12, 9, *channels, dtype=dtype)
    sr = enlarge.upscale(pixels, 2.5, BICUBIC)
    assert sr.shape == (30, 23, *channels) and sr.dtype == dtype
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    x = (pixels / top).reshape(12, 9, -1)
    expected = image.resize(x, size=(30, 23)).reshape(sr.shape)
    atol = 0.51 / top + 2e-6 if top > 1 else 1e-5
    np.testing.assert_allclose(sr / top, expected, atol=atol)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32, jnp.bfloat16])
def test_jax_arrays_come_back_as_jax_arrays(dtype):
    x = jnp.asarray(make_pixels(6, 8, 3)).astype(dtype)
    x = x / 255 if jnp.issubdtype(dtype, jnp.floating) else x
    sr = enlarge.upscale(x, 2, BICUBIC)
    assert isinstance(sr, jax.Array)
    assert sr.shape == (12, 16, 3) and sr.dtype == dtype


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("I;16", "I;16")]
    + [("F", "F"), ("1", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("I", "I;16")],
)
def test_pillow_images_come_back_as_pillow_images(mode, becomes):
    picture = PIL.Image.new(mode, (7, 5), 0 if mode in ("F", "I", "I;16") else None)
    sr = enlarge.upscale(picture, 1.5, BICUBIC)
    assert (sr.mode, sr.size) == (becomes, (11, 8))


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (1, 40), (2, 2)])
@pytest.mark.parametrize("net", [models.make("vdsr", depth=3, width=4), Shuffle(2)])
def test_the_smallest_images_work(net, size):
    sr = enlarge.upscale(make_pixels(*size, 3), 2.5, make_model(net))
    assert sr.shape == (*(int(np.ceil(2.5 * side)) for side in size), 3)


@pytest.mark.parametrize("scale", [1, 2, 2.5])
def test_luma_goes_through_the_network_and_chroma_is_bicubic_in_any_tiles(scale):
    pixels = make_pixels(60, 47, 3)
    sr = enlarge.upscale(pixels / 255.0, scale, VDSR, tile=20)
    size = image.resized_size((60, 47), scale)
    enlarged = image.rgb_to_ycbcr(image.resize(pixels / 255.0, size=size))
    y = VDSR.net.apply(VDSR.variables, enlarged[None, ..., :1].astype(np.float32))[0]
    assert np.abs(y - enlarged[..., :1]).max() > 0.1
    expected = image.ycbcr_to_rgb(np.concatenate([y, enlarged[..., 1:]], axis=-1))
    np.testing.assert_allclose(sr, expected.clip(0, 1), atol=1e-5)


def test_all_three_channels_of_ycbcr_go_through_the_network():
    model = make_model(VDSR.net, "ycbcr", 3)
    pixels = make_pixels(20, 17, 3) / 255.0
    x = image.rgb_to_ycbcr(image.resize(pixels, 2))
    sr = model.net.apply(model.variables, x[None].astype(np.float32))[0]
    expected = image.ycbcr_to_rgb(np.asarray(sr)).clip(0, 1)
    np.testing.assert_allclose(enlarge.upscale(pixels, 2, model), expected, atol=1e-5)
    gray = enlarge.upscale(pixels[..., 0], 2, BICUBIC._replace(card={"color": "ycbcr"}))
    np.testing.assert_allclose(
        gray, image.resize(pixels[..., :1], 2)[..., 0], atol=1e-5
    )


@pytest.mark.parametrize(
    ("net", "scale", "branch"),
    [
        (Shuffle(2), 2, 2),
        (Shuffle(3), 2.5, 3),  # reduced
        (Shuffle(2), 4.7, 2),  # enlarged further
        (Shuffle(3), 1, 3),
        (Branches(), 2, 2),
        (Branches(), 2.1, 3),
        (Branches(), 5, 3),
    ],
)
def test_low_networks_enlarge_by_what_they_have_and_bicubic_does_the_rest(
    net, scale, branch
):
    model = make_model(net)
    x = make_pixels(41, 38, 1, dtype=np.float32)
    static = {"scale": branch} if isinstance(net, Branches) else {}
    sr = net.apply(model.variables, x[None], **static)[0]
    assert sr.shape == (41 * branch, 38 * branch, 1)
    expected = image.resize(np.asarray(sr), size=image.resized_size((41, 38), scale))
    for tile in (16, None):
        result = enlarge.upscale(x, scale, model, tile=tile)
        np.testing.assert_allclose(result, expected.clip(0, 1), atol=1e-5)


def test_a_network_of_rgb_takes_gray_as_three_channels_and_gives_their_mean():
    model = make_model(models.make("vdsr", depth=2, width=4), "rgb", channels=3)
    gray = make_pixels(9, 8, 1, dtype=np.float32)
    enlarged = image.enlarge(gray, 2).repeat(3, axis=-1)
    expected = np.asarray(model.net.apply(model.variables, enlarged[None])[0])
    np.testing.assert_allclose(
        enlarge.upscale(gray, 2, model),
        expected.mean(axis=-1, keepdims=True).clip(0, 1),
        atol=1e-5,
    )
    colour = enlarge.upscale(gray.repeat(3, axis=-1), 2, model)
    np.testing.assert_allclose(colour, expected.clip(0, 1), atol=1e-5)


def test_what_hides_under_transparency_does_not_bleed_into_edges():
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[...] = (0, 255, 0, 0)  # invisible green
    pixels[5:15, 5:15] = (200, 30, 30, 255)
    sr = enlarge.upscale(pixels, 3, BICUBIC)
    visible = sr[..., 3] > 0
    assert visible.any() and not visible.all()
    difference = sr[visible][:, :3].astype(int) - (200, 30, 30)
    assert np.abs(difference).max() <= 1
    opaque = enlarge.upscale(pixels[..., :3], 3, BICUBIC)
    assert np.abs(opaque[visible].astype(int) - (200, 30, 30)).max() > 50


def test_sixteen_bits_are_not_reduced_to_eight():
    ramp = np.linspace(30000, 30200, 64).astype(np.uint16)[None].repeat(4, axis=0)
    assert len(np.unique(enlarge.upscale(ramp, 2, BICUBIC))) > 100


def test_a_real_image_is_exactly_bicubic_when_the_network_adds_nothing(data_dir):
    pixels = np.asarray(PIL.Image.open(data_dir / "Set5" / "butterfly_GT.png"))
    net = models.make("vdsr", depth=3, width=4)
    variables = jax.tree.map(np.zeros_like, init_variables(net))
    sr = enlarge.upscale(pixels, 2, weights.Model(net, variables, VDSR.card), tile=100)
    expected = image.to_uint(image.enlarge(image.from_uint(pixels, np.float64), 2))
    assert np.abs(sr.astype(int) - expected).max() <= 1
    assert (sr == expected).mean() > 0.999


def test_wrong_input_is_answered_clearly():
    pixels = make_pixels(4, 4, 3)
    for scale in (0.5, 0, -2, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"at least 1; got {scale}"):
            enlarge.upscale(pixels, scale, BICUBIC)
    with pytest.raises(ValueError, match=r"1 to 4 channels; got shape \(4, 4, 5\)"):
        enlarge.upscale(make_pixels(4, 4, 5), 2, BICUBIC)
    with pytest.raises(ValueError, match=r"not empty.*\(0, 4, 3\)"):
        enlarge.upscale(pixels[:0], 2, BICUBIC)
    with pytest.raises(TypeError, match="int64"):
        enlarge.upscale(pixels.astype(np.int64), 2, BICUBIC)
    with pytest.raises(ValueError, match=r"\[0, 1\]; got"):
        enlarge.upscale(pixels.astype(np.float32), 2, BICUBIC)
    with pytest.raises(ValueError, match="got nan"):
        enlarge.upscale(np.full((4, 4), np.nan), 2, BICUBIC)
    nan = VDSR._replace(variables=jax.tree.map(lambda x: x * np.nan, VDSR.variables))
    with pytest.raises(ValueError, match="NaN"):
        enlarge.upscale(pixels, 2, nan)


# Files.


def png(width, height, bits, rows):
    """The bytes of an RGB PNG, also of a size or depth that Pillow does not write."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def warnings_of(caplog):
    return [r for r in caplog.records if r.levelno >= logging.WARNING]


def run(inputs, output=None, scale=2, model=BICUBIC):
    return enlarge.upscale_files(inputs, output, scale, model)


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
    source = PIL.Image.new(mode, (5, 4), 1 if mode == "I;16" else None)
    source.save(tmp_path / name)
    summary = run([tmp_path / name], scale=2.5)
    assert summary == ([tmp_path / "a_x2.5.png"], [])
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


def test_sixteen_bit_gray_stays_and_sixteen_bit_colour_is_said_to_be_reduced(
    tmp_path, caplog
):
    ramp = np.linspace(30000, 30200, 64).astype(np.uint16)[None].repeat(4, axis=0)
    PIL.Image.fromarray(ramp).save(tmp_path / "gray.png")
    run([tmp_path / "gray.png"])
    result = np.asarray(PIL.Image.open(tmp_path / "gray_x2.png"))
    assert result.dtype == np.uint16 and len(np.unique(result)) > 100
    assert not warnings_of(caplog)
    rows = b"".join(b"\0" + row.repeat(3).astype(">u2").tobytes() for row in ramp)
    (tmp_path / "colour.png").write_bytes(png(64, 4, 16, rows))
    assert len(run([tmp_path / "colour.png"]).done) == 1
    assert "colour.png: 16 bits per channel are read as 8" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
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
    if suffix != ".webp":
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
    assert "decompression bomb" in reasons["bomb.png"]
    assert "truncated" in reasons["cut photo.jpg"].lower()
    assert "no such file" in reasons["missing.png"]
    for name in bad:
        assert name in caplog.text
    # A second run does not enlarge what the first one wrote.
    assert [path.name for path in run([tmp_path]).done] == ["0_x2.png", "z_x2.png"]


def test_folders_keep_their_structure_and_the_output_may_lie_inside(tmp_path):
    (tmp_path / "in" / "sub dir").mkdir(parents=True)
    for name in ("a.png", "sub dir/ä\n.JPG"):
        with open(tmp_path / "in" / name, "wb") as file:
            PIL.Image.new("RGB", (4, 3)).save(file, "JPEG")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    for _ in range(2):
        summary = run([tmp_path / "in"], tmp_path / "in" / "out")
        below = [str(p.relative_to(tmp_path / "in" / "out")) for p in summary.done]
        assert below == ["a_x2.png", "sub dir/ä\n_x2.png"]
        assert not summary.failed


def test_an_empty_folder_fails(tmp_path):
    assert run([tmp_path]).failed == [(tmp_path, "the folder holds no images.")]


def test_clashing_outputs_are_refused_before_anything_is_written(tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        PIL.Image.new("RGB", (4, 3)).save(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="a.bmp and .*a.png would both be written"):
        run([tmp_path])
    with pytest.raises(ValueError, match="over the input"):
        run([tmp_path / "b.png"], tmp_path / "b.png")
    with pytest.raises(ValueError, match="one file, but there are 2 inputs"):
        run([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out.png")
    with pytest.raises(ValueError, match=r"must end in one of.*out\.gif"):
        run([tmp_path / "b.png"], tmp_path / "out.gif")
    with pytest.raises(ValueError, match="at least 1"):
        run([tmp_path / "b.png"], scale=0.9)
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_format_cannot_hold_is_said_before_the_work(tmp_path):
    PIL.Image.new("RGBA", (4, 3)).save(tmp_path / "a.png")
    PIL.Image.new("RGB", (9000, 1)).save(tmp_path / "wide.png")
    [failure] = run([tmp_path / "a.png"], tmp_path / "out.jpg").failed
    assert "JPEG cannot hold RGBA" in failure.reason
    [failure] = run([tmp_path / "wide.png"], tmp_path / "out.webp").failed
    assert "18000x2. Use .png" in failure.reason


def test_a_full_disk_leaves_no_half_file_and_the_old_one(tmp_path, monkeypatch):
    PIL.Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    (tmp_path / "a_x2.png").write_text("of an earlier run")

    def save(self, file, *args, **kwargs):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", save)
    [failure] = run([tmp_path / "a.png"]).failed
    assert "No space left" in failure.reason
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a_x2.png"]
    assert (tmp_path / "a_x2.png").read_text() == "of an earlier run"


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
def test_the_way_and_the_device_are_said(tmp_path, caplog, net, scale, said):
    PIL.Image.new("L", (4, 3)).save(tmp_path / "a.png")
    with caplog.at_level(logging.INFO):
        run(
            [tmp_path / "a.png"], scale=scale, model=make_model(net) if net else BICUBIC
        )
    assert said in caplog.text


def test_without_a_model_the_best_shipped_one_is_taken(monkeypatch):
    monkeypatch.setattr(weights, "choose", lambda *asked: asked)
    monkeypatch.setattr(weights, "load", {(2.5, "fast"): BICUBIC}.get)
    assert enlarge.upscale(make_pixels(2, 2), 2.5, quality="fast").shape == (5, 5)


def test_a_model_may_be_named(monkeypatch):
    monkeypatch.setattr(weights, "load", {"runs/vdsr": BICUBIC}.get)
    assert enlarge.upscale(make_pixels(3, 3), 2, "runs/vdsr").shape == (6, 6)

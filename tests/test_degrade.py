import math

import numpy as np
import PIL.Image
import pytest
import tifffile

from jaxsr import cli, image
from jaxsr.files import reading
from jaxsr.inference import degrade


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def imresize(pixels, scale, top):
    """MATLAB's imresize by its definition, pixel by pixel, rows first."""
    x = pixels.astype(np.float64)
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        n, lines = len(x), []
        for i in range(math.ceil(n / scale)):
            centre = (i + 0.5) * scale - 0.5
            near = range(
                math.floor(centre - 2 * scale), math.ceil(centre + 2 * scale) + 1
            )
            taps = [cubic((centre - j) / scale) for j in near]
            mirrored = [(j % (2 * n)) for j in near]
            index = [j if j < n else 2 * n - 1 - j for j in mirrored]
            line = sum(t * x[j] for t, j in zip(taps, index)) / sum(taps)
            lines.append(np.clip(np.floor(line + 0.5), 0, top))
        x = np.moveaxis(np.stack(lines), 0, axis)
    return x


@pytest.mark.parametrize("scale", [2, 2.5, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_axis_is_rounded_as_in_matlab(photo, scale, dtype):
    top = np.iinfo(dtype).max
    pixels = photo[100:137, 80:130].astype(dtype) * dtype(top // 255)
    found = degrade.reduced(pixels, scale)
    expected = imresize(pixels, scale, top)
    assert found.dtype == dtype
    # At other scales the weights are rounded, and with them values near a half.
    few = 0 if scale in (2, 4) else 1e-3
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.mean(found != expected) <= few


def test_rounding_once_differs_in_a_tenth_of_the_pixels(photo):
    pixels = photo[:240, :240]
    once = image.to_uint(image.degrade(image.from_uint(pixels, np.float64), 4))
    differing = np.mean(degrade.reduced(pixels, 4) != once)
    assert 0.05 < differing < 0.2


def test_files_keep_their_names_their_bits_and_their_folders(tmp_path, photo, capsys):
    hr, lr = tmp_path / "hr", tmp_path / "lr"
    (hr / "in").mkdir(parents=True)
    PIL.Image.fromarray(photo[:50, :41]).save(hr / "a.png")
    wide = photo[:50, :41].astype(np.uint16) * 257
    tifffile.imwrite(hr / "in" / "b.tif", wide, photometric="rgb")
    (hr / "bad.png").write_bytes(b"no image")
    command = ["degrade", str(hr), "-o", str(lr), "--scale", "4"]
    assert cli.main(command) == 1
    assert "bad.png: it cannot be read" in capsys.readouterr().err
    a, b = (reading.read_upright(lr / name)[0].pixels for name in ("a.png", "in/b.png"))
    assert a.shape == (12, 10, 3)
    np.testing.assert_array_equal(a, degrade.reduced(photo[:48, :40], 4))
    np.testing.assert_array_equal(b, degrade.reduced(wide[:48, :40], 4))
    assert cli.main(command) == 1
    assert "a.png already exists" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite", "--no-crop", "--kernel", "bilinear"]) == 1
    with PIL.Image.open(lr / "a.png") as picture:
        assert picture.size == (11, 13)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_gray_stays_gray(tmp_path, photo, suffix):
    gray = photo[:30, :24, 0]
    PIL.Image.fromarray(gray).save(tmp_path / "a.png")
    PIL.Image.fromarray(photo[:30, :24, :2]).convert("LA").save(tmp_path / "b.png")
    out = tmp_path / "out"
    command = ["degrade", str(tmp_path), "-o", str(out), "--scale", "3"]
    assert cli.main([*command, "--format", suffix]) == 0
    for name in ("a", "b"):
        with PIL.Image.open(out / f"{name}.{suffix}") as picture:
            assert picture.mode == "L" and picture.size == (8, 10)
            found = np.asarray(picture, np.int32)
        expected = degrade.reduced(gray[..., None], 3)[..., 0]
        np.testing.assert_allclose(found, expected, atol=6 if suffix == "jpg" else 0)


def test_a_blur_takes_the_place_of_the_kernel(tmp_path, photo):
    PIL.Image.fromarray(photo[:40, :40]).save(tmp_path / "a.png")
    out = tmp_path / "b.png"
    command = ["degrade", str(tmp_path / "a.png"), "-o", str(out), "--scale", "2"]
    assert cli.main([*command, "--blur", "1.5"]) == 0
    x = image.degrade(image.from_uint(photo[:40, :40], np.float64), 2, blur=1.5)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(out)), image.to_uint(x))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--scale", "0.5"], "scale must be at least 1; got 0.5"),
        (["--scale", "nan"], "scale must be at least 1; got nan"),
        (["--scale", "2.5", "--blur", "1"], "a blur needs an integer scale"),
        (["--scale", "2", "--kernel", "cubic"], "method must be one of"),
        (["--scale", "200"], "sides must be at least scale=200"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, photo, more, message, capsys):
    PIL.Image.fromarray(photo[:40, :40]).save(tmp_path / "a.png")
    command = ["degrade", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), *more]
    assert cli.main(command) == 1
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))

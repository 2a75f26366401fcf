import numpy as np
import PIL.Image
import pytest

from jaxsr.evaluation import comparison


def make_image(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([(3 * x + y) % 256] * 3, axis=-1).astype(np.uint8)


def test_windows_are_where_the_difference_is_in_its_order():
    a = np.zeros((20, 33, 3), np.uint8)
    b = a.copy()
    b[12, 31] = 9  # in the fourth square of the second row
    b[3, 10] = 5
    b[9, 0] = 7  # at the end of the first square
    assert comparison.windows(a, b, 8, 2) == [(8, 24), (8, 0)]
    assert comparison.windows(a[:5, :5], a[:5, :5], 8, 3) == [(0, 0)]


def test_the_measure_is_that_of_y_without_the_border():
    hr = np.full((40, 30, 3), 100, np.uint8)
    sr = hr.copy()
    sr[:2], sr[5:35, 5:25] = 0, 164
    psnr, ssim = comparison.measure(sr, hr, border=2)
    # Y = 16 + 219 / 255 * gray is 102 and 157; on 600 of the 36 * 26 pixels inside
    expected = -10 * np.log10((55 / 255) ** 2 * 600 / (36 * 26))
    assert psnr == pytest.approx(expected, abs=1e-4) and 0 < ssim < 1
    assert comparison.measure(hr, hr, border=0) == (np.inf, pytest.approx(1))


@pytest.mark.parametrize("size", [(300, 400), (11, 11), (12, 900), (1, 1)])
def test_a_grid_shows_images_of_any_size(size):
    images = {"bicubic": make_image(*size), "net": make_image(*size)[::-1]}
    picture = comparison.grid(images, scale=2)
    assert picture.dtype == np.uint8 and picture.shape[-1] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


def test_the_range_of_a_file_is_what_is_shown_as_white(tmp_path):
    wide = np.array([[0, 1000], [3000, 4095]], np.uint16)
    PIL.Image.fromarray(wide).save(tmp_path / "a.png")
    for given, top in ((None, 4095), (65535, 65535)):
        shown = comparison._rgb(tmp_path / "a.png", given)
        np.testing.assert_array_equal(shown[..., 1], np.rint(wide / top * 255))


def test_a_truth_too_small_to_be_measured_is_answered_clearly():
    a = make_image(12, 12)
    with pytest.raises(ValueError, match="11 pixels"):
        comparison.grid({"bicubic": a, "net": a}, a, scale=2)

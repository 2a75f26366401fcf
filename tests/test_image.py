import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import GOLDEN, open_set

from jaxsr import image, matrices
from jaxsr.files import depth


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "imresize_golden.npz")


SCALES = ["0.500000", "0.333333", "0.250000", "2.000000", "3.000000", "4.000000"]
SCALES += ["2.500000", "0.400000", "1.700000"]


@pytest.mark.parametrize("scale", SCALES)
def test_resize_agrees_with_matlab_in_numpy_and_in_jax(golden, scale):
    factor = 1 / 3 if scale == "0.333333" else float(scale)
    x, expected = golden["input"][..., None], golden[f"scale_{scale}"][..., None]
    np.testing.assert_allclose(image.resize(x, factor), expected, atol=1e-12)
    single = image.resize(x.astype(np.float32), factor)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-6)
    in_jax = jax.jit(lambda x: image.resize(x, factor))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(in_jax, expected, atol=1e-6)


def assert_bicubic_psnr(pixels, expected):
    y = image.luma(pixels, np.float64)
    for scale in (2, 3, 4):
        hr = image.modcrop(y, scale)
        sr = image.quantise(image.enlarge(image.degrade(hr, scale), scale))
        error = image.shave(sr - hr, scale)
        psnr = -10 * np.log10(np.mean(error**2))
        assert abs(psnr - expected[f"x{scale}"]) < 0.005, (scale, psnr)


def test_bicubic_psnr_of_a_photograph_is_the_reference_value(photo):
    expected = json.loads((GOLDEN / "bicubic_psnr.json").read_text())
    assert_bicubic_psnr(photo, expected["photo"])


@pytest.mark.parametrize("name", ["Set5", "Set14", "B100"])
def test_bicubic_psnr_of_every_image_is_the_reference_value(name):
    source = open_set(name)
    golden = json.loads((GOLDEN / "bicubic_psnr.json").read_text())[name]
    expected = {pathlib.PurePath(file).stem: golden[file] for file in golden}
    assert {*source.names, "mean"} == set(expected)
    for i, stem in enumerate(source.names):
        assert_bicubic_psnr(source.read(i), expected[stem])


@pytest.mark.parametrize("method", sorted(matrices.METHODS))
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (40, 5)])
def test_resize_keeps_a_constant_image(method, size):
    x = np.full((9, 11, 2), 0.25)
    resized = image.resize(x, size=size, method=method)
    assert resized.shape == (*size, 2)
    np.testing.assert_allclose(resized, 0.25, atol=1e-12)


def test_resize_of_one_pixel_works():
    np.testing.assert_allclose(image.resize(np.full((1, 1, 1), 0.5), 4.0), 0.5)


def test_nearest_repeats_pixels():
    x = np.arange(6.0).reshape(2, 3, 1)
    expected = x.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(image.resize(x, 2.0, method="nearest"), expected)


def test_resize_treats_a_batch_as_its_images():
    x = np.random.default_rng(0).random((2, 3, 8, 6, 3))
    for scale in (0.5, 1.5):
        batch = image.resize(x, scale)
        np.testing.assert_array_equal(batch[1, 2], image.resize(x[1, 2], scale))


def test_resize_says_what_to_do_about_wrong_input():
    with pytest.raises(TypeError, match="from_uint"):
        image.resize(np.zeros((4, 4, 1), np.uint8), 2.0)
    with pytest.raises(ValueError, match="bicubic.*'cubic'"):
        image.resize(np.zeros((4, 4, 1)), 2.0, method="cubic")
    with pytest.raises(ValueError, match="neither"):
        image.resize(np.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match=r"\[\.\.\., H, W, C\]"):
        image.resize(np.zeros((4, 4)), 2.0)


def test_degrade_refuses_sides_that_are_not_multiples():
    with pytest.raises(ValueError, match="scale=4; got 321x481.*modcrop"):
        image.degrade(np.zeros((321, 481, 1)), 4)


def test_degrade_with_a_blur_takes_every_scale_th_pixel():
    hr = np.random.default_rng(0).random((12, 15, 1))
    lr = image.degrade(hr, 3, blur=1.2)
    np.testing.assert_allclose(lr, image.gaussian_blur(hr, 1.2)[1::3, 1::3])
    assert lr.shape == (4, 5, 1)


def test_gaussian_blur_of_an_impulse_is_the_kernel_and_keeps_the_sum():
    x = np.zeros((21, 21, 1))
    x[10, 10] = 1
    blurred = image.gaussian_blur(x, 1.0)
    ratio = blurred[10, 11, 0] / blurred[10, 10, 0]
    np.testing.assert_allclose(ratio, np.exp(-0.5))
    np.testing.assert_allclose(blurred.sum(), 1)


def test_ycbcr_of_primaries_is_matlabs():
    rgb = np.array([[[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1.0]]])
    expected = [[16, 128, 128], [235, 128, 128], [81.481, 90.203, 240]]
    expected += [[40.966, 240, 109.786]]
    np.testing.assert_allclose(image.rgb_to_ycbcr(rgb)[0] * 255, expected, atol=1e-9)


def test_luma_is_rounded_and_takes_gray_as_it_is():
    pixels = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(image.luma(pixels)[0, :, 0] * 255, [81, 41], rtol=1e-6)
    gray = np.array([[[0], [255]]], np.uint8)
    np.testing.assert_array_equal(image.luma(gray)[0, :, 0], [0, 1])


def test_halves_of_ycbcr_are_rounded_up_whatever_the_order_of_the_sums():
    pixels = np.array([[0, 204, 68], [58, 18, 128], [132, 102, 247]], np.uint8)
    np.testing.assert_array_equal(image.rounded_ycbcr(pixels, 1)[:, 0], [126, 53, 126])
    pixels = np.random.default_rng(0).integers(256, size=(9, 99, 3), dtype=np.uint8)
    exact = image.rgb_to_ycbcr(image.from_uint(pixels, np.float64)) * 255
    error = image.rounded_ycbcr(pixels) - exact
    assert error.min() > -0.5 - 1e-9 and error.max() < 0.5 + 1e-9


def test_a_band_is_its_matrix():
    for matrix in (matrices.resize(17, 7, 7 / 17), matrices.blur(9, 1.5)):
        columns, weights = matrices.band(matrix)
        dense = np.zeros(matrix.shape)
        np.add.at(dense, (np.arange(len(columns))[:, None], columns), weights)
        np.testing.assert_allclose(dense, matrix.toarray(), atol=1e-7)
        assert weights.shape[1] == np.count_nonzero(matrix.toarray(), axis=1).max()


def test_ycbcr_round_trip_and_y_alone():
    rgb = np.random.default_rng(0).random((5, 4, 3)).astype(np.float32)
    ycbcr = image.rgb_to_ycbcr(rgb)
    np.testing.assert_allclose(image.ycbcr_to_rgb(ycbcr), rgb, atol=1e-6)
    np.testing.assert_allclose(image.rgb_to_y(rgb), ycbcr[..., :1], atol=1e-6)
    in_jax = image.rgb_to_ycbcr(jnp.asarray(rgb))
    np.testing.assert_allclose(in_jax, ycbcr, atol=1e-6)
    assert image.rgb_to_y(jnp.asarray(rgb)).dtype == jnp.float32
    with pytest.raises(ValueError, match="3 channels"):
        image.rgb_to_y(rgb[..., :1])


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_every_code_survives_the_round_trip(bits, dtype):
    codes = np.arange(2**bits).astype(dtype)
    np.testing.assert_array_equal(image.to_uint(image.from_uint(codes), bits), codes)


def test_to_uint_clips_rounds_halves_up_and_refuses_nan():
    x = np.array([-0.1, 0.5, 1.2])
    np.testing.assert_array_equal(image.to_uint(x), [0, 128, 255])
    with pytest.raises(ValueError, match="finite"):
        image.to_uint(np.array([np.nan]))
    with pytest.raises(TypeError, match="uint8 or uint16"):
        image.from_uint(np.zeros(3))


@pytest.mark.parametrize(
    ("largest", "given", "expected"),
    [
        (0, None, 1023),
        (1023, None, 1023),
        (1024, None, 4095),
        (4095, None, 4095),
        (4096, None, 16383),
        (16384, None, 65535),
        (65535, None, 65535),
        (3000, 3000, 3000),
        (3000, 65535, 65535),
    ],
)
def test_the_range_of_16_bits_is_the_least_that_holds_them(largest, given, expected):
    pixels = np.array([[0, largest]], np.uint16)
    assert depth.data_range(pixels, given) == expected
    x = image.from_uint(pixels, top=expected)
    np.testing.assert_allclose(x, [[0, largest / expected]], rtol=1e-6)
    np.testing.assert_array_equal(image.to_uint(x, 16, expected), pixels)


def test_a_range_that_cannot_be_is_answered_clearly():
    assert depth.data_range(np.array([7], np.uint8), 4095) == 255
    for wrong in (4095, 65536, -1, 0):
        with pytest.raises(
            ValueError, match=f"5000, their largest, to 65535; got {wrong}"
        ):
            depth.data_range(np.array([5000], np.uint16), wrong)


def test_modcrop_and_shave_cut_where_they_should():
    x = np.arange(7 * 8).reshape(7, 8, 1)
    np.testing.assert_array_equal(image.modcrop(x, 3), x[:6, :6])
    np.testing.assert_array_equal(image.shave(x, 2), x[2:5, 2:6])
    assert image.shave(x, 0).shape == x.shape
    with pytest.raises(ValueError, match="at least scale=8; got 7x8"):
        image.modcrop(x, 8)
    with pytest.raises(ValueError, match="half"):
        image.shave(x, 4)


def test_symmetries_are_eight_different_ones_and_can_be_undone():
    x = np.random.default_rng(0).random((2, 3, 5, 1))
    seen = {image.symmetry(x, i).tobytes() + bytes([i % 2]) for i in range(8)}
    assert len(seen) == 8
    for i in range(8):
        turned = image.symmetry(x, i)
        np.testing.assert_array_equal(image.inverse_symmetry(turned, i), x)
    with pytest.raises(ValueError, match="0 to 7"):
        image.symmetry(x, 8)


OF_FLOATS = {
    "degrade": lambda x: image.degrade(x, 2),
    "a blur": lambda x: image.degrade(x, 2, blur=1.0),
    "gaussian_blur": lambda x: image.gaussian_blur(x, 1.0),
    "rgb_to_y": image.rgb_to_y,
    "rgb_to_ycbcr": image.rgb_to_ycbcr,
    "ycbcr_to_rgb": image.ycbcr_to_rgb,
    "gray_to_y": image.gray_to_y,
    "y_to_gray": image.y_to_gray,
}


@pytest.mark.parametrize("name", OF_FLOATS)
def test_integers_are_refused_where_floats_are_needed(name):
    of, pixels = OF_FLOATS[name], np.full((8, 8, 3), 200, np.uint8)
    with pytest.raises(TypeError, match="Use image.from_uint first"):
        of(pixels)
    assert of(image.from_uint(pixels)).mean() > 0.1


def test_degrade_refuses_to_enlarge_and_takes_whole_scales_as_floats():
    hr = np.random.default_rng(0).random((8, 8, 1))
    with pytest.raises(ValueError, match="scale must be at least 1; got 0.5"):
        image.degrade(hr, 0.5)
    found = image.degrade(hr, 2.0, blur=1.0)
    np.testing.assert_array_equal(found, image.degrade(hr, 2, blur=1.0))


def test_half_precision_has_room_for_16_bits():
    half = np.array([0, 0.5, 1], np.float16)
    np.testing.assert_array_equal(image.to_uint(half, 16), [0, 32768, 65535])

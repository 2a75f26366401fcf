import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from test_tiling import Branches, Counted, Shuffle, init_variables

import jaxsr
from jaxsr import cards, image, models, weights
from jaxsr.inference import upscale


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


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays_keep_their_kind_and_a_bicubic_network_gives_bicubic(channels, dtype):
    pixels = make_pixels(12, 9, *channels, dtype=dtype)
    sr = upscale.upscale(pixels, 2.5, BICUBIC)
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
    sr = upscale.upscale(x, 2, BICUBIC)
    assert isinstance(sr, jax.Array)
    assert sr.shape == (12, 16, 3) and sr.dtype == dtype


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("I;16", "I;16")]
    + [("F", "F"), ("1", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("I", "I;16")],
)
def test_pillow_images_come_back_as_pillow_images(mode, becomes):
    picture = PIL.Image.new(mode, (7, 5), 0 if mode in ("F", "I", "I;16") else None)
    sr = upscale.upscale(picture, 1.5, BICUBIC)
    assert (sr.mode, sr.size) == (becomes, (11, 8))


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (1, 40), (2, 2)])
@pytest.mark.parametrize("net", [models.make("vdsr", depth=3, width=4), Shuffle(2)])
def test_the_smallest_images_work(net, size):
    sr = upscale.upscale(make_pixels(*size, 3), 2.5, make_model(net))
    assert sr.shape == (*(int(np.ceil(2.5 * side)) for side in size), 3)


@pytest.mark.parametrize("scale", [1, 2, 2.5])
def test_luma_goes_through_the_network_and_chroma_is_bicubic_in_any_tiles(scale):
    pixels = make_pixels(60, 47, 3)
    sr = upscale.upscale(pixels / 255.0, scale, VDSR, tile=20)
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
    np.testing.assert_allclose(upscale.upscale(pixels, 2, model), expected, atol=1e-5)
    gray = upscale.upscale(pixels[..., 0], 2, BICUBIC._replace(card={"color": "ycbcr"}))
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
    sr = net.apply(model.variables, image.gray_to_y(x)[None], **static)[0]
    assert sr.shape == (41 * branch, 38 * branch, 1)
    size = image.resized_size((41, 38), scale)
    expected = image.y_to_gray(image.resize(np.asarray(sr), size=size))
    for tile in (16, None):
        result = upscale.upscale(x, scale, model, tile=tile)
        np.testing.assert_allclose(result, expected.clip(0, 1), atol=1e-5)


def test_a_network_of_rgb_takes_gray_as_three_channels_and_gives_their_mean():
    model = make_model(models.make("vdsr", depth=2, width=4), "rgb", channels=3)
    gray = make_pixels(9, 8, 1, dtype=np.float32)
    enlarged = image.enlarge(gray, 2).repeat(3, axis=-1)
    expected = np.asarray(model.net.apply(model.variables, enlarged[None])[0])
    np.testing.assert_allclose(
        upscale.upscale(gray, 2, model),
        expected.mean(axis=-1, keepdims=True).clip(0, 1),
        atol=1e-5,
    )
    colour = upscale.upscale(gray.repeat(3, axis=-1), 2, model)
    np.testing.assert_allclose(colour, expected.clip(0, 1), atol=1e-5)


def test_what_hides_under_transparency_does_not_bleed_into_edges():
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[...] = (0, 255, 0, 0)  # invisible green
    pixels[5:15, 5:15] = (200, 30, 30, 255)
    sr = upscale.upscale(pixels, 3, BICUBIC)
    visible = sr[..., 3] > 0
    assert visible.any() and not visible.all()
    difference = sr[visible][:, :3].astype(int) - (200, 30, 30)
    assert np.abs(difference).max() <= 1
    opaque = upscale.upscale(pixels[..., :3], 3, BICUBIC)
    assert np.abs(opaque[visible].astype(int) - (200, 30, 30)).max() > 50


def test_sixteen_bits_are_not_reduced_to_eight():
    ramp = np.linspace(30000, 30200, 64).astype(np.uint16)[None].repeat(4, axis=0)
    assert len(np.unique(upscale.upscale(ramp, 2, BICUBIC))) > 100


def test_a_real_image_is_exactly_bicubic_when_the_network_adds_nothing(photo):
    net = models.make("vdsr", depth=3, width=4)
    variables = jax.tree.map(np.zeros_like, init_variables(net))
    sr = upscale.upscale(photo, 2, weights.Model(net, variables, VDSR.card), tile=100)
    expected = image.to_uint(image.enlarge(image.from_uint(photo, np.float64), 2))
    assert np.abs(sr.astype(int) - expected).max() <= 1
    assert (sr == expected).mean() > 0.999


def test_wrong_input_is_answered_clearly():
    pixels = make_pixels(4, 4, 3)
    for scale in (0.5, 0, -2, float("nan")):
        with pytest.raises(ValueError, match=f"at least 1; got {scale}"):
            upscale.upscale(pixels, scale, BICUBIC)
    for scale in (1e308, float("inf")):
        with pytest.raises(ValueError, match="at most 2147483647; got"):
            upscale.upscale(pixels, scale, BICUBIC)
    with pytest.raises(ValueError, match=r"1 to 4 channels; got shape \(4, 4, 5\)"):
        upscale.upscale(make_pixels(4, 4, 5), 2, BICUBIC)
    with pytest.raises(ValueError, match=r"not empty.*\(0, 4, 3\)"):
        upscale.upscale(pixels[:0], 2, BICUBIC)
    with pytest.raises(TypeError, match="int64"):
        upscale.upscale(pixels.astype(np.int64), 2, BICUBIC)
    with pytest.raises(ValueError, match=r"\[0, 1\]; got"):
        upscale.upscale(pixels.astype(np.float32), 2, BICUBIC)
    with pytest.raises(ValueError, match="got nan"):
        upscale.upscale(np.full((4, 4), np.nan), 2, BICUBIC)
    nan = VDSR._replace(variables=jax.tree.map(lambda x: x * np.nan, VDSR.variables))
    with pytest.raises(ValueError, match="NaN"):
        upscale.upscale(pixels, 2, nan)


def test_without_a_model_the_best_shipped_one_is_taken(monkeypatch):
    monkeypatch.setattr(cards, "choose", lambda *asked: asked)
    monkeypatch.setattr(weights, "load", {(2.5, "fast"): BICUBIC}.get)
    assert upscale.upscale(make_pixels(2, 2), 2.5, quality="fast").shape == (5, 5)


def test_a_model_may_be_named(monkeypatch):
    monkeypatch.setattr(weights, "load", {"runs/vdsr": BICUBIC}.get)
    assert upscale.upscale(make_pixels(3, 3), 2, "runs/vdsr").shape == (6, 6)


def test_scale_two_and_the_best_shipped_model_are_the_defaults():
    pixels = make_pixels(9, 8, 3)
    model = weights.load(cards.choose(2))
    np.testing.assert_array_equal(
        upscale.upscale(pixels), upscale.upscale(pixels, 2, model)
    )


def test_an_ensemble_of_any_tiles_is_the_mean_over_eight_images():
    # So little is added that nothing is clipped before the mean.
    model = VDSR._replace(variables=jax.tree.map(lambda p: p / 10, VDSR.variables))
    x = make_pixels(41, 38, 1, dtype=np.float32)
    single = [
        image.inverse_symmetry(upscale.upscale(image.symmetry(x, i), 2, model), i)
        for i in range(8)
    ]
    assert np.min(single) > 0 and np.max(single) < 1
    expected = np.mean(single, axis=0)
    assert np.abs(expected - single[0]).max() > 1e-3
    for tile in (16, None):
        sr = upscale.upscale(x, 2, model, tile=tile, ensemble=True)
        np.testing.assert_allclose(sr, expected, atol=1e-5)


def test_precision_reaches_the_network():
    pixels = make_pixels(20, 20, 1, dtype=np.float32)
    full = upscale.upscale(pixels, 2, VDSR)
    half = upscale.upscale(pixels, 2, VDSR, precision="bfloat16")
    assert 1e-5 < np.abs(full - half).max() < 0.1
    large = jax.tree.map(lambda p: 1e20 * p, VDSR.variables)
    with pytest.raises(ValueError, match="NaN or infinity in bfloat16. Use float32"):
        upscale.upscale(pixels, 2, VDSR._replace(variables=large), precision="bfloat16")


def test_an_upscaler_is_compiled_for_its_sizes_and_does_as_upscale():
    model = make_model(Counted(depth=3, width=5))
    before = len(Counted.traced)
    upscaler = jaxsr.make_upscaler(2, model, sizes=[(30, 40)], tile=16)
    compiled = len(Counted.traced)
    assert compiled > before
    pixels = make_pixels(30, 40, 3)
    np.testing.assert_array_equal(
        upscaler(pixels), upscale.upscale(pixels, 2, model, tile=16)
    )
    assert len(Counted.traced) == compiled
    assert upscaler(PIL.Image.fromarray(pixels)).size == (80, 60)


def test_edges_of_what_is_cut_out_of_a_photograph_are_clean(photo):
    """No fringe: every visible pixel lies within the colours around it."""
    y, x = np.mgrid[:64, :64]
    inside = (y - 32) ** 2 + (x - 32) ** 2 < 24**2
    cut = np.dstack([photo[60:124, 60:124], 255 * inside.astype(np.uint8)])
    hidden = cut.copy()
    hidden[~inside, :3] = 0  # as editors leave it
    model = weights.load("fsrcnn_x2")
    expected = upscale.upscale(cut, 2, model)
    result = upscale.upscale(hidden, 2, model)
    np.testing.assert_array_equal(result[..., 3], expected[..., 3])

    def seen(pixels, on):
        alpha = pixels[..., 3:] / 255
        return pixels[..., :3] * alpha + on * (1 - alpha)

    edge = (result[..., 3] > 0) & (result[..., 3] < 255)
    assert edge.sum() > 200
    for on in (0, 255):
        fringe = np.abs(seen(result, on) - seen(expected, on))[edge].mean()
        bleeding = upscale.upscale(hidden[..., :3], 2, model)
        bleeding = np.dstack([bleeding, result[..., 3]])
        careless = np.abs(seen(bleeding, on) - seen(expected, on))[edge].mean()
        assert fringe < careless / 3


@pytest.mark.parametrize("color", ["y", "ycbcr", "rgb"])
def test_gray_is_enlarged_as_rgb_of_three_equal_channels(color):
    """The network squares its input, so it tells 16..235 from 0..255."""

    class Square(nn.Module):
        input = "interpolated"
        halo = 0

        def __call__(self, enlarged):
            return enlarged**2

    model = BICUBIC._replace(net=Square(), card={"color": color})
    gray = make_pixels(9, 8, dtype=np.float32)
    gray[0] = 0
    result = upscale.upscale(gray, 1, model)
    y = (16 + 219 * gray) / 255
    expected = gray**2 if color == "rgb" else (255 * y**2 - 16) / 219
    np.testing.assert_allclose(result, expected.clip(0, 1), atol=1e-5)
    colour = upscale.upscale(gray[..., None].repeat(3, axis=-1), 1, model)
    if color != "ycbcr":  # whose chroma this network changes
        np.testing.assert_allclose(colour[..., 0], result, atol=1e-5)


def psnr(sr, hr):
    return -10 * np.log10(np.mean((sr - hr)[2:-2, 2:-2] ** 2))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_twelve_bits_in_sixteen_are_upscaled_as_well_as_the_full_range(photo, channels):
    hr = photo[:120, 60:180] / 255
    colours = min(channels, 3)
    small, hr = image.resize(hr, 0.5)[..., :colours], hr[..., :colours]
    small, hr = (x / small.max() for x in (small, hr))  # white is among the pixels
    alpha = np.full((*small.shape[:2], channels - colours), 65535, np.uint16)

    def score(top, **options):
        pixels = image.to_uint(small, 16, top)
        assert pixels.max() == top
        pixels = np.concatenate([pixels, alpha], axis=-1)
        sr = upscale.upscale(pixels, 2, "fsrcnn_x2", **options)
        assert sr.dtype == np.uint16 and (sr[..., colours:] == 65535).all()
        assert sr[..., :colours].max() == top
        return psnr(sr[..., :colours] / top, hr)

    full = score(65535)
    for top in (1023, 4095, 16383):
        assert score(top) == pytest.approx(full, abs=0.01)
    assert score(3000, data_range=3000) == pytest.approx(full, abs=0.01)
    with pytest.raises(AssertionError):  # brighter than white, as of a darker image
        score(4095, data_range=65535)


def test_alpha_of_twelve_bits_keeps_its_own_range():
    """An edge overshoots: it is cut off at what is opaque in the file."""
    pixels = np.full((8, 12, 4), 40000, np.uint16)
    pixels[..., 3] = 0
    pixels[:, 6:, 3] = 4095
    sr = upscale.upscale(pixels, 2, BICUBIC)
    assert sr[..., 3].max() == 4095 and sr[..., 3].min() == 0
    assert (sr[..., :3] == 40000).all()
    expected = image.resize(pixels[..., 3:] / 4095, 2.0).clip(0, 1)
    np.testing.assert_allclose(sr[..., 3:] / 4095, expected, atol=2e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [(), (4,)])
def test_the_strength_blends_with_bicubic(channels, dtype):
    pixels = make_pixels(14, 17, *channels, dtype=dtype)
    whole, bicubic = (jaxsr.upscale(pixels, 2, model) for model in (VDSR, BICUBIC))
    for strength, expected in ((1, whole), (0, bicubic)):
        found = jaxsr.upscale(pixels, 2, VDSR, strength=strength)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    found = jaxsr.upscale(pixels, 2, VDSR, strength=0.25)
    assert np.abs(whole.astype(float) - bicubic).max() > 20 * np.spacing(1)
    blend = 0.25 * whole.astype(np.float64) + 0.75 * bicubic
    np.testing.assert_allclose(found, blend, atol=1 if dtype == np.uint8 else 1e-6)
    with pytest.raises(ValueError, match="strength must be from 0 to 1; got 1.5"):
        jaxsr.upscale(pixels, 2, VDSR, strength=1.5)

import functools
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics
from conftest import open_set

from jaxsr import image, losses, metrics, perceptual
from jaxsr.importers import features

METRICS = {"ms_ssim": metrics.ms_ssim, "psnr": metrics.psnr, "ssim": metrics.ssim}


@pytest.mark.parametrize(("error", "expected"), [(0.1, 20.0), (0.01, 40.0)])
def test_psnr_of_a_constant_error_is_known(error, expected):
    hr = jnp.full([2, 8, 8, 3], 0.5)
    score = metrics.psnr(hr + error, hr, border=1)
    np.testing.assert_allclose(score, [expected] * 2, rtol=1e-5)


def test_psnr_ignores_the_border_and_is_infinite_for_equal_images():
    hr = jnp.full([1, 8, 8, 1], 0.5)
    sr = hr.at[:, 0].set(1.0).at[:, :, -1].set(0.0)
    assert np.isinf(metrics.psnr(sr, hr, border=1))[0]
    assert np.isfinite(metrics.psnr(sr, hr, border=0))[0]


def test_ssim_is_that_of_scikit_image(photo):
    hr = image.luma(photo)
    sr = image.quantise(image.enlarge(image.degrade(hr[:255, :255], 3), 3))
    pair = jnp.asarray(sr)[None], jnp.asarray(hr)[None, :255, :255]
    score = metrics.ssim(*pair, border=3)
    inside = slice(3, -3)
    _, full = skimage.metrics.structural_similarity(
        sr[inside, inside, 0].astype(np.float64),
        hr[:255, :255][inside, inside, 0].astype(np.float64),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(score[0], full[5:-5, 5:-5].mean(), atol=2e-5)


@pytest.mark.parametrize(("height", "width"), [(256, 240), (187, 179)])
def test_ms_ssim_is_that_of_tensorflow(photo, height, width):
    import tensorflow

    hr = image.from_uint(photo[:height, :width])[None]
    low = image.resize(hr, 1 / 4)
    sr = image.quantise(image.resize(low, size=(height, width)))
    expected = tensorflow.image.ssim_multiscale(sr, hr, 1.0).numpy()
    assert 0.9 < expected[0] < 0.99
    np.testing.assert_allclose(metrics.ms_ssim(sr, hr, border=0), expected, atol=1e-5)


def test_ms_ssim_of_small_images_is_refused():
    hr = jnp.zeros([1, 190, 179, 1])
    with pytest.raises(ValueError, match="176 pixels.*got 186x175"):
        metrics.ms_ssim(hr, hr, border=2)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_score_each_image_alone(name):
    rng = np.random.default_rng(0)
    side = 180 if name == "ms_ssim" else 18
    hr = jnp.asarray(rng.random((3, side + 2, side, 1), np.float32))
    sr = 0.7 * hr + 0.3 * jnp.asarray(rng.random(hr.shape, np.float32))
    score = METRICS[name]
    one = [score(sr[i : i + 1], hr[i : i + 1], border=2)[0] for i in range(3)]
    np.testing.assert_allclose(score(sr, hr, border=2), one, rtol=1e-4)
    grads = jax.grad(lambda x: score(x, hr, border=2).sum())(sr)
    assert np.isfinite(grads).all() and (grads != 0).any()
    with pytest.raises(ValueError, match="must match"):
        score(sr, hr[:1], border=2)


def test_ssim_of_equal_images_is_one_and_of_tiny_ones_refused():
    hr = jnp.asarray(np.random.default_rng(0).random((1, 11, 11, 1), np.float32))
    np.testing.assert_allclose(metrics.ssim(hr, hr, border=0), 1.0, atol=1e-5)
    with pytest.raises(ValueError, match="11 pixels.*got 9x9"):
        metrics.ssim(hr, hr, border=1)


PAIRS = {
    **losses.LOSSES,
    **{name: functools.partial(of, border=0) for name, of in METRICS.items()},
    "lpips": functools.partial(perceptual.lpips, {}),
    "vgg": functools.partial(perceptual.vgg_loss, {}, layer="conv1_1"),
}


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_integers_and_true_images_out_of_range_are_refused(name):
    of = PAIRS[name]
    hr = np.full((1, 32, 32, 3), 0.5, np.float32)
    for pair in [(np.uint8(255 * hr), hr), (hr, np.uint8(255 * hr))]:
        with pytest.raises(TypeError, match="image.from_uint"):
            of(*pair)
        with pytest.raises(TypeError, match="image.from_uint"):
            jax.jit(of)(*pair)
    for value in (255.0, np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=r"hr must lie in \[0, 1\]; got"):
            of(hr, hr + np.float32(value))


def test_psnr_of_integer_images_is_that_of_their_errors():
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (1, 20, 20, 3), np.uint8)
    sr = rng.integers(0, 256, (1, 20, 20, 3), np.uint8)
    mean = np.mean((sr.astype(float) - hr) ** 2)
    score = metrics.psnr(*map(image.from_uint, (sr, hr)), border=0)
    np.testing.assert_allclose(score, 10 * np.log10(255**2 / mean), rtol=1e-5)
    overshoot = image.from_uint(hr) + np.float32(1)  # 0 dB, and no error
    np.testing.assert_allclose(
        metrics.psnr(overshoot, image.from_uint(hr), border=0), 0.0, atol=1e-5
    )


def niqe_file():
    """The numbers of the authors' photographs, as the package mmagic holds them."""
    spec = importlib.util.find_spec("mmagic")
    if spec is None:
        pytest.skip("NIQE's numbers are missing: pip install --no-deps mmagic==1.2.0.")
    folder = pathlib.Path(spec.origin).parent / "evaluation" / "metrics"
    return folder / "niqe_pris_params.npz"


def test_niqe_of_baboon_is_matlabs():
    """MATLAB R2021a gives 5.7296, as BasicSR's documentation has it."""
    params = features.load_niqe(niqe_file())
    source = open_set("Set14")
    baboon = image.from_uint(source.read(source.names.index("baboon")), np.float64)
    y = image.quantise(image.rgb_to_y(baboon))[None]
    with jax.enable_x64(True):
        [score] = metrics.niqe(params, y, border=0)
    assert score == pytest.approx(5.72957, abs=1e-5)
    pair = jnp.asarray(np.concatenate([y, y[:, ::-1]]), jnp.float32)
    single = metrics.niqe(params, pair, border=0)
    np.testing.assert_allclose(single[0], 5.72957, atol=1e-2)
    worse = image.gaussian_blur(pair, 2.0)
    assert (metrics.niqe(params, worse, border=0) > single + 1).all()


@pytest.mark.parametrize(("shape", "skewed"), [(1.0, 1), (2.0, 1), (0.7, 3)])
def test_the_distributions_of_niqe_are_found(shape, skewed):
    """Samples of |x|^shape ~ Gamma(1 / shape), the positive ones `skewed` as wide."""
    rng = np.random.default_rng(0)
    x = rng.gamma(1 / shape, size=400_000) ** (1 / shape)
    # A side as wide has as many samples.
    x = np.where(rng.random(len(x)) < 1 / (1 + skewed), -x, skewed * x)
    alpha, left, right = metrics._fitted(jnp.asarray(x.reshape(1, 500, 800)))
    np.testing.assert_allclose([alpha[0], left[0]], [shape, 1], rtol=0.02)
    np.testing.assert_allclose(right[0], skewed, rtol=0.02)


def test_niqe_needs_two_blocks_inside_the_border(photo):
    y = image.luma(photo)[None, :194, :99]
    params = {"mean": np.zeros(36), "covariance": np.eye(36)}
    assert np.isfinite(metrics.niqe(params, y, border=1)).all()
    with pytest.raises(ValueError, match="two blocks of 96x96 .* got 190x95"):
        metrics.niqe(params, y, border=2)
    assert np.isnan(metrics.niqe(params, jnp.zeros_like(y), border=0))[0]


def test_a_file_that_is_not_of_niqe_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", mu_pris_param=np.zeros((1, 36)))
    with pytest.raises(ValueError, match="expected mu_prisparam .* found"):
        features.load_niqe(tmp_path / "a.npz")
    (tmp_path / "b.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(ValueError, match="not a whole MATLAB file"):
        features.load_niqe(tmp_path / "b.mat")

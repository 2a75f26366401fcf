import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import image, models

METHODS = {"nearest": "nearest", "bilinear": "bilinear", "lanczos": "lanczos3"}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_baseline_is_matlabs_imresize(name, scale):
    x = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    y = models.make(name).apply({}, jnp.asarray(x), scale=scale)
    expected = image.resize(x, scale, method=METHODS[name])
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_a_row_of_two_pixels_is_enlarged_as_by_hand():
    x = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    nearest = models.make("nearest").apply({}, x, scale=2)[0, 0, :, 0]
    np.testing.assert_allclose(nearest, [0, 0, 1, 1])
    bilinear = models.make("bilinear").apply({}, x, scale=2)[0, 0, :, 0]
    np.testing.assert_allclose(bilinear, [0, 0.25, 0.75, 1], atol=1e-6)


def test_without_a_scale_it_is_the_largest():
    x = jnp.ones([1, 2, 3, 1])
    assert models.make("lanczos", scales=(2, 5)).apply({}, x).shape == (1, 10, 15, 1)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import losses

# of an image of 2x3 pixels that is off by 0.1, and of one that is off by -0.2
EXPECTED = {
    "charbonnier_sum": [6 * 0.010001**0.5, 6 * 0.040001**0.5],
    "half_sum_squared": [0.03, 0.12],
    "l1": [0.1, 0.2],
    "mse": [0.01, 0.04],
}


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_loss_of_a_constant_error_is_known(name):
    hr = jnp.full([2, 2, 3, 1], 0.5)
    sr = hr + jnp.array([0.1, -0.2]).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(losses.LOSSES[name](sr, hr), EXPECTED[name], rtol=1e-5)
    grads = jax.grad(lambda x: losses.LOSSES[name](x, hr).sum())(sr)
    assert np.isfinite(grads).all() and (grads[0] > 0).all() and (grads[1] < 0).all()
    with pytest.raises(ValueError, match="must match"):
        losses.LOSSES[name](sr, hr[:1])


def test_gradient_of_caffes_loss_is_half_the_pixels_times_that_of_mse():
    hr, sr = jnp.zeros([1, 41, 41, 1]), jnp.full([1, 41, 41, 1], 0.3)
    ratio = jax.grad(lambda x: losses.half_sum_squared(x, hr).sum())(sr) / jax.grad(
        lambda x: losses.mse(x, hr).sum()
    )(sr)
    np.testing.assert_allclose(ratio, 840.5, rtol=1e-5)


def test_total_variation_of_a_ramp_is_its_slope_and_of_integers_refused():
    ramp = jnp.broadcast_to(jnp.arange(4.0).reshape(1, 1, 4, 1) / 8, (1, 4, 4, 1))
    np.testing.assert_allclose(losses.total_variation(ramp), 0.125, rtol=1e-5)
    with pytest.raises(TypeError, match="image.from_uint"):
        losses.total_variation(jnp.zeros([1, 4, 4, 1], jnp.uint8))

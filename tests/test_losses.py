import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import losses

# of an image of 2x3 pixels that is off by 0.1, and of one that is off by -0.2
EXPECTED = {
    "focal_frequency": [0.01, 0.04],  # all of it in one frequency
    "charbonnier_sum": [6 * 0.010001**0.5, 6 * 0.040001**0.5],
    "half_sum_squared": [0.03, 0.12],
    "l1": [0.1, 0.2],
    "mse": [0.01, 0.04],
}


@pytest.mark.parametrize("name", sorted(losses.LOSSES.keys() - {"gradient"}))
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


def test_the_gradient_loss_is_of_edges_alone():
    hr = jnp.zeros([1, 3, 4, 2])
    ramp = hr + jnp.arange(4.0).reshape(1, 1, 4, 1) / 8
    found = losses.gradient(ramp + 0.3, hr)
    np.testing.assert_allclose(found, 0.125, rtol=1e-5)
    spike = hr.at[0, 1, 2].set(0.6)  # two of 8 steps down, and two of 9 to the right
    expected = 0.6 * (2 / 8 + 2 / 9)
    np.testing.assert_allclose(losses.gradient(spike, hr), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.gradient(spike, -spike), 0, atol=1e-7)
    grads = jax.grad(lambda x: losses.gradient(x, hr).sum())(spike)
    assert np.isfinite(grads).all() and (grads[0, 1, 2] > 0).all()
    for wrong, message in (
        (hr[:, :1], "at least 2 pixels"),
        (hr[:1, :2], "must match"),
    ):
        with pytest.raises(ValueError, match=message):
            losses.gradient(wrong, hr if message == "must match" else wrong)


def test_the_focal_frequency_loss_weights_each_frequency_by_its_error():
    hr = jnp.full([1, 4, 4, 1], 0.5)
    stripes = jnp.tile(jnp.array([1.0, -1.0]), 2).reshape(1, 1, 4, 1)
    sr = hr + 0.2 + 0.1 * stripes  # 0.2 in one frequency, 0.1 in another
    expected = 0.2**2 * 1 + 0.1**2 * (0.1 / 0.2)
    np.testing.assert_allclose(losses.focal_frequency(sr, hr), expected, rtol=1e-5)
    # The weights have no gradient: it is that of the mean squared error, weighted.
    grads = jax.grad(lambda x: losses.focal_frequency(x, hr).sum())(sr)
    weighted = 2 / 16 * (0.2 * 1 + 0.1 * stripes * (0.1 / 0.2))
    np.testing.assert_allclose(grads, jnp.broadcast_to(weighted, hr.shape), rtol=1e-4)
    spike = hr.at[0, 1, 2].add(0.4)  # all frequencies alike
    found, mse = (of(spike, hr) for of in (losses.focal_frequency, losses.mse))
    np.testing.assert_allclose(found, mse, rtol=1e-5)
    same = jax.grad(lambda x: losses.focal_frequency(x, hr).sum())(hr)
    np.testing.assert_array_equal(same, 0)


def test_a_weighted_loss_is_the_sum():
    hr, sr = jnp.zeros([2, 3, 3, 1]), jnp.full([2, 3, 3, 1], 0.5)
    loss = losses.weighted([(losses.l1, 1.0), (losses.mse, 0.1)])
    np.testing.assert_allclose(loss(sr, hr), [0.525] * 2, rtol=1e-6)

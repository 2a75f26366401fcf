import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import models
from jaxsr.models import lapsrn

SMALL = {
    "lapsrn": {"scales": (2, 4), "depth": 2, "width": 4},
    "ms_lapsrn": {"scales": (2, 4), "depth": 2, "recursions": 2, "width": 4},
}


def seeded(net, size):
    """Variables and an image that are the same for ever."""
    x = jnp.linspace(0, 1, size[0] * size[1]).reshape(1, *size, 1)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        shapes,
    )
    return variables, x


@pytest.mark.parametrize("name", SMALL)
def test_every_level_is_the_network_of_its_scale(name):
    net = models.make(name, **SMALL[name])
    variables, x = seeded(net, (5, 7))
    levels = net.apply(variables, x, method="levels")
    assert [y.shape for y in levels] == [(1, 10, 14, 1), (1, 20, 28, 1)]
    for scale, level in zip(net.scales, levels):
        np.testing.assert_allclose(
            net.apply(variables, x, scale=scale), level, rtol=1e-6
        )
    np.testing.assert_array_equal(net.apply(variables, x), levels[-1])
    (first,) = net.apply(variables, x, method="levels", scale=2)
    np.testing.assert_allclose(first, levels[0], rtol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_every_level_is_made_at_initialisation(name):
    net = models.make(name, **SMALL[name])
    x = jnp.zeros([1, 4, 4, 1])
    smallest, largest = (
        jax.tree.map(jnp.shape, net.init(jax.random.key(0), x, scale=scale))
        for scale in (2, 4)
    )
    assert smallest == largest


def test_levels_and_recursions_of_ms_lapsrn_share_their_weights():
    def params(**fields):
        net = models.make("ms_lapsrn", depth=2, width=4, **fields)
        return net.init(jax.random.key(0), jnp.zeros([1, 4, 4, 1]))

    first, second = params(scales=(2,), recursions=1), params(scales=(2, 4, 8))
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_an_image_is_doubled_bilinearly_at_first():
    net = models.make("ms_lapsrn", scales=(2,), depth=1, recursions=1, width=2)
    x = jnp.arange(12, dtype=jnp.float32).reshape(1, 3, 4, 1)
    variables = net.init(jax.random.key(0), x)
    variables["params"]["residual"]["kernel"] *= 0
    y = net.apply(variables, x)[0, :, :, 0]
    # A quarter and three quarters of the way from 0 to 1 along x, from 0 to 4 along y.
    np.testing.assert_allclose(y[1:3, 1:3], [[1.25, 1.75], [3.25, 3.75]])


@pytest.mark.parametrize("name", SMALL)
def test_initialisation_is_the_authors(name):
    net = models.make(name, scales=(2,), depth=2)
    params = net.init(jax.random.key(0), jnp.zeros([1, 4, 4, 1]))["params"]
    for layer, weights in params.items():
        kernel = weights["kernel"]
        if layer.endswith("image"):
            np.testing.assert_array_equal(kernel, lapsrn.bilinear(None, (4, 4, 1, 1)))
            continue
        expected = 0.001 if layer == "conv_in" else np.sqrt(2 / (9 * 64))
        np.testing.assert_allclose(np.std(kernel), expected, rtol=0.1)
        assert (weights["bias"] == 0).all()


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("lapsrn", [-0.0602391, 0.0918662, 0.0094057]),
        ("ms_lapsrn", [-0.0698961, 0.0997819, -0.0425547]),
    ],
)
def test_output_is_what_it_was(name, golden):
    # Also computed with torch.nn.functional in float64, layer by layer.
    net = models.make(name, **SMALL[name])
    variables, x = seeded(net, (3, 4))
    y = net.apply(variables, x)[0, :, :, 0]
    np.testing.assert_allclose([y[0, 0], y[5, 9], y[11, 15]], golden, atol=1e-6)


def test_wrong_scales_are_answered_with_the_right_ones():
    x = jnp.zeros([1, 4, 4, 1])
    net = models.make("lapsrn", depth=1, width=2)
    variables = net.init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"one of \(2, 4\); got 8"):
        net.apply(variables, x, scale=8)
    for scales in [(4,), (4, 2), (2, 3)]:
        with pytest.raises(ValueError, match=r"\(2,\), \(2, 4\) ...; got"):
            models.make("lapsrn", scales=scales).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="scales must be a list.*1 or more; got"):
        models.make("lapsrn", scales=())

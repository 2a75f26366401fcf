import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import models

X = jnp.linspace(0, 1, 99).reshape(1, 9, 11, 1)


def golden_variables(net):
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), X)
    return jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        shapes,
    )


def test_the_shrinking_form_does_not_pad():
    """The same as unpadded convolutions and transposed ones of the textbook."""
    net = models.make("red", depth=8, width=3, shrinking=True)
    x = jax.random.uniform(jax.random.key(0), (1, 13, 12, 1))
    variables = golden_variables(net)
    params, dims = variables["params"], ("NHWC", "HWIO", "NHWC")
    y, kept = x, []
    for i in range(4):
        layer = params[f"conv_{i}"]
        y = jax.lax.conv_general_dilated(
            y, layer["kernel"], (1, 1), "VALID", dimension_numbers=dims
        )
        y = jax.nn.relu(y + layer["bias"].reshape(1, 1, 1, -1))
        kept.append(y)
    assert y.shape == (1, 5, 4, 3)
    for name in ("deconv_0", "deconv_1", "deconv_2", "deconv_out"):
        layer = params[name]
        y = jax.lax.conv_transpose(
            y, layer["kernel"], (1, 1), "VALID", dimension_numbers=dims
        )
        y += layer["bias"].reshape(1, 1, 1, -1)
        if name == "deconv_1":
            y += kept[1]
        if name != "deconv_out":
            y = jax.nn.relu(y)
    np.testing.assert_allclose(net.apply(variables, x), x + y, rtol=1e-5, atol=1e-6)


def test_the_forms_differ_at_borders_alone():
    net = models.make("red", depth=4, width=3)
    x = jax.random.uniform(jax.random.key(0), (1, 14, 14, 1))
    variables = golden_variables(net)
    padded = net.apply(variables, x)
    shrunk = net.clone(shrinking=True).apply(variables, x)
    np.testing.assert_allclose(shrunk[:, 4:-4, 4:-4], padded[:, 4:-4, 4:-4], atol=1e-6)
    assert np.abs(shrunk - padded).max() > 1e-3


@pytest.mark.parametrize(
    ("fields", "golden"),
    [
        ({}, [-0.0877021, 0.5720045, 0.9850576]),
        ({"shrinking": True}, [0.0743094, 0.5651927, 1.0730023]),
        ({"skip_every": 0}, [-0.0755170, 0.5743882, 1.0036821]),
    ],
)
def test_red_output_is_what_it_was(fields, golden):
    # Also computed with scipy.signal.correlate2d in float64, layer by layer.
    net = models.make("red", depth=6, width=4, **fields)
    y = net.apply(golden_variables(net), X)[0, :, :, 0]
    np.testing.assert_allclose([y[0, 0], y[4, 5], y[8, 10]], golden, rtol=1e-5)


@pytest.mark.parametrize("depth", [0, 5])
def test_an_odd_or_no_depth_is_an_error(depth):
    with pytest.raises(ValueError, match=f"even and at least 2; got {depth}"):
        models.make("red", depth=depth).init(jax.random.key(0), X)

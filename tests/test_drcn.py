import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import models

BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}


def golden_variables(net, x):
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
    return jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        shapes,
    )


def test_the_recursion_starts_as_the_identity():
    net = models.make("drcn", width=8)
    x = jax.random.uniform(jax.random.key(1), (2, 9, 7, 1))
    images, sr = net.apply(net.init(jax.random.key(0), x), x, method="recursions")
    assert images.shape == (16, 2, 9, 7, 1)
    np.testing.assert_allclose(images, images[:1].repeat(16, 0), atol=1e-6)
    np.testing.assert_allclose(sr, images[0], atol=1e-6)


def test_the_result_is_the_weighted_sum_of_the_recursions():
    net = models.make("drcn", depth=3, width=4)
    x = jnp.linspace(0, 1, 35).reshape(1, 5, 7, 1)
    variables = golden_variables(net, x)
    weights = jnp.array([0.5, -0.25, 2.0])
    variables["params"]["weights"] = weights
    images, sr = net.apply(variables, x, method="recursions")
    np.testing.assert_allclose(sr, jnp.einsum("d,dbhwc->bhwc", weights, images), 1e-5)
    np.testing.assert_array_equal(net.apply(variables, x), sr)
    # A recursion does not depend on how many follow.
    variables["params"]["weights"] = weights[:2]
    fewer, _ = net.clone(depth=2).apply(variables, x, method="recursions")
    np.testing.assert_allclose(fewer, images[:2], atol=1e-6)


def test_remat_changes_no_gradient(monkeypatch):
    net = models.make("drcn", depth=3, width=4)
    x = jnp.linspace(0, 1, 35).reshape(1, 5, 7, 1)
    variables = golden_variables(net, x)

    def grads():
        return jax.grad(lambda v: (net.apply(v, x) ** 2).sum())(variables)

    with_remat = grads()
    monkeypatch.setattr("flax.linen.remat", lambda f: f)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), with_remat, grads()
    )


@pytest.mark.parametrize(
    ("options", "limit"),
    [(BARRIERS, 4), ({}, 8)],
)
def test_a_batch_of_the_paper_trains_in_less_than_8_gb(options, limit):
    """On a CPU alone, XLA drops what keeps it from merging the second computation."""
    net = models.make("drcn")
    x = jax.ShapeDtypeStruct((64, 41, 41, 1), jnp.float32)
    variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)

    def loss(variables, x):
        images, sr = net.apply(variables, x, method="recursions")
        return (images**2).sum() + (sr**2).sum()

    compiled = jax.jit(jax.grad(loss)).lower(variables, x).compile(options)
    assert compiled.memory_analysis().temp_size_in_bytes < limit * 1e9


def test_drcn_output_is_what_it_was():
    # Also computed with scipy.signal.correlate2d in float64, layer by layer.
    golden = [-0.0332816, 0.2496783, 0.4415275]
    net = models.make("drcn", depth=3, width=4)
    x = jnp.linspace(0, 1, 35).reshape(1, 5, 7, 1)
    y = net.apply(golden_variables(net, x), x)[0, :, :, 0]
    np.testing.assert_allclose([y[0, 0], y[2, 3], y[4, 6]], golden, rtol=1e-5)


def test_no_recursion_is_an_error():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        models.make("drcn", depth=0).init(jax.random.key(0), jnp.zeros([1, 8, 8, 1]))

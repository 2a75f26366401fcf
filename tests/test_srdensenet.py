import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import models

SMALL = {"blocks": 2, "depth": 2, "growth": 3, "width": 4, "bottleneck": 4}


def init(**fields):
    net = models.make("srdensenet", **fields)
    x = jnp.linspace(0, 1, 12).reshape(1, 3, 4, 1)
    return net, net.init(jax.random.key(0), x), x


def inputs_of(params):
    return {name: layer["kernel"].shape[2] for name, layer in params.items()}


@pytest.mark.parametrize(
    ("features", "dense", "block", "up"),
    [
        ("h", False, [6, 3], 6),  # the block before; the layers before
        ("hl", False, [6, 3], 10),  # and of the first layer's 4
        ("all", False, [10, 3], 4),
        ("h", True, [6, 9], 6),
        ("all", True, [10, 13], 4),
    ],
)
def test_each_layer_sees_what_its_variant_says(features, dense, block, up):
    _, variables, _ = init(features=features, dense=dense, **SMALL)
    channels = inputs_of(variables["params"])
    assert channels["block_0_conv_0"] == 4
    assert [channels[f"block_1_conv_{i}"] for i in range(2)] == block
    assert channels["up_0"] == up
    assert channels.get("bottleneck") == (16 if features == "all" else None)


def test_a_doubling_is_a_transposed_convolution():
    for scale, names in [(2, ["up_0"]), (8, ["up_0", "up_1", "up_2"])]:
        net, variables, x = init(scale=scale, **SMALL)
        ups = [name for name in sorted(variables["params"]) if name.startswith("up")]
        assert ups == names
        assert net.apply(variables, x).shape == (1, 3 * scale, 4 * scale, 1)


def test_initialisation_is_by_fan_in():
    _, variables, _ = init(blocks=1)
    for layer in variables["params"].values():
        fan_in = np.prod(layer["kernel"].shape[:3])
        np.testing.assert_allclose(
            np.std(layer["kernel"]), np.sqrt(2 / fan_in), rtol=0.1
        )
        assert (layer["bias"] == 0).all()


@pytest.mark.parametrize(
    ("fields", "golden"),
    [
        ({"features": "h"}, [-0.0975387, 0.1190423, -0.0216485]),
        ({"features": "hl"}, [-0.0386293, 0.0500356, -0.0184022]),
        ({}, [-0.0658437, 0.0643814, -0.0032144]),
        ({"dense": True}, [-0.0663855, 0.0664292, -0.0035740]),
    ],
)
def test_output_is_what_it_was(fields, golden):
    # Also computed with torch.nn.functional in float64, layer by layer.
    net, variables, x = init(**fields, **SMALL)
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        variables,
    )
    y = net.apply(variables, x)[0, :, :, 0]
    np.testing.assert_allclose([y[0, 0], y[5, 9], y[11, 15]], golden, atol=1e-6)


def test_wrong_fields_are_answered_with_the_right_ones():
    with pytest.raises(ValueError, match="2, 4 or 8; got 3"):
        init(scale=3)
    with pytest.raises(ValueError, match="'h', 'hl' or 'all'; got 'l'"):
        init(features="l")

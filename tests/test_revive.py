"""Silent filters: found, drawn anew, and learning again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import image, models
from jaxsr.models import revive


def silenced(name, layers, photo, **fields):
    """A network of which a third of the filters of some layers never fire."""
    net = models.make(name, **fields)
    x = jnp.asarray(image.from_uint(photo[:40, :44])[None])
    x = x if name == "edsr" else x[..., :1]
    variables = net.init(jax.random.key(0), x)
    for layer in layers:
        bias = variables["params"][layer]["bias"]
        third = len(bias) // 3
        variables["params"][layer]["bias"] = bias.at[-third:].set(-1e3)
    return net, variables, x


CASES = [
    ("vdsr", ["conv_0", "conv_2"], {"depth": 4, "width": 6}),
    (
        "srcnn",
        ["conv_0", "conv_1"],
        {"sides": (5, 1, 3), "widths": (9, 6), "identity": True},
    ),
    (
        "edsr",
        ["block_0_conv_0", "block_1_conv_0"],
        {"scale": 2, "blocks": 2, "width": 6},
    ),
]


@pytest.mark.parametrize(("name", "layers", "fields"), CASES)
def test_silent_filters_fire_and_learn_again(name, layers, fields, photo):
    net, variables, x = silenced(name, layers, photo, **fields)
    before = revive.heard(net, variables, x)
    silent = {key[0]: int((~found).sum()) for key, found in before.items()}
    assert all(silent[layer] >= 2 for layer in layers)
    key = jax.random.key(1)
    new, count = revive.revived(net, variables, [(x, {})], key)
    assert count == sum(silent.values())
    np.testing.assert_allclose(net.apply(new, x), net.apply(variables, x), atol=1e-5)
    after = revive.heard(net, new, x)
    assert sum(int((~found).sum()) for found in after.values()) <= count // 4

    def error(variables):
        return jnp.mean((net.apply(variables, x) - 0.5) ** 2)

    for (layer, following), found in before.items():
        grads = [
            np.asarray(jax.grad(error)(v)["params"][following]["kernel"])
            for v in (variables, new)
        ]
        assert not grads[0][:, :, ~found].any()
        if layer in layers:
            assert grads[1][:, :, ~found].any()


def test_filters_that_fire_are_left_alone(photo):
    net, variables, x = silenced("vdsr", [], photo, depth=3, width=4)
    for layer in variables["params"].values():
        layer["bias"] += 10
    heard = revive.heard(net, variables, x).values()
    assert all(found.all() for found in heard)
    new, count = revive.revived(net, variables, [(x, {})], jax.random.key(1))
    assert count == 0
    jax.tree.map(np.testing.assert_array_equal, new, variables)


def test_a_filter_that_one_image_needs_is_not_silent(photo):
    net, variables, x = silenced("vdsr", ["conv_0"], photo, depth=3, width=6)
    one = revive.heard(net, variables, x)
    bright = {
        key: revive.heard(net, variables, 1e4 * x)[key] | found
        for key, found in one.items()
    }
    _, count = revive.revived(
        net, variables, [(x, {}), (1e4 * x, {})], jax.random.key(1)
    )
    assert count == sum(int((~found).sum()) for found in bright.values())
    assert count < sum(int((~found).sum()) for found in one.values())


def test_features_that_more_layers_take_are_refused(photo):
    net, variables, x = silenced("red", ["conv_1"], photo, depth=8, width=6)
    with pytest.raises(ValueError, match="must be False.*RED is one"):
        revive.revived(net, variables, [(x, {})], jax.random.key(1))

"""SRResNet, and the reader of its published weights."""

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from jaxsr import evaluate, metrics, models, published


def make(**fields):
    """A small network, its variables by a formula, and an image."""
    net = models.make("srresnet", blocks=2, width=4, **fields)
    x = jnp.linspace(0, 1, 60).reshape(1, 4, 5, 3)
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x),
    )
    stats = jax.tree.map(lambda p: 1 + p, variables["batch_stats"])
    return net, variables | {"batch_stats": stats}, x


@pytest.mark.parametrize(
    ("scale", "golden"),
    [
        (2, [0.5085867, 0.6895626, 0.6331299]),
        (4, [0.6491153, 0.8751404, 0.7634308]),
    ],
)
def test_output_is_what_it_was(scale, golden):
    # Also computed with PyTorch in float64, layer by layer.
    net, variables, x = make(scale=scale)
    y = net.apply(variables, x)[0]
    np.testing.assert_allclose(
        [y[0, 0, 0], y[5, 4, 1], y[-1, -1, 2]], golden, rtol=1e-5
    )


def test_training_normalises_by_the_batch_and_moves_the_statistics():
    net, variables, x = make()
    stats = jax.tree.map(lambda s: 2 * s + 3, variables["batch_stats"])
    (y, changed), (other, _) = (
        net.apply(v, x, train=True, mutable=["batch_stats"])
        for v in (variables, variables | {"batch_stats": stats})
    )
    np.testing.assert_array_equal(y, other)
    assert not np.allclose(y, net.apply(variables, x))

    _, made = net.apply(
        variables, x, train=True, mutable=True, capture_intermediates=True
    )
    (features,) = made["intermediates"]["block_0_conv_0"]["__call__"]
    values = {"mean": features.mean((0, 1, 2)), "var": features.var((0, 1, 2))}
    for name, value in values.items():
        before = variables["batch_stats"]["block_0_norm_0"][name]
        after = changed["batch_stats"]["block_0_norm_0"][name]
        np.testing.assert_allclose(after, 0.9 * before + 0.1 * value, rtol=1e-4)


def test_without_weights_the_middle_of_the_range_is_left():
    net, variables, x = make()
    y = net.apply(jax.tree.map(jnp.zeros_like, variables), x)
    np.testing.assert_array_equal(y, jnp.full_like(y, 0.5))


def test_slopes_start_at_a_quarter():
    net, _, x = make()
    params = net.init(jax.random.key(0), x)["params"]
    for name in ("head_prelu", "block_1_prelu", "up_1_prelu"):
        np.testing.assert_array_equal(params[name]["slope"], [0.25] * 4)


def test_bfloat16_is_for_activations_alone():
    net = models.make("srresnet", blocks=2, width=4, dtype="bfloat16")
    x = jax.random.uniform(jax.random.key(0), [1, 8, 8, 3])
    variables = net.init(jax.random.key(0), x)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
    y = net.apply(variables, x)
    full = models.make("srresnet", blocks=2, width=4).apply(variables, x)
    assert y.dtype == jnp.float32
    assert 0 < np.abs(y - full).max() < 0.05


def test_a_wrong_scale_is_answered_with_the_right_ones():
    with pytest.raises(ValueError, match=r"one of \[2, 3, 4\]; got 8"):
        make(scale=8)


def numbered(variables, net):
    """The arrays of a file, as the authors number them, and without biases of zero."""
    params, stats = variables["params"], variables["batch_stats"]
    ups = [f"up_{i}" for i in range(net.scale // 2)]
    blocks = [f"block_{i}" for i in range(net.blocks)]
    inner = [f"{b}_conv_{j}" for b in blocks for j in range(2)] + ["body_out"]
    norms = [f"{b}_norm_{j}" for b in blocks for j in range(2)] + ["body_norm"]
    arrays = {}
    for i, name in enumerate(["head", *inner, *ups, "tail"]):
        kernel = np.asarray(params[name]["kernel"]).transpose(3, 2, 0, 1)
        arrays[f"convolution{i}_weight"] = kernel
        if name not in inner:
            arrays[f"convolution{i}_bias"] = params[name]["bias"]
    for i, name in enumerate(["head", *blocks, *ups]):
        arrays[f"leakyrelu{i}_weight"] = params[f"{name}_prelu"]["slope"]
    for i, name in enumerate(norms):
        arrays[f"batchnorm{i}_gamma"] = params[name]["scale"]
        arrays[f"batchnorm{i}_beta"] = params[name]["bias"]
        arrays[f"batchnorm{i}_moving_mean"] = stats[name]["mean"]
        arrays[f"batchnorm{i}_moving_var"] = stats[name]["var"]
    return inner, arrays


@pytest.mark.parametrize("scale", [2, 4])
def test_every_weight_arrives_where_it_belongs(tmp_path, scale):
    net, variables, _ = make(scale=scale)
    inner, arrays = numbered(variables, net)
    np.savez(tmp_path / "net.npz", **arrays)
    found, read, card = published.import_weights(tmp_path / "net.npz", "srresnet")
    assert found == net
    assert (card["color"], card["scales"]) == ("rgb", [scale])
    for name in inner:
        variables["params"][name]["bias"] = np.zeros(4)
    jax.tree.map(np.testing.assert_array_equal, read, variables)


def test_foreign_files_are_refused(tmp_path):
    net, variables, _ = make()
    _, arrays = numbered(variables, net)
    file = tmp_path / "net.npz"

    def refuse(arrays, message):
        np.savez(file, **arrays)
        with pytest.raises(ValueError, match=message):
            published.import_weights(file, "srresnet")

    refuse(arrays | {"alien": np.zeros(3)}, r"found \['alien'\]")
    refuse({"alien": np.zeros(3)}, r"'convolution0_bias'.*found \['alien'\]")
    refuse(
        arrays | {"batchnorm0_beta": np.zeros(7)},
        r"block_0_norm_0/bias: expected \(4,\), found \(7,\)",
    )
    refuse(arrays | {"leakyrelu0_weight": np.array([{}])}, "not a whole .npz file")
    whole = file.read_bytes()
    for size in range(0, len(whole) - 1, 997):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"Cannot import {file} as srresnet"):
            published.import_weights(file, "srresnet")
    with pytest.raises(ValueError, match=r"'\.npz'; got '\.mat'"):
        published.import_weights(file.rename(tmp_path / "net.mat"), "srresnet")


def test_the_butterfly_is_enlarged_as_published(weights_dir, data_dir):
    file = weights_dir / "srresnet" / "SRResNet_8blocks_x4.npz"
    model = published.import_weights(file, "srresnet")
    assert model.net == models.make("srresnet", blocks=8)
    pixels = np.asarray(PIL.Image.open(data_dir / "Set5" / "butterfly_GT.png"))
    sr, hr = evaluate.restore_image(model, pixels, 4)
    score = metrics.psnr(sr[None], hr[None], border=4)[0]
    np.testing.assert_allclose(score, 27.935, atol=0.005)

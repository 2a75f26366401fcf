"""SRResNet, and the reader of its published weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import find_weights

from jaxsr import (
    image,
    importers,
    losses,
    metrics,
    models,
    optim,
    weights,
)
from jaxsr.evaluation import protocol
from jaxsr.training import objectives, setup, step


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
    ("scale", "color"), [(2, "rgb"), (3, "rgb"), (4, "rgb"), (2, "y")]
)
def test_started_from_an_edsr_it_computes_the_same(tmp_path, scale, color):
    fields = {"scale": scale, "blocks": 2, "width": 4}
    theirs = models.make("edsr", residual_scale=0.5, **fields)
    channels = image.channels(color)
    x = jax.random.uniform(jax.random.key(1), [1, 29, 31, channels])
    variables = theirs.init(jax.random.key(0), x)
    weights.save(
        tmp_path / "edsr.safetensors",
        weights.Model(
            theirs,
            variables,
            weights.make_card(theirs, color=color, scales=[scale], trained_on="x"),
        ),
    )
    net = models.make("srresnet", **fields)
    ours = setup.warm_start(
        net, net.init(jax.random.key(2), x), tmp_path / "edsr.safetensors", whole=True
    )
    border = scale * (net.halo + 1)
    expected, found = theirs.apply(variables, x), net.apply(ours, x)
    inside = np.s_[:, border:-border, border:-border]
    assert expected[inside].size > 0
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)


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


def test_frozen_statistics_are_used_in_training_and_stay():
    net, variables, x = make(frozen=True)
    y, changed = net.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(y, net.apply(variables, x))
    free, _ = make()[0].apply(variables, x, train=True, mutable=["batch_stats"])
    assert not np.allclose(y, free)
    jax.tree.map(
        np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"]
    )


class Peer:
    """The network of `variables` in PyTorch, in float64, and its sgd."""

    def __init__(self, torch, variables, *, count, width, frozen):
        self.torch, self.count = torch, count
        self.layers = torch.nn.ModuleDict()
        for name, group in variables["params"].items():
            if "kernel" in group:
                side, _, before, after = group["kernel"].shape
                conv = torch.nn.Conv2d(before, after, side, padding=side // 2)
                self.layers[name] = conv
            elif "slope" in group:
                self.layers[name] = torch.nn.PReLU(width)
            else:
                self.layers[name] = torch.nn.BatchNorm2d(width).train(not frozen)
        self.layers.double()
        for layer, group in variables["params"].items():
            for name, value in group.items():
                self.parameter(layer, name).data = self.tensor(name, value)
        params = self.layers.parameters()
        self.sgd = torch.optim.SGD(params, lr=0.1, momentum=0.9)

    def tensor(self, name, value):
        array = np.asarray(value, np.float64)
        array = array.transpose(3, 2, 0, 1) if name == "kernel" else array
        return self.torch.tensor(array)

    def parameter(self, layer, name):
        return self.layers[layer].bias if name == "bias" else self.layers[layer].weight

    def sr(self, lr):
        layers = self.layers
        x = features = layers["head_prelu"](layers["head"](lr))
        for i in range(self.count):
            y = layers[f"block_{i}_norm_0"](layers[f"block_{i}_conv_0"](x))
            y = layers[f"block_{i}_conv_1"](layers[f"block_{i}_prelu"](y))
            x = x + layers[f"block_{i}_norm_1"](y)
        x = features + layers["body_norm"](layers["body_out"](x))
        for i in range(2):
            x = self.torch.nn.functional.pixel_shuffle(layers[f"up_{i}"](x), 2)
            x = layers[f"up_{i}_prelu"](x)
        return (layers["tail"](x) + 1) / 2

    def update(self, batch):
        """The loss before it."""
        lr, hr = (self.tensor("", batch[x]).permute(0, 3, 1, 2) for x in ("lr", "hr"))
        self.sgd.zero_grad()
        loss = self.torch.mean((self.sr(lr) - hr) ** 2)
        loss.backward()
        self.sgd.step()
        return loss.item()


@pytest.mark.parametrize("frozen", [False, True])
def test_the_first_updates_are_pytorchs(frozen):
    """Losses, parameters and statistics, from the same weights and images."""
    torch = pytest.importorskip("torch")
    width, count = 4, 2
    net = models.make("srresnet", blocks=count, width=width, frozen=frozen)
    rng = np.random.default_rng(0)
    batch = {
        "lr": rng.random((3, 6, 7, 3), np.float32),
        "hr": rng.random((3, 24, 28, 3), np.float32),
    }
    variables = net.init(jax.random.key(0), batch["lr"])
    theirs = Peer(torch, variables, count=count, width=width, frozen=frozen)
    tx = optim.sgd(optax.constant_schedule(0.1), momentum=0.9)
    update = jax.jit(step.make_train_step(objectives.supervised(net, losses.mse), tx))
    state = step.init_state(variables, tx)
    for _ in range(3):
        state, found = update(state, batch)
        np.testing.assert_allclose(found["loss"], theirs.update(batch), rtol=1e-5)
    for layer, group in state.params.items():
        for name, value in group.items():
            expected = theirs.parameter(layer, name).detach()
            np.testing.assert_allclose(theirs.tensor(name, value), expected, atol=1e-5)
    for layer, group in state.batch_stats.items():
        norm, seen = theirs.layers[layer], 3 * 6 * 7
        np.testing.assert_allclose(group["mean"], norm.running_mean, atol=1e-4)
        # PyTorch's variance is the unbiased one.
        first, part = 0.9**3, 1 if frozen else seen / (seen - 1)
        expected = np.asarray(norm.running_var) - first
        np.testing.assert_allclose((group["var"] - first) * part, expected, rtol=1e-3)


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
    found, read, card = importers.import_weights(tmp_path / "net.npz", "srresnet")
    assert found == net
    assert (card["color"], card["scales"]) == ("rgb", [scale])
    for name in inner:
        variables["params"][name]["bias"] = np.zeros(4)
    jax.tree.map(np.testing.assert_array_equal, read, variables)


def torch_tensors(rng, head, width=4, blocks=2, ups=2):
    """A state dict of SRGAN-PyTorch; its first names begin with `head`."""
    tensors = {}

    def conv(name, out, inputs, side, bias=True):
        kernel = rng.normal(size=[out, inputs, side, side]) / side / np.sqrt(inputs)
        tensors[f"{name}.weight"] = kernel
        if bias:
            tensors[f"{name}.bias"] = rng.normal(size=[out])

    def norm(name):
        for part in ("weight", "bias", "running_mean"):
            tensors[f"{name}.{part}"] = rng.normal(size=[width])
        tensors[f"{name}.running_var"] = 1 + rng.random([width])
        tensors[f"{name}.num_batches_tracked"] = np.array(9)

    def prelu(name):
        tensors[f"{name}.weight"] = rng.random([1])

    conv(f"{head}1.0", width, 3, 9)
    prelu(f"{head}1.1")
    for i in range(blocks):
        conv(f"trunk.{i}.rcb.0", width, width, 3, bias=False)
        norm(f"trunk.{i}.rcb.1")
        prelu(f"trunk.{i}.rcb.2")
        conv(f"trunk.{i}.rcb.3", width, width, 3, bias=False)
        norm(f"trunk.{i}.rcb.4")
    conv(f"{head}2.0", width, width, 3, bias=False)
    norm(f"{head}2.1")
    for i in range(ups):
        conv(f"upsampling.{i}.upsample_block.0", 4 * width, width, 3)
        prelu(f"upsampling.{i}.upsample_block.2")
    conv(f"{head}3", 3, width, 9)
    return tensors


def torch_forward(torch, tensors, x, head, blocks=2, ups=2):
    """As SRGAN-PyTorch computes, but for its clamp: RGB of [0, 1], [B, 3, h, w]."""

    def conv(x, name):
        kernel = tensors[f"{name}.weight"]
        padding = kernel.shape[-1] // 2
        return torch.conv2d(x, kernel, tensors.get(f"{name}.bias"), padding=padding)

    def norm(x, name):
        mean, var = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
        parts = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return torch.nn.functional.batch_norm(x, mean, var, *parts)

    def prelu(x, name):
        return torch.prelu(x, tensors[f"{name}.weight"])

    x = features = prelu(conv(x, f"{head}1.0"), f"{head}1.1")
    for name in (f"trunk.{i}.rcb" for i in range(blocks)):
        y = prelu(norm(conv(x, f"{name}.0"), f"{name}.1"), f"{name}.2")
        x = x + norm(conv(y, f"{name}.3"), f"{name}.4")
    x = features + norm(conv(x, f"{head}2.0"), f"{head}2.1")
    for name in (f"upsampling.{i}.upsample_block" for i in range(ups)):
        x = prelu(torch.pixel_shuffle(conv(x, f"{name}.0"), 2), f"{name}.2")
    return conv(x, f"{head}3")


@pytest.mark.parametrize(("head", "ups"), [("conv", 2), ("conv_block", 1)])
def test_a_state_dict_computes_here_what_it_does_in_pytorch(tmp_path, head, ups):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    tensors = {
        name: torch.tensor(x, dtype=torch.float32)
        for name, x in torch_tensors(rng, head, ups=ups).items()
    }
    file = tmp_path / "net.pth.tar"
    torch.save({"epoch": 3, "state_dict": tensors}, file)
    net, variables, card = importers.import_weights(file, "srresnet")
    assert net == models.SRResNet(scale=2**ups, blocks=2, width=4)
    assert card["scales"] == [2**ups]
    x = rng.random([1, 5, 6, 3], np.float32)
    expected = torch_forward(
        torch, tensors, torch.tensor(x.transpose(0, 3, 1, 2)), head, ups=ups
    )
    expected = expected.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=1e-4)
    del tensors["trunk.1.rcb.3.weight"]
    torch.save(tensors, file)
    with pytest.raises(ValueError, match="expected also"):
        importers.import_weights(file, "srresnet")
    torch.save(tensors | {"block8.weight": tensors[f"{head}3.weight"]}, file)
    with pytest.raises(ValueError, match="found block8.weight"):
        importers.import_weights(file, "srresnet")


def test_foreign_files_are_refused(tmp_path):
    net, variables, _ = make()
    _, arrays = numbered(variables, net)
    file = tmp_path / "net.npz"

    def refuse(arrays, message):
        np.savez(file, **arrays)
        with pytest.raises(ValueError, match=message):
            importers.import_weights(file, "srresnet")

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
            importers.import_weights(file, "srresnet")
    with pytest.raises(ValueError, match=r"'\.npz'.*; got '\.mat'"):
        importers.import_weights(file.rename(tmp_path / "net.mat"), "srresnet")


def test_the_butterfly_is_enlarged_as_published(butterfly):
    file = find_weights("srresnet/SRResNet_8blocks_x4.npz")
    model = importers.import_weights(file, "srresnet")
    assert model.net == models.make("srresnet", blocks=8)
    sr, hr = protocol.restore_image(model, butterfly, 4)
    score = metrics.psnr(sr[None], hr[None], border=4)[0]
    np.testing.assert_allclose(score, 27.935, atol=0.005)

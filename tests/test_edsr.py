"""EDSR and MDSR, and the readers of their published weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import find_weights

from jaxsr import importers, metrics, models
from jaxsr.evaluation import protocol
from jaxsr.models import edsr

NETWORKS = [("edsr", {"scale": 4}), ("mdsr", {})]
SIZES = {"blocks": 2, "width": 4}


def seeded(net, x):
    return jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x),
    )


@pytest.mark.parametrize(
    ("name", "fields", "static", "golden"),
    [
        ("edsr", {"scale": 3}, {}, [0.3404344, 0.8794427, 0.2167810]),
        ("edsr", {"scale": 4}, {}, [0.4387420, 0.4345767, 0.3938352]),
        ("mdsr", {}, {"scale": 3}, [0.3152630, 0.9160311, 0.1995665]),
        ("mdsr", {}, {"scale": 4}, [0.4387220, 0.4347182, 0.3929163]),
    ],
)
def test_output_is_what_it_was(name, fields, static, golden):
    # Also computed with PyTorch in float64, layer by layer.
    net = models.make(name, **fields, **SIZES)
    x = jnp.linspace(0, 1, 60).reshape(1, 4, 5, 3)
    y = net.apply(seeded(net, x), x, **static)[0]
    np.testing.assert_allclose(
        [y[0, 0, 0], y[5, 4, 1], y[-1, -1, 2]], golden, rtol=1e-5
    )


def test_layers_start_as_pytorchs():
    x = jnp.zeros([1, 8, 8, 3])
    params = models.make("mdsr", blocks=1).init(jax.random.key(0), x)["params"]
    for name, fan_in in (("head", 27), ("x2_block_0_conv_1", 1600), ("x3_up_0", 576)):
        for leaf in jax.tree.leaves(params[name]):
            assert 0.9 < np.abs(leaf).max() * np.sqrt(fan_in) <= 1
        std = np.std(params[name]["kernel"])
        np.testing.assert_allclose(std, np.sqrt(1 / 3 / fan_in), rtol=0.05)


def test_without_weights_the_mean_colour_is_left():
    net = models.make("edsr", **SIZES)
    x = jax.random.uniform(jax.random.key(0), [1, 5, 6, 3])
    variables = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0), x))
    y = net.apply(variables, x)
    np.testing.assert_allclose(y, np.broadcast_to(edsr.DIV2K_MEAN, y.shape))


@pytest.mark.parametrize("name", ["edsr", "mdsr"])
def test_images_of_y_have_the_y_of_the_mean_colour(name):
    net = models.make(name, **SIZES)
    x = jax.random.uniform(jax.random.key(0), [1, 5, 6, 1])
    variables = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0), x))
    mean = (16 + 65.481 * 0.4488 + 128.553 * 0.4371 + 24.966 * 0.4040) / 255
    np.testing.assert_allclose(net.apply(variables, x), mean, rtol=1e-6)
    with pytest.raises(ValueError, match=r"each of the 1 channels; got \(0.4, 0.5\)"):
        net.clone(mean=(0.4, 0.5)).init(jax.random.key(0), x)


@pytest.mark.parametrize("shared_tail", [True, False])
def test_only_the_parts_of_the_scale_compute_and_learn(shared_tail):
    net = models.make("mdsr", shared_tail=shared_tail, **SIZES)
    x = jax.random.uniform(jax.random.key(0), [1, 5, 6, 3])
    params = net.init(jax.random.key(0), x)["params"]
    for scale in net.scales:
        others = tuple(f"x{s}_" for s in net.scales if s != scale)
        used = {k: v for k, v in params.items() if not k.startswith(others)}
        y = net.apply({"params": used}, x, scale=scale)  # others are not even read
        assert y.shape == (1, 5 * scale, 6 * scale, 3)
        grads = jax.grad(lambda p, s=scale: net.apply({"params": p}, x, scale=s).sum())(
            params
        )
        for name, layer in grads.items():
            assert np.any(layer["bias"] != 0) != name.startswith(others)


@pytest.mark.parametrize(("name", "fields"), NETWORKS)
def test_bfloat16_is_for_activations_alone(name, fields):
    net = models.make(name, **fields, **SIZES, dtype="bfloat16")
    x = jax.random.uniform(jax.random.key(0), [1, 8, 8, 3])
    variables = net.init(jax.random.key(0), x)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
    y = net.apply(variables, x)
    full = models.make(name, **fields, **SIZES).apply(variables, x)
    assert y.dtype == jnp.float32
    assert 0 < np.abs(y - full).max() < 0.005


def test_wrong_scales_and_channels_are_answered_with_the_right_ones():
    x = jnp.zeros([1, 8, 8, 3])
    with pytest.raises(ValueError, match=r"one of \[2, 3, 4\]; got 5"):
        models.make("edsr", scale=5, **SIZES).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"one of \(2, 4\); got 3"):
        net = models.make("mdsr", scales=(2, 4), **SIZES)
        net.init(jax.random.key(0), x, scale=3)
    with pytest.raises(ValueError, match="each of the 2 channels"):
        net = models.make("edsr", mean=(0.4, 0.4, 0.5), **SIZES)
        net.init(jax.random.key(0), x[..., :2])


def random_tensors(layers, rng):
    """A state dict, its kernels by (name, out, in, side)."""
    tensors = {}
    for name, out, width, side in layers:
        kernel = rng.normal(size=[out, width, side, side]) / side / np.sqrt(width)
        tensors[f"{name}.weight"] = kernel.astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=[out]).astype(np.float32)
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        tensors[f"{name}.weight"] = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
        mean = sign * 255 * np.array(edsr.DIV2K_MEAN, np.float32)
        tensors[f"{name}.bias"] = mean
    return tensors


def torch_blocks(prefix, count, width, side):
    return [
        (f"{prefix}.{i}.body.{j}", width, width, side)
        for i in range(count)
        for j in (0, 2)
    ]


def torch_layers(name, scale, width=4, count=2, tails=1):
    """Of EDSR for a scale, or of MDSR: (name, out, in, side)."""
    layers = [("head.0", width, 3, 3), *torch_blocks("body", count, width, 3)]
    layers += [(f"body.{count}", width, width, 3)]
    branches = [(scale, "tail.0")] if name == "edsr" else []
    if name == "mdsr":
        for i in range(3):
            layers += torch_blocks(f"pre_process.{i}", 2, width, 5)
            branches += [(2 + i, f"upsample.{i}")]
    for s, prefix in branches:
        side = 3 if s == 3 else 2
        for i in range(2 if s == 4 else 1):
            layers += [(f"{prefix}.{2 * i}", side**2 * width, width, 3)]
    first = 1 if name == "edsr" else 0
    return [*layers, *((f"tail.{first + i}", 3, width, 3) for i in range(tails))]


def torch_forward(torch, tensors, x, name, scale, count=2):
    """As EDSR-PyTorch computes: RGB of 0..255, [B, 3, h, w]."""

    def conv(x, name):
        kernel, bias = (
            torch.tensor(tensors[f"{name}.{p}"]) for p in ("weight", "bias")
        )
        return torch.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)

    def block(x, name):
        return x + conv(torch.relu(conv(x, f"{name}.body.0")), f"{name}.body.2")

    x = conv(conv(x, "sub_mean"), "head.0")
    up, tail = "tail.0", "tail.1"
    if name == "mdsr":
        up, tail = f"upsample.{scale - 2}", f"tail.{scale - 2}"
        tail = tail if f"{tail}.weight" in tensors else "tail.0"
        for i in range(2):
            x = block(x, f"pre_process.{scale - 2}.{i}")
    y = x
    for i in range(count):
        y = block(y, f"body.{i}")
    x = x + conv(y, f"body.{count}")
    for i in range(2 if scale == 4 else 1):
        x = torch.pixel_shuffle(conv(x, f"{up}.{2 * i}"), 3 if scale == 3 else 2)
    return conv(conv(x, tail), "add_mean")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def save(torch, file, tensors):
    torch.save({name: torch.tensor(x) for name, x in tensors.items()}, file)


@pytest.mark.parametrize(("name", "tails"), [("edsr", 1), ("mdsr", 1), ("mdsr", 3)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_state_dict_computes_here_what_it_does_in_pytorch(
    tmp_path, torch, name, scale, tails
):
    rng = np.random.default_rng(0)
    tensors = random_tensors(torch_layers(name, scale, tails=tails), rng)
    save(torch, tmp_path / "net.pt", tensors)
    net, variables, card = importers.import_weights(tmp_path / "net.pt", name)
    assert card["color"] == "rgb"
    assert card["scales"] == ([scale] if name == "edsr" else [2, 3, 4])
    x = rng.random([1, 5, 6, 3], np.float32)
    static = {"scale": scale} if name == "mdsr" else {}
    y = net.apply(variables, x, **static)
    expected = torch_forward(
        torch, tensors, torch.tensor(255 * x.transpose(0, 3, 1, 2)), name, scale
    )
    expected = expected.numpy().transpose(0, 2, 3, 1) / 255
    np.testing.assert_allclose(y, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["edsr", "mdsr"])
def test_a_network_of_images_in_0_to_1_is_recognised_by_its_mean(tmp_path, torch, name):
    """EDSR-PyTorch's option --rgb_range 1, as many ports have it."""
    rng = np.random.default_rng(0)
    tensors = random_tensors(torch_layers(name, 2), rng)
    for layer in ("sub_mean", "add_mean"):
        tensors[f"{layer}.bias"] /= 255
    save(torch, tmp_path / "net.pt", tensors)
    net, variables, _ = importers.import_weights(tmp_path / "net.pt", name)
    assert net.mean == edsr.DIV2K_MEAN
    x = rng.random([1, 5, 6, 3], np.float32)
    planes = torch.tensor(x).movedim(-1, 1)
    expected = torch_forward(torch, tensors, planes, name, 2).movedim(1, -1)
    static = {"scale": 2} if name == "mdsr" else {}
    found = net.apply(variables, x, **static)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("width", "residual_scale"), [(64, 1.0), (256, 0.1)], ids=["baseline", "full"]
)
def test_the_wide_edsr_has_a_residual_scale(tmp_path, torch, width, residual_scale):
    layers = torch_layers("edsr", 2, width=width, count=1)
    tensors = random_tensors(layers, np.random.default_rng(0))
    save(torch, tmp_path / "net.pth", tensors)
    net = importers.import_weights(tmp_path / "net.pth", "edsr").net
    fields = {"blocks": 1, "width": width, "residual_scale": residual_scale}
    assert net == models.make("edsr", **fields)


@pytest.mark.parametrize("name", ["edsr", "mdsr"])
def test_foreign_tensors_are_listed(tmp_path, torch, name):
    file = tmp_path / "net.pt"
    whole = random_tensors(torch_layers(name, 2), np.random.default_rng(0))

    def refuse(tensors, message):
        save(torch, file, tensors)
        with pytest.raises(ValueError, match=message):
            importers.import_weights(file, name)

    if name == "mdsr":
        renamed = {k.replace("head.0", "first"): x for k, x in whole.items()}
        refuse(renamed, r"also \['head.0.bias', 'head.0.weight'\], found \['first.b")
    refuse({"alien": np.zeros(3)}, r"found .*alien")
    refuse(whole | {"head.0.weight": np.zeros(3)}, r"head.0.weight.* shape \(3,\)")
    if name == "edsr":
        del (lacking := dict(whole))["body.1.body.0.weight"]
        refuse(lacking, r"found body.1.body.0.bias of shape \(4,\)")
    refuse(
        whole | {"body.0.body.0.weight": np.zeros([4, 4, 1, 1])},
        r"block_0_conv_0/kernel: expected \(3, 3, 4, 4\), found \(1, 1, 4, 4\)",
    )
    refuse(whole | {"sub_mean.bias": np.zeros(3)}, r"add_mean.bias: expected \[-?0.0, ")
    with pytest.raises(ValueError, match=r"must end in .*'\.pt'.*got '\.mat'"):
        importers.import_weights(file.rename(tmp_path / "net.mat"), name)


def test_an_archive_of_numbered_layers_is_read(tmp_path, torch):
    rng = np.random.default_rng(0)
    layers = torch_layers("edsr", 2)
    tensors = random_tensors(layers, rng)
    arrays = {"DIV2K_mean": np.reshape(edsr.DIV2K_MEAN, (1, 3, 1, 1))}
    for i, (name, *_) in enumerate(layers):
        for part in ("weight", "bias"):
            x = tensors[f"{name}.{part}"]
            if name == "tail.0.0":  # to TensorFlow's order of a pixel shuffle
                x = x.reshape(4, 4, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)
            arrays[f"convolution{i}_{part}"] = x
    np.savez(tmp_path / "net.npz", **arrays)
    net, variables, _ = importers.import_weights(tmp_path / "net.npz", "edsr")
    x = rng.random([1, 5, 6, 3], np.float32)
    # In that file's network values are of 0..255 less the mean over 127.5.
    tensors["sub_mean.weight"] = tensors["sub_mean.weight"] / 127.5
    tensors["sub_mean.bias"] = tensors["sub_mean.bias"] / 127.5
    tensors["add_mean.weight"] = tensors["add_mean.weight"] * 127.5
    expected = torch_forward(
        torch, tensors, torch.tensor(255 * x.transpose(0, 3, 1, 2)), "edsr", 2
    )
    expected = expected.numpy().transpose(0, 2, 3, 1) / 255
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=1e-4)
    del arrays["convolution3_bias"]
    np.savez(tmp_path / "net.npz", **arrays)
    with pytest.raises(ValueError, match=r"also \['convolution3_bias'\]"):
        importers.import_weights(tmp_path / "net.npz", "edsr")
    (tmp_path / "net.npz").write_bytes((tmp_path / "net.npz").read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a whole .npz file"):
        importers.import_weights(tmp_path / "net.npz", "edsr")


def test_the_butterfly_is_enlarged_as_published(butterfly):
    file = find_weights("edsr/EDSR_8blocks_x2.npz")
    model = importers.import_weights(file, "edsr")
    assert model.net == models.make("edsr", blocks=8, width=64, residual_scale=1.0)
    sr, hr = protocol.restore_image(model, butterfly, 2)
    score = metrics.psnr(sr[None], hr[None], border=2)[0]
    np.testing.assert_allclose(score, 34.837, atol=0.005)

import functools
import json
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import GOLDEN, find_weights, open_set
from skimage import data

from jaxsr import image, losses, perceptual
from jaxsr.data import sources
from jaxsr.importers import features
from jaxsr.training import results


@pytest.fixture(scope="module")
def pair(photo):
    """A real photograph [1, 96, 96, 3], and what bicubic makes of a quarter of it."""
    hr = image.from_uint(photo[60:156, 60:156])[None]
    sr = image.quantise(image.enlarge(image.degrade(hr, 4), 4))
    return jnp.asarray(sr), jnp.asarray(hr)


@pytest.fixture(scope="module")
def vgg19_file(random_weights):
    return random_weights / "vgg19" / "vgg19.npz"


@pytest.fixture(scope="module")
def vgg19(vgg19_file):
    return features.load_vgg19(vgg19_file)


@pytest.fixture(scope="module")
def keras_vgg19(vgg19_file):
    """Keras' own network with the file's tensors, set by hand."""
    keras = pytest.importorskip("keras")
    net = keras.applications.VGG19(weights=None, include_top=False)
    with np.load(vgg19_file) as tensors:
        for layer in net.layers:
            if "conv" in layer.name:
                parts = [tensors[f"{layer.name}_{part}"] for part in ("kernel", "bias")]
                layer.set_weights(parts)
    return net


@pytest.mark.parametrize("layer", ["conv2_2", "conv5_4"])
def test_features_are_those_of_keras(pair, vgg19, keras_vgg19, layer):
    import keras

    _, hr = pair
    name = "block{}_conv{}".format(*layer[4:].split("_"))
    part = keras.Model(keras_vgg19.input, keras_vgg19.get_layer(name).output)
    given = keras.applications.vgg19.preprocess_input(255 * np.array(hr))
    expected = np.asarray(part(given))
    found = perceptual.vgg19_features(vgg19, hr, layer)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("layer", "mean", "most"),
    [("conv2_2", 104.756424, 4421.5776), ("conv5_4", 0.64757097, 120.72684)],
)
def test_imagenets_features_are_as_computed_once_in_keras(layer, mean, most):
    vgg19 = features.load_vgg19(find_weights("vgg19/vgg19_conv.npz"))
    hr = image.from_uint(data.astronaut()[100:228, 180:308])[None]
    found = perceptual.vgg19_features(vgg19, hr, layer)
    np.testing.assert_allclose([found.mean(), found.max()], [mean, most], rtol=1e-5)


def test_kerass_own_file_is_read(tmp_path, vgg19, keras_vgg19):
    keras_vgg19.save(tmp_path / "vgg19.h5")
    jax.tree.map(
        np.testing.assert_array_equal, features.load_vgg19(tmp_path / "vgg19.h5"), vgg19
    )


def test_the_published_keras_file_is_read(tmp_path, vgg19, vgg19_file):
    """Its names: those of the first Keras, of its Theano days."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "vgg19.h5"
    with np.load(vgg19_file) as tensors, h5py.File(path, "w") as file:
        for name in tensors:
            layer, part = name.rsplit("_", 1)
            part = {"kernel": "W", "bias": "b"}[part]
            file[f"{layer}/{layer}_{part}_1:0"] = tensors[name]
    jax.tree.map(np.testing.assert_array_equal, features.load_vgg19(path), vgg19)


def test_torchvisions_state_dict_computes_here_what_it_does_there(tmp_path, pair):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers, width = [], 3
    for count, channels in perceptual.VGG19_BLOCKS:
        for _ in range(count):
            layers += [torch.nn.Conv2d(width, channels, 3, padding=1), torch.nn.ReLU()]
            width = channels
        layers.append(torch.nn.MaxPool2d(2, 2))
    net = torch.nn.Sequential(*layers)
    state = {f"features.{name}": x for name, x in net.state_dict().items()}
    state["classifier.0.bias"] = torch.zeros(4)
    torch.save(state, tmp_path / "vgg19.pth")
    _, hr = pair
    x = np.array((hr - np.array([[[[0.485, 0.456, 0.406]]]])).transpose(0, 3, 1, 2))
    x = torch.tensor(x / np.reshape([0.229, 0.224, 0.225], (3, 1, 1)))
    with torch.no_grad():  # to conv4_1: later ones are nearly constant
        expected = net[:21](x.float()).numpy().transpose(0, 2, 3, 1)
    params = features.load_vgg19(tmp_path / "vgg19.pth")
    found = perceptual.vgg19_features(params, hr, "conv4_1")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())


@pytest.mark.parametrize("layer", ["conv2_2", "conv5_4"])
def test_vgg_loss_is_scaled_once(pair, vgg19, layer):
    sr, hr = (x[:, :48, :48] for x in pair)
    loss = functools.partial(perceptual.vgg_loss, vgg19, layer=layer)
    apart = [np.array(perceptual.vgg19_features(vgg19, x, layer)) for x in (sr, hr)]
    expected = np.mean((apart[0] - apart[1]) ** 2) / 162.5625  # the paper's 0.006
    both = loss(jnp.concatenate([sr, hr]), jnp.concatenate([hr, hr]))
    np.testing.assert_allclose(both, [expected, 0], rtol=1e-4)
    channels = {"conv2_2": 128, "conv5_4": 512}[layer]
    literal = loss(sr, hr, reduction="sum")  # equation 5
    np.testing.assert_allclose(literal, [channels * expected], rtol=1e-4)
    with pytest.raises(ValueError, match=r"one of \['mean', 'sum'\]; got 'max'"):
        loss(sr, hr, reduction="max")
    grads = jax.jit(jax.grad(lambda x, hr: loss(x, hr).sum()))(sr, hr)
    assert np.isfinite(grads).all() and (grads != 0).any()
    with pytest.raises(ValueError, match="must match"):
        loss(sr, hr[:, :32])


def test_vgg19_says_what_it_takes():
    images = jnp.zeros([1, 15, 40, 3])
    with pytest.raises(ValueError, match="conv1_1, .*, conv5_4; got 'conv6_1'"):
        perceptual.vgg19_features({}, images, "conv6_1")
    with pytest.raises(ValueError, match=r"at least 16 pixels.*\(1, 15, 40, 3\)"):
        perceptual.vgg19_features({}, images, "conv5_4")
    with pytest.raises(ValueError, match=r"RGB.*\(1, 15, 40, 1\)"):
        perceptual.vgg19_features({}, images[..., :1], "conv1_1")


def test_total_variation_of_a_ramp_is_its_slope():
    rows, columns = np.mgrid[:6, :5].astype(np.float32)
    ramp = jnp.asarray(0.03 * rows - 0.04 * columns)[None, :, :, None]
    images = jnp.concatenate([ramp, 2 * ramp, 0 * ramp])
    found = losses.total_variation(images)
    np.testing.assert_allclose(found, [0.05, 0.1, 0], rtol=1e-4, atol=2e-6)
    grads = jax.grad(lambda x: losses.total_variation(x).sum())(images)
    assert np.isfinite(grads).all()
    with pytest.raises(ValueError, match="2 pixels a side"):
        losses.total_variation(images[:, :1])


@pytest.fixture(scope="module")
def lpips_file(random_weights):
    return random_weights / "lpips" / "lpips.npz"


@pytest.fixture(scope="module")
def lpips(lpips_file):
    return features.load_lpips(lpips_file)


def test_lpips_is_read_from_the_two_files_that_are_to_be_had(
    tmp_path, monkeypatch, lpips, lpips_file
):
    torch = pytest.importorskip("torch")
    heads, alexnet = {}, {"classifier.1.bias": torch.zeros(4)}
    with np.load(lpips_file) as tensors:
        for i, index in enumerate((0, 3, 6, 8, 10)):
            kernel, bias = (
                torch.tensor(tensors[f"AlexNet_0_Conv_{i}_{part}"])
                for part in ("kernel", "bias")
            )
            alexnet[f"features.{index}.weight"] = kernel.permute(3, 2, 0, 1)
            alexnet[f"features.{index}.bias"] = bias
            linear = torch.tensor(tensors[f"NetLinLayer_{i}_Conv_0_kernel"])
            heads[f"lin{i}.model.1.weight"] = linear.permute(3, 2, 0, 1)
    (tmp_path / "lpips").mkdir()
    torch.save(alexnet, tmp_path / "lpips" / "alexnet-owt-7be5be79.pth")
    torch.save(heads, tmp_path / "lpips" / "alex.pth")
    monkeypatch.setenv("JAXSR_WEIGHTS", str(tmp_path))
    for path in (None, tmp_path / "lpips"):
        found = features.load_lpips(path)
        jax.tree.map(np.testing.assert_array_equal, found, lpips)


@pytest.fixture(scope="module")
def dists():
    """Params of random weights, read from a file as torchvision and the authors name
    them."""
    rng, tensors, index, inputs = np.random.default_rng(0), {}, 0, 3
    for count, width in perceptual.VGG16_BLOCKS:
        for _ in range(count):
            kernel = rng.standard_normal((3, 3, inputs, width))
            kernel *= np.sqrt(2 / (9 * inputs))
            tensors[f"features.{index}.weight"] = kernel.astype(np.float32)
            bias = 0.1 * rng.standard_normal(width)
            tensors[f"features.{index}.bias"] = bias.astype(np.float32)
            index, inputs = index + 2, width
        index += 1
    for name in ("alpha", "beta"):
        tensors[name] = rng.random((1, 1475, 1, 1), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(pathlib.Path(folder) / "dists.npz", **tensors)
        return features.load_dists(folder)


def test_dists_is_that_of_its_package(dists):
    """DISTS_pytorch 0.1, once, in float64, with the same weights and images."""
    rng = np.random.default_rng(1)
    hr = rng.random((2, 45, 62, 3)).astype(np.float32)
    noise = 0.1 * rng.standard_normal(hr.shape)
    sr = np.clip(hr + noise, 0, 1).astype(np.float32)
    found = perceptual.dists(dists, sr, hr)
    np.testing.assert_allclose(found, [0.01457416, 0.01591629], rtol=1e-4)
    np.testing.assert_allclose(perceptual.dists(dists, hr, hr), 0, atol=1e-6)
    gradient = jax.grad(lambda x: perceptual.dists(dists, x, hr[:1]).sum())(sr[:1])
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_dists_refuses_small_images_and_foreign_files(dists, lpips_file):
    with pytest.raises(ValueError, match="at least 16 pixels"):
        perceptual.dists(dists, *[np.zeros((1, 15, 40, 3), np.float32)] * 2)
    with pytest.raises(ValueError, match="as DISTS: expected the tensors alpha"):
        features.load_dists(lpips_file)


def lpips_in_torch(torch, file, sr, hr):
    """The package's formula, in float64; images [B, 3, H, W] in [-1, 1]."""
    tensors = {name: torch.tensor(x).double() for name, x in np.load(file).items()}
    shift, scale = ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450])
    shift, scale = (torch.tensor(x).double().reshape(3, 1, 1) for x in (shift, scale))

    def features(x):
        x = (x - shift) / scale
        for i, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
            if i in (1, 2):
                x = torch.nn.functional.max_pool2d(x, kernel_size=3, stride=2)
            kernel = tensors[f"AlexNet_0_Conv_{i}_kernel"].permute(3, 2, 0, 1)
            bias = tensors[f"AlexNet_0_Conv_{i}_bias"]
            x = torch.relu(torch.conv2d(x, kernel, bias, stride, padding))
            yield x / (torch.sqrt((x**2).sum(dim=1, keepdim=True)) + 1e-10)

    distance = 0
    for i, (a, b) in enumerate(zip(features(sr), features(hr))):
        weights = tensors[f"NetLinLayer_{i}_Conv_0_kernel"].reshape(-1, 1, 1)
        distance += (weights * (a - b) ** 2).sum(dim=1).mean(dim=(1, 2))
    return distance.numpy()


def test_lpips_is_that_of_its_package(pair, lpips, lpips_file):
    torch = pytest.importorskip("torch")
    sr, hr = pair
    sr = jnp.concatenate([sr, hr[:, ::-1], jnp.zeros_like(hr)])
    hr = jnp.concatenate([hr] * 3)
    sr, hr = sr[:, :87, :95], hr[:, :87, :95]  # no multiples of anything
    given = (
        torch.tensor(2 * np.array(x, np.float64).transpose(0, 3, 1, 2) - 1)
        for x in (sr, hr)
    )
    expected = lpips_in_torch(torch, lpips_file, *given)
    assert (expected > 0.1).all()
    np.testing.assert_allclose(perceptual.lpips(lpips, sr, hr), expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "scale"), [("butterfly", 4), ("bird", 2)])
def test_lpips_of_bicubic_is_as_computed_once_in_torch(name, scale):
    """In golden/lpips.json, by `lpips_in_torch`."""
    lpips = features.load_lpips(find_weights("lpips/lpips_alexnet.npz"))
    source = open_set("Set5")
    pixels = source.read(source.names.index(f"{name}_GT"))
    hr = image.modcrop(image.from_uint(pixels), scale)
    low = image.quantise(image.degrade(hr, scale))
    sr = image.quantise(image.enlarge(low, scale))
    golden = json.loads((GOLDEN / "lpips.json").read_text())
    found = perceptual.lpips(lpips, jnp.asarray(sr)[None], jnp.asarray(hr)[None])
    np.testing.assert_allclose(found, golden["Set5"][name][f"x{scale}"], rtol=1e-4)


def test_lpips_is_a_distance_of_each_image_alone(pair, lpips):
    sr, hr = (x[:, :40, :50] for x in pair)
    distance = jax.jit(functools.partial(perceptual.lpips, lpips))
    found = distance(jnp.concatenate([sr, hr, hr]), jnp.concatenate([hr, hr, sr]))
    assert found.shape == (3,) and 0 <= found[1] < 1e-10 and found[0] > 0.1
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    np.testing.assert_allclose(found[0], distance(sr, hr)[0], rtol=1e-5)


def test_lpips_has_a_gradient_where_no_channel_answers(pair, lpips):
    _, hr = (x[:, :31, :31] for x in pair)
    slope = jax.jit(jax.value_and_grad(lambda x, p: perceptual.lpips(p, x, hr)[0]))
    distance, grads = slope(hr[:, ::-1], lpips)
    assert distance > 0.01 and np.isfinite(grads).all() and (grads != 0).any()
    silent = {k: {"bias": 0 * lpips[k]["bias"] - 1e3} for k in lpips if "conv" in k}
    silent = {k: lpips[k] | silent.get(k, {}) for k in lpips}
    distance, grads = slope(hr[:, ::-1], silent)
    assert distance == 0 and (grads == 0).all()


def test_lpips_says_what_it_takes(lpips):
    least = jnp.zeros([1, 31, 31, 3])
    with pytest.raises(
        ValueError, match=r"LPIPS.*at least 31 pixels.*\(1, 30, 31, 3\)"
    ):
        perceptual.lpips(lpips, least[:, :30], least[:, :30])
    with pytest.raises(ValueError, match="must match"):
        perceptual.lpips(lpips, least, least[:, :30])


def test_the_state_dict_of_lpips_is_read(tmp_path, lpips, lpips_file):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(x) for name, x in np.load(lpips_file).items()}
    state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    for i, layer in enumerate(["1.0", "2.3", "3.6", "4.8", "5.10"]):
        kernel = tensors[f"AlexNet_0_Conv_{i}_kernel"].permute(3, 2, 0, 1)
        state[f"net.slice{layer}.weight"] = kernel
        state[f"net.slice{layer}.bias"] = tensors[f"AlexNet_0_Conv_{i}_bias"]
        linear = tensors[f"NetLinLayer_{i}_Conv_0_kernel"].permute(3, 2, 0, 1)
        state[f"lin{i}.model.1.weight"] = state[f"lins.{i}.model.1.weight"] = linear
    torch.save(state, tmp_path / "alex.pth")
    read = features.load_lpips(tmp_path / "alex.pth")
    jax.tree.map(np.testing.assert_array_equal, read, lpips)
    del state["lin2.model.1.weight"]
    torch.save(state, tmp_path / "alex.pth")
    with pytest.raises(ValueError, match="LPIPS: expected .* lin2.model.1.weight, f"):
        features.load_lpips(tmp_path / "alex.pth")


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A machine without weights, and an empty folder to put some in."""
    for variable in ("JAXSR_WEIGHTS", "JAXSR_DATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    folder = tmp_path / "jaxsr_data" / "vgg19"
    folder.mkdir(parents=True)
    return folder


def test_weights_are_found_beside_the_image_sets(no_weights, vgg19, vgg19_file):
    (no_weights / "README.md").write_text("not weights")
    (no_weights / "any_name.npz").symlink_to(vgg19_file)
    jax.tree.map(np.testing.assert_array_equal, features.load_vgg19(), vgg19)


def test_without_weights_the_error_says_how_to_get_them(no_weights, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras", None)
    with pytest.raises(sources.DataNotFound) as error:
        features.load_vgg19()
    for told in (str(no_weights), features.KERAS_FILE, "path of a file"):
        assert told in str(error.value)
    with pytest.raises(
        sources.DataNotFound, match="LPIPS.*lpips.*alexnet-owt-.*alex.pth"
    ):
        features.load_lpips()


def test_without_lpips_a_run_is_judged_by_psnr_and_says_so_in_one_line(
    no_weights, capsys
):
    config = {"validation": {"best_by": "lpips"}, "perceptual": {"lpips": ""}}
    assert results.load_lpips(config) is None
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith("The best model is chosen by PSNR instead of LPIPS: the wei")
    assert results.best_by(config, None) == "psnr"
    assert results.best_by(config, {"conv1": 0}) == "lpips"


def damaged(tensors, name):
    """(tensors, what the error must say) of one way to be wrong."""
    kernel = tensors["block3_conv2_kernel"]
    if name == "missing":
        del tensors["block3_conv2_kernel"]
        return "expected the tensors block3_conv2_kernel, found"
    if name == "layout":
        tensors["block3_conv1_kernel"] = tensors["block3_conv1_kernel"].T
        return r"block3_conv1_kernel: expected .*128, 256\).* found \(256, 128, 3, 3"
    if name == "first":
        tensors["block1_conv1_kernel"] = kernel
        return r"block1_conv1_kernel: expected shape \(3, 3, 3, 64\)"
    tensors["block5_conv4_bias"] = np.zeros(7)
    return r"block5_conv4_bias: expected shape \(512,\).*found \(7,\)"


@pytest.mark.parametrize("how", ["missing", "layout", "first", "bias"])
def test_a_wrong_tensor_is_named(tmp_path, vgg19_file, how):
    with np.load(vgg19_file) as file:
        tensors = dict(file)
    expected = damaged(tensors, how)
    np.savez(tmp_path / "bad.npz", **tensors)
    with pytest.raises(ValueError, match=f"bad.npz as VGG19: {expected}"):
        features.load_vgg19(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cut.npz", "not a whole .npz"),
        ("cut.h5", "not a whole HDF5"),
        ("cut.pth", "not a whole PyTorch"),
        ("cut.txt", r"must end in .*'.h5'"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=f"{name} as VGG19: .*{expected}"):
        features.load_vgg19(tmp_path / name)

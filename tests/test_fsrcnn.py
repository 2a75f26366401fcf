import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from conftest import find_weights, open_set

from jaxsr import importers, metrics, models
from jaxsr.evaluation import protocol
from jaxsr.training import objectives

LAYERS = ["extract", "shrink", "map_0", "map_1", "expand", "deconv"]
SMALL = {"width": 6, "narrow": 3, "depth": 2}


@pytest.mark.parametrize(
    ("scale", "golden"),
    [
        (2, [0.01467427, -0.05296927, -0.05302939]),
        (3, [-0.15094160, 0.04310715, 0.06887472]),
        (4, [-0.01057717, 0.01663976, 0.02662655]),
    ],
)
def test_fsrcnn_output_is_what_it_was(scale, golden):
    # Also computed with scipy.signal.correlate2d in float64, each layer edge-padded,
    # and the last by adding the kernel, times each input pixel, where it belongs.
    net = models.make("fsrcnn", scale=scale, **SMALL)
    x = jnp.linspace(0, 1, 35).reshape(1, 5, 7, 1)
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x),
    )
    y = net.apply(variables, x)[0, :, :, 0]
    middle = (5 * scale // 2, 7 * scale // 2)
    np.testing.assert_allclose([y[0, 0], y[middle], y[-1, -1]], golden, rtol=1e-4)


# scale -> sides of the authors' lr and label
TRAINED = {2: (14, 19), 3: (11, 19), 4: (10, 21)}


@pytest.mark.parametrize("scale", TRAINED)
def test_training_computes_what_the_authors_nets_do_in_caffe(scale):
    torch = pytest.importorskip("torch")
    lr_side, side = TRAINED[scale]
    net = models.make("fsrcnn", scale=scale, padding="zero", **SMALL)
    lr = jax.random.uniform(jax.random.key(0), [2, lr_side, lr_side, 1])
    params = jax.tree.map(  # biases too are not zero
        lambda p: p + 0.1, net.init(jax.random.key(1), lr)["params"]
    )
    x = torch.tensor(np.asarray(lr)).permute(0, 3, 1, 2)
    for name in LAYERS:
        group = {k: torch.tensor(np.asarray(p)) for k, p in params[name].items()}
        kernel, bias = group["kernel"].permute(3, 2, 0, 1), group["bias"]
        if name == "deconv":
            kernel = kernel.transpose(0, 1)
            x = torch.conv_transpose2d(x, kernel, bias, stride=scale, padding=4)
        else:
            x = torch.conv2d(x, kernel, bias, padding=1 if "map" in name else 0)
            slope = torch.tensor(np.asarray(params[f"prelu_{name}"]["slope"]))
            x = torch.prelu(x, slope)
    sr = net.apply({"params": params}, lr)
    assert sr.shape == (2, side, side, 1)
    np.testing.assert_allclose(sr, x.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", TRAINED)
def test_the_label_is_what_the_authors_cut(scale):
    """By their generate_train.m, whose indices begin at 1."""
    lr_side, side = TRAINED[scale]
    net = models.make("fsrcnn", scale=scale, padding="zero", **SMALL)
    batch = {
        "lr": jnp.zeros([1, lr_side, lr_side, 1]),
        "hr": jax.random.uniform(jax.random.key(0), [1, *[scale * lr_side] * 2, 1]),
    }
    variables = net.init(jax.random.key(1), batch["lr"])
    labels = []
    objective = objectives.supervised(net, lambda sr, hr: labels.append(hr))
    objective(variables, batch, 0)
    first = scale * (1 + (lr_side - 1) // 2) - int((side + scale) / 2 - 1) - 1
    expected = batch["hr"][:, first : first + side, first : first + side]
    np.testing.assert_array_equal(labels[0], expected)


def test_a_wrong_padding_is_answered_with_the_right_ones():
    with pytest.raises(ValueError, match="'edge' or 'zero'; got 'valid'"):
        models.make("fsrcnn", padding="valid").init(
            jax.random.key(1), jnp.zeros([1, 9, 9, 1])
        )


def test_initialisation_is_the_papers():
    net = models.make("fsrcnn")
    params = net.init(jax.random.key(0), jnp.zeros([1, 8, 8, 1]))["params"]
    std = {name: np.std(params[name]["kernel"]) for name in ("map_0", "deconv")}
    np.testing.assert_allclose(std["map_0"], (2 / (1 + 0.25**2) / 108) ** 0.5, rtol=0.1)
    np.testing.assert_allclose(std["deconv"], 0.001, rtol=0.05)
    assert (params["prelu_extract"]["slope"] == 0.25).all()


def make_params(scale):
    """A network that repeats pixels: what it is given passes its first channels."""
    shapes = [(5, 1, 6), (1, 6, 3), (3, 3, 3), (3, 3, 3), (1, 3, 6), (9, 6, 1)]
    params = {}
    for name, (side, inputs, outputs) in zip(LAYERS, shapes):
        kernel = np.zeros([side, side, inputs, outputs], np.float32)
        bias = np.zeros([outputs], np.float32)
        if name == "deconv":
            first = {2: 4, 3: 3, 4: 4}[scale]
            kernel[first : first + scale, first : first + scale, 0] = 1
        else:
            kernel[side // 2, side // 2, 0, 0] = 1
            kernel[0, -1, -1, -1] = 1  # which no later layer takes on
            bias[-1] = 0.1
            slope = np.full([outputs], 0.2, np.float32)
            params[f"prelu_{name}"] = {"slope": slope}
        params[name] = {"kernel": kernel, "bias": bias}
    params["deconv"]["kernel"][0, 1, 1] = 1e-3
    return params


def cell(arrays):
    cells = np.empty([len(arrays), 1], object)
    for i, array in enumerate(arrays):
        cells[i, 0] = array
    return cells


def write_mat(file, params):
    """As MATLAB: kernels [in, k*k, out] down columns first, the last [out, k*k, in]."""
    kernels, slopes = [], []
    for name in LAYERS:
        kernel = params[name]["kernel"]
        if name == "deconv":
            kernel = kernel.swapaxes(2, 3)
        inputs, outputs = kernel.shape[2:]
        kernels.append(kernel.transpose(2, 1, 0, 3).reshape(inputs, -1, outputs))
        slope = params.get(f"prelu_{name}", {"slope": np.zeros([0])})["slope"]
        slopes.append(slope[:1].reshape(1, -1))  # one for the whole layer, or none
    biases = [params[name]["bias"][:, None] for name in LAYERS]
    variables = {"weights": kernels, "biases": biases, "prelu": slopes}
    scipy.io.savemat(file, {f"{k}_conv": cell(v) for k, v in variables.items()})


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_weight_arrives_and_the_scale_is_found(tmp_path, scale):
    file = tmp_path / "small.mat"
    params = make_params(scale)
    write_mat(file, params)
    net, variables, card = importers.import_weights(file, "fsrcnn")
    assert net == models.FSRCNN(scale, **SMALL)
    jax.tree.map(np.testing.assert_array_equal, variables, {"params": params})
    assert (card["network"], card["color"], card["scales"]) == ("fsrcnn", "y", [scale])
    x = np.random.default_rng(0).random((1, 5, 6, 1), np.float32)
    expected = x.repeat(scale, axis=1).repeat(scale, axis=2)
    np.testing.assert_allclose(net.apply(variables, x), expected, atol=0.01)


def test_cut_and_foreign_files_are_refused(tmp_path):
    file = tmp_path / "small.mat"
    params = make_params(2)
    write_mat(file, params)
    whole = file.read_bytes()
    for size in range(0, len(whole) - 1, 531):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"Cannot import {file} as fsrcnn"):
            importers.import_weights(file, "fsrcnn")
    params["deconv"]["kernel"][4, 4] += 0.5
    write_mat(file, params)
    with pytest.raises(ValueError, match=r"gray at one of the scales \(2, 3, 4\)"):
        importers.import_weights(file, "fsrcnn")
    params["map_1"]["kernel"] = np.zeros([5, 5, 3, 3], np.float32)
    write_mat(file, params)
    expected = r"map_1/kernel: expected \(3, 3, 3, 3\), found \(5, 5, 3, 3\)"
    with pytest.raises(ValueError, match=expected):
        importers.import_weights(file, "fsrcnn")
    scipy.io.savemat(file, {"weights_conv": cell([np.zeros([1, 25, 6])])})
    expected = r"'prelu_conv'.*found \['weights_conv'\]"
    with pytest.raises(ValueError, match=expected):
        importers.import_weights(file, "fsrcnn")


def psnr(model, pixels):
    """Of one image by the protocol."""
    sr, hr = protocol.restore_image(model, pixels, model.net.scale)
    return metrics.psnr(sr[None], hr[None], border=model.net.scale)[0]


@pytest.mark.parametrize(
    ("name", "expected"), [("FSRCNN_x3", 28.671), ("FSRCNN-s_x2", 32.636)]
)
def test_the_butterfly_is_enlarged_as_measured(butterfly, name, expected):
    model = importers.import_weights(find_weights(f"fsrcnn/{name}.mat"), "fsrcnn")
    score = psnr(model, butterfly)
    np.testing.assert_allclose(score, expected, atol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FSRCNN_x2", 37.00),
        ("FSRCNN_x3", 33.16),
        ("FSRCNN_x4", 30.71),
        ("FSRCNN-s_x2", 36.58),
    ],
)
def test_the_mean_over_set5_is_the_published_one(name, expected):
    model = importers.import_weights(find_weights(f"fsrcnn/{name}.mat"), "fsrcnn")
    source = open_set("Set5")
    scores = [psnr(model, source.read(i)) for i in range(5)]
    np.testing.assert_allclose(np.mean(scores), expected, atol=0.015)

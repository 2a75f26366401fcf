import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from conftest import find_weights, open_set

from jaxsr import importers, metrics, models
from jaxsr.evaluation import protocol

SMALL = {"sides": (5, 3, 3), "widths": (6, 4)}


def seeded(net, channels=1):
    x = jnp.linspace(0, 1, 35 * channels).reshape(1, 5, 7, channels)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        shapes,
    )
    return variables, x


def test_srcnn_output_is_what_it_was():
    # Also computed with scipy.signal.correlate2d in float64, each layer edge-padded.
    golden = [0.04784572, 0.07544927, 0.05921516]
    net = models.make("srcnn", **SMALL)
    variables, x = seeded(net)
    y = net.apply(variables, x)[0, :, :, 0]
    np.testing.assert_allclose([y[0, 0], y[2, 3], y[4, 6]], golden, rtol=1e-5)


def test_valid_padding_gives_the_centre():
    net = models.make("srcnn", **SMALL)
    variables, _ = seeded(net, channels=3)
    x = jax.random.normal(jax.random.key(0), [2, 13, 15, 3])
    whole = net.apply(variables, x)
    centre = net.clone(padding="valid").apply(variables, x)
    assert net.halo == 4
    np.testing.assert_allclose(centre, whole[:, 4:-4, 4:-4], atol=1e-6)


def test_the_papers_patch_of_33_gives_21():
    net = models.make("srcnn", padding="valid")
    x = jnp.zeros([1, 33, 33, 1])
    assert net.apply(net.init(jax.random.key(0), x), x).shape == (1, 21, 21, 1)


def test_every_weight_is_small_at_first():
    net = models.make("srcnn")
    params = net.init(jax.random.key(0), jnp.zeros([1, 8, 8, 1]))["params"]
    for layer in params.values():
        np.testing.assert_allclose(np.std(layer["kernel"]), 0.001, rtol=0.1)
        assert (layer["bias"] == 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_it_can_begin_as_the_identity(channels):
    net = models.make("srcnn", sides=(9, 5, 5), identity=True)
    x = jax.random.uniform(jax.random.key(1), [1, 30, 32, channels])
    variables = net.init(jax.random.key(0), x)
    np.testing.assert_allclose(net.apply(variables, x), x, atol=0.1)
    kernels = [layer["kernel"] for layer in variables["params"].values()]
    deviations = [
        float(jnp.std(k[..., channels:, :] if i else k[..., channels:]))
        for i, k in enumerate(kernels)
    ]
    he = [(2 / (81 * channels)) ** 0.5, (2 / (25 * 64)) ** 0.5, 0.001]
    np.testing.assert_allclose(deviations, he, rtol=0.1)
    assert models.trained(net) == models.make("srcnn", sides=(9, 5, 5))


def test_wrong_fields_are_answered():
    with pytest.raises(ValueError, match="'edge' or 'valid'; got 'same'"):
        seeded(models.make("srcnn", padding="same"))
    with pytest.raises(ValueError, match=r"odd.*\(9, 2, 5\)"):
        seeded(models.make("srcnn", sides=(9, 2, 5)))
    with pytest.raises(ValueError, match=r"one more.*\(9, 5\)"):
        seeded(models.make("srcnn", sides=(9, 5)))


def write_mat(file, params):
    """As MATLAB: kernels [in, k*k, out] down columns first, biases as columns."""
    variables = {}
    for i, layer in enumerate(params.values(), 1):
        kernel = layer["kernel"].transpose(2, 1, 0, 3)
        kernel = kernel.reshape(kernel.shape[0], -1, kernel.shape[3])
        if kernel.shape[-1] == 1:
            kernel = kernel[..., 0]
        variables[f"weights_conv{i}"] = kernel[0] if i == 1 else kernel
        variables[f"biases_conv{i}"] = layer["bias"][:, None]
    scipy.io.savemat(file, variables)


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    shapes = {"conv_0": (5, 5, 1, 6), "conv_1": (3, 3, 6, 4), "conv_out": (3, 3, 4, 1)}
    return {
        name: {
            "kernel": rng.normal(size=shape).astype(np.float32),
            "bias": rng.normal(size=shape[-1:]).astype(np.float32),
        }
        for name, shape in shapes.items()
    }


def test_every_weight_arrives_where_it_belongs(tmp_path, params):
    file = tmp_path / "small_x3.mat"
    write_mat(file, params)
    net, variables, card = importers.import_weights(file, "srcnn")
    assert net == models.SRCNN(**SMALL)
    jax.tree.map(np.testing.assert_array_equal, variables, {"params": params})
    assert (card["network"], card["color"], card["scales"]) == ("srcnn", "y", [3])
    with pytest.raises(ValueError, match=r"only its name says its scale.*x3\.mat"):
        importers.import_weights(file.rename(tmp_path / "small.mat"), "srcnn")


def test_cut_and_foreign_files_are_refused(tmp_path, params):
    file = tmp_path / "small.mat"
    write_mat(file, params)
    whole = file.read_bytes()
    for size in range(0, len(whole) - 1, 97):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"Cannot import {file} as srcnn"):
            importers.import_weights(file, "srcnn")
    del params["conv_out"]
    write_mat(file, params)
    expected = "expected .*'biases_conv3'.*found.*'weights_conv2'"
    with pytest.raises(ValueError, match=expected):
        importers.import_weights(file, "srcnn")
    with pytest.raises(ValueError, match=r"must end in .*'.mat'.*; got '.pb'"):
        importers.import_weights(file.rename(file.with_suffix(".pb")), "srcnn")


def psnr(model, pixels, scale):
    """Of one image by the protocol."""
    sr, hr = protocol.restore_image(model, pixels, scale)
    return metrics.psnr(sr[None], hr[None], border=scale)[0]


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [("9-5-5_ImageNet_x3", 3, 27.947), ("9-1-5_91_images_x2", 2, 32.200)],
)
def test_the_butterfly_is_enlarged_as_measured(butterfly, name, scale, expected):
    model = importers.import_weights(find_weights(f"srcnn/{name}.mat"), "srcnn")
    score = psnr(model, butterfly, scale)
    np.testing.assert_allclose(score, expected, atol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [
        ("9-5-5_ImageNet_x2", 2, 36.66),
        ("9-5-5_ImageNet_x3", 3, 32.75),
        ("9-5-5_ImageNet_x4", 4, 30.48),
        ("9-1-5_91_images_x3", 3, 32.39),
    ],
)
def test_the_mean_over_set5_is_the_published_one(name, scale, expected):
    model = importers.import_weights(find_weights(f"srcnn/{name}.mat"), "srcnn")
    source = open_set("Set5")
    scores = [psnr(model, source.read(i), scale) for i in range(5)]
    np.testing.assert_allclose(np.mean(scores), expected, atol=0.01)

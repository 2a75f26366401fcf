import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import find_weights

from jaxsr import importers, losses, metrics, models
from jaxsr.evaluation import protocol
from jaxsr.training import objectives

WIDTHS = (6, 4)


def seeded(net):
    x = jnp.linspace(0, 1, 35).reshape(1, 5, 7, 1)
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x),
    )
    return variables, x


@pytest.mark.parametrize(
    ("fields", "golden"),
    [
        ({"scale": 2}, [0.01162128, 0.02682859, 0.06100654]),
        ({"scale": 3}, [0.01391492, -0.20232627, 0.19693274]),
        (
            {"scale": 3, "activation": "relu", "output_tanh": True},
            [0.00114864, -0.28092268, 0.31519353],
        ),
    ],
)
def test_espcn_output_is_what_it_was(fields, golden):
    # Also computed with scipy.signal.correlate2d in float64, layer by layer, and the
    # shuffle by one assignment for each of its phases.
    net = models.make("espcn", widths=WIDTHS, **fields)
    variables, x = seeded(net)
    y = net.apply(variables, x)[0, :, :, 0]
    middle = (5 * net.scale // 2, 7 * net.scale // 2)
    found = [y[0, 0], y[middle], y[-1, -1]]
    np.testing.assert_allclose(found, golden, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [losses.mse, losses.half_sum_squared, losses.l1])
def test_shuffled_targets_have_the_same_loss_and_gradient(loss):
    net = models.make("espcn", scale=3, widths=WIDTHS)
    variables, x = seeded(net)
    batch = {"lr": x, "hr": jax.random.uniform(jax.random.key(0), [1, 15, 21, 1])}

    def gradient(name):
        objective = objectives.OBJECTIVES[name](net, loss)

        def mean_loss(variables):
            loss, aux = objective(variables, batch, 0)
            return jnp.mean(loss), aux["mse"]

        return jax.value_and_grad(mean_loss, has_aux=True)(variables)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        gradient("supervised"),
        gradient("shuffled"),
    )


def test_a_wrong_activation_is_answered_with_the_right_ones():
    with pytest.raises(ValueError, match=r"\['relu', 'tanh'\]; got 'gelu'"):
        seeded(models.make("espcn", activation="gelu"))


def varint(value):
    *low, high = [
        value >> 7 * i & 127 for i in range(max(1, -(-value.bit_length() // 7)))
    ]
    return bytes([*(byte | 128 for byte in low), high])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(name, operation, array=None):
    """A NodeDef, of a constant where an array comes with it."""
    fields = [field(1, name.encode()), field(2, operation.encode())]
    fields += [field(5, field(1, b"dtype") + field(2, field(6, 1)))]
    if array is not None:
        shape = b"".join(field(2, field(1, n)) for n in array.shape)
        kind = 1 if array.dtype == np.float32 else 3
        tensor = field(1, kind) + field(2, shape) + field(4, array.tobytes())
        fields += [field(5, field(1, b"value") + field(2, field(8, tensor)))]
    return field(1, b"".join(fields))


def write_pb(file, params, operations):
    """As TensorFlow: the constants, one that is no weight, and the operations."""
    data = node("perm", "Const", np.array([0, 3, 1, 2], np.int32))
    for i, layer in enumerate(params.values(), 1):
        data += node(f"b{i}", "Const", layer["bias"])
        data += node(f"f{i}", "Const", layer["kernel"])
    data += b"".join(node(f"o{i}", name) for i, name in enumerate(operations))
    file.write_bytes(data)


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    shapes = {"conv_0": (5, 5, 1, 6), "conv_1": (3, 3, 6, 4), "conv_out": (3, 3, 4, 4)}
    return {
        name: {
            "kernel": rng.normal(size=shape).astype(np.float32),
            "bias": rng.normal(size=shape[-1:]).astype(np.float32),
        }
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("output_tanh", [False, True])
def test_every_weight_arrives_where_it_belongs(
    tmp_path, params, activation, output_tanh
):
    file = tmp_path / "small.pb"
    layer = ["Conv2D", "Add", activation.capitalize()]
    operations = [*layer, *layer, "Conv2D", "Add", "DepthToSpace"]
    write_pb(file, params, operations + ["Tanh"] * output_tanh)
    net, variables, card = importers.import_weights(file, "espcn")
    assert net == models.ESPCN(2, WIDTHS, activation, output_tanh)
    jax.tree.map(np.testing.assert_array_equal, variables, {"params": params})
    assert (card["network"], card["color"], card["scales"]) == ("espcn", "y", [2])


def test_cut_and_foreign_files_are_refused(tmp_path, params):
    file = tmp_path / "small.pb"
    write_pb(file, params, ["Relu", "Relu", "DepthToSpace"])
    whole = file.read_bytes()
    for size in range(0, len(whole) - 1, 13):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"Cannot import {file} as espcn"):
            importers.import_weights(file, "espcn")
    file.write_text("These are no weights.\n" * 20)
    with pytest.raises(ValueError, match=f"Cannot import {file} as espcn"):
        importers.import_weights(file, "espcn")
    del params["conv_out"]
    write_pb(file, params, ["DepthToSpace"])
    expected = r"'f3'\].*found \['b1', 'b2', 'f1', 'f2'\]"
    with pytest.raises(ValueError, match=expected):
        importers.import_weights(file, "espcn")


def test_the_butterfly_is_enlarged_as_measured(butterfly):
    # TensorFlow gives the same image to 4e-7. The weights are made for OpenCV's bicubic
    # without antialiasing, so the figure is below that of the paper.
    model = importers.import_weights(find_weights("espcn/ESPCN_x2.pb"), "espcn")
    assert model.net == models.ESPCN(2, activation="relu", output_tanh=True)
    sr, hr = protocol.restore_image(model, butterfly, 2)
    score = metrics.psnr(sr[None], hr[None], border=2)[0]
    np.testing.assert_allclose(score, 29.663, atol=0.005)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import find_weights

from jaxsr import importers, metrics, models
from jaxsr.evaluation import protocol

PORT = {"norm": False, "bias": False, "rectified": True}
X = jnp.linspace(0, 1, 35).reshape(1, 5, 7, 1)


def golden_variables(net):
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        jax.eval_shape(lambda x: net.init(jax.random.key(0), x), X),
    )
    for name, statistics in variables.get("batch_stats", {}).items():
        statistics["var"] += 1
        variables["params"][name]["scale"] += 1
    return variables


def test_units_share_their_weights_and_not_their_statistics():
    net = models.make("drrn", units=3, width=4)
    variables = net.init(jax.random.key(0), X)
    convs = {name for name in variables["params"] if "norm" not in name}
    assert convs == {"block_0_head", "block_0_a", "block_0_b", "tail"}
    x = jax.random.uniform(jax.random.key(1), (4, 9, 9, 1))
    _, changed = net.apply(variables, x, train=True, mutable=["batch_stats"])
    means = [changed["batch_stats"][f"block_0_norm_{u}_a"]["mean"] for u in range(3)]
    assert len({tuple(mean.tolist()) for mean in means}) == 3
    first = changed["batch_stats"]["block_0_norm_head"]
    np.testing.assert_allclose(first["mean"], [x.mean()], rtol=1e-4)
    np.testing.assert_allclose(first["var"], [x.var()], rtol=1e-4)


def test_running_statistics_are_caffes():
    """Those of its BatchNorm: decayed sums, divided by the sum of their weights."""
    net = models.make("drrn", units=1, width=2)
    variables = net.init(jax.random.key(0), X)
    sums, weight = np.zeros(2), 0.0
    for i in range(5):
        x = X * (i + 1)
        _, changed = net.apply(variables, x, train=True, mutable=["batch_stats"])
        variables |= changed
        sums = 0.999 * sums + [x.mean(), x.var()]
        weight = 0.999 * weight + 1
    found = variables["batch_stats"]["block_0_norm_head"]
    mean, var = sums / weight
    np.testing.assert_allclose(found["mean"], [mean], rtol=1e-5)
    np.testing.assert_allclose(found["var"], [var], rtol=1e-5)
    np.testing.assert_allclose(found["weight"], weight, rtol=1e-6)


def test_training_normalises_by_the_batch():
    """So a brighter and steeper image has the same residual."""
    net = models.make("drrn", units=2, width=4)
    variables = golden_variables(net)
    x = jax.random.uniform(jax.random.key(1), (4, 9, 9, 1))

    def residual(x):
        y, _ = net.apply(variables, x, train=True, mutable=["batch_stats"])
        return y - x

    np.testing.assert_allclose(residual(3 * x + 1), residual(x), rtol=0.01, atol=1e-3)
    still = net.apply(variables, 3 * x + 1) - (3 * x + 1)
    assert np.abs(still - (net.apply(variables, x) - x)).max() > 0.1


@pytest.mark.parametrize("norm", [True, False])
def test_remat_changes_no_gradient(monkeypatch, norm):
    net = models.make("drrn", units=2, width=4, norm=norm)
    variables = golden_variables(net)

    def grads():
        def loss(variables):
            y, changed = net.apply(variables, X, train=True, mutable=["batch_stats"])
            return (y**2).sum(), changed

        return jax.grad(loss, has_aux=True)(variables)

    with_remat = grads()
    monkeypatch.setattr("flax.linen.remat", lambda f: f)
    without = grads()
    # A bias before a normalisation has no gradient: what is there is rounding.
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(without))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6 * largest),
        with_remat,
        without,
    )


@pytest.mark.parametrize(
    ("fields", "golden"),
    [
        ({}, [-0.1386880, 0.6969631, 1.1146138]),
        ({"norm": False}, [-0.1273541, 0.6436628, 1.1034608]),
        (PORT, [-0.0083819, 0.5020018, 1.0153286]),
    ],
)
def test_drrn_output_is_what_it_was(fields, golden):
    # Also computed with torch in float64, the ports' with ReLUs that work in place.
    net = models.make("drrn", blocks=2, units=2, width=4, **fields)
    y = net.apply(golden_variables(net), X)[0, :, :, 0]
    np.testing.assert_allclose([y[0, 0], y[2, 3], y[4, 6]], golden, rtol=1e-5)


# names in the file, and the units of the network it was published as
PORTS = {
    "jt827859032": (
        ["input.weight", "conv1.weight", "conv2.weight", "output.weight"],
        25,
    ),
    "npz": ([f"learned_{i}" for i in range(4)], 25),
    "yjn870": (
        [
            "rbs.0.h0.module.1.weight",
            "rbs.0.ru.module.0.module.1.weight",
            "rbs.0.ru.module.1.module.1.weight",
            "rec.module.1.weight",
        ],
        9,
    ),
}
SHAPES = [(8, 1, 3, 3), (8, 8, 3, 3), (8, 8, 3, 3), (1, 8, 3, 3)]


def write(path, tensors):
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        torch = pytest.importorskip("torch")
        torch.save({name: torch.tensor(x) for name, x in tensors.items()}, path)


@pytest.fixture
def kernels():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


@pytest.mark.parametrize("port", PORTS)
def test_every_weight_arrives_where_it_belongs(tmp_path, kernels, port):
    names, units = PORTS[port]
    path = tmp_path / ("small.npz" if port == "npz" else "small.pth")
    write(path, dict(zip(names, kernels)))
    net, variables, card = importers.import_weights(path, "drrn")
    assert net == models.DRRN(units=units, width=8, **PORT)
    layers = ("block_0_head", "block_0_a", "block_0_b", "tail")
    for layer, kernel in zip(layers, kernels):
        found = variables["params"][layer]["kernel"]
        np.testing.assert_array_equal(found, kernel.transpose(2, 3, 1, 0))
    assert (card["color"], card["scales"]) == ("y", [2, 3, 4])


def test_foreign_tensors_and_wrong_shapes_are_listed(tmp_path, kernels):
    path = tmp_path / "small.npz"
    tensors = {f"learned_{i}": kernel for i, kernel in enumerate(kernels)}
    write(path, {**tensors, "learned_4": kernels[0]})
    with pytest.raises(ValueError, match=r"Cannot import .*found \['learned_4'\]"):
        importers.import_weights(path, "drrn")
    write(path, {**tensors, "learned_1": kernels[1][:4]})
    expected = r"block_0_a/kernel: expected \(3, 3, 8, 8\), found \(3, 3, 8, 4\)"
    with pytest.raises(ValueError, match=expected):
        importers.import_weights(path, "drrn")
    write(path, {name: x for name, x in tensors.items() if name != "learned_0"})
    with pytest.raises(ValueError, match=r"expected also \['learned_0'\]"):
        importers.import_weights(path, "drrn")
    with pytest.raises(ValueError, match="end in.*got '.txt'"):
        importers.import_weights(path.rename(path.with_suffix(".txt")), "drrn")


@pytest.mark.parametrize("name", ["DRRN-B1U25.npz", "DRRN-B1U9.npz"])
def test_the_butterfly_is_enlarged_as_published(butterfly, name):
    """By both files, which are one and the same, of B1U25."""
    model = importers.import_weights(find_weights(f"drrn/{name}"), "drrn")
    sr, hr = protocol.restore_image(model, butterfly[64:160, 64:160], 3)
    score = metrics.psnr(sr[None], hr[None], border=3)
    np.testing.assert_allclose(score, [31.414], atol=0.005)

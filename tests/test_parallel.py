"""A step spread over devices computes what one device computes from the whole batch."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsr import losses, models, optim
from jaxsr.models import discriminator
from jaxsr.training import objectives, step

SCHEDULE = optim.step_decay(0.1, epoch=5, epochs=10, factor=0.1, every=1)
SGD = optim.sgd(SCHEDULE, weight_decay=1e-4, clip="norm", theta=0.01)
# Its state after a step is the raw gradient, before any clip.
RECORD = optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params),
    lambda updates, state, params=None: (
        jax.tree.map(jnp.zeros_like, updates),
        updates,
    ),
)
# Wide enough that a CPU's kernel gradients are made in parts.
VDSR = {"name": "vdsr", "depth": 3, "width": 32}
SRRESNET = {"name": "srresnet", "scale": 2, "blocks": 1, "width": 8}  # normalises
DRRN = {"name": "drrn", "units": 1, "width": 8}
NETWORKS = [VDSR, SRRESNET, DRRN]
WAYS = ["shard_map", "pmap"]


def batches(network, count=1, size=16):
    rng = np.random.default_rng(0)
    channels = 3 if network is SRRESNET else 1
    factor = 2 if network is SRRESNET else 1
    shapes = {"lr": 12, "hr": 12 * factor}
    return {
        key: jnp.asarray(rng.random((count, size, side, side, channels), np.float32))
        for key, side in shapes.items()
    }


def make_state(network, tx, **kwargs):
    net = models.make(**network)
    x = batches(network)["lr"][0, :1]
    return step.init_state(net.init(jax.random.key(0), x), tx, **kwargs)


def make_step(network, tx, axis_name=None, **kwargs):
    norm = axis_name and network is not VDSR
    net = models.make(**network, **({"axis_name": axis_name} if norm else {}))
    objective = objectives.supervised(net, losses.half_sum_squared)
    return step.make_train_step(objective, tx, axis_name=axis_name, **kwargs)


def spread(train_step, state, inputs, devices, way="shard_map"):
    """The state after several updates, each batch spread over so many devices."""
    update, whole, parts = step.make_update(
        train_step,
        lambda data, batch: batch,
        parallel=way,
        devices=jax.devices()[:devices],
    )
    state = jax.device_put(jax.tree.map(jnp.copy, state), whole)
    for i in range(len(inputs["lr"])):
        part = jax.tree.map(lambda x, i=i: x[i : i + 1], inputs)
        state, metrics = update(state, (), jax.device_put(part, parts))
    assert_equal_on_every_device(state)
    return state, jax.tree.map(lambda x: x[0], metrics)


def assert_equal_on_every_device(state):
    for leaf in jax.tree.leaves(state):
        first, *others = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        for other in others:
            np.testing.assert_array_equal(first, other)


def assert_close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


@functools.cache
def whole(name, tx, updates):
    """The state and metrics of one device that sees the whole batch, step by step."""
    network = {"name": name}
    network = next(n for n in NETWORKS if n["name"] == name)
    state, run = make_state(network, tx, ema=True), make_step(network, tx)
    run, inputs = jax.jit(run), batches(network, updates)
    for i in range(updates):
        state, metrics = run(state, jax.tree.map(lambda x, i=i: x[i], inputs))
    return state, metrics


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n["name"])
@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("way", WAYS)
def test_the_raw_gradient_does_not_depend_on_the_number_of_devices(
    network, devices, way
):
    train_step = make_step(network, RECORD, axis_name=step.AXIS)
    state = make_state(network, RECORD, ema=True)
    state, metrics = spread(train_step, state, batches(network), devices, way)
    expected, plain = whole(network["name"], RECORD, 1)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(expected.opt_state))
    assert largest > 0.1
    tolerance = {"rtol": 1e-4, "atol": 1e-6 * largest}
    assert_close(state.opt_state, expected.opt_state, **tolerance)
    assert_close(state.batch_stats, expected.batch_stats, rtol=1e-5, atol=1e-6)
    assert_close(metrics, plain, rtol=1e-4)


@pytest.mark.parametrize("network", [VDSR, SRRESNET], ids=lambda n: n["name"])
@pytest.mark.parametrize("way", WAYS)
def test_twenty_updates_on_eight_devices_are_those_of_one(network, way):
    train_step = make_step(network, SGD, axis_name=step.AXIS)
    state = make_state(network, SGD, ema=True)
    state, _ = spread(train_step, state, batches(network, 20), 8, way)
    expected, _ = whole(network["name"], SGD, 20)
    assert int(state.step) == 20
    assert_close(state.params, expected.params, atol=1e-5, rtol=0)
    assert_close(state.ema_params, expected.ema_params, atol=1e-5, rtol=0)


def make_gan(tx, axis_name=None):
    fields = {"axis_name": axis_name}
    net = models.make(**SRRESNET, **fields)
    judge = discriminator.Discriminator(width=2, pooled=True, **fields)
    return step.make_gan_step(
        functools.partial(objectives.apply, net),
        lambda variables, x: objectives.apply(judge, variables, {"lr": x}),
        losses.mse,
        tx,
        weight=0.1,
        axis_name=axis_name,
    )


@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize("way", WAYS)
def test_the_raw_gradients_of_a_gan_do_not_depend_on_the_number_of_devices(
    devices, way
):
    inputs = batches(SRRESNET)
    # A dark picture beside a bright one: the spread within a device is not the batch's.
    inputs["hr"] = inputs["hr"] * jnp.linspace(0, 1, 16).reshape(1, -1, 1, 1, 1)
    judge = discriminator.Discriminator(width=2, pooled=True)
    adversary = judge.init(jax.random.key(1), inputs["hr"][0, :1])
    state = make_state(SRRESNET, RECORD, adversary=adversary)
    first = jax.tree.map(lambda x: x[0], inputs)
    expected, plain = jax.jit(make_gan(RECORD))(state, first)
    state, metrics = spread(make_gan(RECORD, step.AXIS), state, inputs, devices, way)
    for one, other in (
        (state.opt_state, expected.opt_state),
        (state.adversary.opt_state, expected.adversary.opt_state),
    ):
        largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(other))
        assert largest > 1e-4
        assert_close(one, other, rtol=1e-3, atol=1e-5 * largest)
    assert_close(state.adversary.batch_stats, expected.adversary.batch_stats, rtol=1e-4)
    assert_close(metrics, plain, rtol=1e-4)


@pytest.mark.parametrize(("deviation", "collapsed"), [(0.02, 1), (0.2, 0)])
def test_flat_images_are_detected_by_the_moments_of_the_whole_batch(
    deviation, collapsed
):
    """Each device's images are constant; only over devices do they differ."""
    levels = jnp.linspace(-1, 1, 8).reshape(1, 8, 1, 1, 1) * jnp.ones([1, 8, 4, 4, 1])
    inputs = {"lr": deviation * levels, "hr": levels}
    adversary = {"params": {"one": jnp.float32(1.0)}, "batch_stats": {}}
    state = step.init_state(
        {"params": {"zero": jnp.float32(0.0)}}, RECORD, adversary=adversary
    )
    gan = step.make_gan_step(
        lambda variables, batch: (batch["lr"] + variables["params"]["zero"], {}),
        lambda variables, x: (x.mean(axis=(1, 2, 3)) * variables["params"]["one"], {}),
        losses.mse,
        RECORD,
        axis_name=step.AXIS,
    )
    _, metrics = spread(gan, state, inputs, 8)
    assert metrics["collapsed"] == collapsed


def collectives(network):
    """[kind, numbers that it moves] of each collective of an update on 4 devices."""
    train_step = make_step(network, SGD, axis_name=step.AXIS)
    update, whole, parts = step.make_update(
        train_step, lambda data, batch: batch, devices=jax.devices()[:4]
    )
    state = jax.device_put(make_state(network, SGD), whole)
    lowered = update.lower(state, (), jax.device_put(batches(network), parts))
    kinds = "all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all"
    found = re.findall(rf"= (.*) ({kinds})(?:-start)?\(", lowered.compile().as_text())
    return [
        [
            kind,
            sum(
                math.prod(int(n) for n in dimensions.split(",") if n)
                for dimensions in re.findall(r"f32\[([\d,]*)\]", shapes)
            ),
        ]
        for shapes, kind in found
    ]


def test_the_devices_exchange_each_gradient_once():
    params = make_state(VDSR, SGD).params
    count = sum(p.size for p in jax.tree.leaves(params))
    # With the loss and the squared error.
    assert collectives(VDSR) == [["all-reduce", count + 2]]


def test_normalisation_adds_its_two_moments_and_their_gradients():
    state = make_state(SRRESNET, SGD)
    count = sum(p.size for p in jax.tree.leaves((state.params, state.batch_stats)))
    kinds, sizes = zip(*collectives(SRRESNET))
    sums = 2 * len(state.batch_stats)
    # Newer versions of XLA join some of the moments with some of the gradients.
    assert kinds == ("all-reduce",) * (sums + 1)
    assert sum(sizes) == 2 * SRRESNET["width"] * sums + count + 2


@pytest.mark.parametrize("name", ["edsr", "mdsr"])
def test_remat_gives_the_same_gradient_from_half_the_activations(name):
    scales = {"scale": 2} if name == "edsr" else {"scales": (2,)}
    x = jnp.asarray(np.random.default_rng(0).random((4, 24, 24, 3), np.float32))
    gradients, kept = [], []
    for remat in (False, True):
        net = models.make(name, **scales, blocks=12, width=16, remat=remat)
        params = net.init(jax.random.key(0), x[:1])

        def loss(params, net=net):
            return jnp.mean(net.apply(params, x) ** 2)

        gradients.append(jax.jit(jax.grad(loss))(params))
        backward = jax.eval_shape(lambda p, loss=loss: jax.vjp(loss, p)[1], params)
        kept.append(sum(a.size for a in jax.tree.leaves(backward)))
    assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert kept[1] < 0.55 * kept[0]


def test_without_pmap_the_error_names_the_other_way(monkeypatch):
    monkeypatch.delattr(jax, "pmap")
    with pytest.raises(ValueError, match="lacks. Set parallel='shard_map'"):
        step.make_update(lambda *x: x, lambda *x: x, parallel="pmap")

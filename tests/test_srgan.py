"""SRGAN: its discriminator and its step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxsr import losses, models, objectives, optim, step
from jaxsr.models import discriminator

NET = models.make("srresnet", blocks=1, width=4)
JUDGE = discriminator.Discriminator(width=2, pooled=True)
TX = optax.sgd(0.1)


def batch_of(size=8):
    rng = np.random.default_rng(0)
    shapes = {"lr": (size, 6, 6, 3), "hr": (size, 24, 24, 3)}
    return {k: jnp.asarray(rng.random(s, np.float32)) for k, s in shapes.items()}


def init(tx=TX, **kwargs):
    batch = batch_of(1)
    variables = NET.init(jax.random.key(0), batch["lr"])
    adversary = JUDGE.init(jax.random.key(1), batch["hr"])
    return step.init_state(variables, tx, adversary=adversary, **kwargs)


def judge(variables, images):
    return objectives.apply(JUDGE, variables, {"lr": images})


def make_step(tx=TX, **kwargs):
    generate = functools.partial(objectives.apply, NET)
    return jax.jit(step.make_gan_step(generate, judge, losses.mse, tx, **kwargs))


def assert_close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


@pytest.mark.parametrize(("pooled", "count"), [(False, 23_565_505), (True, 5_215_425)])
def test_the_discriminator_has_the_papers_size(pooled, count):
    net = discriminator.Discriminator(pooled=pooled)
    x = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == count


def test_a_pooled_discriminator_takes_any_size_and_refuses_tiny_images():
    variables = JUDGE.init(jax.random.key(0), jnp.zeros([1, 16, 16, 3]))
    assert JUDGE.apply(variables, jnp.zeros([2, 37, 50, 3])).shape == (2,)
    with pytest.raises(ValueError, match=r"16x16 pixels or more; got 12x40"):
        JUDGE.apply(variables, jnp.zeros([2, 12, 40, 3]))


def test_a_gan_step_is_that_of_the_paper():
    """Against the formulas written out, the discriminator's update first."""
    state, batch = init(), batch_of()
    new, metrics = make_step(weight=0.1)(state, batch)
    first = state.adversary

    def generated(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        return NET.apply(variables, batch["lr"], train=True, mutable=["batch_stats"])

    sr, changed = generated(state.params)

    def discriminator_loss(params):
        variables = {"params": params, "batch_stats": first.batch_stats}
        real, fake = (jax.nn.sigmoid(judge(variables, x)[0]) for x in (batch["hr"], sr))
        return -jnp.mean(jnp.log(real)) - jnp.mean(jnp.log(1 - fake))

    value, grads = jax.value_and_grad(discriminator_loss)(first.params)
    updates, _ = TX.update(grads, TX.init(first.params), first.params)
    judging = optax.apply_updates(first.params, updates)
    np.testing.assert_allclose(metrics["discriminator_loss"], value, rtol=1e-5)
    assert_close(new.adversary.params, judging, rtol=1e-4, atol=1e-6)

    def loss(params):
        sr, _ = generated(params)
        variables = {"params": judging, "batch_stats": first.batch_stats}
        fake = jax.nn.sigmoid(judge(variables, sr)[0])
        content = jnp.mean((sr - batch["hr"]) ** 2)
        return content - 0.1 * jnp.mean(jnp.log(fake))

    value, grads = jax.value_and_grad(loss)(state.params)
    updates, _ = TX.update(grads, TX.init(state.params), state.params)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    norm = optax.tree.norm(grads)
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-4)
    expected = optax.apply_updates(state.params, updates)
    assert_close(new.params, expected, rtol=1e-4, atol=1e-6)
    assert_close(new.batch_stats, changed["batch_stats"], rtol=1e-5, atol=1e-6)
    # Its statistics saw the true images, then the made ones, and not the third pass.
    statistics = first.batch_stats
    for images in (batch["hr"], sr):
        variables = {"params": first.params, "batch_stats": statistics}
        statistics = judge(variables, images)[1]
    assert_close(new.adversary.batch_stats, statistics, rtol=1e-5, atol=1e-6)
    assert new.step == 1


def test_a_batch_over_eight_devices_gives_the_step_of_one():
    state, batch = init(ema=True), batch_of(16)
    run = make_step(ema_decay=0.9)
    plain = run(state, batch)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    whole = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    sharded = run(whole, spread)
    assert len(sharded[0].params["head"]["kernel"].devices()) == 8
    assert_close(plain, sharded, rtol=1e-3, atol=1e-6)


def test_it_counts_how_long_the_discriminator_has_won_and_the_output_been_flat():
    batch = batch_of()

    def blind(variables, images):  # to what it sees, yet always right
        logit = jnp.where(images.shape[1] == 24, 1.0, 0.0) + jnp.zeros(len(images))
        return logit, {}

    def flat(variables, batch):
        return 0 * batch["hr"] + variables["params"]["value"], {}

    def sure(variables, images):
        spread = jnp.std(images, axis=(1, 2, 3))
        return jnp.where(spread > 0.1, 9.0, -9.0) * variables["params"]["one"], {}

    variables = {"params": {"value": jnp.float32(0.5)}}
    adversary = {"params": {"one": jnp.float32(1.0)}, "batch_stats": {}}
    tx = optim.adam(lambda count: 0.0)
    state = step.init_state(variables, tx, adversary=adversary)
    run = jax.jit(step.make_gan_step(flat, sure, losses.mse, tx))
    for count in (1, 2, 3):
        state, metrics = run(state, batch)
        assert metrics["won"] == metrics["collapsed"] == count
    blinded = step.make_gan_step(flat, blind, losses.mse, tx)
    state, metrics = blinded(state, batch)
    assert metrics["won"] == 0 and metrics["collapsed"] == 4

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import losses, models, optim
from jaxsr.training import objectives, step

NET = models.make("vdsr", depth=3, width=4)
SCHEDULE = optim.step_decay(0.1, epoch=5, epochs=10, factor=0.1, every=1)
TX = optim.sgd(SCHEDULE, weight_decay=1e-4, clip="norm", theta=0.01)
OBJECTIVE = objectives.supervised(NET, losses.half_sum_squared)


def batches(count=1, size=16):
    rng = np.random.default_rng(0)
    hr = rng.random((count, size, 12, 12, 1), np.float32)
    noise = rng.normal(0, 0.05, hr.shape).astype(np.float32)
    return {"lr": jnp.asarray(hr + noise), "hr": jnp.asarray(hr)}


def first(batch):
    return jax.tree.map(lambda x: x[0], batch)


def init(**kwargs):
    variables = NET.init(jax.random.key(0), jnp.zeros([1, 12, 12, 1]))
    return step.init_state(variables, TX, **kwargs)


def assert_close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


def test_a_step_is_the_gradient_of_the_batch_mean():
    state, batch = init(), first(batches())
    new, metrics = step.make_train_step(OBJECTIVE, TX)(state, batch)

    def loss(params):
        sr = NET.apply({"params": params}, batch["lr"])
        return jnp.mean(losses.half_sum_squared(sr, batch["hr"]))

    value, grads = jax.value_and_grad(loss)(state.params)
    updates, _ = TX.update(grads, TX.init(state.params), state.params)
    expected = jax.tree.map(jnp.add, state.params, updates)
    assert_close(new.params, expected, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    assert new.step == 1 and metrics["clipped"] == 1
    sr = NET.apply({"params": state.params}, batch["lr"])
    error = jnp.mean((sr - batch["hr"]) ** 2)
    np.testing.assert_allclose(metrics["psnr"], -10 * np.log10(error), rtol=1e-5)


def test_loss_falls_on_a_fixed_batch():
    batch = jax.tree.map(lambda x: jnp.repeat(x, 60, axis=0), batches())
    tx = optim.adam(lambda count: 1e-2)
    run = step.make_train_steps(
        step.make_train_step(OBJECTIVE, tx), lambda data, batch: batch
    )
    variables = NET.init(jax.random.key(0), jnp.zeros([1, 12, 12, 1]))
    _, metrics = jax.jit(run)(step.init_state(variables, tx), (), batch)
    assert metrics["loss"][-1] < 0.5 * metrics["loss"][0]


@functools.cache
def run():
    train_step = step.make_train_step(OBJECTIVE, TX, ema_decay=0.9)
    return step.make_train_steps(train_step, lambda data, batch: batch)


def test_a_run_is_bit_identical_however_it_is_divided_into_dispatches():
    inputs = batches(9)
    whole, _ = jax.jit(run())(init(ema=True), (), inputs)
    parts = init(ema=True)
    for begin, end in ((0, 1), (1, 5), (5, 9)):
        part = jax.tree.map(lambda x, b=begin, e=end: x[b:e], inputs)
        parts, _ = jax.jit(run())(parts, (), part)
    # GPUs add up a gradient in an order of their own, which may change its last bit.
    most = 0 if jax.default_backend() == "cpu" else 1e-6
    assert_close(parts, whole, rtol=most, atol=most)


def test_a_single_update_is_that_of_a_scan():
    train_step = step.make_train_step(OBJECTIVE, TX)
    both = [
        jax.jit(step.make_train_steps(train_step, lambda data, x: x, single=single))
        for single in (True, False)
    ]
    (one, a), (many, b) = (run(init(), (), batches()) for run in both)
    assert_close(one.params, many.params, atol=1e-6, rtol=0)
    assert a["loss"].shape == b["loss"].shape == (1,)


@pytest.mark.parametrize(("updates", "decay"), [(0, 0.1), (2, 0.25), (1000, 0.9)])
def test_averaged_parameters_follow_and_are_the_ones_used(updates, decay):
    state, batch = init(ema=True), first(batches())
    state = state._replace(step=jnp.asarray(updates, state.step.dtype))
    new, _ = step.make_train_step(OBJECTIVE, TX, ema_decay=0.9)(state, batch)
    expected = jax.tree.map(
        lambda old, now: decay * old + (1 - decay) * now, state.params, new.params
    )
    assert_close(new.ema_params, expected, rtol=1e-6)
    assert step.variables_of(new)["params"] is new.ema_params
    assert step.variables_of(init())["params"]


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_papers_step_lowers_for_other_platforms(platform, dtype):
    net = models.make("vdsr", dtype=dtype)
    objective = objectives.supervised(net, losses.half_sum_squared)
    compiled = jax.jit(
        step.make_train_steps(
            step.make_train_step(objective, TX), lambda data, batch: batch
        )
    )
    x = jax.ShapeDtypeStruct((4, 64, 41, 41, 1), jnp.float32)
    state = jax.eval_shape(
        lambda: step.init_state(
            net.init(jax.random.key(0), jnp.zeros([1, 41, 41, 1])), TX
        )
    )
    exported = jax.export.export(compiled, platforms=[platform])(
        state, (), {"lr": x, "hr": x}
    )
    assert exported.platforms == (platform,)
    assert "stablehlo.convolution" in exported.mlir_module()


def test_patches_that_unpadded_layers_consume_are_an_error():
    net = models.make("srcnn", padding="valid")
    variables = net.init(jax.random.key(0), jnp.zeros([1, 40, 40, 1]))
    objective = objectives.supervised(net, losses.l1)
    with pytest.raises(ValueError, match="leave no pixel of an input of 12x12"):
        objective(variables, first(batches()), 0)

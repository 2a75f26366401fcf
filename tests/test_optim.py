import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsr import optim

GRADS = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}


def test_clip_by_norm_bounds_the_global_norm_by_theta_over_the_rate():
    clip = optim.clip_by_learning_rate(0.01, lambda count: 0.1 * 0.1**count)
    state = clip.init(GRADS)
    for bound in (0.1, 1.0):
        updates, state = clip.update(GRADS, state)
        np.testing.assert_allclose(updates["a"], [3 / 5 * bound, 0], rtol=1e-6)
        np.testing.assert_allclose(optax.tree.norm(updates), bound, rtol=1e-6)
        assert state.clipped == 1
    updates, state = clip.update(GRADS, state)  # the bound is now 10
    np.testing.assert_allclose(updates["b"], GRADS["b"])
    assert state.clipped == 0 and state.count == 3


def test_clip_by_value_bounds_each_element_and_counts_them():
    clip = optim.clip_by_learning_rate(0.35, lambda count: 0.1, by="value")
    updates, state = clip.update(GRADS, clip.init(GRADS))
    np.testing.assert_allclose(updates["a"], [3.0, 0.0])
    np.testing.assert_allclose(updates["b"], [[3.5]])
    np.testing.assert_allclose(state.clipped, 1 / 3)


@pytest.mark.parametrize("by", sorted(optim.CLIPS))
def test_clip_keeps_zero_gradients_and_types(by):
    zeros = jax.tree.map(lambda g: jnp.zeros_like(g, jnp.bfloat16), GRADS)
    clip = optim.clip_by_learning_rate(0.01, lambda count: 0.1, by=by)
    updates, _ = clip.update(zeros, clip.init(zeros))
    for leaf in jax.tree.leaves(updates):
        assert leaf.dtype == jnp.bfloat16 and (leaf == 0).all()


def test_clip_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="positive; got 0"):
        optim.clip_by_learning_rate(0, lambda count: 0.1)
    with pytest.raises(ValueError, match=r"\['norm', 'value'\]; got 'max'"):
        optim.clip_by_learning_rate(0.01, lambda count: 0.1, by="max")


def test_sgd_is_caffes_update_by_hand():
    """Clip, then decay, then momentum, for two updates."""
    tx = optim.sgd(
        lambda count: 0.1, momentum=0.9, weight_decay=0.5, clip="norm", theta=0.2
    )
    param = jnp.array([1.0])
    state = tx.init(param)
    trace, expected = 0.0, 1.0
    for grad in (10.0, 1.0):
        updates, state = tx.update(jnp.array([grad]), state, param)
        param = optax.apply_updates(param, updates)
        trace = 0.9 * trace + min(grad, 2.0) + 0.5 * expected
        expected -= 0.1 * trace
        np.testing.assert_allclose(param, [expected], rtol=1e-6)


def test_rates_are_those_of_the_first_name_in_a_parameters_path():
    params = {
        name: {"kernel": jnp.ones([2]), "bias": jnp.ones([1])}
        for name in ("conv_0", "conv_1")
    }
    rates = (("bias", 0.1), ("conv_1", 0.0))
    tx = optim.sgd(lambda count: 1.0, momentum=0.0, rates=rates)
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["conv_0"]["kernel"], [-1, -1])
    np.testing.assert_allclose(updates["conv_0"]["bias"], [-0.1])
    np.testing.assert_allclose(updates["conv_1"]["bias"], [-0.1])
    np.testing.assert_allclose(updates["conv_1"]["kernel"], [0, 0])
    tx = optim.sgd(lambda count: 1.0, momentum=0.0, rates=(("conv_0/bias", 0.1),))
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["conv_0"]["bias"], [-0.1])
    np.testing.assert_allclose(updates["conv_1"]["bias"], [-1])
    tx = optim.sgd(lambda count: 1.0, rates=(("conv", 0.1),))
    with pytest.raises(ValueError, match=r"\['conv_0/bias', .*got 'conv'"):
        tx.update(params, tx.init(params), params)


def test_unused_parameters_do_not_move_by_old_momentum():
    params = {"used": jnp.ones([2]), "branch": jnp.ones([2])}
    tx = optim.skip_unused(optim.adam(lambda count: 0.1))
    state = tx.init(params)
    both = {"used": jnp.ones([2]), "branch": jnp.full([2], 0.5)}
    _, state = tx.update(both, state, params)
    moments = optax.tree.get(state, "mu")["branch"]
    one = both | {"branch": jnp.zeros([2])}
    updates, state = tx.update(one, state, params)
    np.testing.assert_array_equal(updates["branch"], [0, 0])
    np.testing.assert_array_equal(optax.tree.get(state, "mu")["branch"], moments)
    assert (updates["used"] < 0).all() and state[0].count == 2


def test_a_plateau_counts_validations_and_not_updates():
    tx = optim.plateau(epoch=7, of="validation", factor=0.5, patience=2)
    state, scales = tx.init(GRADS), []
    for psnr in (None, 30, None, 31, 30.9, None, None, 30, 31.1, 30, 30):
        if psnr is not None:
            state = optim.validated(state, psnr)
        updates, state = jax.jit(tx.update)(GRADS, state, value=0.0)
        scales.append(float(updates["b"][0, 0]) / 4)
    # No lower error than of 31 dB at the fifth and eighth, of 31.1 at the last two.
    assert scales == [1] * 7 + [0.5] * 3 + [0.25]
    np.testing.assert_allclose(state.plateau.best_value, 10**-3.11, rtol=1e-5)


def test_a_plateau_of_the_loss_looks_at_the_mean_of_each_epoch():
    tx = optim.plateau(epoch=2, factor=0.1, patience=1)
    state, scales = tx.init(GRADS), []
    for loss in (1.0, 3.0, 3.0, 0.5, 0.0, 4.0):  # means of 2, 1.75 and 2
        updates, state = tx.update(GRADS, state, value=loss)
        scales.append(float(updates["b"][0, 0]) / 4)
    np.testing.assert_allclose(scales, [1] * 5 + [0.1], rtol=1e-6)
    with pytest.raises(ValueError, match="'loss' or 'validation'; got 'psnr'"):
        optim.plateau(epoch=1, of="psnr", factor=0.1)


def test_adam_moves_by_the_rate_at_first_and_decays_outside_the_moments():
    grads = jnp.array([5.0])
    tx = optim.adam(lambda count: 0.01)
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates, [-0.01], rtol=1e-4)
    tx = optim.adam(lambda count: 0.01, weight_decay=0.1)
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates, [-0.01 - 0.01 * 0.1 * 5], rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("constant", {}, [0.1, 0.1, 0.1]),
        ("step", {"factor": 0.1, "every": 2}, [0.1, 0.01, 0.001]),
        ("step", {"factor": 0.1, "every": 2, "final": 0.05}, [0.1, 0.01, 0.005]),
        ("cosine", {}, [0.1, 0.05, 0.0]),
        ("cosine", {"final": 0.5}, [0.1, 0.075, 0.05]),
        ("cosine", {"warmup": 0.4}, [0.0, 0.0586824, 0.0]),
        ("cosine", {"warmup": 0.4, "final": 0.5}, [0.0, 0.0793412, 0.05]),
    ],
)
def test_schedules_count_in_epochs(name, fields, expected):
    schedule = optim.SCHEDULES[name](0.1, epoch=10, epochs=4, **fields)
    values = [schedule(step) for step in (0, 20, 40)]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-9)
    if name == "step":
        np.testing.assert_allclose(schedule(19), 0.1, rtol=1e-6)


def test_a_warm_up_takes_a_tenth_of_a_short_run_at_most():
    schedule = optim.cosine(0.1, epoch=10, epochs=4, warmup=40)
    np.testing.assert_allclose([schedule(2), schedule(4)], [0.05, 0.1], rtol=1e-5)
    with pytest.raises(ValueError, match="warmup must not be negative; got -1"):
        optim.cosine(0.1, epoch=10, epochs=4, warmup=-1)

"""One update of a training run, as a pure function of arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxsr import objectives


class TrainState(NamedTuple):
    """All that a run is at one moment; arrays only, so a checkpoint is exactly this."""

    step: jax.Array  # [] int32, updates made so far
    params: Any
    batch_stats: Any  # {} for a network without batch normalisation
    opt_state: Any
    ema_params: Any  # {} where no average is kept


def init_state(
    variables: dict, tx: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """The state before the first update, from a network's initial variables."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros([], jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=tx.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else {},
    )


def variables_of(state: TrainState) -> dict:
    """The variables that a trained network is used with: averaged ones where kept."""
    variables = {"params": state.ema_params or state.params}
    if state.batch_stats:
        variables["batch_stats"] = state.batch_stats
    return variables


def make_train_step(
    objective: objectives.Objective,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float = 0.0,
    axis_name: str | None = None,
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """Returns the pure function (state, batch) -> (state, metrics), not compiled.

    The metrics are scalars: "loss" (the batch mean), "gradient_norm" (before the clip),
    "clipped" where the optimizer clips, "plateau" where one scales the rate, and the
    objective's own.

    Args:
        objective: what is differentiated.
        tx: the optimizer; it is also given the loss, as `value`.
        ema_decay: of the exponential average of the parameters; 0 keeps none. At first
            it is (1 + step) / (10 + step) where that is less, so that the average soon
            forgets the initial parameters.
        axis_name: under `pmap`, the axis over which gradients are averaged, before the
            clip. Under `jit` a batch that lies sharded on several devices needs none.
    """
    tx = optax.with_extra_args_support(tx)

    def train_step(state, batch):
        def mean_loss(params):
            variables = {"params": params}
            if state.batch_stats:
                variables["batch_stats"] = state.batch_stats
            loss, aux = objective(variables, batch, state.step)
            return jnp.mean(loss), aux

        (loss, aux), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        if axis_name is not None:
            loss, aux, grads = jax.lax.pmean((loss, aux, grads), axis_name)
        updates, opt_state = tx.update(grads, state.opt_state, state.params, value=loss)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "gradient_norm": optax.tree.norm(grads)}
        clipped = optax.tree.get(opt_state, "clipped")
        if clipped is not None:
            metrics["clipped"] = clipped
        plateau = optax.tree.get(opt_state, "ReduceLROnPlateauState")
        if plateau is not None:
            metrics["plateau"] = plateau.scale
        decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
        new_state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=aux["batch_stats"],
            opt_state=opt_state,
            ema_params=jax.tree.map(
                lambda average, new: decay * average + (1 - decay) * new,
                state.ema_params,
                params if state.ema_params else {},
            ),
        )
        return new_state, metrics | aux["metrics"]

    return train_step


def make_train_steps(
    train_step: Callable, cut: Callable, *, single: bool = False
) -> Callable:
    """Returns (state, data, inputs) -> (state, metrics): many updates in one dispatch.

    Args:
        train_step: (state, batch) -> (state, metrics).
        cut: (data, input) -> batch, as a `patches.Feed` has it.
        single: for one update at a time, without a scan. So on a CPU: inside a loop XLA
            leaves the convolutions of gradients in a form that is 25 times slower. The
            two forms differ in the last bit, so a run keeps to one; scans of different
            lengths do not differ.

    Returns:
        A pure function, not compiled: `inputs` has a leading axis of updates, and so
        have the metrics.
    """

    def train_one(state, data, inputs):
        batch = cut(data, jax.tree.map(lambda x: x[0], inputs))
        state, metrics = train_step(state, batch)
        return state, jax.tree.map(lambda x: x[None], metrics)

    def train_many(state, data, inputs):
        return jax.lax.scan(lambda s, x: train_step(s, cut(data, x)), state, inputs)

    return train_one if single else train_many

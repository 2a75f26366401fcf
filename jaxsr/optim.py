"""Parts of optimizers: schedules, the learning-rate-scaled clip, and whole chains.

Everything is an optax transformation or a schedule (update count -> learning rate).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ClipByLearningRateState(NamedTuple):
    count: jax.Array  # [] int32, updates made so far
    clipped: jax.Array  # [] float32, fraction of the last gradient that was bounded


def clip_by_learning_rate(
    theta: float, schedule: optax.Schedule, *, by: str = "norm"
) -> optax.GradientTransformation:
    """Bounds the gradient by theta / schedule(count).

    Goes first in the chain, before weight decay and momentum, with the optimizer's own
    schedule: no update before momentum is then longer than theta.

    Args:
        theta: bound on one update, > 0, in units of the parameters.
        schedule: update count -> learning rate.
        by: "norm" bounds the global L2 norm (as Caffe and most re-implementations do),
            "value" each element (as the paper's text says). By value a theta of 0.01
            diverges with VDSR's recipe; 1e-4 does not.

    Source: Kim, Lee and Lee, CVPR 2016, section 3.2.
    """
    if not isinstance(theta, jax.Array) and theta <= 0:
        raise ValueError(f"theta must be positive; got {theta}.")
    if by not in CLIPS:
        raise ValueError(f"by must be one of {sorted(CLIPS)}; got {by!r}.")

    def init(params):
        del params
        return ClipByLearningRateState(
            count=jnp.zeros([], jnp.int32), clipped=jnp.zeros([], jnp.float32)
        )

    def update(updates, state, params=None):
        del params
        updates, clipped = CLIPS[by](updates, theta / schedule(state.count))
        return updates, ClipByLearningRateState(
            optax.safe_increment(state.count), clipped
        )

    return optax.GradientTransformation(init, update)


def _clip_norm(updates, bound):
    norm = optax.tree.norm(updates)
    factor = jnp.minimum(1.0, bound / norm)
    clipped = (norm > bound).astype(jnp.float32)
    return jax.tree.map(lambda g: g * factor.astype(g.dtype), updates), clipped


def _clip_value(updates, bound):
    leaves = jax.tree.leaves(updates)
    outside = sum(jnp.sum(jnp.abs(g) > bound) for g in leaves)
    clipped = outside / sum(g.size for g in leaves)
    return (
        jax.tree.map(lambda g: jnp.clip(g, -bound, bound), updates),
        clipped.astype(jnp.float32),
    )


def scale_by_name(
    rates: tuple[tuple[str, float], ...],
) -> optax.GradientTransformation:
    """Multiplies the update of a parameter by the rate of the first name in its path.

    Goes last in a chain. A rate of 0 freezes; a parameter without a name here has 1.

    Args:
        rates: (name, rate) such as (("bias", 0.1), ("conv_2/kernel", 0.5)); a name is
            a parameter's path, or parts of it.

    Raises:
        ValueError: at an update, for a name that no parameter has.
    """
    rates = tuple((name, float(rate)) for name, rate in rates)

    def fits(name, path):
        return f"/{name}/" in f"/{path}/"

    def update(updates, params=None):
        del params
        seen = []

        def scaled(path, x):
            path = "/".join(str(getattr(key, "key", key)) for key in path)
            seen.append(path)
            return next((rate for name, rate in rates if fits(name, path)), 1.0) * x

        result = jax.tree.map_with_path(scaled, updates)
        for name, _ in rates:
            if not any(fits(name, path) for path in seen):
                raise ValueError(f"rates must name parts of {seen}; got {name!r}.")
        return result

    return optax.stateless(update)


def skip_unused(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Keeps parameters and moments unchanged where the whole gradient is 0.

    Old momentum then does not move branches of MDSR that a batch does not use.
    Counts, as Adam's for its bias correction, are common to all parameters.
    """
    tx = optax.with_extra_args_support(tx)

    def update(updates, state, params=None, **extra):
        used = jax.tree.map(lambda g: jnp.any(g != 0), updates)
        updates, new = tx.update(updates, state, params, **extra)
        keep = optax.tree.map_params(
            tx, lambda _, used: used, new, used, transform_non_params=lambda _: True
        )
        updates = jax.tree.map(lambda u, used: jnp.where(used, u, 0), updates, used)
        return updates, jax.tree.map(jnp.where, keep, new, state)

    return optax.GradientTransformationExtraArgs(tx.init, update)


class PlateauState(NamedTuple):
    plateau: Any  # optax's own
    validation_error: jax.Array  # [] float32, one not yet looked at; below 0 for none


def plateau(
    *, epoch: int, of: str = "loss", **settings
) -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by a factor that falls when `of` stops falling.

    Goes last in a chain.

    Args:
        epoch: updates in an epoch.
        of: "loss", the mean of each epoch in training, or "validation", the errors
            that `validated` hands in. Where gradients are accumulated, of the losses
            behind an update the last one counts.
        settings: of `optax.contrib.reduce_on_plateau`. Its patience counts epochs, or
            validations.
    """
    reduce = optax.contrib.reduce_on_plateau
    if of == "loss":
        return reduce(**settings, accumulation_size=epoch)
    if of != "validation":
        raise ValueError(f"of must be 'loss' or 'validation'; got {of!r}.")
    tx = reduce(**settings)

    def init(params):
        return PlateauState(tx.init(params), jnp.float32(-1.0))

    def update(updates, state, params=None, **extra):
        del params, extra
        error = state.validation_error
        _, seen = tx.update((), state.plateau, value=error)
        new = jax.tree.map(lambda a, b: jnp.where(error < 0, a, b), state.plateau, seen)
        updates = jax.tree.map(lambda u: new.scale * u, updates)
        return updates, PlateauState(new, jnp.full_like(error, -1.0))

    return optax.GradientTransformationExtraArgs(init, update)


def validated(opt_state: Any, psnr: float) -> Any:
    """The state in which a plateau "validation" finds the error of `psnr` dB."""
    return optax.tree.set(opt_state, validation_error=jnp.float32(10 ** (-psnr / 10)))


def sgd(
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip: str | None = None,
    theta: float = 0.01,
    rates: tuple[tuple[str, float], ...] = (),
) -> optax.GradientTransformation:
    """SGD as in Caffe: clip, then weight decay on every parameter, then momentum.

    optax multiplies the whole momentum trace by the current rate, Caffe keeps a trace
    of rate times gradient: the two differ only in the few updates after the rate
    changes.

    Args:
        schedule: update count -> learning rate.
        momentum: decay of the trace, 0..1.
        weight_decay: L2 coefficient, in units of the loss.
        clip: the `by` of `clip_by_learning_rate`; None or "" disables it.
        theta: its bound.
        rates: as in `scale_by_name`; Caffe's lr_mult.
    """
    parts = [
        optax.add_decayed_weights(weight_decay),
        optax.sgd(schedule, momentum=momentum),
    ]
    if rates:
        parts.append(scale_by_name(rates))
    if clip:
        parts.insert(0, clip_by_learning_rate(theta, schedule, by=clip))
    return optax.chain(*parts)


def adam(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    rates: tuple[tuple[str, float], ...] = (),
) -> optax.GradientTransformation:
    """Adam; with a weight decay above 0 AdamW, which decays outside the moments.

    `rates` are those of `scale_by_name`.

    Source: Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019.
    """
    tx = optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    return optax.chain(tx, scale_by_name(rates)) if rates else tx


def constant(learning_rate: float, *, epoch: int, epochs: float) -> optax.Schedule:
    """The same rate throughout."""
    del epoch, epochs
    return optax.constant_schedule(learning_rate)


def step_decay(
    learning_rate: float,
    *,
    epoch: int,
    epochs: float,
    factor: float,
    every: float,
    final: float = 0.0,
) -> optax.Schedule:
    """The rate, multiplied by `factor` after each `every` epochs of `epoch` updates.

    It does not fall below `final` times the first rate.
    """
    del epochs
    if not every > 0:
        raise ValueError(f"every must be positive; got {every}.")
    return optax.exponential_decay(
        learning_rate,
        max(1, round(every * epoch)),
        factor,
        staircase=True,
        end_value=final * learning_rate if final else None,
    )


def cosine(
    learning_rate: float,
    *,
    epoch: int,
    epochs: float,
    final: float = 0.0,
    warmup: float = 0.0,
) -> optax.Schedule:
    """Half a cosine from the rate to `final` times it, ending after `epochs` epochs.

    During the first `warmup` epochs, but at most a tenth of the run, the rate rises
    linearly from 0 instead.
    """
    if warmup < 0:
        raise ValueError(f"warmup must not be negative; got {warmup}.")
    updates = max(1, round(epochs * epoch))
    rise = round(min(warmup, epochs / 10) * epoch)
    if not rise:
        return optax.cosine_decay_schedule(learning_rate, updates, final)
    parts = [
        optax.linear_schedule(0.0, learning_rate, rise),
        optax.cosine_decay_schedule(learning_rate, updates - rise, final),
    ]
    return optax.join_schedules(parts, [rise])


class SweptState(NamedTuple):
    numbers: dict[str, jax.Array]  # name -> []
    inner: Any  # the state of the optimizer


def swept(
    make: Callable[[dict], optax.GradientTransformation], numbers: dict[str, float]
) -> optax.GradientTransformationExtraArgs:
    """The optimizer make(numbers), whose numbers are arrays in its state.

    So `jax.vmap` over a step may give each of several runs its own.

    Args:
        make: name -> number, or array [] -> the optimizer; it checks no values.
        numbers: those that the state begins with.
    """

    def init(params):
        arrays = {name: jnp.float32(x) for name, x in numbers.items()}
        return SweptState(arrays, make(numbers).init(params))

    def update(updates, state, params=None, **extra):
        tx = optax.with_extra_args_support(make(state.numbers))
        updates, inner = tx.update(updates, state.inner, params, **extra)
        return updates, state._replace(inner=inner)

    return optax.GradientTransformationExtraArgs(init, update)


CLIPS = {
    "norm": _clip_norm,
    "value": _clip_value,
}

OPTIMIZERS = {
    "adam": adam,
    "sgd": sgd,
}

# (learning_rate, *, epoch: updates in an epoch, epochs: of the whole run, ...) ->
# schedule
SCHEDULES = {
    "constant": constant,
    "cosine": cosine,
    "step": step_decay,
}

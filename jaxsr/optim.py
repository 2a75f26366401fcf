"""Parts of optimizers: schedules, the learning-rate-scaled clip, and whole chains.

Everything is an optax transformation or a schedule (update count -> learning rate).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class ClipByLearningRateState(NamedTuple):
    count: jax.Array  # [] int32, updates made so far
    clipped: jax.Array  # [] float32, share of the last gradient that was bounded


def clip_by_learning_rate(
    theta: float, schedule: optax.Schedule, *, by: str = "norm"
) -> optax.GradientTransformation:
    """Bounds the gradient by theta / schedule(count).

    Goes first in the chain, before weight decay and momentum, with the optimizer's own
    schedule: no update before momentum is then longer than theta.

    Args:
        theta: bound on one update, > 0, in units of the parameters.
        schedule: update count -> learning rate.
        by: "norm" bounds the global L2 norm (as the authors' code does), "value" each
            element (as the paper's text says). By value a theta of 0.01 diverges with
            VDSR's recipe; 1e-4 does not.

    Source: Kim, Lee and Lee, CVPR 2016, section 3.2.
    """
    if theta <= 0:
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


def sgd(
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip: str | None = None,
    theta: float = 0.01,
) -> optax.GradientTransformation:
    """SGD as in Caffe: clip, then weight decay on every parameter, then momentum.

    optax multiplies the whole momentum trace by the current rate, Caffe keeps a trace
    of rate times gradient: the two differ only in the few updates after the rate
    changes.

    Args:
        schedule: update count -> learning rate.
        momentum: decay of the trace, 0..1.
        weight_decay: L2 coefficient, in units of the loss.
        clip: None, or the `by` of `clip_by_learning_rate`.
        theta: its bound.
    """
    parts = [
        optax.add_decayed_weights(weight_decay),
        optax.sgd(schedule, momentum=momentum),
    ]
    if clip is not None:
        parts.insert(0, clip_by_learning_rate(theta, schedule, by=clip))
    return optax.chain(*parts)


def adam(
    schedule: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Adam; with a weight decay above 0 AdamW, which decays outside the moments.

    Source: Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019.
    """
    return optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)


def constant(learning_rate: float, *, epoch: int, epochs: float) -> optax.Schedule:
    """The same rate throughout."""
    del epoch, epochs
    return optax.constant_schedule(learning_rate)


def step_decay(
    learning_rate: float, *, epoch: int, epochs: float, factor: float, every: float
) -> optax.Schedule:
    """The rate, multiplied by `factor` after each `every` epochs of `epoch` updates."""
    del epochs
    if not every > 0:
        raise ValueError(f"every must be positive; got {every}.")
    return optax.exponential_decay(
        learning_rate, max(1, round(every * epoch)), factor, staircase=True
    )


def cosine(
    learning_rate: float, *, epoch: int, epochs: float, final: float = 0.0
) -> optax.Schedule:
    """Half a cosine from the rate to `final` times it, over `epochs` epochs."""
    return optax.cosine_decay_schedule(
        learning_rate, max(1, round(epochs * epoch)), final
    )


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

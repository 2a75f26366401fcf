"""VDSR's training update, of jaxsr's parts, with the settings of experiments/vdsr.py."""

import importlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxsr import losses, objectives, optim
from jaxsr import step as steps
from jaxsr.data import patches, sources

SCALES = (2, 3, 4)
PATCH = 41
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
THETA = 0.01


def make_feed(backend: str, data: str, batch: int) -> patches.Feed:
    """The feed of a backend, "device" or "tfdata", over the image set `data`."""
    source = sources.open_source(data)
    common = {"scales": SCALES, "patch": PATCH, "input": "interpolated"}
    plan = patches.grid_plan(source.sizes, stride=PATCH, batch=batch, **common)
    module = importlib.import_module(f"jaxsr.data.{backend}")
    return module.make_feed(source, plan, seed=0, color="y", **common)


def make_update(net: nn.Module, cut: Callable) -> tuple[Callable, steps.TrainState]:
    """The compiled (state, data, inputs) -> (state, metrics), and the first state."""
    schedule = optax.constant_schedule(LEARNING_RATE)
    tx = optim.sgd(
        schedule, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, clip="norm", theta=THETA
    )
    objective = objectives.supervised(net, losses.half_sum_squared)
    train_step = steps.make_train_step(objective, tx)
    variables = net.init(jax.random.key(0), jnp.zeros([1, PATCH, PATCH, 1]))
    update = jax.jit(steps.make_train_steps(train_step, cut), donate_argnums=0)
    return update, steps.init_state(variables, tx)

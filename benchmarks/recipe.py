"""The training update of an experiment, as the training loop makes it."""

import importlib
import itertools
import pathlib
import sys
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr import image, models
from jaxsr.data import patches, sets
from jaxsr.training import factories
from jaxsr.training import step as steps


def make_config(
    backend: str,
    data: str,
    experiment: str = "vdsr",
    *,
    batch: int | None = None,
    patch: int | None = None,
    precision: str = "float32",
    **fields,
) -> dict:
    """The experiment's settings, with these and fields of its network put in.

    Where each batch has one of several scales, as MDSR's, the largest scale alone.
    """
    sys.path.append(str(pathlib.Path(__file__).parents[1]))
    module = importlib.import_module(f"experiments.{experiment}")
    config = module.get_config().to_dict()
    config["data"] |= {"backend": backend, "name": data}
    config["data"] |= {"batch": batch} if batch else {}
    config["data"] |= {"patch": patch} if patch else {}
    config["network"] |= fields
    config["precision"] = precision
    if make_net(config).input == "low":
        config["data"]["scales"] = (max(config["data"]["scales"]),)
    return config


def make_net(config: dict) -> nn.Module:
    """The network as it is trained, but for its precision."""
    return models.make(**config["network"] | config["in_training"])


def make_update(
    config: dict,
) -> tuple[Callable, Callable, steps.TrainState, jax.Array, patches.Feed]:
    """Compiled (state, data, inputs) -> (state, metrics); what puts inputs; the feed.

    Before the feed come the first state and the data, on the devices.
    """
    jax.config.update(
        "jax_default_matmul_precision", models.PRECISIONS[config["precision"]][0]
    )
    net = models.make(**config["network"])
    source = sets.open_source(config["data"]["name"])
    plan = factories.make_plan(config["data"], source, net.input)
    feed = factories.make_feed(config, source, plan, net.input)
    tx, _ = factories.make_optimizer(config, plan.epoch)
    train_step = factories.make_step(config, tx)
    update, replicated, sharded = steps.make_update(train_step, feed.cut)
    side = min(plan.sides.values())
    x = jnp.zeros([1, side, side, image.channels(config["color"])])
    variables = net.init(jax.random.key(0), x)
    state = jax.device_put(steps.init_state(variables, tx), replicated)
    data = jax.device_put(feed.data, replicated)

    def put(inputs):
        return jax.device_put(patches.stack(inputs), sharded)

    return update, put, state, data, feed


def make_run(config: dict, updates: int) -> tuple[Callable[[], None], dict]:
    """A function that makes that many updates and waits; and the first batch."""
    update, put, state, data, feed = make_update(config)
    stream = feed.inputs(0, 10**9)
    batch = jax.device_get(jax.jit(feed.cut)(feed.data, next(feed.inputs(0, 1))))

    def run():
        nonlocal state
        inputs = put(itertools.islice(stream, updates))
        state, metrics = update(state, data, inputs)
        jax.block_until_ready((state, metrics))

    return run, batch

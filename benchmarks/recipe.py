"""The training update of an experiment, as train.py makes it."""

import importlib
import itertools
import pathlib
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxsr import build, image, models, train
from jaxsr import step as steps
from jaxsr.data import patches, sources


def make_config(
    backend: str,
    data: str,
    experiment: str = "vdsr",
    *,
    batch: int | None = None,
    precision: str = "float32",
    **fields,
) -> dict:
    """The experiment's settings, with these and fields of its network put in."""
    sys.path.append(str(pathlib.Path(__file__).parents[1]))
    module = importlib.import_module(f"experiments.{experiment}")
    config = module.get_config().to_dict()
    config["data"] |= {"backend": backend, "name": data}
    config["data"] |= {"batch": batch} if batch else {}
    config["network"] |= fields
    config["precision"] = precision
    return config


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
    source = sources.open_source(config["data"]["name"])
    plan = build.make_plan(config["data"], source, net.input)
    feed = build.make_feed(config, source, plan, net.input)
    tx, _ = build.make_optimizer(config, plan.epoch)
    train_step = steps.make_train_step(build.make_objective(config), tx)
    update, replicated, sharded = train.make_update(train_step, feed.cut)
    side = min(plan.sides.values())
    x = jnp.zeros([1, side, side, image.channels(config["color"])])
    variables = net.init(jax.random.key(0), x)
    state = jax.device_put(steps.init_state(variables, tx), replicated)
    data = jax.device_put(feed.data, replicated)

    def put(inputs):
        return jax.device_put(patches.stack(inputs), sharded)

    return update, put, state, data, feed


def make_run(config: dict, updates: int) -> tuple[Callable[[], None], float]:
    """What makes that many updates and waits for them; and one update's operations.

    The operations are those of the program as it is written: what a library computes in
    its place (cuDNN's convolutions) counts too. The body of a loop counts once.
    """
    update, put, state, data, feed = make_update(config)
    stream = feed.inputs(0, 10**9)

    def take():
        return put(itertools.islice(stream, updates))

    operations = update.lower(state, data, take()).cost_analysis()["flops"]

    def run():
        nonlocal state
        state, metrics = update(state, data, take())
        jax.block_until_ready((state, metrics))

    return run, operations

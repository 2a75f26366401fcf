"""Several runs as one program, against one after another: python benchmarks/sweep.py

An update of runs that differ in their seed, as a sweep makes it, in turn with as many
updates of the training loop of one run.
"""

import argparse
import math

import jax
import jax.numpy as jnp
import paired
import recipe

from jaxsr import devices
from jaxsr.data import patches
from jaxsr.reproduction import sweep
from jaxsr.training import factories


def make_at_once(config: dict, runs: int, updates: int):
    """A function that makes that many updates of all runs and waits."""
    _, _, state, _, feed = recipe.make_update(config)
    tx, _ = factories.make_optimizer(config, 1000)
    train_step = factories.make_step(config, tx)
    update, states, inputs, _ = sweep.make_update(train_step, feed.cut, runs=runs)
    several = jax.tree.map(lambda x: jnp.stack([x] * runs), jax.device_get(state))
    several = jax.device_put(several, states)
    data = jax.device_put(feed.data, inputs)
    stream = feed.inputs(0, 10**9)

    def run():
        nonlocal several
        batch = jax.device_put(
            patches.stack([next(stream) for _ in range(updates)]), inputs
        )
        several, metrics = update(several, data, batch)
        jax.block_until_ready((several, metrics))

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", default=["fsrcnn", "espcn", "edsr"])
    parser.add_argument("--runs", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--batch", type=int, default=16, help="patches (16)")
    parser.add_argument("--patch", type=int, default=24, help="pixels a side (24)")
    parser.add_argument(
        "--updates", type=int, default=32, help="updates per dispatch; 1 on a CPU"
    )
    parser.add_argument("--repetitions", type=int, default=10)
    args = parser.parse_args()

    devices.use_cores(math.gcd(args.batch, *args.runs))
    updates = 1 if jax.default_backend() == "cpu" else args.updates
    rows = []
    for name in args.experiments:
        config = recipe.make_config(
            "device", "samples", name, batch=args.batch, patch=args.patch
        )
        config["data"]["plan"] = "random"
        for runs in args.runs:
            one, _ = recipe.make_run(config, updates)
            contenders = {
                "at once": paired.timed(make_at_once(config, runs, updates)),
                "in turn": paired.timed(
                    lambda one=one, runs=runs: [one() for _ in range(runs)]
                ),
            }
            seconds = paired.interleave(contenders, args.repetitions)
            per = {k: [1e3 * s / updates for s in v] for k, v in seconds.items()}
            speed = paired.ratio(seconds["in turn"], seconds["at once"])
            rows.append(
                [name, str(runs), *map(paired.spread, per.values()), f"{speed:.2f}"]
            )
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}.\n")
    header = ["experiment", "runs", "at once, ms", "one after another, ms", "speed"]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()

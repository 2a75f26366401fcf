"""The cost of the input pipeline in training: python benchmarks/input_backends.py"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import jax
import paired
import recipe

from jaxsr import devices
from jaxsr.data import patches

WARM = 150  # batches after which nearly every degraded image has been made


def make_contenders(
    config: dict, updates: int, dispatches: int
) -> tuple[patches.Feed, dict[str, Callable]]:
    """The feed, and timers of the same dispatches: fed, and with a constant input."""
    update, put, state, data, feed = recipe.make_update(config)
    stream = feed.inputs(0, 10**9)
    constant = put(list(itertools.islice(feed.inputs(0, updates), updates)))

    def run(read):
        nonlocal state
        pending = None
        for _ in range(dispatches):
            state, metrics = update(state, data, read())
            jax.block_until_ready(pending)  # as the loop: one dispatch behind
            pending = metrics
        jax.block_until_ready(state)

    return feed, {
        "constant": paired.timed(lambda: run(lambda: constant)),
        "fed": paired.timed(
            lambda: run(lambda: put(list(itertools.islice(stream, updates))))
        ),
    }


def patches_per_second(feed: patches.Feed, batch: int) -> tuple[list, list]:
    """What a feed delivers without updates: from its start, and when it is warm."""
    cut, data = jax.jit(feed.cut), jax.device_put(feed.data)
    stream = feed.inputs(0, 10**9)

    def deliver(count):
        start = time.perf_counter()
        for batch in itertools.islice(stream, count):
            jax.block_until_ready(cut(data, jax.device_put(batch)))
        return time.perf_counter() - start

    cut.lower(data, next(feed.inputs(0, 1))).compile()
    cold = [batch / deliver(1) for _ in range(10)]
    deliver(WARM)
    return cold, [10 * batch / deliver(10) for _ in range(10)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, help="patches; 16 on a CPU, else 64")
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument(
        "--updates", type=int, default=32, help="updates per dispatch; 1 on a CPU"
    )
    parser.add_argument(
        "--dispatches", type=int, default=2, help="updates per measurement"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--data", default="samples", help="an image set")
    args = parser.parse_args()
    devices.use_cores(args.batch or 16)
    on_cpu = jax.default_backend() == "cpu"
    batch = args.batch or (16 if on_cpu else 64)
    updates = 1 if on_cpu else args.updates

    feeds, contenders = {}, {}
    for backend in ("device", "tfdata"):
        config = recipe.make_config(backend, args.data, batch=batch, depth=args.depth)
        feeds[backend], both = make_contenders(config, updates, args.dispatches)
        contenders |= {f"{backend}, {name}": run for name, run in both.items()}
    seconds = paired.interleave(contenders, args.repetitions)

    rows = []
    for backend, feed in feeds.items():
        fed, constant = seconds[f"{backend}, fed"], seconds[f"{backend}, constant"]
        each = args.dispatches * updates
        consumed = batch * each / statistics.median(constant)
        cold, warm = patches_per_second(feed, batch)
        rows.append(
            [
                backend,
                paired.spread([1000 * value / each for value in constant]),
                paired.spread([1000 * value / each for value in fed]),
                paired.spread([100 * (1 - b / a) for a, b in zip(fed, constant)]),
                paired.spread(cold),
                paired.spread(warm),
                paired.number(statistics.median(warm) / consumed),
            ]
        )
    print(
        f"VDSR of {args.depth} layers, {batch} patches of 41x41 of {args.data}, "
        f"{jax.devices()[0].device_kind}.\n"
    )
    header = ["backend", "update, constant input, ms", "update, fed, ms", "waiting, %"]
    header += ["delivers at first, patches/s", "when warm", "x what the step consumes"]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()

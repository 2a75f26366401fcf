"""Training speed of every network: python benchmarks/networks.py

The update of each experiment, as train.py makes it, beside a product of two large
matrices in the same rounds, whose speed is taken for the peak.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import paired
import recipe

from jaxsr import build, models

FILES = (pathlib.Path(__file__).parents[1] / "experiments").glob("*.py")
# The recipe of each network's paper.
PAPERS = sorted(p.stem for p in FILES if p.stem in models.MODELS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", default=PAPERS)
    parser.add_argument("--batch", type=int, help="patches (each experiment's own)")
    parser.add_argument("--precision", default="float32")
    parser.add_argument(
        "--updates", type=int, default=32, help="a dispatch; 1 on a CPU"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--data", default="samples", help="an image set")
    args = parser.parse_args()

    build.use_cores(args.batch or 16)
    on_cpu = jax.default_backend() == "cpu"
    side = 2048 if on_cpu else 8192
    a = jnp.ones([side, side], models.PRECISIONS[args.precision][1])
    product = jax.jit(jnp.matmul)
    rows = []
    for name in args.experiments:
        config = recipe.make_config(
            "device", args.data, name, batch=args.batch, precision=args.precision
        )
        # Batches of several scales cannot be stacked.
        several = len(config["data"]["scales"]) > 1
        updates = 1 if on_cpu or several else args.updates
        run, operations = recipe.make_run(config, updates)
        contenders = {
            "update": paired.timed(run),
            "product": paired.timed(lambda: product(a, a).block_until_ready()),
        }
        seconds = paired.interleave(contenders, args.repetitions)
        speeds = [operations * updates / value for value in seconds["update"]]
        peaks = [2 * side**3 / value for value in seconds["product"]]
        data = config["data"]
        images = [data["batch"] * updates / value for value in seconds["update"]]
        rows.append(
            [
                name,
                f"{data['batch']} of {data['patch']}x{data['patch']}",
                paired.spread(images),
                paired.number(operations / data["batch"] / 1e9),
                paired.spread([speed / 1e9 for speed in speeds]),
                f"{100 * paired.ratio(speeds, peaks):.0f}",
            ]
        )
    kind = jax.devices()[0].device_kind
    print(f"{args.precision}, {jax.device_count()} x {kind}.\n")
    header = ["experiment", "patches", "images/s", "GFLOP an image", "GFLOP/s"]
    print(paired.table([*header, "% of matrix peak"], rows))


if __name__ == "__main__":
    main()

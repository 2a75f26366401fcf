"""Training speed of every network against PyTorch: python benchmarks/networks.py

The update of each experiment, as the loop makes it, in turn with the same in PyTorch
and with a product of two large matrices, whose speed is the peak.
"""

import argparse
import itertools
import math
import pathlib

import jax
import paired
import peers
import recipe

from jaxsr import devices, models
from jaxsr.training import factories

FILES = (pathlib.Path(__file__).parents[1] / "experiments").glob("*.py")
# The recipe of each network's paper.
PAPERS = sorted(p.stem for p in FILES if p.stem in models.NETWORKS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", default=PAPERS)
    own = {"type": int, "nargs": "+", "default": [None]}
    parser.add_argument("--batch", **own, help="patches (each experiment's own)")
    parser.add_argument("--patch", **own, help="pixels a side (each experiment's own)")
    parser.add_argument("--precision", choices=models.PRECISIONS, default="float32")
    parser.add_argument(
        "--updates", type=int, default=32, help="updates per dispatch; 1 on a CPU"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--data", default="samples", help="an image set")
    args = parser.parse_args()

    cases = list(itertools.product(args.experiments, args.batch, args.patch))
    configs = [
        recipe.make_config(
            "device",
            args.data,
            name,
            batch=batch,
            patch=patch,
            precision=args.precision,
        )
        for name, batch, patch in cases
    ]
    devices.use_cores(math.gcd(*(config["data"]["batch"] for config in configs)))
    rows = []
    for (name, *_), config in zip(cases, configs):
        speeds = peers.measure(config, args.updates, args.repetitions)
        data, gflop = config["data"], factories.gflop(config)
        rows.append(
            [
                name,
                f"{data['batch']} of {data['patch']}x{data['patch']}",
                paired.number(gflop),
                *peers.cells("jaxsr", speeds, gflop),
            ]
        )
    kind = jax.devices()[0].device_kind
    print(f"{args.precision}, {jax.device_count()} x {kind}. {paired.processor()}.\n")
    header = ["experiment", "patches", "GFLOP an image", *peers.HEADER]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()

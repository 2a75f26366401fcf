"""VDSR's training step against PyTorch: python benchmarks/training_step.py"""

import argparse

import jax
import paired
import peers
import recipe

from jaxsr import devices, models
from jaxsr.training import factories


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--precision", choices=models.PRECISIONS, default="float32")
    parser.add_argument(
        "--updates", type=int, default=32, help="updates per dispatch; 1 on a CPU"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--data", default="samples", help="an image set")
    args = parser.parse_args()

    devices.use_cores(args.batch)
    config = recipe.make_config(
        "device",
        args.data,
        batch=args.batch,
        depth=args.depth,
        precision=args.precision,
    )
    speeds = peers.measure(config, args.updates, args.repetitions)
    gflop = factories.gflop(config)
    rows = [[name, *peers.cells(name, speeds, gflop)] for name in ("jaxsr", "PyTorch")]
    patch = config["data"]["patch"]
    print(
        f"VDSR of {args.depth} layers, {args.batch} patches of {patch}x{patch}, "
        f"{args.precision}, {jax.device_count()} x {jax.devices()[0].device_kind}, "
        f"matrix peak {paired.spread(speeds['peak'])} GFLOP/s.\n{paired.processor()}.\n"
    )
    print(paired.table(["step", *peers.HEADER], rows))


if __name__ == "__main__":
    main()

"""VDSR's training step against PyTorch: python benchmarks/training_step.py"""

import argparse
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import paired
import recipe
import torch

from jaxsr import build, models


def make_theirs(config: dict, updates: int, device: str) -> Callable[[], None]:
    """The same in PyTorch, on one batch that already lies on the device."""
    batch, patch = config["data"]["batch"], config["data"]["patch"]
    depth, width = config["network"]["depth"], config["network"]["width"]
    layers = []
    for before, after in itertools.pairwise([1, *[width] * (depth - 1), 1]):
        conv = torch.nn.Conv2d(before, after, 3, padding=1)
        torch.nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        layers += [conv, torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    net = net.to(device, memory_format=torch.channels_last)
    forward = torch.compile(net) if device == "cuda" else net
    optim, learning_rate = config["optim"], config["schedule"]["learning_rate"]
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=learning_rate,
        momentum=optim["momentum"],
        weight_decay=optim["weight_decay"],
    )
    hr = torch.rand([batch, 1, patch, patch])
    hr = hr.to(device, memory_format=torch.channels_last)
    enlarged = hr + 0.05 * torch.randn_like(hr)
    bfloat16 = torch.autocast(
        device, torch.bfloat16, enabled=config["precision"] == "bfloat16"
    )

    def run():
        for _ in range(updates):
            optimizer.zero_grad()
            with bfloat16:
                sr = enlarged + forward(enlarged)
            loss = 0.5 * torch.sum((sr - hr) ** 2) / batch
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                net.parameters(), optim["theta"] / learning_rate
            )
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def make_products(side: int, dtype: str, device: str) -> dict[str, Callable]:
    """The product of two large matrices in either library, whose speed is the peak."""
    a = jnp.ones([side, side], dtype)
    b = torch.ones([side, side], dtype=getattr(torch, dtype), device=device)
    product = jax.jit(jnp.matmul)

    def theirs():
        torch.matmul(b, b)
        if device == "cuda":
            torch.cuda.synchronize()

    return {
        "product, jax": lambda: product(a, a).block_until_ready(),
        "product, PyTorch": theirs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--precision", choices=models.PRECISIONS, default="float32")
    parser.add_argument(
        "--updates", type=int, default=32, help="a dispatch; 1 on a CPU"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--data", default="samples", help="an image set")
    args = parser.parse_args()

    build.use_cores(args.batch)
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    updates = 1 if device == "cpu" else args.updates
    config = recipe.make_config(
        "device",
        args.data,
        batch=args.batch,
        depth=args.depth,
        precision=args.precision,
    )
    precise = args.precision == "float32"
    torch.set_float32_matmul_precision("highest" if precise else "high")
    torch.backends.cudnn.allow_tf32 = not precise
    torch.backends.cudnn.benchmark = True

    # Sets the precision of JAX's products too.
    ours, _ = recipe.make_run(config, updates)
    side = 2048 if device == "cpu" else 8192
    products = make_products(side, models.PRECISIONS[args.precision][1], device)
    theirs = "PyTorch, channels_last" + ", compiled" * (device == "cuda")
    steps = {"jaxsr": ours, theirs: make_theirs(config, updates, device)}
    timers = {name: paired.timed(run) for name, run in (products | steps).items()}
    seconds = paired.interleave(timers, args.repetitions)
    peak = 2 * side**3 / min(min(seconds[name]) for name in products)

    width, patch = config["network"]["width"], config["data"]["patch"]
    kernels = 9 * width * (width * (args.depth - 2) + 2)
    # A multiplication and an addition for the result, and for each of two gradients.
    gflop = 6e-9 * kernels * patch**2 * args.batch * updates
    rows = [
        [
            name,
            paired.spread([args.batch * updates / value for value in seconds[name]]),
            paired.spread([gflop / value for value in seconds[name]]),
            paired.spread([1e11 * gflop / value / peak for value in seconds[name]]),
            f"{paired.ratio(seconds[theirs], seconds[name]):.2f}",
        ]
        for name in steps
    ]
    print(
        f"VDSR of {args.depth} layers, {args.batch} patches of {patch}x{patch}, "
        f"{args.precision}, {jax.devices()[0].device_kind}, matrix peak "
        f"{peak / 1e9:.0f} GFLOP/s.\n"
    )
    header = ["step", "images/s", "GFLOP/s", "% of matrix peak", "speed / PyTorch's"]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()

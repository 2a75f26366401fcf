"""VDSR's training step against PyTorch: python benchmarks/training_step.py"""

import argparse
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import paired
import recipe
import torch

from jaxsr import models, train


def make_ours(args, dtype: str) -> Callable[[], None]:
    """Runs args.updates updates as train.py does, patches cut on the device."""
    feed = recipe.make_feed("device", args.data, args.batch)
    net = models.VDSR(depth=args.depth, dtype=dtype)
    update, state = recipe.make_update(net, feed.cut)
    data = jax.device_put(feed.data)
    stream = feed.inputs(0, 10**9)

    def run():
        nonlocal state
        inputs = np.stack(list(itertools.islice(stream, args.updates)))
        state, metrics = update(state, data, inputs)
        jax.block_until_ready((state, metrics))

    return run


def make_theirs(args, device: str) -> Callable[[], None]:
    """The same in PyTorch, on one batch that already lies on the device."""
    channels = [1, *[64] * (args.depth - 1), 1]
    layers = []
    for before, after in itertools.pairwise(channels):
        conv = torch.nn.Conv2d(before, after, 3, padding=1)
        torch.nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        torch.nn.init.zeros_(conv.bias)
        layers += [conv, torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    net = net.to(device, memory_format=torch.channels_last)
    forward = torch.compile(net) if device == "cuda" else net
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=recipe.LEARNING_RATE,
        momentum=recipe.MOMENTUM,
        weight_decay=recipe.WEIGHT_DECAY,
    )
    bound = recipe.THETA / recipe.LEARNING_RATE
    shape = [args.batch, 1, recipe.PATCH, recipe.PATCH]
    hr = torch.rand(shape).to(device, memory_format=torch.channels_last)
    enlarged = hr + 0.05 * torch.randn_like(hr)

    def run():
        for _ in range(args.updates):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(
                device, torch.bfloat16, enabled=args.precision == "bfloat16"
            ):
                sr = enlarged + forward(enlarged)
            loss = 0.5 * torch.sum((sr - hr) ** 2) / args.batch
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), bound)
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def measure_peak(args, device: str) -> float:
    """FLOP/s of the faster library's product of two large matrices in the same dtype."""
    side = 8192 if device == "cuda" else 2048
    dtype = "bfloat16" if args.precision == "bfloat16" else "float32"
    a = jnp.ones([side, side], dtype)
    b = torch.ones([side, side], dtype=getattr(torch, dtype), device=device)
    product = jax.jit(jnp.matmul)

    def theirs():
        torch.matmul(b, b)
        if device == "cuda":
            torch.cuda.synchronize()

    seconds = paired.interleave(
        {
            "matrix product, JAX": paired.timed(
                lambda: product(a, a).block_until_ready()
            ),
            "matrix product, PyTorch": paired.timed(theirs),
        },
        10,
    )
    return 2 * side**3 / min(min(values) for values in seconds.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--precision", choices=train.PRECISIONS, default="float32")
    parser.add_argument(
        "--updates", type=int, help="in a dispatch: 1 on a CPU, else 32"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--data", default="samples", help="an image set")
    args = parser.parse_args()
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    args.updates = args.updates or (1 if device == "cpu" else 32)
    precision, dtype = train.PRECISIONS[args.precision]
    jax.config.update("jax_default_matmul_precision", precision)
    torch.set_float32_matmul_precision("highest" if precision == "highest" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "highest"
    torch.backends.cudnn.benchmark = True

    peak = measure_peak(args, device)
    theirs = "PyTorch, channels_last" + ", compiled" * (device == "cuda")
    seconds = paired.interleave(
        {
            "jaxsr": paired.timed(make_ours(args, dtype)),
            theirs: paired.timed(make_theirs(args, device)),
        },
        args.repetitions,
    )
    kernels = 9 * 64 * (64 * (args.depth - 2) + 2)
    # A multiplication and an addition, for the result and for both of its gradients.
    flop = 6 * kernels * recipe.PATCH**2 * args.batch * args.updates
    rows = []
    for name, values in seconds.items():
        images = [args.batch * args.updates / value for value in values]
        gflops = [flop / value / 1e9 for value in values]
        shares = [1e11 * value / peak for value in gflops]
        speed = paired.ratio(seconds[theirs], values)
        rows.append(
            [
                name,
                paired.spread(images),
                paired.spread(gflops),
                paired.spread(shares),
                f"{speed:.2f}",
            ]
        )
    print(
        f"VDSR of {args.depth} layers, {args.batch} patches of {recipe.PATCH}x"
        f"{recipe.PATCH}, {args.precision}, {jax.devices()[0].device_kind}, matrix peak "
        f"{peak / 1e9:.0f} GFLOP/s.\n"
    )
    header = ["step", "images/s", "GFLOP/s", "% of matrix peak", "speed / PyTorch's"]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()

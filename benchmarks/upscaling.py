"""Upscaling photographs from file to file: python benchmarks/upscaling.py

Everything is measured in fresh processes, to include start-up and peak memory.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable

import enlargers
import paired

# Width and height before enlarging. "tile" gives one tile and so compiles all that
# "medium" needs, whose four tiles overlap as those of a large photograph do.
SIZES = {
    "little": (64, 64),
    "tile": (256, 256),
    "medium": (472, 472),
    "photo": (2000, 1500),
    "large": (4000, 3000),
}


def fresh(function: Callable, *args):
    """What the function returns in a new process.

    This process imports nothing heavy and reads no image: on Linux, the peak memory of
    a process begins with that of the one that started it.
    """
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *args).result()


def prepare(folder: str, photo: str | None, small: dict) -> None:
    """Writes photographs, and models of random weights, as fast as trained ones."""
    import jax
    import jax.numpy as jnp
    import PIL.Image
    import PIL.ImageOps
    import skimage.data

    from jaxsr import models, weights

    picture = PIL.Image.fromarray(skimage.data.astronaut())
    if photo:
        picture = PIL.Image.open(photo).convert("RGB")
    for name, size in SIZES.items():
        PIL.ImageOps.fit(picture, size).save(f"{folder}/{name}.jpg", quality=95)
    for name, fields in {"full": {}, "small": small}.items():
        net = models.VDSR(**fields)
        variables = net.init(jax.random.key(0), jnp.zeros([1, 64, 64, 1]))
        card = weights.make_card(net, color="y", scales=[2], trained_on="nothing")
        model = weights.Model(net, jax.device_get(variables), card)
        weights.save(f"{folder}/{name}.safetensors", model)


def compare_networks(folder: str, repetitions: int) -> dict[str, list[float]]:
    """Megapixels/s of the two full networks alone, on one tile, in one process."""
    import jax
    import numpy as np
    import torch

    from jaxsr import weights
    from jaxsr.inference import tiling

    path = f"{folder}/full.safetensors"
    model = weights.load(path)
    forward = tiling.make_forward(model.net, None)
    theirs = enlargers.make_network(path)
    x = np.random.default_rng(0).random([1, enlargers.TILE, enlargers.TILE, 1])
    x = jax.device_put(x.astype(np.float32))
    y = torch.from_numpy(np.array(x)).permute(0, 3, 1, 2)
    sr = (y + theirs(y)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(forward(model.variables, x), sr, atol=1e-3)
    contenders = {
        "jaxsr": lambda: forward(model.variables, x).block_until_ready(),
        "PyTorch, whole": lambda: y + theirs(y),
    }
    timers = {name: paired.timed(run) for name, run in contenders.items()}
    seconds = paired.interleave(timers, repetitions)
    return {name: [x.size / 1e6 / s for s in each] for name, each in seconds.items()}


def enlarge(
    name: str, folder: str, model: str, photos: list[str], cache: str
) -> tuple[list[float], float]:
    """When each photograph was done, and the peak memory of this process in GB."""
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    run = enlargers.ENLARGERS[name](f"{folder}/{model}.safetensors")
    done = []
    for photo in photos:
        with contextlib.redirect_stdout(sys.stderr):
            run(f"{folder}/{photo}.jpg", f"{folder}/enlarged.jpg")
        done.append(time.monotonic())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return done, peak


def measure(
    name: str, folder: str, model: str, *photos: str, cold: bool = False
) -> tuple[list[float], float]:
    """Seconds from one photograph's end to the next one's, and GB at the peak."""
    with tempfile.TemporaryDirectory() as empty:
        cache = empty if cold else f"{folder}/cache"
        started = time.monotonic()
        done, peak = fresh(enlarge, name, folder, model, photos, cache)
    return [b - a for a, b in itertools.pairwise([started, *done])], peak


def make_rows(networks: dict, runs: dict, large: dict) -> list[list[str]]:
    """The table: a row for each quantity, a column for each enlarger."""

    def row(label, values):
        return [
            label,
            *(paired.spread(values.get(name, [])) for name in enlargers.ENLARGERS),
        ]

    def start_up(run):
        (first, second), _ = run
        return first - second

    outputs = {
        name: 4 * width * height / 1e6 for name, (width, height) in SIZES.items()
    }

    def speeds(runs, size):
        return {
            n: [outputs[size] / run[0][-1] for run in runs[n]]
            for n in enlargers.ENLARGERS
        }

    def peaks(runs):
        return {n: [run[1] for run in runs[n]] for n in enlargers.ENLARGERS}

    return [
        row("network alone on a tile, megapixels/s", networks),
        row(
            f"{outputs['medium']:.2f} megapixels: megapixels/s", speeds(runs, "medium")
        ),
        row("... peak memory, GB", peaks(runs)),
        row(
            "start-up, nothing cached, s",
            {"jaxsr": [start_up(r) for r in runs["cold"]]},
        ),
        row(
            "start-up, s",
            {
                n: [start_up(r) for r in runs[f"{n}, start"]]
                for n in enlargers.ENLARGERS
            },
        ),
        row(
            f"{outputs['large']:.0f} megapixels, small network: megapixels/s",
            speeds(large, "large"),
        ),
        row("... peak memory, GB", peaks(large)),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", help="a file; by default scikit-image's astronaut")
    parser.add_argument("--depth", type=int, default=3, help="for 12 megapixels (3)")
    parser.add_argument("--width", type=int, default=8, help="for 12 megapixels (8)")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()

    names = list(enlargers.ENLARGERS)
    with tempfile.TemporaryDirectory() as folder:
        fresh(prepare, folder, args.photo, {"depth": args.depth, "width": args.width})
        networks = fresh(compare_networks, folder, args.repetitions)

        def contender(name, *rest, **options):
            return lambda: measure(name, folder, *rest, **options)

        little = "full", "little", "little"
        measure("jaxsr", folder, *little)  # fills the compilation cache
        contenders = {"cold": contender("jaxsr", *little, cold=True)}
        contenders |= {f"{name}, start": contender(name, *little) for name in names}
        contenders |= {
            name: contender(name, "full", "tile", "medium") for name in names
        }
        runs = paired.interleave(contenders, args.repetitions, warm_up=False)
        contenders = {name: contender(name, "small", "large") for name in names}
        large = paired.interleave(contenders, 1, warm_up=False)

    rows = make_rows(networks, runs, large)
    speed = paired.ratio(networks["jaxsr"], networks["PyTorch, whole"])
    print(
        f"VDSR x2; the small network has {args.depth} layers of {args.width} channels. "
        f"Alone, jaxsr's network has {speed:.2f} times the speed of PyTorch's.\n"
    )
    print(paired.table(["", *names], rows))


if __name__ == "__main__":
    main()

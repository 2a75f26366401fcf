"""Loss in dB and gain in speed of lower precision: python benchmarks/precision.py

Models are scored on a benchmark set with their activations in each precision, and with
their weights rounded to float16. Speed is that of the compiled network on a full tile.
"""

import argparse

import jax
import paired

from jaxsr import image, models, weights
from jaxsr.data import sets, sources
from jaxsr.evaluation import protocol
from jaxsr.inference import tiling

PRECISIONS = ("float32", "bfloat16", "float16")


def psnr(model: weights.Model, source: sources.Source, precision: str) -> dict:
    """Scale -> mean PSNR in dB."""
    rows = protocol.evaluate(model, source, model.card["scales"], precision=precision)
    return {row.scale: row.psnr for row in rows if row.image == "mean"}


def make_runs(model: weights.Model, scale: int, side: int) -> dict:
    """Precision -> a function that runs one tile of that many output pixels a side."""
    branch = models.static_arguments(model.net, scale).get("scale")
    side //= tiling.enlargement(model.net, branch)
    channels = image.channels(model.card["color"])
    x = jax.random.uniform(jax.random.key(0), [1, side, side, channels])

    def make_run(precision):
        forward = tiling.make_forward(model.net, branch, precision)
        return lambda: jax.block_until_ready(forward(model.variables, x))

    return {precision: make_run(precision) for precision in PRECISIONS}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=weights.shipped())
    parser.add_argument("--data", default="Set5")
    parser.add_argument("--side", type=int, default=tiling.SIDE)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()

    source = sets.open_source(args.data)
    rows = []
    for name in args.models:
        model = weights.load(name)
        scores = {p: psnr(model, source, p) for p in PRECISIONS}
        halved = psnr(weights.halved(model), source, "float32")
        for scale in model.card["scales"]:
            runs = make_runs(model, scale, args.side)
            runs = {p: paired.timed(run) for p, run in runs.items()}
            seconds = paired.interleave(runs, args.repetitions)
            whole, *others = (scores[p][scale] for p in PRECISIONS)
            faster = [
                paired.ratio(seconds["float32"], seconds[p]) for p in PRECISIONS[1:]
            ]
            row = [name, f"x{scale}", f"{whole:.3f}"]
            row += [f"{x - whole:+.3f}" for x in (*others, halved[scale])]
            rows.append(row + [f"{x:.2f}" for x in faster])
    print(f"PSNR on {args.data} in dB; {jax.devices()[0].device_kind}.\n")
    header = ["model", "scale", *PRECISIONS, "float16 weights"]
    header += [f"speed, {p} / float32" for p in PRECISIONS[1:]]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()

"""Small networks on a photograph of 3 megapixels, from file to file: photos.py

Each is first upscaled once, so that everything is loaded and compiled. The networks
alone are compared on one tile, with ONNX Runtime too if `jaxsr[export]` is installed.
"""

import argparse
import contextlib
import pathlib
import shutil
import sys
import tempfile

import enlargers
import paired
import upscaling

MODELS = ("fsrcnn_x2", "espcn_x2")


def compare_networks(path: str, repetitions: int) -> dict[str, list[float]]:
    """Seconds of the network alone on a tile, in one process."""
    import jax
    import numpy as np
    import torch

    from jaxsr import devices, weights
    from jaxsr.inference import tiling

    devices.use_all_cores()
    model, count = weights.load(path), jax.device_count()
    forward = tiling.make_forward(model.net, None)
    side = enlargers.TILE // 2
    x = np.random.default_rng(0).random([count, side, side, 1]).astype(np.float32)
    mesh = jax.sharding.Mesh(jax.devices(), ("data",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    ours, variables = jax.device_put(x, spread), jax.device_put(model.variables, whole)
    theirs = torch.from_numpy(x).permute(0, 3, 1, 2)
    net = enlargers.make_network(path)
    sr = np.asarray(forward(variables, ours))
    inner = np.s_[:, 20:-20, 20:-20]  # PyTorch's borders are padded with zeros
    np.testing.assert_allclose(
        net(theirs).permute(0, 2, 3, 1)[inner], sr[inner], atol=1e-4
    )
    contenders = {
        "jaxsr": lambda: forward(variables, ours).block_until_ready(),
        "PyTorch": lambda: net(theirs),
    }
    with contextlib.suppress(ImportError):
        import onnxruntime

        from jaxsr.apps import export

        export.export(model, f"{path}.onnx")
        session = onnxruntime.InferenceSession(f"{path}.onnx")
        np.testing.assert_allclose(session.run(None, {"image": x})[0], sr, atol=1e-4)
        contenders["ONNX Runtime"] = lambda: session.run(None, {"image": x})
    timers = {name: paired.timed(run) for name, run in contenders.items()}
    return paired.interleave(timers, repetitions)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    rows, names = [], ["jaxsr", "PyTorch, tiles", "PyTorch, whole"]
    with tempfile.TemporaryDirectory() as folder:
        upscaling.fresh(upscaling.prepare, folder, None, {"depth": 2, "width": 4})
        shipped = pathlib.Path(__file__).parents[1] / "jaxsr" / "shipped"
        for model in args.models:
            shutil.copy(shipped / f"{model}.safetensors", folder)
            path = f"{folder}/{model}.safetensors"
            alone = upscaling.fresh(compare_networks, path, 4 * args.repetitions)
            runs = {
                name: lambda name=name, model=model: upscaling.measure(
                    name, folder, model, "tile", "medium", "photo"
                )
                for name in names
            }
            found = paired.interleave(runs, args.repetitions)
            seconds = {name: [run[0][-1] for run in found[name]] for name in names}
            for name in names:
                ratio = paired.ratio(seconds["PyTorch, tiles"], seconds[name])
                peak = max(run[1] for run in found[name])
                cells = [model, name, paired.spread(seconds[name]), f"{ratio:.2f}"]
                rows.append([*cells, paired.number(peak)])
                print(rows[-1], file=sys.stderr)
            for name, values in alone.items():
                ratio = paired.ratio(alone["PyTorch"], values)
                cells = [f"{model}, network alone", name, paired.spread(values)]
                rows.append([*cells, f"{ratio:.2f}", ""])
                print(rows[-1], file=sys.stderr)
    header = ["", "by", "s", "speed / PyTorch's", "peak memory, GB"]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()

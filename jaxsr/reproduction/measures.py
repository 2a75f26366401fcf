"""What studies measure of a trained variant: functions `Run` -> column -> number."""

import time
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from jaxsr import metrics
from jaxsr.data import sets
from jaxsr.evaluation import protocol
from jaxsr.reproduction import study

Measure = Callable[[study.Run], dict[str, float]]


def all_of(*measures: Measure) -> Measure:
    """The columns of several measures."""

    def measure(run):
        return {column: x for one in measures for column, x in one(run).items()}

    return measure


def psnr(*names: str, scales: Iterable[int] = (), ssim: bool = False) -> Measure:
    """Columns "Set5 x2": the mean PSNR in dB on a set by the protocol.

    Args:
        names: of benchmark sets.
        scales: by default those that the run is trained at.
        ssim: whether there are columns "Set5 x2, SSIM" too.
    """

    def measure(run):
        found = {}
        for source in sets.open_each(names):
            every = scales or run.config["data"]["scales"]
            for score in protocol.evaluate(run.model, source, every):
                if score.image == "mean":
                    column = f"{source.name} x{score.scale}"
                    found[column] = score.psnr
                    found |= {f"{column}, SSIM": score.ssim} if ssim else {}
        return found

    return measure


def rgb_psnr(name: str) -> Measure:
    """The column "Set5 x3, RGB": the mean PSNR in dB of all three channels."""

    def measure(run):
        (source,), scale = sets.open_each([name]), max(run.config["data"]["scales"])
        values = []
        for i in range(len(source.names)):
            pair = protocol.restore_rgb(run.model, source.read(i), scale)
            with jax.default_matmul_precision("highest"):
                value = metrics.psnr(*(x[None] for x in pair), border=scale)
            values.append(float(value[0]))
        return {f"{source.name} x{scale}, RGB": float(np.mean(values))}

    return measure


def after(*epochs: int) -> Measure:
    """Columns "epoch 10": the PSNR in dB of the nearest measurement along the way.

    Epochs are of the full length, which is the last of them; at a smaller budget they
    come as much earlier.
    """

    def measure(run):
        points = curve(run)
        found = {}
        for epoch in epochs if points else ():
            step = points[-1][0] * epoch / max(epochs)
            _, psnr = min(points, key=lambda point: abs(point[0] - step))
            found[f"epoch {epoch}"] = psnr
        return found

    return measure


def curve(run: study.Run) -> list[tuple[float, float]]:
    """(update, PSNR in dB) of every validation of a run."""
    return [
        (record["step"], record["validation_psnr"])
        for record in run.records
        if "validation_psnr" in record
    ]


def parameters(run: study.Run) -> dict[str, float]:
    """The column "parameters": how many the network has."""
    return {"parameters": sum(x.size for x in jax.tree.leaves(run.model.variables))}


def at_distances(name: str, distances: Sequence[int]) -> Measure:
    """Columns "8 px": the PSNR in dB of a set's pixels so far from the border.

    A column holds the distances up to the next one; the mean is over all such pixels.
    """

    def measure(run):
        (source,), (scale,) = sets.open_each([name]), run.config["data"]["scales"]
        errors, counts = np.zeros(len(distances)), np.zeros(len(distances))
        for i in range(len(source.names)):
            sr, hr = protocol.restore_image(run.model, source.read(i), scale)
            rows, columns = (
                np.minimum(np.arange(side), np.arange(side)[::-1])
                for side in hr.shape[:2]
            )
            distance = np.minimum(rows[:, None], columns)
            bins = np.searchsorted(distances, distance, side="right") - 1
            error = np.square(np.asarray(sr - hr, np.float64))[..., 0]
            errors += np.bincount(bins.ravel(), error.ravel(), len(distances))
            counts += np.bincount(bins.ravel(), minlength=len(distances))
        psnrs = -10 * np.log10(errors / counts)
        return {f"{d} px": float(x) for d, x in zip(distances, psnrs)}

    return measure


def recursions(name: str, depths: Sequence[int]) -> Measure:
    """Columns "recursion 6": the mean PSNR in dB of the image of this recursion alone.

    Only of a DRCN, whose result is a weighted sum of the images of all recursions.
    """

    def measure(run):
        net, variables, _ = run.model
        found = {}
        for depth in depths:
            if variables and depth <= net.depth:
                only = np.zeros(depth, np.float32)
                only[-1] = 1
                params = variables["params"] | {"weights": only}
                model = run.model._replace(
                    net=net.clone(depth=depth), variables={"params": params}
                )
                (score,) = psnr(name)(run._replace(model=model)).values()
                found[f"recursion {depth}"] = score
        return found

    return measure


def seconds(run: study.Run, name: str) -> float:
    """The median seconds for an image of a set, compiled, at the smallest scale."""
    (source,), scale = sets.open_each([name]), min(run.config["data"]["scales"])
    taken = []
    for i in [*range(len(source.names))] * 2:
        pixels, began = source.read(i), time.perf_counter()
        protocol.restore_image(run.model, pixels, scale)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[len(source.names) :]))


def lpips(*names: str) -> Measure:
    """Columns "Set5 x4, LPIPS", where the weights of LPIPS are found."""

    def measure(run):
        from jaxsr.importers import features

        try:
            params = features.load_lpips(run.config["perceptual"]["lpips"] or None)
        except FileNotFoundError:
            return {}
        scales = run.config["data"]["scales"]
        return {
            f"{source.name} x{score.scale}, LPIPS": score.lpips
            for source in sets.open_each(names)
            for score in protocol.evaluate(run.model, source, scales, lpips=params)
            if score.image == "mean"
        }

    return measure

"""The input pipeline `tfdata`: tf.data reads, degrades and cuts patches in parallel.

Serves sets of any size. Beside it only the TensorBoard writer and the export to
TFLite import TensorFlow.
"""

import functools

import numpy as np
import tensorflow as tf

from jaxsr import image
from jaxsr.data import pairs, patches, sources

# TensorFlow would otherwise reserve the accelerator's memory.
for kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], kind)

# Bytes of degraded images that are kept between uses: 291 at three scales takes 1 GB.
CACHE = 4 * 2**30


def make_feed(
    source: sources.Source,
    plan: patches.Plan,
    *,
    seed: int,
    scales: tuple[float, ...],
    color: str,
    input: str,
    blur: float = 0.0,
    shard: tuple[int, int] = (0, 1),
) -> patches.Feed:
    """The feed whose inputs are whole batches; the arguments are those of `device`."""
    channels = image.channels(color)
    largest = None if source.sizes is None else source.sizes.prod(axis=1).max()
    kept = 16 if largest is None else int(CACHE // (8 * channels * largest))

    @functools.lru_cache(maxsize=max(kept, 16))
    def pair(i, scale):
        low = sources.read_low(source, i, scale)
        return pairs.make_pair(
            source.read(i), scale, color=color, input=input, blur=blur, low=low
        )

    failed = []  # TensorFlow hides the type and text of errors raised inside it

    def cut(row):
        try:
            return cut_patch(row)
        except Exception as error:
            failed.append(error)
            raise

    def cut_patch(row):
        i, top, left, symmetry, k = (int(value) for value in row)
        scale = scales[k]
        x, hr = pair(i, scale)
        unit, side = scale if input == "low" else 1, plan.sides[scale]
        if min(x.shape[:2]) < side:
            raise ValueError(patches.too_small(source.names[i], x, side))
        top, left = top % (x.shape[0] - side + 1), left % (x.shape[1] - side + 1)
        return (
            _turned(x[top : top + side, left : left + side], symmetry),
            _turned(
                hr[unit * top :, unit * left :][: unit * side, : unit * side],
                symmetry,
            ),
        )

    def rows(step):
        return patches.shard(plan.rows(seed, int(step)), shard)

    def inputs(step, count):
        local = plan.batch // shard[1]
        dataset = tf.data.Dataset.range(step, step + count)
        dataset = dataset.map(
            lambda i: tf.ensure_shape(
                tf.numpy_function(rows, [i], tf.int32), [local, 5]
            )
        ).unbatch()
        dataset = dataset.map(
            lambda row: tf.numpy_function(cut, [row], (tf.float32, tf.float32)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        ).batch(local)
        try:
            for x, hr in dataset.prefetch(4).as_numpy_iterator():
                yield {"lr": x, "hr": hr}
        except tf.errors.OpError as error:
            raise (failed[0] if failed else error) from None

    return patches.Feed((), lambda data, batch: batch, inputs)


def _turned(patch, symmetry):
    return np.ascontiguousarray(image.symmetry(patch, symmetry))

"""The input pipeline `tfdata`: TensorFlow reads, decodes, degrades, cuts and batches.

A set whose pixels fit into `HELD` bytes is decoded and degraded once, and each batch is
gathered from them. Of a larger set each patch is read from its file, and only its
surroundings are degraded. Python makes integers, matrices and copies of unusual files
alone. Beside it only the TensorBoard writer and the export to TFLite import TensorFlow.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jaxsr import image
from jaxsr.data import contents, pairs, patches, sources

# TensorFlow would otherwise reserve the accelerator's memory.
for kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], kind)

# Bytes of decoded and degraded images; 291 in Y at three scales takes 0.4 GB.
HELD = 4 * 2**30


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
    made = Pairs(source, scales, color=color, input=input, blur=blur)
    images = contents.Contents(source)
    sides = [plan.sides[scale] for scale in scales]

    def rows(step):
        found = patches.shard(plan.rows(seed, int(step)), shard).copy()
        found[:, patches.IMAGE] = images.stand_ins[found[:, patches.IMAGE]]
        return found

    def rows_and_files(step):
        found = rows(step)
        places = [(i, [scales[k]]) for i, *_, k in found.tolist()]
        return found, *images.files(places)

    local = plan.batch // shard[1]
    shapes = [local, 5], [local, 1 + made.own], [local, 1 + made.own]
    held = functools.cache(lambda: hold(images, made, sides))

    def batches(step, last):
        dataset = tf.data.Dataset.range(step, last)
        if (pixels := held()) is not None:
            dataset = called(dataset, rows, [tf.int32], shapes[:1])
            cut = functools.partial(cut_held, pixels, made, sides)
            dataset = mapped(dataset, cut)
        else:
            dataset = called(dataset, rows_and_files, [tf.int32, *ENCODED], shapes)
            cut = functools.partial(cut_one, made, sides)
            dataset = mapped(dataset.unbatch(), cut).batch(local)
        return dataset.prefetch(4).as_numpy_iterator()

    def explain(step, error):
        found = rows(step)
        for i, k in found[:, (patches.IMAGE, patches.SCALE)].tolist():
            images.input_size(i, scales[k], sides[k], input)
        images.explain(found[:, patches.IMAGE], error)

    def inputs(step, count):
        rows(step)  # errors raised inside TensorFlow lose their kind and text
        last, errors = step + count, tf.errors.OpError
        for x, hr in contents.resumed(batches, step, last, explain, errors):
            yield {"lr": x, "hr": hr}

    return patches.Feed((), lambda data, batch: batch, inputs, images.bad)


def called(dataset, function: Callable, types, shapes) -> tf.data.Dataset:
    """The dataset of what a Python function returns for each element."""

    def call(element):
        found = tf.numpy_function(function, [element], types)
        return tuple(map(tf.ensure_shape, found, shapes))

    return dataset.map(tf.autograph.experimental.do_not_convert(call))


def mapped(dataset, function: Callable) -> tf.data.Dataset:
    """The dataset of what a TensorFlow function returns for each element."""
    plain = tf.autograph.experimental.do_not_convert(lambda *x: function(*x))
    return dataset.map(plain, num_parallel_calls=tf.data.AUTOTUNE)


ENCODED = (tf.string, tf.bool)  # a path or content; whether it is a path


def decoded(content: tf.Tensor, is_path: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 1 or 3]: what `reading.read_as_stored` gives for `reading.PLAIN`."""
    content = tf.cond(is_path, lambda: tf.io.read_file(content), lambda: content)
    pixels = tf.cond(
        tf.strings.substr(content, 0, 2) == "BM",
        lambda: tf.io.decode_bmp(content),
        # Decodes PNG too.
        lambda: tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE"),
    )
    return pixels[..., : tf.where(tf.shape(pixels)[2] > 2, 3, 1)]


class Pairs:
    """`pairs.make_pair` by TensorFlow, for whole images and for parts of them.

    Sums are added in NumPy's order, so that the numbers are the same to the last bit.
    With `own` the low-resolution images are those of files.
    """

    def __init__(self, source, scales, *, color: str, input: str, blur: float):
        pairs.check_input(input)
        self.own, self.of_true = source.low is not None, source.dtype
        self.scales, self.color, self.input, self.blur = scales, color, input, blur
        self.channels = image.channels(color, source.channels)
        self.units = [scale if input == "low" else 1 for scale in scales]
        # Of the input.
        self.dtype = tf.uint8 if (color, input) == ("rgb", "low") else tf.float32
        # Not a constant: TensorFlow would multiply by its reciprocal, which differs.
        self._top = tf.constant(65535.0 if self.of_true == np.uint16 else 255.0)

    def opened(self, content: tf.Tensor, is_path: tf.Tensor) -> list[tf.Tensor]:
        """`true` of the images of `ENCODED` [files], all gray or all in colour."""
        if self.color == "channels":
            return [self._unpacked(x) for x in tf.unstack(content)]
        found = [decoded(*x) for x in zip(tf.unstack(content), tf.unstack(is_path))]
        for low in found[1:]:
            tf.debugging.assert_equal(tf.shape(low)[2], tf.shape(found[0])[2])
        return [self.true(x) for x in found]

    def true(self, pixels: tf.Tensor) -> tf.Tensor:
        """`pairs.true_pixels` [H, W, C] of uint8 pixels [H, W, 1 or 3]."""
        neutral = [[0, 0], [0, 0], [0, self.channels - 1]]  # chroma
        if self.color == "rgb":
            true = tf.broadcast_to(pixels, [*tf.unstack(tf.shape(pixels)[:2]), 3])
        else:
            true = tf.cond(
                tf.shape(pixels)[2] == 1,
                lambda: tf.pad(pixels, neutral, constant_values=128),
                lambda: self._ycbcr(pixels),
            )
        return tf.ensure_shape(true, [None, None, self.channels])

    def _unpacked(self, content):
        """[H, W, C] of `contents.Contents.encoded` of an image of "channels"."""
        shape = tf.io.decode_raw(tf.strings.substr(content, 0, 12), tf.int32)
        rest = tf.strings.substr(content, 12, tf.strings.length(content) - 12)
        pixels = tf.reshape(tf.io.decode_raw(rest, self.of_true), shape)
        return tf.ensure_shape(pixels, [None, None, self.channels])

    def _ycbcr(self, rgb):
        matrix, offset, divisor = image.WHOLE
        colours = tf.unstack(tf.cast(rgb, tf.int32), num=3, axis=2)
        sums = [
            sum(int(a) * x for a, x in zip(row, colours)) + int(b)
            for row, b in zip(matrix[: self.channels], offset)
        ]
        return tf.cast(tf.stack([x // divisor for x in sums], axis=2), tf.uint8)

    def floats(self, pixels: tf.Tensor) -> tf.Tensor:
        """float32 of the pixels, integers divided by the largest of their dtype."""
        if pixels.dtype == tf.float32:
            return pixels
        return tf.cast(pixels, tf.float32) / self._top

    def axes(self, true: tf.Tensor, k) -> list["Axis"]:
        """How both axes of a true image are reduced at scales[k], and enlarged."""
        return [self._axis(length, k) for length in tf.unstack(tf.shape(true)[:2])]

    def _axis(self, length, k):
        steps = (not self.own) + (self.input == "interpolated")
        types = (tf.int64, *(tf.int64, tf.float32) * steps)
        used, *arrays = tf.numpy_function(self._bands, [length, k], types)
        arrays = [tf.ensure_shape(x, [None, None]) for x in arrays]
        return Axis(tf.ensure_shape(used, []), list(zip(arrays[::2], arrays[1::2])))

    def _bands(self, length, k):
        scale = self.scales[int(k)]
        found = pairs.bands(int(length), scale, self.input, self.blur, self.own)
        # TensorFlow writes its results over arrays that it no longer needs.
        return tuple(np.copy(x) for x in found)

    def part(self, x: tf.Tensor, axes: list["Axis"], corner, size) -> tf.Tensor:
        """[*size, C] from `corner` on of the network's input, of `dtype`.

        Args:
            x: [H, W, C], the true image or the low-resolution one of a file.
            axes: of the true image.
            corner, size: of the part.
        """
        (rows, top, height), (columns, left, width) = (
            axis.part(*place) for axis, place in zip(axes, zip(corner, size))
        )
        x = x[top : top + height, left : left + width]
        lengths = zip(*(axis.lengths for axis in axes))
        (old_height, old_width), *lengths = lengths
        for i, (row, column, (height, width)) in enumerate(zip(rows, columns, lengths)):
            x = self.floats(x)
            # The axis of the smaller scale first, as `image.resize` does.
            x = tf.cond(
                height * old_width <= width * old_height,
                functools.partial(_resized, row, column, x),
                functools.partial(_columns_first, row, column, x),
            )
            old_height, old_width = height, width
            if i == 0 and self.color == "rgb" and not self.own:
                x = tf.floor(tf.clip_by_value(x, 0.0, 1.0) * 255.0 + 0.5)
                x = tf.cast(x, tf.uint8)
        x = x if self.dtype == x.dtype else self.floats(x)
        return tf.ensure_shape(x, [None, None, self.channels])


class Axis(NamedTuple):
    """The bands (columns, weights) [out, taps] that make an axis of the input."""

    used: tf.Tensor  # pixels before the first band
    bands: list[tuple[tf.Tensor, tf.Tensor]]

    @property
    def lengths(self) -> list[tf.Tensor]:
        """Pixels before, between and after the bands."""
        return [self.used] + [tf.shape(x, tf.int64)[0] for x, _ in self.bands]

    def part(self, first, count):
        """Bands for `count` pixels from `first` on; the first pixel and count used."""
        needed = []
        for columns, weights in reversed(self.bands):
            columns, weights = (x[first : first + count] for x in (columns, weights))
            first = tf.reduce_min(columns)
            count = tf.reduce_max(columns) + 1 - first
            needed.insert(0, (columns - first, weights))
        return needed, first, count


def _product(band, x):
    """[out, W, C]: a band times the first axis of x [in, W, C]."""
    columns, weights = band
    size, old = tf.shape(columns, tf.int64), tf.shape(x, tf.int64)
    rows = tf.repeat(tf.range(size[0]), size[1])
    places = tf.stack([rows, tf.reshape(columns, [-1])], axis=1)
    matrix = tf.SparseTensor(places, tf.reshape(weights, [-1]), [size[0], old[0]])
    # It adds row after row, as SciPy does.
    out = tf.sparse.sparse_dense_matmul(matrix, tf.reshape(x, [old[0], -1]))
    return tf.reshape(out, [size[0], old[1], old[2]])


_swapped = functools.partial(tf.transpose, perm=[1, 0, 2])


def _resized(rows, columns, x):
    return _swapped(_product(columns, _swapped(_product(rows, x))))


def _columns_first(rows, columns, x):
    return _swapped(_resized(columns, rows, _swapped(x)))


class Held(NamedTuple):
    """Images of many sizes, end to end; the tables are int64."""

    true: tf.Tensor  # of `Pairs.of_true` [pixels, C]
    start: np.ndarray  # [images], of each image's first pixel
    width: np.ndarray
    input: tf.Tensor  # of `Pairs.dtype` [pixels, C]
    input_start: np.ndarray  # [images, scales]
    input_size: np.ndarray  # [images, scales, 2]


def hold(images: contents.Contents, made: Pairs, sides: list[int]) -> Held | None:
    """All images, decoded and degraded; None if they take more than `HELD` bytes.

    Raises:
        ValueError: for an image too small for a patch, whose side is of `sides`.
    """
    count = len(images.source.names)
    cost = made.channels * made.of_true.itemsize, made.channels * made.dtype.size
    if not (found := images.sizes(made.scales, sides, made.input, cost, HELD)):
        return None
    sizes, input_sizes = found
    pixels, input_pixels = sizes.prod(axis=-1), input_sizes.prod(axis=-1)
    start, input_start = (
        np.cumsum(x).reshape(x.shape) - x for x in (pixels, input_pixels)
    )
    true, input = (
        tf.Variable(tf.zeros([x.sum(), made.channels], dtype))
        for x, dtype in ((pixels, made.of_true), (input_pixels, made.dtype))
    )

    def file(i):
        found = images.files([(images.stand_ins[i].item(), made.scales)])
        return tuple(x[0] for x in found)

    def make(first, last):
        dataset = tf.data.Dataset.range(first, last)
        shapes = [[1 + made.own * len(sides)]] * 2
        return iter(mapped(called(dataset, file, ENCODED, shapes), whole))

    def whole(content, is_path):
        pixels, *low = made.opened(content, is_path)
        parts = []
        for k in range(len(sides)):
            axes = made.axes(pixels, k)
            size = [axis.lengths[-1] for axis in axes]
            x = low[k] if made.own else pixels
            parts.append(_flat(made.part(x, axes, (0, 0), size)))
        return _flat(pixels), tf.concat(parts, axis=0)

    def explain(i, error):
        images.explain([images.stand_ins[i]], error)

    filled = contents.resumed(make, 0, count, explain, tf.errors.OpError)
    for i, (x, y) in enumerate(filled):
        if i not in images.bad:
            _assign(true, start[i], x)
            _assign(input, input_start[i, 0], y)
    return Held(
        true.value(), start, sizes[:, 1], input.value(), input_start, input_sizes
    )


def _assign(variable, start, x):
    """variable[start : start + len(x)] = x, which alone would copy the variable."""
    kind = {"ref": variable.handle, "begin": [start], "end": [start + len(x)]}
    tf.raw_ops.ResourceStridedSliceAssign(**kind, strides=np.int64([1]), value=x)


def _flat(pixels):
    """[pixels, C] of [..., C]."""
    return tf.reshape(pixels, [-1, pixels.shape[-1]])


def cut_held(
    held: Held, made: Pairs, sides: list[int], rows: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """(lr, hr), float32 [n, side, side, C], of the rows [n, 5] of a plan."""
    i, top, left, symmetry, k = tf.unstack(tf.cast(rows, tf.int64), axis=1)
    at = tf.stack([i, k], axis=1)
    start, size = (
        tf.gather_nd(table, at) for table in (held.input_start, held.input_size)
    )
    # All patches of a batch have one size.
    side, unit = (tf.gather(np.int64(x), k[0]) for x in (sides, made.units))
    top, left = top % (size[:, 0] - side + 1), left % (size[:, 1] - side + 1)
    lr = _cut(held.input, start, size[:, 1], top, left, side, symmetry)
    start, width = (tf.gather(table, i) for table in (held.start, held.width))
    hr = _cut(held.true, start, width, unit * top, unit * left, unit * side, symmetry)
    return made.floats(lr), made.floats(hr)


def cut_one(
    made: Pairs,
    sides: list[int],
    row: tf.Tensor,
    content: tf.Tensor,
    is_path: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """(lr, hr), float32 [side, side, C], of a row [5] and `ENCODED` of its image."""
    true, *low = made.opened(content, is_path)
    _, top, left, symmetry, k = tf.unstack(tf.cast(row, tf.int64))
    side, unit = (tf.gather(np.int64(x), k) for x in (sides, made.units))
    axes = made.axes(true, k)
    corner = []
    for at, axis in zip((top, left), axes):
        tf.debugging.assert_greater_equal(axis.lengths[-1], side)
        corner.append(at % (axis.lengths[-1] - side + 1))
    lr = made.part(low[0] if made.own else true, axes, corner, (side, side))
    top, left = (unit * at for at in corner)
    hr = true[top : top + unit * side, left : left + unit * side]

    def turned(patch, side):
        zero = tf.zeros([1], tf.int64)
        at = (zero, side[None], zero, zero, side, symmetry[None])
        return made.floats(_cut(_flat(patch), *at)[0])

    return turned(lr, side), turned(hr, unit * side)


def _cut(flat, start, width, top, left, side, symmetry):
    """[n, side, side, C] of images in flat [pixels, C], under `image.symmetry`."""
    row, down, right, column, down_, right_ = tf.unstack(
        tf.gather(patches.TURNS, symmetry), axis=1
    )
    first = start + (top + row * (side - 1)) * width + left + column * (side - 1)
    steps = tf.range(side)
    rows = first[:, None] + steps * (down * width + down_)[:, None]
    columns = steps * (right * width + right_)[:, None]
    return tf.gather(flat, rows[:, :, None] + columns[:, None, :])

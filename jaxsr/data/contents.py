"""The images of a source as files that every decoder reads alike, and the bad ones."""

import functools
import logging
import os
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import PIL.Image

from jaxsr import files
from jaxsr.data import pairs, patches, sources
from jaxsr.files import reading


class Contents:
    """The images of a source for a decoder other than its own.

    Attributes:
        bad: index -> why an image cannot be read, of those that were met. Another one
            is taken in its place, see `patches.stand_ins`.
        low: scale -> the low-resolution images of files.
    """

    def __init__(self, source: sources.Source):
        self.source, self.bad = source, {}
        self.low = {scale: Contents(low) for scale, low in (source.low or {}).items()}
        self._undecoded = set()  # ordinary by their headers, and still not decoded

    @functools.cached_property
    def _folder(self) -> pathlib.Path:
        folder = tempfile.mkdtemp(prefix="jaxsr-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return pathlib.Path(folder)

    @functools.cached_property
    def stand_ins(self) -> np.ndarray:
        """`patches.stand_ins` of the bad images met so far."""
        return patches.stand_ins(len(self.source.names), self.bad)

    def encoded(self, index: int) -> str | bytes:
        """The path or the bytes of a file of one of the kinds `reading.PLAIN`.

        That is the image's own, or a copy in PNG, made once in the folder for temporary
        files and removed with this object.

        Of "channels" it is the bytes of (H, W, C) in int32 and those of the pixels.

        Raises:
            ValueError: if the image cannot be read.
        """
        if self.source.channels is not None:
            pixels = self.source.read(index)
            return np.array(pixels.shape, np.int32).tobytes() + pixels.tobytes()
        own = None if index in self._undecoded else self.source.encoded(index)
        if own is not None:
            return own
        path = self._folder / f"{index}.png"
        if not path.exists():
            pixels = self.source.read(index)
            picture = PIL.Image.fromarray(
                pixels[..., 0] if pixels.shape[2] == 1 else pixels
            )
            with files.written_whole(path) as file:
                picture.save(file, "png", compress_level=1)
        return str(path)

    def files(
        self, places: Iterable[tuple[int, Sequence[float]]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `encoded` gives, as bytes, and whether it is a path: both [n, files].

        The files are those of an image and, where it has low-resolution images of its
        own, of these at some scales.

        Args:
            places: index and scales of each image; all have as many.
        """
        found = [
            [self.encoded(i)] + [self.low[k].encoded(i) for k in scales if self.low]
            for i, scales in places
        ]
        content = [
            [x if isinstance(x, bytes) else os.fsencode(x) for x in f] for f in found
        ]
        is_path = [[isinstance(x, str) for x in f] for f in found]
        return np.array(content, object), np.array(is_path)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width); (0, 0) of a bad image."""
        if self.source.sizes is not None:
            return tuple(self.source.sizes[index].tolist())
        try:
            return reading.plain_size(self.encoded(index))
        except ValueError as error:
            self._note(index, error)
            return 0, 0

    def input_size(
        self, index: int, scale: float, side: int, input: str
    ) -> tuple[int, int]:
        """(height, width) of the network's input at a scale.

        Raises:
            ValueError: if it is too small for a patch of `side` x `side` pixels.
        """
        size = pairs.input_size(self.size(index), scale, input)
        if index not in self.bad and min(size) < side:
            name = self.source.names[index]
            raise ValueError(patches.too_small(name, size, side))
        return size

    def sizes(
        self,
        scales: Sequence[float],
        sides: Sequence[int],
        input: str,
        cost: tuple[int, int],
        most: int,
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """int64 [images, 2] and [images, scales, 2]: the images, the network's inputs.

        None where they would take more than `most` bytes, at a `cost` in bytes for a
        pixel of an image and for one of an input. `input_size` says what is raised.
        """
        count, taken = len(self.source.names), 0
        sizes = np.zeros((count, 2), np.int64)
        input_sizes = np.zeros((count, len(scales), 2), np.int64)
        for i in range(count):
            sizes[i] = self.size(i)
            for k, (scale, side) in enumerate(zip(scales, sides)):
                input_sizes[i, k] = self.input_size(i, scale, side, input)
            pixels = sizes[i].prod(), input_sizes[i].prod(axis=1).sum()
            taken += np.dot(pixels, cost)
            if taken > most:
                return None
        return sizes, input_sizes

    def explain(self, indices: Iterable[int], error: Exception) -> None:
        """Finds why another decoder failed on one of these images.

        The bad ones among them are noted; if there are none, copies are taken from now
        on.

        Raises:
            Exception: the error, where the images are not its cause.
        """
        met, before = set(map(int, indices)), len(self.bad)
        for index in sorted(met - self.bad.keys()):
            try:
                pixels = self.source.read(index)
                low = [of_scale.source.read(index) for of_scale in self.low.values()]
            except ValueError as reason:
                self._note(index, reason)
                continue
            for x in low:
                pairs.check_given(x, pixels)
        if len(self.bad) > before:
            return
        if met <= self._undecoded:
            raise error
        for images in (self, *self.low.values()):
            images._undecoded |= met

    def _note(self, index, reason):
        self.bad[index] = str(reason)
        self.__dict__.pop("stand_ins", None)  # which knows one more now
        logging.warning("Skipped: %s", reason)


def resumed(
    make: Callable[[int, int], Iterator],
    first: int,
    last: int,
    explain: Callable[[int, Exception], None],
    errors: type[Exception],
) -> Iterator:
    """The elements from first to last - 1 of make(first, last).

    It is made again after each of these errors that `explain` does not raise.
    """
    while first < last:
        try:
            for element in make(first, last):
                yield element
                first += 1
        except errors as error:
            explain(first, error)

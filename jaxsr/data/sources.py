"""Collections of images that are read one by one, and operations on them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxsr import image


class DataNotFound(FileNotFoundError):
    """A set is missing or incomplete."""


class Source(NamedTuple):
    """Images in a fixed order, decoded one by one when read."""

    name: str
    names: tuple[str, ...]  # of the images: stems in a named set, paths in a folder
    # index -> uint8 [H, W, 1 or 3], or [H, W, channels] of `dtype`; safe in threads
    read: Callable[[int], np.ndarray]
    sizes: np.ndarray | None  # int32 [N, 2]; None if known only after decoding
    left_out: tuple[str, ...] = ()  # why images were skipped
    # Scale -> the low-resolution image of each, for those that bicubic does not make.
    low: "dict[float, Source] | None" = None
    # index -> the path or bytes of a file of `reading.PLAIN` that holds what `read`
    # gives, if there is one; need not be whole
    encoded: Callable[[int], str | bytes | None] = lambda index: None
    channels: int | None = None  # of images of color "channels"
    dtype: np.dtype = np.dtype(np.uint8)


def join(name: str, parts: list[Source]) -> Source:
    """The images of several sources as one, of this name where it joins none by +."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0] + [len(part.names) for part in parts])

    def place(index):
        which = np.searchsorted(starts, index, side="right") - 1
        return parts[which], index - starts[which]

    def read(index):
        part, inside = place(index)
        return part.read(inside)

    def encoded(index):
        part, inside = place(index)
        return part.encoded(inside)

    sizes, dtypes = [part.sizes for part in parts], {part.dtype for part in parts}
    if len(dtypes) > 1:
        found = ", ".join(f"{part.name} {part.dtype}" for part in parts)
        raise ValueError(f"images of several folders must have one dtype; got {found}.")
    return Source(
        name=name if name and "+" not in name else "+".join(p.name for p in parts),
        names=tuple(f"{part.name}/{stem}" for part in parts for stem in part.names),
        read=read,
        sizes=None if any(size is None for size in sizes) else np.concatenate(sizes),
        left_out=tuple(reason for part in parts for reason in part.left_out),
        encoded=encoded,
        channels=parts[0].channels,
        dtype=parts[0].dtype,
    )


def without(source: Source, reasons: dict[int, str]) -> Source:
    """The source without some of its images: index -> why, noted in `left_out`.

    Raises:
        ValueError: where no image remains, with all reasons.
    """
    kept = [i for i in range(len(source.names)) if i not in reasons]
    left_out = source.left_out + tuple(reasons.values())
    if not kept:
        raise ValueError(
            "\n".join([f"{source.name} has no readable image:", *left_out])
        )
    return only(source, kept)._replace(left_out=left_out)


def only(source: Source, kept: Sequence[int]) -> Source:
    """The images of a source that have these indices, in this order."""
    return source._replace(
        names=tuple(source.names[i] for i in kept),
        read=lambda index: source.read(kept[index]),
        encoded=lambda index: source.encoded(kept[index]),
        sizes=None if source.sizes is None else source.sizes[kept],
        low=source.low and {k: only(low, kept) for k, low in source.low.items()},
    )


def read_low(source: Source, index: int, scale: float) -> np.ndarray | None:
    """The low-resolution image of an image, None where bicubic makes it."""
    return source.low[scale].read(index) if source.low else None


def with_reduced(
    source: Source, factors: tuple[float, ...], *, least: int = 1
) -> Source:
    """Every image of a source, reduced by each of the factors in (0, 1] by bicubic.

    The factor is raised where a side would fall below `least` pixels.

    Source: FSRCNN's augmentation, Dong, Loy and Tang, ECCV 2016, section 4.1; for
    `least` LapSRN's, Lai, Huang, Ahuja and Yang, CVPR 2017, the authors' code.
    """
    if not factors or not all(0 < factor <= 1 for factor in factors):
        raise ValueError(f"factors must lie in 0..1, 0 excluded; got {factors}.")
    if tuple(factors) == (1.0,):
        return source

    def raised(factor, size):
        return max(factor, min(1.0, least / min(size)))

    def read(index):
        pixels = source.read(index // len(factors))
        factor = raised(factors[index % len(factors)], pixels.shape[:2])
        if factor == 1:
            return pixels
        reduced = image.resize(image.to_floats(pixels), factor)
        return image.to_dtype(reduced, pixels.dtype)

    def encoded(index):
        whole = factors[index % len(factors)] == 1
        return source.encoded(index // len(factors)) if whole else None

    sizes = source.sizes
    if sizes is not None:
        sizes = [
            image.resized_size(size, raised(factor, size))
            for size in sizes.tolist()
            for factor in factors
        ]
        sizes = np.array(sizes, np.int32)
    names = tuple(f"{name}@{factor:g}" for name in source.names for factor in factors)
    return source._replace(names=names, read=read, sizes=sizes, encoded=encoded)


def digest(source: Source) -> str:
    """SHA-256, in hex, of the names and sizes of the images, not of their pixels.

    Of low-resolution images from files also the pixels of the first at each scale, for
    those of another degradation often have the same names.
    """
    sizes = [""] * len(source.names) if source.sizes is None else source.sizes.tolist()
    content = [source.names, sizes]
    for scale, low in (source.low or {}).items():
        first = hashlib.sha256(low.read(0).tobytes()).hexdigest()
        content.append([scale, digest(low), first])
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()

"""The bit depth and the channels of pixels in files."""

import numpy as np


def data_range(colours: np.ndarray, given: int | None = None) -> int:
    """The number that stands for 1 in uint8 or uint16 colours, or alpha, of a file.

    255 for uint8. Cameras and microscopes store fewer than 16 bits in 16-bit files, so
    for uint16 it is 2**n - 1, with the smallest n of 10, 12, 14 and 16 that holds the
    largest value. As `top` of `from_uint` and `to_uint` it preserves all values, and a
    network gets the range that it was trained on.

    Args:
        colours: without alpha, which has a range of its own.
        given: the range of uint16 colours where it is known.

    Raises:
        ValueError: if a colour exceeds `given`.
    """
    if colours.dtype != np.uint16:
        return np.iinfo(colours.dtype).max
    largest = int(colours.max())
    if given is None:
        return next(top for top in RANGES if largest <= top)
    if not max(largest, 1) <= given <= RANGES[-1]:
        raise ValueError(
            f"the white level of 16-bit values must be from {largest}, their largest, "
            f"to {RANGES[-1]}; got {given}."
        )
    return given


RANGES = [2**bits - 1 for bits in (10, 12, 14, 16)]


def without_alpha(pixels: np.ndarray) -> np.ndarray:
    """The colours [H, W, 1 or 3] of pixels [H, W] or [H, W, 1 to 4]."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return pixels[..., : 3 if pixels.shape[-1] > 2 else 1]

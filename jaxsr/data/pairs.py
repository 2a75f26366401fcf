"""A reference image -> the network's input and its target.

Training and evaluation both use this definition of degradation.
"""

import functools

import numpy as np

from jaxsr import image, matrices


def make_pair(
    pixels: np.ndarray,
    scale: float,
    *,
    color: str,
    input: str,
    blur: float = 0.0,
    low: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(x, hr), float32 [h, w, C] and [H, W, C] in about [0, 1], of a true image.

    The whole image is cropped to multiples of the scale and reduced by bicubic. Y, Cb
    and Cr are rounded to 8 bits before, their low-resolution image is not; for RGB the
    low-resolution image is rounded, as in the files that RGB networks are compared on.
    A fractional scale is that of `image.degrade`, and nothing is cropped.

    Args:
        pixels: uint8 [H', W', 1 or 3]; a gray image is its own Y, or all three colours.
            Of "channels" [H', W', C] of `stacks.DTYPES`, which become the network's
            input by `image.to_floats`; nothing is rounded.
        scale: >= 1; an integer for the input "low".
        color: "y" (C = 1), "rgb" or "ycbcr" (C = 3), or "channels" (any C).
        input: "interpolated" (x is enlarged again to the size of hr) or "low".
        blur: as in `image.degrade`.
        low: the low-resolution image, uint8 [h, w, 1 or 3], where bicubic does not make
            it.
    """
    check_input(input)
    hr = cropped(true_pixels(pixels, color), scale)
    if low is None:
        x = low_resolution(hr, scale, color=color, blur=blur)
    else:
        x = given(low, pixels, color)
    if input == "interpolated":
        x = image.resize(x, size=hr.shape[:2])
    return x, hr


def check_input(input: str) -> None:
    """Raises ValueError unless `input` is one of the two kinds of `make_pair`."""
    if input not in ("interpolated", "low"):
        raise ValueError(f"input must be 'interpolated' or 'low'; got {input!r}.")


def input_size(size: tuple[int, int], scale: float, input: str) -> tuple[int, int]:
    """(height, width) of x of `make_pair`, for that of the true image."""
    unit = scale if input == "low" else 1
    return tuple(image.cropped_side(side, scale) // unit for side in size)


def true_pixels(pixels: np.ndarray, color: str) -> np.ndarray:
    """[H', W', C]: the true image of `make_pair` in a color, not yet cropped.

    uint8; of "channels" of the dtype of the pixels.
    """
    if color == "channels":
        return pixels
    channels = image.channels(color)
    gray = pixels.shape[2] == 1
    if color == "rgb":
        return np.broadcast_to(pixels, (*pixels.shape[:2], channels))
    if color == "y":
        return pixels if gray else image.rounded_ycbcr(pixels, 1)
    if gray:
        ycbcr = image.with_neutral_chroma(image.luma(pixels))
        return image.to_uint(ycbcr, 8 * pixels.itemsize)
    return image.rounded_ycbcr(pixels)


def cropped(pixels: np.ndarray, scale: float) -> np.ndarray:
    """hr, float32 [H, W, C], of `true_pixels`."""
    return image.to_floats(image.modcrop(pixels, scale))


def low_resolution(
    hr: np.ndarray, scale: float, *, color: str, blur: float = 0.0
) -> np.ndarray:
    """float32 [h, w, C] of hr, a multiple of 1/255 for "rgb"."""
    low = image.degrade(hr, scale, blur=blur)
    return image.quantise(low) if color == "rgb" else low


def given(low: np.ndarray, pixels: np.ndarray, color: str) -> np.ndarray:
    """float32 [h, w, C] of the low-resolution image of a file.

    Gray files have another Y than those of three equal channels, so the low-resolution
    image and the true one must be alike in that.

    Args:
        low: uint8 [h, w, 1 or 3]; for "channels" as in `make_pair`.
        pixels: the true image, [H, W, C].
        color: as in `make_pair`.
    """
    check_given(low, pixels)
    return image.to_floats(true_pixels(low, color))


def check_given(low: np.ndarray, pixels: np.ndarray) -> None:
    """Raises a ValueError unless both are in colour, or both gray."""
    if low.shape[2] != pixels.shape[2]:
        raise ValueError(
            f"a low-resolution image has {low.shape[2]} channels and its true image "
            f"{pixels.shape[2]}. Save both in colour, or both in gray."
        )


@functools.lru_cache(maxsize=1024)
def bands(
    length: int, scale: float, input: str, blur: float, own: bool
) -> tuple[np.ndarray, ...]:
    """How `make_pair` makes one axis of x: its length, columns and weights, ...

    The length is that before the first of one or two `matrices.band`, of which the
    first reduces the axis and the other enlarges it again.

    Args:
        length: of the axis of the true image.
        scale, input, blur: as in `make_pair`.
        own: whether the low-resolution image is that of a file.
    """
    used = image.cropped_side(length, scale)
    reduce = image.degrade_matrix(used, scale, blur)
    low = reduce.shape[0]
    found = [] if own else [reduce]
    if input == "interpolated":
        found.append(matrices.resize(low, used, used / low))
    first = np.int64(low if own else used)
    return (first, *(x for matrix in found for x in matrices.band(matrix)))

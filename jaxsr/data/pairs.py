"""A true image -> what a network is given and what it should return.

The one definition of degradation, for training and for measuring alike.
"""

import numpy as np

from jaxsr import image


def make_pair(
    pixels: np.ndarray, scale: int, *, color: str, input: str, blur: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """(x, hr), float32 [h, w, C] and [H, W, C] in about [0, 1], of a true image.

    The whole image is cropped to multiples of the scale and reduced by bicubic. Y, Cb
    and Cr are rounded to 8 bits before, their low-resolution image is not; for RGB the
    low-resolution image is rounded, as in the files that RGB networks are compared on.

    Args:
        pixels: uint8 [H', W', 1 or 3]; a gray image is its own Y, or all three colours.
        scale: >= 1.
        color: "y" (C = 1), "rgb" or "ycbcr" (C = 3).
        input: "interpolated" (x is enlarged again to the size of hr) or "low".
        blur: as in `image.degrade`.
    """
    channels = image.channels(color)
    if input not in ("interpolated", "low"):
        raise ValueError(f"input must be 'interpolated' or 'low'; got {input!r}.")
    if color == "rgb":
        hr = image.from_uint(np.broadcast_to(pixels, (*pixels.shape[:2], channels)))
    elif color == "y":
        hr = image.luma(pixels)
    elif pixels.shape[2] == 1:
        hr = image.with_neutral_chroma(image.luma(pixels))
    else:
        ycbcr = image.rgb_to_ycbcr(image.from_uint(pixels, np.float64))
        hr = image.quantise(ycbcr).astype(np.float32)
    hr = image.modcrop(hr, scale)
    x = image.degrade(hr, scale, blur=blur)
    if color == "rgb":
        x = image.quantise(x)
    if input == "interpolated":
        x = image.enlarge(x, scale)
    return x, hr

"""Operations on pixel arrays: MATLAB-exact resizing, colour, cropping, rounding.

Images are [..., H, W, C] with values in [0, 1]. Every function takes NumPy or JAX
arrays and returns the same kind, so that a source on the host and a step on the
accelerator use the same definition of each operation.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxsr import matrices

Array = np.ndarray | jax.Array

CHANNELS = {"rgb": 3, "y": 1, "ycbcr": 3}  # color -> channels
# Of "channels" there may be any number up to `MOST`; they are no colours.
COLORS = (*CHANNELS, "channels")
MOST = 16


def channels(color: str, count: int | None = None) -> int:
    """How many channels images of a color of `COLORS` have: of "channels", `count`."""
    if color not in COLORS:
        raise ValueError(f"color must be one of {sorted(COLORS)}; got {color!r}.")
    if color != "channels":
        return CHANNELS[color]
    if count not in range(1, MOST + 1):
        raise ValueError(f"channels must be from 1 to {MOST}; got {count}.")
    return count


def _namespace(x: Array):
    return jnp if isinstance(x, jax.Array) else np


def resized_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """The (height, width) that `resize` gives for a scale: ceil(scale * side)."""
    # The rounding keeps 3 * (1/3 in floating point) from becoming one pixel more.
    return tuple(math.ceil(round(scale * side, 9)) for side in size)


def _apply_rows(matrix: scipy.sparse.csr_array, images: Array) -> Array:
    """Applies [out, in] to the third axis from the end of [..., in, W, C]."""
    if isinstance(images, jax.Array):
        dense = jnp.asarray(matrix.toarray(), images.dtype)
        return jnp.einsum("oi,...iwc->...owc", dense, images, precision="highest")
    *batch, length, width, channels = images.shape
    matrix = matrix.astype(images.dtype)
    flat = images.reshape(-1, length, width * channels)
    out = np.stack([matrix @ image for image in flat])
    return out.reshape(*batch, matrix.shape[0], width, channels)


def _apply_columns(matrix: scipy.sparse.csr_array, images: Array) -> Array:
    """Applies [out, in] to the second axis from the end of [..., H, in, C]."""
    if isinstance(images, jax.Array):
        dense = jnp.asarray(matrix.toarray(), images.dtype)
        return jnp.einsum("oi,...hic->...hoc", dense, images, precision="highest")
    *batch, height, length, channels = images.shape
    matrix = matrix.astype(images.dtype)
    flat = images.reshape(-1, height, length, channels)
    out = np.empty((len(flat), height, matrix.shape[0], channels), images.dtype)
    for i, c in np.ndindex(len(flat), channels):
        out[i, :, :, c] = (matrix @ flat[i, :, :, c].T).T
    return out.reshape(*batch, height, matrix.shape[0], channels)


def resize(
    images: Array,
    scale: float | tuple[float, float] | None = None,
    *,
    size: tuple[int, int] | None = None,
    method: str = "bicubic",
) -> Array:
    """Resized images [..., h, w, C], as MATLAB's imresize(images, scale, "bicubic").

    Not clipped: a cubic overshoots by some percent at edges.

    Args:
        images: float [..., H, W, C].
        scale: factor of both sides or one of (height, width), > 0; without it,
            that of `size` to the old size.
        size: (height, width) after; without it, ceil(scale * side).
        method: "bicubic", "bilinear", "lanczos3" or "nearest".
    """
    if images.ndim < 3:
        raise ValueError(f"images must be [..., H, W, C]; got shape {images.shape}.")
    check_float(images)
    if scale is None and size is None:
        raise ValueError("resize needs a scale, a size, or both; got neither.")
    old = images.shape[-3:-1]
    if scale is None:
        scale = tuple(new / side for new, side in zip(size, old))
    elif isinstance(scale, int | float):
        scale = (scale, scale)
    if size is None:
        size = tuple(
            resized_size((side,), factor)[0] for side, factor in zip(old, scale)
        )
    rows = matrices.resize(old[0], size[0], scale[0], method)
    columns = matrices.resize(old[1], size[1], scale[1], method)
    # MATLAB goes through the axis of the smaller scale first; the order matters only
    # for speed, since the two commute.
    if scale[0] <= scale[1]:
        return _apply_columns(columns, _apply_rows(rows, images))
    return _apply_rows(rows, _apply_columns(columns, images))


def gaussian_blur(images: Array, sigma: float) -> Array:
    """[..., H, W, C] blurred by a Gaussian of `sigma` > 0 pixels; edges mirrored.

    The kernel ends at 3 sigma and sums to one.
    """
    check_float(images)
    rows, columns = (matrices.blur(side, sigma) for side in images.shape[-3:-1])
    return _apply_columns(columns, _apply_rows(rows, images))


def degrade_matrix(
    length: int, scale: float, blur: float = 0.0
) -> scipy.sparse.csr_array:
    """Weights [length / scale, length], float64: `degrade` along one axis."""
    if blur:
        return matrices.blur(length, blur)[scale // 2 :: scale]
    [out] = resized_size((length,), 1 / scale)
    return matrices.resize(length, out, out / length)


def degrade(hr: Array, scale: float, *, blur: float = 0.0) -> Array:
    """The low-resolution images [..., H / scale, W / scale, C] of hr [..., H, W, C].

    MATLAB's imresize(hr, 1 / scale, "bicubic"), by which all compared scores are
    measured. At a fractional scale sides are rounded up, and the scale of each axis is
    the quotient of the sizes.

    Args:
        hr: float images in [0, 1]; both sides multiples of an integer `scale`.
        scale: >= 1.
        blur: sigma in pixels of a Gaussian after which every scale-th pixel is taken
            instead, as the texts of SRCNN and ESPCN say; 0 for the bicubic.
    """
    check_float(hr)
    if not scale >= 1:
        raise ValueError(f"scale must be at least 1; got {scale}.")
    height, width = hr.shape[-3:-1]
    if scale % 1:
        if blur:
            raise ValueError(f"blur is for integer scales; got scale={scale}.")
        return resize(hr, size=resized_size((height, width), 1 / scale))
    if height % scale or width % scale:
        raise ValueError(
            f"height and width must be multiples of scale={scale}; got "
            f"{height}x{width}. Use image.modcrop first."
        )
    sides = height, width
    rows, columns = (degrade_matrix(side, int(scale), blur) for side in sides)
    return _apply_columns(columns, _apply_rows(rows, hr))


def enlarge(lr: Array, scale: int) -> Array:
    """The bicubic-enlarged images [..., scale*h, scale*w, C] of lr [..., h, w, C]."""
    return resize(lr, float(scale))


def modcrop(images: Array, scale: float) -> Array:
    """Images [..., H, W, C] cropped at the bottom and right, see `cropped_side`."""
    height, width = images.shape[-3:-1]
    if min(height, width) < scale:
        raise ValueError(f"sides must be at least scale={scale}; got {height}x{width}.")
    return images[..., : cropped_side(height, scale), : cropped_side(width, scale), :]


def cropped_side(side: int | Array, scale: float) -> int | Array:
    """The largest multiple of an integer scale in a side; of a fraction, the side."""
    return side if scale % 1 else side - side % scale


def shave(images: Array, border: int) -> Array:
    """Images [..., H, W, C] without `border` >= 0 pixels on each side."""
    height, width = images.shape[-3:-1]
    if border < 0 or min(height, width) <= 2 * border:
        raise ValueError(
            f"border must be from 0 to below half of each side; got {border} for "
            f"{height}x{width}."
        )
    return images[..., border : height - border, border : width - border, :]


# MATLAB's rgb2ycbcr (ITU-R BT.601, studio swing), for RGB and YCbCr in [0, 1].
YCBCR_MATRIX = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)
YCBCR_MATRIX /= 255
YCBCR_OFFSET = np.array([16, 128, 128]) / 255
RGB_MATRIX = np.linalg.inv(YCBCR_MATRIX)
# floor((WHOLE[0] @ rgb + WHOLE[1]) / WHOLE[2]) is YCbCr of rgb in 0..255, rounded.
WHOLE = (
    np.array(
        [[65481, 128553, 24966], [-37797, -74203, 112000], [112000, -93786, -18214]]
    ),
    255_000 * np.array([16, 128, 128]) + 127_500,
    255_000,
)


def _mix(images: Array, matrix: np.ndarray) -> Array:
    xp = _namespace(images)
    matrix = xp.asarray(matrix, images.dtype)
    if xp is jnp:
        return jnp.matmul(images, matrix.T, precision="highest")
    return images @ matrix.T


def rgb_to_ycbcr(rgb: Array) -> Array:
    """YCbCr [..., 3] (Y in 16/255..235/255) of RGB [..., 3] in [0, 1]."""
    _check_rgb(rgb)
    offset = _namespace(rgb).asarray(YCBCR_OFFSET, rgb.dtype)
    return _mix(rgb, YCBCR_MATRIX) + offset.reshape((1,) * (rgb.ndim - 1) + (3,))


def ycbcr_to_rgb(ycbcr: Array) -> Array:
    """RGB [..., 3], not clipped, of YCbCr [..., 3]."""
    _check_rgb(ycbcr)
    offset = _namespace(ycbcr).asarray(YCBCR_OFFSET, ycbcr.dtype)
    return _mix(ycbcr - offset.reshape((1,) * (ycbcr.ndim - 1) + (3,)), RGB_MATRIX)


def rgb_to_y(rgb: Array) -> Array:
    """Y [..., 1] in 16/255..235/255 of RGB [..., 3] in [0, 1]; not rounded."""
    _check_rgb(rgb)
    return _mix(rgb, YCBCR_MATRIX[:1]) + rgb.dtype.type(YCBCR_OFFSET[0])


def luma(pixels: np.ndarray, dtype=np.float32) -> np.ndarray:
    """Y [H, W, 1], rounded to 8 bits, of uint8 pixels [H, W, 3] or [H, W, 1].

    Networks of one channel are trained and measured on it. A gray image is used as it
    is, over the full range (Set14's bridge).
    """
    gray = pixels.shape[-1] == 1
    return from_uint(pixels if gray else rounded_ycbcr(pixels, 1), dtype)


def rounded_ycbcr(rgb: np.ndarray, channels: int = 3) -> np.ndarray:
    """The first uint8 channels [..., channels] of YCbCr of uint8 rgb [..., 3].

    Halves are rounded up, as `WHOLE` has it: the sums are of whole numbers, so that
    every machine and library finds the same.
    """
    matrix, offset, divisor = WHOLE
    sums = rgb.astype(np.float64) @ matrix[:channels].T + offset[:channels]
    return (sums / divisor).astype(np.uint8)


def gray_to_y(gray: Array) -> Array:
    """Y in 16/255..235/255 of gray in [0, 1]: that of RGB with three equal channels."""
    check_float(gray)
    return gray * gray.dtype.type(219 / 255) + gray.dtype.type(16 / 255)


def y_to_gray(y: Array) -> Array:
    """Undoes `gray_to_y`; not clipped."""
    check_float(y)
    return (y - y.dtype.type(16 / 255)) * y.dtype.type(255 / 219)


def with_neutral_chroma(y: Array) -> Array:
    """YCbCr [..., 3] of gray images [..., 1]."""
    xp = _namespace(y)
    neutral = xp.full_like(y, YCBCR_OFFSET[1])
    return xp.concatenate([y, neutral, neutral], axis=-1)


def _check_rgb(images: Array) -> None:
    check_float(images)
    if images.shape[-1] != 3:
        raise ValueError(f"images must have 3 channels; got shape {images.shape}.")


def check_float(images: Array, name: str = "images") -> None:
    """Raises a TypeError where the images are not floating-point."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be floating-point in [0, 1]; got {images.dtype}. "
            "Use image.from_uint first."
        )


def check_range(images: Array) -> None:
    """Raises a ValueError where floating-point images leave [0, 1]."""
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"an image of floats must lie in [0, 1]; got {low} to {high}. Clip or "
            "divide it first."
        )


def from_uint(images: np.ndarray, dtype=np.float32, top=None) -> np.ndarray:
    """Floating-point images of uint8 or uint16 ones.

    Args:
        images: uint8 or uint16.
        dtype: of the result.
        top: what becomes 1, one number or one a channel; by default the largest of the
            type, so that the result is in [0, 1].
    """
    if images.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"images must be uint8 or uint16; got {images.dtype}.")
    top = np.iinfo(images.dtype).max if top is None else top
    return images.astype(dtype) / np.asarray(top, dtype)


def to_floats(pixels: np.ndarray, dtype=np.float32) -> np.ndarray:
    """Floating-point images: floats as they are, others divided by their largest."""
    if pixels.dtype.kind == "f":
        return pixels.astype(dtype, copy=False)
    return from_uint(pixels, dtype)


def to_dtype(images: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floating-point images, clipped to [0, 1], as uint8, uint16 or floats."""
    if dtype.kind == "f":
        return images.clip(0, 1).astype(dtype, copy=False)
    return to_uint(images, 8 * dtype.itemsize)


def to_uint(images: Array, bits: int = 8, top=None) -> Array:
    """uint8 (bits = 8) or uint16 (16) images: clipped to [0, 1], halves rounded up.

    Args:
        images: floating-point.
        bits: 8 or 16.
        top: what 1 becomes, one number or one a channel; by default 2**bits - 1.

    Raises:
        ValueError: for NumPy images with values that are not finite.
    """
    if bits not in (8, 16):
        raise ValueError(f"bits must be 8 or 16; got {bits}.")
    xp = _namespace(images)
    if xp is np and not np.isfinite(images).all():
        raise ValueError("images must be finite; got NaN or infinity.")
    top = 2**bits - 1 if top is None else top
    if images.dtype.itemsize < 4:  # float16 ends at 65504
        images = images.astype(xp.float32)
    # Values are not negative here, so floor(x + 0.5) rounds as MATLAB does.
    rounded = xp.floor(xp.clip(images, 0.0, 1.0) * top + 0.5)
    return rounded.astype(xp.uint8 if bits == 8 else xp.uint16)


def quantise(images: Array, bits: int = 8) -> Array:
    """Floating-point images, clipped to [0, 1] and rounded as `to_uint` would."""
    top = images.dtype.type(2**bits - 1)
    xp = _namespace(images)
    return xp.floor(xp.clip(images, 0.0, 1.0) * top + images.dtype.type(0.5)) / top


def symmetry(images: Array, index: int) -> Array:
    """Images [..., H, W, C] under one of the eight symmetries of the square.

    Args:
        index: 0..7. index % 4 quarter turns counter-clockwise, after a left-right flip
            where index >= 4; 0 is the identity.
    """
    if index not in range(8):
        raise ValueError(f"index must be from 0 to 7; got {index}.")
    if index >= 4:
        images = images[..., ::-1, :]
    return _namespace(images).rot90(images, index % 4, axes=(-3, -2))


def inverse_symmetry(images: Array, index: int) -> Array:
    """Undoes `symmetry(images, index)`."""
    if index not in range(8):
        raise ValueError(f"index must be from 0 to 7; got {index}.")
    images = _namespace(images).rot90(images, -(index % 4), axes=(-3, -2))
    return images[..., ::-1, :] if index >= 4 else images

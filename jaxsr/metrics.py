"""PSNR, SSIM and MS-SSIM: (sr, hr) [B, H, W, C] in [0, 1] -> [B].

Nothing is clipped or rounded here; `evaluation.protocol` does that before. Integer
images raise a TypeError; an hr that is not finite, or exceeds 1.5, a ValueError.
"""

import math

import einops
import jax
import jax.numpy as jnp
import numpy as np

from jaxsr import image


def check_pair(sr: image.Array, hr: image.Array) -> None:
    """Raises an error where hr, or an estimate of it, cannot be images in [0, 1].

    sr may overshoot. The values of hr are checked only where they are known: not while
    a function is traced.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr must match; got {sr.shape} and {hr.shape}.")
    image.check_float(sr, "sr")
    image.check_float(hr, "hr")
    if isinstance(hr, jax.core.Tracer) or not hr.size:
        return
    values = np.asarray(hr)  # jnp's would be traced where sr is
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and high <= 1.5):
        raise ValueError(
            f"hr must lie in [0, 1]; got {low:g} to {high:g}. Divide it by its range "
            "first, as image.from_uint does."
        )


def psnr(sr: jax.Array, hr: jax.Array, *, border: int) -> jax.Array:
    """Peak signal-to-noise ratio [B] in dB, without `border` edge pixels.

    Infinite for equal images.
    """
    _check(sr, hr)
    error = image.shave(sr - hr, border)
    return -10.0 * jnp.log10(jnp.mean(error**2, axis=(1, 2, 3)))


def ssim(sr: jax.Array, hr: jax.Array, *, border: int) -> jax.Array:
    """Structural similarity [B], at most 1, without `border` edge pixels.

    11x11 Gaussian window of sigma 1.5, K = (0.01, 0.03), windows that lie wholly
    inside, no downsampling, mean over channels: the authors' ssim_index.m.

    Raises:
        ValueError: where less than 11 pixels of a side are left.

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error
    Visibility to Structural Similarity", IEEE TIP 2004.
    """
    _check(sr, hr)
    sr, hr = image.shave(sr, border), image.shave(hr, border)
    similarity, _ = _similarity(sr, hr)
    return jnp.mean(similarity, axis=(1, 2, 3))


def ms_ssim(sr: jax.Array, hr: jax.Array, *, border: int) -> jax.Array:
    """Multi-scale structural similarity [B], at most 1, without `border` edge pixels.

    The product over five scales, each half as large as the one before by means of 2x2
    pixels, of the contrast and structure of `ssim`, and of all of it at the last, to
    the powers of `SCALE_WEIGHTS`. Negative values count as 0; the mean over channels.

    Raises:
        ValueError: where less than 176 pixels of a side are left.

    Source: Wang, Simoncelli and Bovik, "Multi-Scale Structural Similarity for Image
    Quality Assessment", Asilomar 2003.
    """
    _check(sr, hr)
    sr, hr = image.shave(sr, border), image.shave(hr, border)
    least = 11 * 2 ** (len(SCALE_WEIGHTS) - 1)
    if min(sr.shape[1:3]) < least:
        raise ValueError(
            f"ms_ssim needs sides of at least {least} pixels inside the border; got "
            f"{sr.shape[1]}x{sr.shape[2]}."
        )
    product = jnp.ones((), sr.dtype)
    for i, weight in enumerate(SCALE_WEIGHTS):
        if i:
            sr, hr = (_halved(x) for x in (sr, hr))
        whole, contrast = _similarity(sr, hr)
        part = whole if i == len(SCALE_WEIGHTS) - 1 else contrast
        product *= jnp.maximum(jnp.mean(part, axis=(1, 2)), 0) ** weight
    return jnp.mean(product, axis=-1)


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # the paper's, finest first


def _halved(x):
    """The means of 2x2 pixels; an odd last row or column counts twice."""
    odd = [(0, side % 2) for side in x.shape[1:3]]
    x = jnp.pad(x, [(0, 0), *odd, (0, 0)], mode="edge")
    return einops.reduce(x, "b (h i) (w j) c -> b h w c", "mean", i=2, j=2)


def _similarity(sr, hr):
    """(similarity, its factor of contrast and structure) at each window."""
    if min(sr.shape[1:3]) < 11:
        raise ValueError(
            "ssim needs sides of at least 11 pixels inside the border; got "
            f"{sr.shape[1]}x{sr.shape[2]}."
        )
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = jnp.asarray(window / window.sum(), sr.dtype)

    def mean(x):
        rows = sum(window[i] * x[:, i : x.shape[1] - 10 + i] for i in range(11))
        return sum(window[i] * rows[:, :, i : x.shape[2] - 10 + i] for i in range(11))

    # The variances are differences of near-equal numbers; without the means taken off
    # float32 loses three digits of them.
    shift = jnp.mean(hr, axis=(1, 2, 3), keepdims=True)
    sr0, hr0 = sr - shift, hr - shift
    mean_sr, mean_hr = mean(sr0), mean(hr0)
    var_sr = mean(sr0**2) - mean_sr**2
    var_hr = mean(hr0**2) - mean_hr**2
    covariance = mean(sr0 * hr0) - mean_sr * mean_hr
    mean_sr, mean_hr = mean_sr + shift, mean_hr + shift
    c1, c2 = 0.01**2, 0.03**2
    contrast = (2 * covariance + c2) / (var_sr + var_hr + c2)
    luminance = (2 * mean_sr * mean_hr + c1) / (mean_sr**2 + mean_hr**2 + c1)
    return luminance * contrast, contrast


def _check(sr, hr):
    check_pair(sr, hr)
    if sr.ndim != 4:
        raise ValueError(f"sr and hr must be [B, H, W, C]; got shape {sr.shape}.")


METRICS = {
    "ms_ssim": ms_ssim,
    "psnr": psnr,
    "ssim": ssim,
}

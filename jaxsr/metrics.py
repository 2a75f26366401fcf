"""PSNR, SSIM and MS-SSIM: (sr, hr) [B, H, W, C] in [0, 1] -> [B]; NIQE of sr alone.

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


def niqe(params: dict, sr: jax.Array, *, border: int) -> jax.Array:
    """Natural image quality evaluator [B], lower is better, without a true image.

    How far 36 features of the image's blocks of 96x96 pixels are from those of
    undistorted photographs. NaN where every block is flat. No loss: its gradient is
    not that of the distributions' shapes, which are looked up in a table. Float32
    errs by less than 0.01.

    Args:
        params: "mean" [36] and "covariance" [36, 36], as
            `importers.features.load_niqe` gives them.
        sr: [B, H, W, 1] in [0, 1], Y for published figures.
        border: edge pixels left out on each side.

    Raises:
        ValueError: where less than two blocks are left.

    Source: Mittal, Soundararajan and Bovik, "Making a 'Completely Blind' Image Quality
    Analyzer", IEEE SPL 2013, and the authors' computequality.m.
    """
    image.check_float(sr, "sr")
    if sr.ndim != 4 or sr.shape[-1] != 1:
        raise ValueError(f"niqe takes [B, H, W, 1]; got shape {sr.shape}.")
    x = image.shave(sr, border)
    down, right = (side // BLOCK for side in x.shape[1:3])
    if down * right < 2:
        raise ValueError(
            f"niqe needs two blocks of {BLOCK}x{BLOCK} pixels inside the border; got "
            f"{x.shape[1]}x{x.shape[2]} pixels."
        )
    x = 255 * jnp.asarray(x)[:, : BLOCK * down, : BLOCK * right]
    features = []
    for scale in (1, 2):
        if scale == 2:
            x = image.resize(x, 0.5)
        blocks = einops.rearrange(
            _normalised(x), "b (h i) (w j) 1 -> b (h w) i j", h=down, w=right
        )
        features.append(_features(blocks))
    features = jnp.concatenate(features, axis=-1)
    mean = jnp.nanmean(features, axis=1)
    whole = ~jnp.isnan(features).any(axis=-1, keepdims=True)
    count = jnp.sum(whole, axis=1, keepdims=True)
    rest = jnp.where(whole, features, 0)
    rest = jnp.where(whole, rest - jnp.sum(rest, axis=1, keepdims=True) / count, 0)
    covariance = jnp.einsum("bni,bnj->bij", rest, rest) / (count - 1)
    covariance = (covariance + params["covariance"][None]) / 2
    # Features of one size, without which the inverse in float32 is of no use.
    size = jnp.sqrt(jnp.diagonal(covariance, axis1=1, axis2=2))
    distance = (mean - params["mean"][None]) / size
    least = 36 * float(jnp.finfo(x.dtype).eps)  # MATLAB's; JAX drops ten times as much
    scaled = covariance / (size[:, :, None] * size[:, None])
    inverse = jnp.linalg.pinv(scaled, rtol=least, hermitian=True)
    return jnp.sqrt(jnp.einsum("bi,bij,bj->b", distance, inverse, distance))


BLOCK = 96  # pixels


def _normalised(x):
    """The pixels less the mean around them, by the deviation around them plus 1."""
    window = np.exp(-((np.arange(7) - 3) ** 2) / (2 * (7 / 6) ** 2))
    window = jnp.asarray(window / window.sum(), x.dtype)

    def mean(x):
        x = jnp.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)], mode="edge")
        rows = sum(window[i] * x[:, i : x.shape[1] - 6 + i] for i in range(7))
        return sum(window[i] * rows[:, :, i : x.shape[2] - 6 + i] for i in range(7))

    around = mean(x)
    return (x - around) / (jnp.sqrt(jnp.abs(mean(x * x) - around**2)) + 1)


def _features(blocks):
    """18 features [..., 18] of blocks [..., h, w]: of pixels and of four neighbours."""
    alpha, left, right = _fitted(blocks)
    found = [alpha, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        alpha, left, right = _fitted(blocks * jnp.roll(blocks, shift, axis=(-2, -1)))
        mean = (right - left) * jnp.exp(_log_gamma(2 / alpha) - _log_gamma(1 / alpha))
        found += [alpha, mean, left, right]
    return jnp.stack(found, axis=-1)


_log_gamma = jax.scipy.special.gammaln
SHAPES = np.arange(200, 10001) / 1000  # of `_fitted`


def _fitted(x):
    """Shape, left and right scale of asymmetric generalised Gaussians: [..., h, w].

    NaN where no value is below 0, or none above.
    """

    def root_mean_square(where):
        return jnp.sqrt(jnp.mean(x**2, axis=(-2, -1), where=where))

    left, right = root_mean_square(x < 0), root_mean_square(x > 0)
    shapes = jnp.asarray(SHAPES, x.dtype)
    ratios = jnp.exp(
        2 * _log_gamma(2 / shapes) - _log_gamma(1 / shapes) - _log_gamma(3 / shapes)
    )
    ratio = jnp.mean(jnp.abs(x), axis=(-2, -1)) ** 2 / jnp.mean(x**2, axis=(-2, -1))
    skew = left / right
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    above = jnp.clip(jnp.searchsorted(ratios, ratio), 1, len(shapes) - 1)
    nearer = ratio - ratios[above - 1] <= ratios[above] - ratio
    # The table's first where there is none, as for the authors.
    alpha = shapes[jnp.where(jnp.isnan(ratio), 0, above - nearer)]
    spread = jnp.exp((_log_gamma(1 / alpha) - _log_gamma(3 / alpha)) / 2)
    return alpha, left * spread, right * spread

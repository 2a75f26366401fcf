"""Training losses: (sr, hr) [B, H, W, C] -> [B]."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxsr import image, metrics


def half_sum_squared(sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Half the sum of squared errors over all pixels of each image.

    Averaged over the batch it is Caffe's EuclideanLoss, for which the learning rates of
    SRCNN, FSRCNN, VDSR, DRCN and DRRN are meant: its gradient is H * W * C / 2 times
    that of `mse`.
    """
    metrics.check_pair(sr, hr)
    return 0.5 * jnp.sum((sr - hr) ** 2, axis=(1, 2, 3))


def mse(sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Mean squared error of each image."""
    metrics.check_pair(sr, hr)
    return jnp.mean((sr - hr) ** 2, axis=(1, 2, 3))


def l1(sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Mean absolute error of each image."""
    metrics.check_pair(sr, hr)
    return jnp.mean(jnp.abs(sr - hr), axis=(1, 2, 3))


def charbonnier_sum(sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Sum over all pixels of each image of sqrt(error**2 + 1e-6).

    Source: Lai, Huang, Ahuja and Yang, CVPR 2017, section 3.2; summed, as their code
    does, for which their learning rates are meant.
    """
    metrics.check_pair(sr, hr)
    return jnp.sum(jnp.sqrt((sr - hr) ** 2 + 1e-6), axis=(1, 2, 3))


def gradient(sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Mean difference in strength between the edges of each image, H and W >= 2.

    Of absolute differences to the pixel below, and of those to the right; added to a
    loss of pixels it keeps edges sharp.

    Source: Mathieu, Couprie and LeCun, "Deep multi-scale video prediction beyond mean
    square error", ICLR 2016, equation 6 with alpha = 1; here means instead of sums.
    """
    metrics.check_pair(sr, hr)
    _check_sides("gradient", sr)
    edges = [[jnp.abs(jnp.diff(x, axis=axis)) for x in (sr, hr)] for axis in (1, 2)]
    return sum(jnp.mean(jnp.abs(a - b), axis=(1, 2, 3)) for a, b in edges)


def focal_frequency(sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Weighted mean squared error of each image's spectrum, channel by channel.

    The weight of a frequency is its own error over the largest of the channel, and has
    no gradient, so that training attends to the frequencies that are furthest off.

    Source: Jiang, Dai, Wu and Loy, "Focal Frequency Loss for Image Reconstruction and
    Synthesis", ICCV 2021, equations 8 and 9 with alpha = 1; the unitary transform, as
    in the authors' code.
    """
    metrics.check_pair(sr, hr)
    spectrum = jnp.fft.fft2(sr - hr, axes=(1, 2), norm="ortho")
    squared = jnp.real(spectrum) ** 2 + jnp.imag(spectrum) ** 2
    off = jnp.sqrt(jax.lax.stop_gradient(squared))
    largest = jnp.max(off, axis=(1, 2), keepdims=True)
    weights = off / jnp.where(largest > 0, largest, 1.0)
    return jnp.mean(weights * squared, axis=(1, 2, 3))


def weighted(terms: Sequence[tuple[Callable, float]]) -> Callable:
    """The loss (sr, hr) -> [B] that is the sum of losses, each times its weight."""
    return lambda sr, hr: sum(weight * loss(sr, hr) for loss, weight in terms)


def total_variation(sr: jax.Array) -> jax.Array:
    """Mean over pixels and channels of the length of an image's gradient, [B].

    Of [B, H, W, C], H and W >= 2; differences to the pixel below and to the right.
    Added to another loss it keeps noise down: SRResNet-VGG22 has it with a weight of
    2e-8, for images in [-1, 1], so 4e-8 for those in [0, 1].

    Source: Ledig et al., CVPR 2017, section 4.3; the formula is that of its first
    version, arXiv:1609.04802v1.
    """
    _check_sides("total_variation", sr)
    image.check_float(sr, "sr")
    down = sr[:, 1:, :-1] - sr[:, :-1, :-1]
    right = sr[:, :-1, 1:] - sr[:, :-1, :-1]
    # The root has no gradient at zero, where an image is flat.
    return jnp.mean(jnp.sqrt(down**2 + right**2 + 1e-12), axis=(1, 2, 3))


def _check_sides(name, images):
    if images.ndim != 4 or min(images.shape[1:3]) < 2:
        raise ValueError(
            f"{name} needs images [B, H, W, C] of at least 2 pixels a side; got shape "
            f"{images.shape}."
        )


LOSSES = {
    "charbonnier_sum": charbonnier_sum,
    "focal_frequency": focal_frequency,
    "gradient": gradient,
    "half_sum_squared": half_sum_squared,
    "l1": l1,
    "mse": mse,
}
# Those that compare each pixel with its own, wherever it lies.
OF_PIXELS = ("charbonnier_sum", "half_sum_squared", "l1", "mse")

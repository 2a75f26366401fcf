"""Training losses: (sr, hr) [B, H, W, C] -> [B]."""

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


def total_variation(sr: jax.Array) -> jax.Array:
    """Mean over pixels and channels of the length of an image's gradient, [B].

    Of [B, H, W, C], H and W >= 2; differences to the pixel below and to the right.
    Added to another loss it keeps noise down: SRResNet-VGG22 has it with a weight of
    2e-8, for images in [-1, 1], so 4e-8 for those in [0, 1].

    Source: Ledig et al., CVPR 2017, section 4.3; the formula is that of its first
    version, arXiv:1609.04802v1.
    """
    if sr.ndim != 4 or min(sr.shape[1:3]) < 2:
        raise ValueError(
            "total_variation needs images [B, H, W, C] of at least 2 pixels a side; "
            f"got shape {sr.shape}."
        )
    image.check_float(sr, "sr")
    down = sr[:, 1:, :-1] - sr[:, :-1, :-1]
    right = sr[:, :-1, 1:] - sr[:, :-1, :-1]
    # The root has no gradient at zero, where an image is flat.
    return jnp.mean(jnp.sqrt(down**2 + right**2 + 1e-12), axis=(1, 2, 3))


LOSSES = {
    "charbonnier_sum": charbonnier_sum,
    "half_sum_squared": half_sum_squared,
    "l1": l1,
    "mse": mse,
}

"""Interpolation: the baselines of every table, as networks without weights."""

import flax.linen as nn
import jax

from jaxsr import image


class Bicubic(nn.Module):
    """Returns the bicubic-enlarged image, its input, unchanged."""

    input = "interpolated"
    halo = 0

    def __call__(self, enlarged: jax.Array) -> jax.Array:
        """Returns the enlarged image [B, H, W, C] as it is."""
        return enlarged


class _Resize(nn.Module):
    """Enlarges by MATLAB's imresize, whose `method` a subclass names."""

    input = "low"

    scales: tuple[int, ...] = (2, 3, 4, 8)

    def __call__(self, lr: jax.Array, *, scale: int | None = None) -> jax.Array:
        """Returns sr [B, scale*h, scale*w, C] of lr [B, h, w, C].

        Without `scale` it is the largest.
        """
        return image.resize(lr, scale or max(self.scales), method=self.method)


class Nearest(_Resize):
    """Repeats each pixel."""

    method = "nearest"
    halo = 0


class Bilinear(_Resize):
    """Interpolates linearly along both axes."""

    method = "bilinear"
    halo = 1


class Lanczos(_Resize):
    """Interpolates by a windowed sinc of six taps along both axes."""

    method = "lanczos3"
    halo = 3

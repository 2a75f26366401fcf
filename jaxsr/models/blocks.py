"""Pieces that several networks share."""

from collections.abc import Callable

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp


class PReLU(nn.Module):
    """x where it is positive, elsewhere x times its channel's slope, 0.25 at first."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activation [..., C], in the type of x."""
        slope = self.param("slope", nn.initializers.constant(0.25), x.shape[-1:])
        slope = slope.astype(x.dtype).reshape([1] * (x.ndim - 1) + [-1])
        return jnp.where(x > 0, x, slope * x)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """Images [B, factor*h, factor*w, C] of x [B, h, w, C*factor*factor].

    The channels are in PyTorch's order: of image, of row, of column.
    """
    return einops.rearrange(x, "b h w (c i j) -> b (h i) (w j) c", i=factor, j=factor)


def pad_edges(x: jax.Array, border: int) -> jax.Array:
    """x [B, h, w, C] with its border pixels repeated `border` times on each side."""
    sides = (border, border)
    return jnp.pad(x, ((0, 0), sides, sides, (0, 0)), mode="edge")


class ConvTranspose(nn.Module):
    """Enlarges by `stride` with a transposed convolution: out[stride i + t - crop] is
    the sum of x[i] kernel[t] along each side, for `stride` times as many out as x.

    It is written as a convolution to stride^2 as many channels and a pixel shuffle,
    fast on every backend. The kernel is [kernel_size, kernel_size, in, features]; no
    framework's has to be flipped. Of MatConvNet, `crop` is the first of each pair of
    its crops; of PyTorch and Caffe, the padding.
    """

    features: int
    kernel_size: int
    stride: int = 2
    crop: int = 0
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.he_normal()
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, stride h, stride w, features] for x [B, h, w, C]."""
        size, stride, crop = self.kernel_size, self.stride, self.crop
        shape = (size, size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        # An output pixel sees the inputs from `before` before its own to `after` after.
        before, after = (size - 1 - crop) // stride, (stride - 1 + crop) // stride
        taps = before + 1 + after
        first = stride * after - crop
        pad = (first, stride * taps - size - first)
        kernel = jnp.pad(kernel, (pad, pad, (0, 0), (0, 0)))
        kernel = einops.rearrange(
            kernel, "(h y) (w x) i o -> h w i (o y x)", y=stride, x=stride
        )[::-1, ::-1]
        x = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            window_strides=(1, 1),
            padding=((before, after),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = pixel_shuffle(x, stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x += bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return x

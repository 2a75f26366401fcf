"""Layers that several networks share."""

import functools
import math
from collections.abc import Callable

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import winograd


def convolve(x: jax.Array, kernel: jax.Array, *args, **settings) -> jax.Array:
    """`jax.lax.conv_general_dilated`, with gradients that are fast on CPUs.

    A convolution of 3x3 taps and many channels that a CPU differentiates is computed
    by Winograd's algorithm, in about half the time, unless its input or output is so
    large that this takes much more memory. The kernel gradient of others is the sum of
    those of a few images at a time, where that is faster: XLA:CPU's own, for 32 patches
    of 41x41 and 64 channels, has a seventh of its speed for 8. Everywhere else, and
    where nothing is differentiated, this is lax's own convolution.
    """

    def conv(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, *args, **settings)

    chunk = _chunk(x.shape, kernel.shape, settings)
    if _suits_winograd(x, kernel, *args, **settings):
        forward, by_x, by_kernel = winograd.convolve, _transposed, winograd.convolve
    elif chunk:
        forward, by_x, by_kernel = conv, conv, _in_parts(conv, chunk)
    else:
        return conv(x, kernel)

    def on_cpu(function, x, kernel):
        return jax.lax.platform_dependent(x, kernel, cpu=function, default=conv)

    @jax.custom_jvp
    def run(x, kernel):
        return conv(x, kernel)

    @functools.partial(run.defjvp, symbolic_zeros=True)
    def jvp(primals, tangents):
        x, kernel = primals
        dx, dkernel = tangents
        zero = jax.custom_derivatives.SymbolicZero
        out, parts = on_cpu(forward, x, kernel), []
        if not isinstance(dx, zero):
            parts.append(on_cpu(by_x, dx, kernel))
        if not isinstance(dkernel, zero):
            parts.append(on_cpu(by_kernel, x, dkernel))
        return out, sum(parts) if parts else jnp.zeros_like(out)

    return run(x, kernel)


def _transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`winograd.convolve`, by a function whose transpose is as fast."""

    def back(out):
        return winograd.convolve(out, jnp.swapaxes(kernel[::-1, ::-1], 2, 3))

    out = jax.ShapeDtypeStruct((*x.shape[:3], kernel.shape[3]), x.dtype)
    return jax.linear_transpose(back, out)(x)[0]


def _in_parts(conv: Callable, chunk: int) -> Callable:
    """The convolution of `chunk` images at a time."""

    def by_kernel(x, kernel):
        parts = [x[i : i + chunk] for i in range(0, len(x), chunk)]
        return jnp.concatenate([conv(part, kernel) for part in parts])

    return by_kernel


def _suits_winograd(x, kernel, strides, padding, **settings) -> bool:
    """Whether Winograd's algorithm computes this convolution, and in less time."""
    return (
        not any(map(jax.export.is_symbolic_dim, x.shape))
        and x.dtype == kernel.dtype == jnp.float32
        and kernel.shape[:2] == (3, 3)
        and min(kernel.shape[2:]) >= 32
        and 0 < math.prod(x.shape[:3]) * max(kernel.shape[2:]) <= winograd.MOST
        and tuple(strides) == (1, 1)
        and (padding == "SAME" or tuple(map(tuple, padding)) == ((1, 1), (1, 1)))
        and not any(
            math.prod(settings.get(name) or (1,)) > 1
            for name in ("lhs_dilation", "rhs_dilation")
        )
        and settings.get("feature_group_count", 1) == 1
    )


def _chunk(x: tuple[int, ...], kernel: tuple[int, ...], settings: dict) -> int:
    """Images to a part of the kernel gradient on a CPU; 0 leaves it to XLA.

    From the speeds of every layer of the networks here on one core of an AMD EPYC:
    parts cost where a kernel has few output channels or few taps, as in FSRCNN.
    """
    images, *size, _ = x
    *taps, features = kernel
    if (
        any(map(jax.export.is_symbolic_dim, x))
        or features < 32
        or math.prod(taps) < 64
        or settings.get("feature_group_count", 1) > 1
    ):
        return 0
    chunk = min(max(2, 1024 // max(1, math.prod(size))), 4)
    return chunk if chunk < images else 0


# flax.linen.Conv, computed by `convolve`.
Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)


class PReLU(nn.Module):
    """PReLU: x where positive, else x times its channel's slope, initially 0.25."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the activation [..., C], in the type of x."""
        slope = self.param("slope", nn.initializers.constant(0.25), x.shape[-1:])
        slope = slope.astype(x.dtype).reshape([1] * (x.ndim - 1) + [-1])
        return jnp.where(x > 0, x, slope * x)


class CaffeBatchNorm(nn.Module):
    """Batch normalisation whose running statistics are those of Caffe's BatchNorm.

    Caffe divides its sum of decayed statistics by that of their weights, "weight". So
    the averages are unbiased from the first update on, where `nn.BatchNorm`'s begin at
    (0, 1) and need some multiples of 1 / (1 - momentum) updates. Caffe's variance is
    also m / (m - 1) times that of a batch of m pixels, which is left out.
    """

    use_running_average: bool
    momentum: float = 0.999
    epsilon: float = 1e-5
    dtype: str = "float32"
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns x [..., C], normalised; "batch_stats" move unless they are used."""
        weight = self.variable("batch_stats", "weight", jnp.zeros, (), jnp.float32)
        moving = not self.use_running_average and not self.is_initializing()
        total = self.momentum * weight.value + 1
        if moving:
            weight.value = total
        norm = nn.BatchNorm(
            use_running_average=self.use_running_average,
            axis_name=self.axis_name,
            momentum=1 - 1 / total,
            epsilon=self.epsilon,
            dtype=self.dtype,
        )
        nn.share_scope(self, norm)  # the names of its variables stay
        return norm(x)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """Images [B, factor*h, factor*w, C] of x [B, h, w, C*factor*factor].

    The channels are in PyTorch's order: of image, of row, of column.
    """
    return einops.rearrange(x, "b h w (c i j) -> b (h i) (w j) c", i=factor, j=factor)


def pixel_unshuffle(images: jax.Array, factor: int) -> jax.Array:
    """The inverse of `pixel_shuffle`: x [B, h, w, C*factor*factor] of images."""
    return einops.rearrange(
        images, "b (h i) (w j) c -> b h w (c i j)", i=factor, j=factor
    )


def pad_edges(x: jax.Array, border: int) -> jax.Array:
    """x [B, h, w, C] with its border pixels repeated `border` times on each side."""
    if 0 in x.shape[1:3]:
        raise ValueError(
            "layers without padding leave no pixel of this image. Use a larger one "
            "(in training, a larger data.patch)."
        )
    # jax2onnx exports jnp.pad(mode="edge") wrongly.
    for axis in (1, 2):
        side = x.shape[axis]
        first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
        last = jax.lax.slice_in_dim(x, side - 1, side, axis=axis)
        x = jnp.concatenate([first] * border + [x] + [last] * border, axis)
    return x


class ConvTranspose(nn.Module):
    """Upscales by `stride` with a transposed convolution: out[stride i + t - crop] is
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
        x = convolve(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            (1, 1),
            ((before, after),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = pixel_shuffle(x, stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x += bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return x

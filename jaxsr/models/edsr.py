"""EDSR: residual blocks without batch normalisation, upscaled at the very end.

Source: Lim, Son, Kim, Nah and Lee, "Enhanced Deep Residual Networks for Single Image
Super-Resolution", CVPR workshops 2017; initialisation from the authors' code,
https://github.com/sanghyun-son/EDSR-PyTorch
"""

import flax.linen as nn
import jax
import numpy as np

from jaxsr import image
from jaxsr.models import blocks

# Mean colour of the 800 training images of DIV2K, from the authors' code.
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
# scale -> factors of the pixel shuffles
FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}


class EDSR(nn.Module):
    """Upscales by 2, 3 or 4 through `blocks` residual blocks, `width` wide.

    The defaults are the paper's large model. Its baseline has blocks=16, width=64 and
    residual_scale=1.0. `mean`, one value for each channel, is taken off the input and
    added to the output; other images than RGB may have a colour of RGB, see `means`. In
    between values
    are 0..255, as in the published weights.
    `dtype` is that of the body's activations; head, tail and parameters stay float32.

    For x2, x3 and x4 there are 40,729,603, 43,680,003 and 43,089,923 parameters, in the
    baseline 1,369,859, 1,554,499 and 1,517,571.

    Memory: the gradient for 16 patches of 48x48 at x2 takes 4.2 GB, the baseline's 0.6.
    """

    input = "low"

    scale: int = 2
    blocks: int = 32
    width: int = 256
    residual_scale: float = 0.1
    mean: tuple[float, ...] = DIV2K_MEAN
    dtype: str = "float32"
    remat: bool = False

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return 2 * self.blocks + 4

    @nn.compact
    def __call__(self, lr: jax.Array) -> jax.Array:
        """Returns sr [B, s*h, s*w, C], not clipped, for lr [B, h, w, C]."""
        features = conv(shift(lr, self.mean), self.width, name="head")
        features = features.astype(self.dtype)
        x = body(features, self.blocks, self.residual_scale, self.remat)
        x = upsample(x + features, self.scale, name="up")
        return unshift(conv(x, lr.shape[-1], name="tail", dtype="float32"), self.mean)


def shift(images: jax.Array, mean: tuple[float, ...]) -> jax.Array:
    """The images, from [0, 1] to 0..255 less the mean of each channel, see `means`."""
    return 255 * (images - means(mean, images.shape[-1]))


def unshift(x: jax.Array, mean: tuple[float, ...]) -> jax.Array:
    """The inverse of `shift`: images in [0, 1]."""
    return x / 255 + means(mean, x.shape[-1])


def means(mean: tuple[float, ...], channels: int) -> np.ndarray:
    """The mean of each channel [1, 1, 1, channels].

    Of a mean of RGB it is the Y for one channel. The default's average is that of each
    of two, or of more than three.
    """
    values = np.array(mean, np.float32).reshape(1, 1, 1, -1)
    if len(mean) == 3 and channels == 1:
        values = image.rgb_to_y(values)
    elif tuple(mean) == DIV2K_MEAN and channels != 3:
        values = np.full((1, 1, 1, channels), values.mean())
    if values.shape[-1] != channels:
        raise ValueError(
            f"mean must have one value for each of the {channels} channels; got {mean}."
        )
    return values


def conv(
    x: jax.Array, width: int, *, name: str, size: int = 3, dtype: str | None = None
) -> jax.Array:
    """A convolution, in x's dtype unless given, that starts as PyTorch's do.

    Kernel and bias are uniform within 1 / sqrt(fan-in).
    """
    return conv_of(x, width, name=name, size=size, dtype=dtype)(x)


def conv_of(
    x: jax.Array, width: int, *, name: str, size: int = 3, dtype: str | None = None
) -> nn.Module:
    """The layer that `conv` applies to x."""
    bound = (size * size * x.shape[-1]) ** -0.5

    def uniform(rng, shape, dtype):
        return jax.random.uniform(rng, shape, dtype, -bound, bound)

    return blocks.Conv(
        width,
        (size, size),
        kernel_init=uniform,
        bias_init=uniform,
        dtype=dtype or x.dtype,
        name=name,
    )


def residual_block(
    x: jax.Array,
    *,
    name: str,
    size: int = 3,
    residual_scale: float = 1.0,
    remat: bool = False,
) -> jax.Array:
    """x and what two convolutions add to it, times `residual_scale`.

    With `remat` the gradient computes the features between them again.
    """

    def block(first, second, x):
        return x + residual_scale * second(nn.relu(first(x)))

    convs = [
        conv_of(x, x.shape[-1], name=f"{name}_conv_{i}", size=size) for i in (0, 1)
    ]
    return (nn.remat(block) if remat else block)(*convs, x)


def body(
    x: jax.Array, count: int, residual_scale: float = 1.0, remat: bool = False
) -> jax.Array:
    """`count` residual blocks and a convolution."""
    for i in range(count):
        x = residual_block(
            x, name=f"block_{i}", residual_scale=residual_scale, remat=remat
        )
    return conv(x, x.shape[-1], name="body_out")


def upsample(x: jax.Array, scale: int, *, name: str) -> jax.Array:
    """Features [B, s*h, s*w, C] of x [B, h, w, C]: convolutions and pixel shuffles."""
    if scale not in FACTORS:
        raise ValueError(f"scale must be one of {sorted(FACTORS)}; got {scale}.")
    width = x.shape[-1]
    for i, factor in enumerate(FACTORS[scale]):
        x = conv(x, width * factor**2, name=f"{name}_{i}")
        x = blocks.pixel_shuffle(x, factor)
    return x

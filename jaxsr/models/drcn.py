"""DRCN: one convolution applied again and again, each result turned into an image.

Source: Kim, Lee and Lee, "Deeply-Recursive Convolutional Network for Image
Super-Resolution", CVPR 2016.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class DRCN(nn.Module):
    """Sharpens a bicubic-enlarged image by applying one convolution `depth` times.

    Every recursion gives an image, and the result is their sum with learned weights;
    `recursions` returns both, for training. With skip=False, the paper's ablation, the
    enlarged image is not added to them. `dtype` is that of the activations;
    parameters, skips and sum stay float32. The defaults have 1,775,121 parameters for
    one channel.

    Memory: the gradient for 64 patches of 41x41 takes 2.7 GB, since the reconstruction
    layers are recomputed in the backward pass, a sixth more computation; on a CPU,
    where XLA undoes that, 7.7 GB.
    """

    input = "interpolated"

    depth: int = 16
    width: int = 256
    skip: bool = True
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return self.depth + 4

    def __call__(self, enlarged: jax.Array) -> jax.Array:
        """Returns sr [B, H, W, C], not clipped, for the enlarged image [B, H, W, C]."""
        return self.recursions(enlarged)[1]

    @nn.compact
    def recursions(self, enlarged: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns every recursion's image [D, B, H, W, C], and sr as a call does."""
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1; got {self.depth}.")
        conv = functools.partial(
            blocks.Conv,
            kernel_size=(3, 3),
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
        )
        recursion = conv(self.width, kernel_init=identity, name="recursion")
        inner = conv(self.width, name="image_0")
        last = conv(enlarged.shape[-1], name="image_1")

        skip = enlarged if self.skip else 0.0

        @nn.remat
        def step(recursion, inner, last, x):
            x = nn.relu(recursion(x))
            return x, skip + last(nn.relu(inner(x))).astype(jnp.float32)

        x = nn.relu(conv(self.width, name="embed_0")(enlarged))
        x = nn.relu(conv(self.width, name="embed_1")(x))
        images = []
        for _ in range(self.depth):  # gradients of a scan are slow on CPUs
            x, image = step(recursion, inner, last, x)
            images.append(image)
        weights = self.param(
            "weights", nn.initializers.constant(1 / self.depth), (self.depth,)
        )
        images = jnp.stack(images)
        return images, jnp.tensordot(weights, images, 1)


def identity(rng: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """The kernel [h, w, C, C], of odd sides, of an identity convolution."""
    del rng
    height, width, *channels = shape
    kernel = jnp.zeros(shape, dtype)
    return kernel.at[height // 2, width // 2].set(jnp.eye(*channels, dtype=dtype))

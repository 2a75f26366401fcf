"""SRGAN's discriminator: a classifier of true and generated images.

Source: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative
Adversarial Network", CVPR 2017.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class Discriminator(nn.Module):
    """Eight 3x3 convolutions, every second one of stride 2, and two dense layers.

    On 96x96 pixels of RGB the defaults have 23,565,505 parameters, and statistics in
    "batch_stats". The dense layers fix the size of the images; with pooled=True the
    mean over all pixels takes the place of the flattening, for images of any size from
    16x16 up, with 5,215,425 parameters. The paper leaves open initialisation, momentum
    and epsilon of the batch normalisation: these are SRResNet's.
    """

    width: int = 64  # of the first layer; the last has 8 times as many
    pooled: bool = False
    dtype: str = "float32"
    axis_name: str | None = None  # over which a batch is spread, as in SRResNet

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns [B], the logit of the probability that each image is a true one.

        Args:
            images: [B, H, W, C] in [0, 1], which become [-1, 1].
            train: normalises by the batch and moves "batch_stats", which is mutable.
        """
        if min(images.shape[1:3]) < LEAST:
            raise ValueError(
                f"the discriminator needs {LEAST}x{LEAST} pixels or more; got "
                f"{images.shape[1]}x{images.shape[2]}. Use larger patches."
            )
        init = nn.initializers.glorot_uniform()
        x = 2 * images.astype(self.dtype) - 1
        for i in range(8):
            x = blocks.Conv(
                self.width * 2 ** (i // 2),
                kernel_size=(3, 3),
                strides=1 + i % 2,
                padding=1,
                kernel_init=init,
                dtype=self.dtype,
                name=f"conv_{i}",
            )(x)
            if i:
                x = nn.BatchNorm(
                    use_running_average=not train,
                    axis_name=self.axis_name,
                    momentum=0.9,
                    epsilon=1e-5,
                    dtype=self.dtype,
                    name=f"norm_{i}",
                )(x)
            x = nn.leaky_relu(x, 0.2)
        x = x.mean(axis=(1, 2)) if self.pooled else x.reshape(len(x), -1)
        dense = functools.partial(nn.Dense, kernel_init=init)
        x = nn.leaky_relu(dense(16 * self.width, name="dense")(x), 0.2)
        return dense(1, name="logit")(x.astype(jnp.float32))[:, 0]


LEAST = 16  # pixels a side, of which the last convolution leaves one

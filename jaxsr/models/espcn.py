"""ESPCN: convolutions on the small image, whose last channels become its new pixels.

Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an
Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class ESPCN(nn.Module):
    """A 5x5 and two 3x3 convolutions, the last to scale^2 channels, and their shuffle.

    For one channel it has 21,284, 22,729 or 24,752 parameters at x2, x3 and x4.
    `activation` is "tanh", or "relu" as in the paper's first experiment. With
    output_tanh=True sr passes a tanh too, as in a widely used port. The paper names no
    initialisation; this one keeps the variance from layer to layer.
    """

    input = "low"
    halo = 4

    scale: int = 3
    widths: tuple[int, int] = (64, 32)
    activation: str = "tanh"
    output_tanh: bool = False
    dtype: str = "float32"

    def __call__(self, lr: jax.Array) -> jax.Array:
        """Returns sr [B, scale*h, scale*w, C], not clipped, of lr [B, h, w, C]."""
        return blocks.pixel_shuffle(self.shuffled(lr), self.scale)

    @nn.compact
    def shuffled(self, lr: jax.Array) -> jax.Array:
        """Returns sr before its shuffle, [B, h, w, C*scale*scale].

        A loss against hr shuffled back into as many channels has the same gradient.
        """
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}; got "
                f"{self.activation!r}."
            )
        conv = functools.partial(
            blocks.Conv, kernel_init=nn.initializers.lecun_normal(), dtype=self.dtype
        )
        act = ACTIVATIONS[self.activation]
        x = act(conv(self.widths[0], (5, 5), name="conv_0")(lr))
        x = act(conv(self.widths[1], (3, 3), name="conv_1")(x))
        x = conv(lr.shape[-1] * self.scale**2, (3, 3), name="conv_out")(x)
        x = x.astype(jnp.float32)
        return nn.tanh(x) if self.output_tanh else x


ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}

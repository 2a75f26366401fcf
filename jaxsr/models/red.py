"""RED: convolutions, then transposed convolutions, with skips between mirrored layers.

Source: Mao, Shen and Yang, "Image Restoration Using Very Deep Convolutional
Encoder-Decoder Networks with Symmetric Skip Connections", NIPS 2016.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class RED(nn.Module):
    """Sharpens a bicubic-enlarged image by an encoder and a decoder of equal length.

    The paper's networks are RED30 (the default), RED20 (depth=20) and RED10 (depth=10,
    skip_every=0), which has only the skip from input to output. For one channel they
    have 1,035,201, 665,921 and 296,641 parameters. With shrinking=True the convolutions
    do not pad, as in the paper's text: each of them takes a pixel off every side, and
    each transposed convolution adds it again. `dtype` is that of
    the activations; parameters and the residual sum stay float32.

    A transposed convolution of stride 1 equals a convolution whose kernel is rotated by
    180 degrees; kernels are stored in that form.

    Fields:
        depth: layers, even.
        width: channels.
        skip_every: 2 adds every second convolution to its mirror; 0 adds none.
        shrinking: whether layers are unpadded, as above.
    """

    input = "interpolated"

    depth: int = 30
    width: int = 64
    skip_every: int = 2
    shrinking: bool = False
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return self.depth

    @nn.compact
    def __call__(self, enlarged: jax.Array) -> jax.Array:
        """Returns sr [B, H, W, C], not clipped, for the enlarged image [B, H, W, C]."""
        if self.depth < 2 or self.depth % 2:
            raise ValueError(f"depth must be even and at least 2; got {self.depth}.")
        conv = functools.partial(
            blocks.Conv,
            kernel_size=(3, 3),
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
        )
        half = self.depth // 2
        x, skips = enlarged, {}
        for i in range(1, half + 1):
            x = self._within(nn.relu(conv(self.width, name=f"conv_{i - 1}")(x)), i)
            if self.skip_every and i % self.skip_every == 0:
                skips[i] = x
        for i in range(half - 1, 0, -1):
            x = conv(self.width, name=f"deconv_{half - 1 - i}")(x)
            x = self._within(nn.relu(x + skips[i] if i in skips else x), i)
        x = conv(enlarged.shape[-1], name="deconv_out")(x)
        return enlarged + x.astype(jnp.float32)

    def _within(self, x, border):
        """x, zero where unpadded convolutions would leave nothing."""
        if not self.shrinking:
            return x
        rows, columns = (
            (jnp.arange(side) >= border) & (jnp.arange(side) < side - border)
            for side in x.shape[1:3]
        )
        return x * (rows[:, None] & columns[None, :])[None, :, :, None]

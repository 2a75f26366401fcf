"""VDSR: a stack of 3x3 convolutions that learns what bicubic upscaling misses.

Source: Kim, Lee and Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional
Networks", CVPR 2016.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class VDSR(nn.Module):
    """Sharpens a bicubic-enlarged image by `depth` >= 2 convolutions, `width` wide.

    With residual=False it is the plain network of the paper's table 1, which gives the
    image itself. The paper's layers pad with zeros. With padding "valid" they do not,
    and sr is smaller by `halo` pixels on each side; with "edge" the enlarged image is
    first padded by as many of its edge pixels. `dtype` is that of the activations;
    parameters and the residual sum stay float32. The defaults have 665,921 parameters
    for one channel.
    """

    input = "interpolated"

    depth: int = 20
    width: int = 64
    residual: bool = True
    padding: str = "zero"
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return self.depth

    @nn.compact
    def __call__(self, enlarged: jax.Array) -> jax.Array:
        """Returns sr [B, H, W, C], not clipped, for the enlarged image [B, H, W, C]."""
        if self.depth < 2:
            raise ValueError(f"depth must be at least 2; got {self.depth}.")
        if self.padding not in ("zero", "valid", "edge"):
            raise ValueError(
                f"padding must be 'zero', 'valid' or 'edge'; got {self.padding!r}."
            )
        conv = functools.partial(
            blocks.Conv,
            kernel_size=(3, 3),
            padding="SAME" if self.padding == "zero" else "VALID",
            kernel_init=nn.initializers.he_normal(),  # fan-in; cut at two sigmas
            dtype=self.dtype,
        )
        x = enlarged
        if self.padding == "edge":
            x = blocks.pad_edges(x, self.halo)
        for i in range(self.depth - 1):
            x = nn.relu(conv(self.width, name=f"conv_{i}")(x))
        x = conv(enlarged.shape[-1], name="conv_out")(x).astype(jnp.float32)
        if not self.residual:
            return x
        if self.padding == "valid":
            inner = slice(self.halo, -self.halo)
            enlarged = enlarged[:, inner, inner]
        return enlarged + x

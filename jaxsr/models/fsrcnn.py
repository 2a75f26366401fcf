"""FSRCNN: a thin network on the small image, enlarged by its last layer.

Source: Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural
Network", ECCV 2016, and the authors' code.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks

SIDE = 9  # of the enlarging layer's kernel


class FSRCNN(nn.Module):
    """Shrinks `width` channels to `narrow`, maps these by `depth` layers, and enlarges.

    These are the paper's d, s and m. The defaults have 12,809 parameters at any scale;
    FSRCNN-s (32, 5, 1) has 4,086. Scales differ in the last layer alone, "deconv": its
    kernel is centred on the middle of the pixels that an input pixel becomes where the
    scale is odd, on the first of them where it is even, as the authors cut their
    labels. Every layer repeats its border pixels, as the authors' test code does; with
    padding "valid" the first does not, as in their training, and sr is that of lr
    without 2 pixels on each side. With a Gaussian of 0.001 in "deconv", sr is about 0
    at first.
    """

    input = "low"

    scale: int = 3
    width: int = 56
    narrow: int = 12
    depth: int = 4
    padding: str = "edge"
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return 2 + self.depth + self._reach

    @property
    def _crop(self) -> int:
        return SIDE // 2 - self.scale // 2 * (self.scale % 2)

    @property
    def _reach(self) -> int:
        """Pixels on each side that the enlarging layer sees."""
        return max(SIDE - 1 - self._crop, self.scale - 1 + self._crop) // self.scale

    @nn.compact
    def __call__(self, lr: jax.Array) -> jax.Array:
        """Returns sr [B, scale*h, scale*w, C], not clipped, of lr [B, h, w, C]."""
        if self.padding not in ("edge", "valid"):
            raise ValueError(
                f"padding must be 'edge' or 'valid'; got {self.padding!r}."
            )
        conv = functools.partial(
            blocks.Conv,
            padding="VALID",
            kernel_init=nn.initializers.variance_scaling(
                2 / (1 + 0.25**2), "fan_in", "normal"
            ),
            dtype=self.dtype,
        )
        layers = [("extract", 5, self.width), ("shrink", 1, self.narrow)]
        layers += [(f"map_{i}", 3, self.narrow) for i in range(self.depth)]
        layers += [("expand", 1, self.width)]
        x = lr
        for name, side, width in layers:
            if name != "extract" or self.padding == "edge":
                x = blocks.pad_edges(x, side // 2)
            x = conv(width, (side, side), name=name)(x)
            x = blocks.PReLU(name=f"prelu_{name}")(x)
        x = blocks.ConvTranspose(
            lr.shape[-1],
            SIDE,
            stride=self.scale,
            crop=self._crop,
            kernel_init=nn.initializers.normal(0.001),
            dtype=self.dtype,
            name="deconv",
        )(blocks.pad_edges(x, self._reach))
        border = self.scale * self._reach
        x = x[:, border : x.shape[1] - border, border : x.shape[2] - border]
        return x.astype(jnp.float32)

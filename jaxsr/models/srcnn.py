"""SRCNN: three convolutions that sharpen a bicubic-enlarged image.

Source: Dong, Loy, He and Tang, "Image Super-Resolution Using Deep Convolutional
Networks", TPAMI 2016, and the authors' code.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class SRCNN(nn.Module):
    """Convolutions of `sides` pixels a side to `widths` channels and the image's.

    The paper's are 9-1-5, 9-3-5 and 9-5-5, of 8,129, 24,513 and 57,281 parameters for
    one channel. With padding "edge" every layer repeats its border pixels, as the
    authors' test code does; with "valid" sr is smaller by `halo` pixels on each side,
    as in their training. Inside, the two are equal.
    """

    input = "interpolated"

    sides: tuple[int, ...] = (9, 1, 5)
    widths: tuple[int, ...] = (64, 32)
    padding: str = "edge"
    identity: bool = dataclasses.field(default=False, metadata={"initial": True})
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return sum(side // 2 for side in self.sides)

    @nn.compact
    def __call__(self, enlarged: jax.Array) -> jax.Array:
        """Returns sr [B, H, W, C], not clipped, for the enlarged image [B, H, W, C]."""
        if self.padding not in ("edge", "valid"):
            raise ValueError(
                f"padding must be 'edge' or 'valid'; got {self.padding!r}."
            )
        if len(self.sides) != len(self.widths) + 1 or not all(
            s % 2 for s in self.sides
        ):
            raise ValueError(
                "sides must be odd and one more than widths; got "
                f"{self.sides} and {self.widths}."
            )
        widths = (*self.widths, enlarged.shape[-1])
        names = [f"conv_{i}" for i in range(len(self.widths))] + ["conv_out"]
        x = enlarged
        for side, width, name in zip(self.sides, widths, names):
            if self.padding == "edge":
                x = blocks.pad_edges(x, side // 2)
            x = blocks.Conv(
                width,
                (side, side),
                padding="VALID",
                kernel_init=self._init(enlarged.shape[-1], last=name == "conv_out"),
                dtype=self.dtype,
                name=name,
            )(x)
            if name != "conv_out":
                x = nn.relu(x)
        return x.astype(jnp.float32)

    def _init(self, channels: int, *, last: bool):
        """The initializer of a layer's kernel, in a network of so many channels."""
        small = nn.initializers.normal(0.001)
        if not self.identity:
            return small
        draw = small if last else nn.initializers.he_normal()

        def init(rng, shape, dtype=jnp.float32):
            kernel, image = draw(rng, shape, dtype), jnp.arange(channels)
            # The channels that carry the image take no other input and add nothing.
            if last:
                kernel = kernel.at[:, :, image].set(0)
            else:
                kernel = kernel.at[..., image].set(0)
            return kernel.at[shape[0] // 2, shape[1] // 2, image, image].set(1)

        return init

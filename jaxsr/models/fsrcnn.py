"""FSRCNN: a thin network on the low-resolution image whose last layer upscales.

Source: Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural
Network", ECCV 2016, and the authors' code.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks

SIDE = 9  # of the upscaling layer's kernel


class FSRCNN(nn.Module):
    """Extracts `width` features, maps `narrow` of them `depth` times, and upscales.

    These are the paper's d, s and m. The defaults have 12,809 parameters at any scale;
    FSRCNN-s (32, 5, 1) has 4,086. Networks of different scales differ only in the last
    layer, "deconv". An input pixel becomes scale x scale pixels; the kernel is centred
    on the middle one if the scale is odd and on the first one if it is even, as the
    authors crop their labels. `crop` overrides this for ports that crop differently.
    "deconv" starts from a Gaussian of deviation 0.001, so sr is about 0 at first.

    With padding "edge" every layer repeats its border pixels, as in the authors' test
    code. With padding "zero" it is the network of their training: the first layer is
    not padded, the others pad with zeros, and sr has the size that Caffe gives it:
    19x19 pixels for an lr of 14x14 at x2, 19x19 for 11x11 at x3, 21x21 for 10x10 at x4.
    Its first pixel is at `offset` in hr.
    """

    input = "low"

    scale: int = 3
    width: int = 56
    narrow: int = 12
    depth: int = 4
    padding: str = "edge"
    crop: int | None = None
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return 2 + self.depth + self._reach

    @property
    def offset(self) -> int | None:
        """The row and column of hr at which sr begins, if sr is only a part of hr."""
        return None if self.padding == "edge" else 2 * self.scale + self._before

    @property
    def _before(self) -> int:
        """Pixels before the one that an input pixel's kernel is centred on."""
        return self.scale // 2 * (self.scale % 2)

    @property
    def _crop(self) -> int:
        if self.crop is not None:
            return self.crop
        return SIDE // 2 - self._before

    @property
    def _reach(self) -> int:
        """Pixels on each side that the upscaling layer sees."""
        return max(SIDE - 1 - self._crop, self.scale - 1 + self._crop) // self.scale

    @nn.compact
    def __call__(self, lr: jax.Array) -> jax.Array:
        """Returns sr, not clipped, of lr [B, h, w, C].

        It is [B, scale*h, scale*w, C], with padding "zero" [B, scale*(h-5)+1,
        scale*(w-5)+1, C].
        """
        if self.padding not in ("edge", "zero"):
            raise ValueError(f"padding must be 'edge' or 'zero'; got {self.padding!r}.")
        edge = self.padding == "edge"
        conv = functools.partial(
            blocks.Conv,
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
            if edge:
                x = blocks.pad_edges(x, side // 2)
            padding = "VALID" if edge or name == "extract" else "SAME"
            x = conv(width, (side, side), padding=padding, name=name)(x)
            x = blocks.PReLU(name=f"prelu_{name}")(x)
        reach = self._reach if edge else 0
        x = blocks.ConvTranspose(
            lr.shape[-1],
            SIDE,
            stride=self.scale,
            crop=self._crop,
            kernel_init=nn.initializers.normal(0.001),
            dtype=self.dtype,
            name="deconv",
        )(blocks.pad_edges(x, reach))
        first = self.scale * reach if edge else self._before
        less = 2 * first if edge else self.scale - 1
        for axis in (1, 2):
            last = x.shape[axis] - (less - first)
            x = jax.lax.slice_in_dim(x, first, last, axis=axis)
        return x.astype(jnp.float32)

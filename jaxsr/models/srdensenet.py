"""SRDenseNet: dense blocks of convolutions on the low-resolution image.

Source: Tong, Li, Liu and Gao, "Image Super-Resolution Using Dense Skip Connections",
ICCV 2017. The paper leaves open how wide the first layer is, whether every layer of a
block sees the block's input, and how large the transposed convolutions are; no reading
gives the parameter counts that later papers quote (2,015 K and 5,452 K). The defaults
here are the reading of the port that came closest to the paper's figures,
https://github.com/yjn870/SRDenseNet-pytorch
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class SRDenseNet(nn.Module):
    """Upscales with `blocks` dense blocks of `depth` convolutions of `growth` channels.

    Memory: at the output's size there are 256 channels, a gigabyte for each megapixel.
    The gradient for the paper's batch of 32 patches of 25x25 takes 2 GB.

    Attributes:
        scale: 2, 4 or 8; a transposed convolution for each doubling. The paper's is 4.
        features: what the transposed convolutions are given: "h", the last block's
            output (1,553,409 parameters); "hl", the first layer's too (1,848,321);
            "all", those of the first layer and of every block, through a 1x1
            convolution (2,659,585); each block is then given all outputs before it,
            not only the last one.
        dense: whether each convolution of a block sees the block's input, as in
            DenseNet, or only the block's first. With width=16 it is close to
            https://github.com/wxywhu/SRDenseNet-pytorch, which has transposed kernels
            of 4x4 and no activation after these and after the bottleneck.
        width: channels of the first layer.
        bottleneck: channels of the 1x1 and transposed convolutions.
        dtype: of the activations; parameters and the output stay float32.
    """

    input = "low"

    scale: int = 4
    features: str = "all"
    dense: bool = False
    blocks: int = 8
    depth: int = 8
    growth: int = 16
    width: int = 128
    bottleneck: int = 256
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        reach = 1  # the last convolution
        for _ in range(self._doublings):
            reach = (reach + 2) // 2
        return reach + self.blocks * self.depth + 1

    @property
    def _doublings(self) -> int:
        return int(math.log2(self.scale))

    @nn.compact
    def __call__(self, lr: jax.Array) -> jax.Array:
        """Returns sr [B, scale*h, scale*w, C], not clipped, for lr [B, h, w, C]."""
        if self.scale not in (2, 4, 8):
            raise ValueError(f"scale must be 2, 4 or 8; got {self.scale}.")
        if self.features not in ("h", "hl", "all"):
            raise ValueError(
                f"features must be 'h', 'hl' or 'all'; got {self.features!r}."
            )
        conv = functools.partial(
            blocks.Conv,
            kernel_size=(3, 3),
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
        )
        made = [nn.relu(conv(self.width, name="conv_in")(lr))]
        for b in range(self.blocks):
            x = _join(made if self.features == "all" else made[-1:])
            layers = []
            for i in range(self.depth):
                seen = [x, *layers] if self.dense or not layers else layers
                x_i = conv(self.growth, name=f"block_{b}_conv_{i}")(_join(seen))
                layers.append(nn.relu(x_i))
            made.append(_join(layers))
        if self.features == "all":
            x = conv(self.bottleneck, kernel_size=(1, 1), name="bottleneck")(
                _join(made)
            )
            x = nn.relu(x)
        else:
            x = _join(made[-1:] if self.features == "h" else [made[0], made[-1]])
        for i in range(self._doublings):
            up = blocks.ConvTranspose(
                self.bottleneck, 3, crop=1, dtype=self.dtype, name=f"up_{i}"
            )
            x = nn.relu(up(x))
        return conv(lr.shape[-1], name="conv_out")(x).astype(jnp.float32)


def _join(features: list[jax.Array]) -> jax.Array:
    return jnp.concatenate(features, axis=-1)

"""DRRN: residual units that share their weights, each adding to the same features.

Source: Tai, Yang and Liu, "Image Super-Resolution via Deep Recursive Residual Network",
CVPR 2017.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class DRRN(nn.Module):
    """Sharpens a bicubic-enlarged image by `blocks` of `units` with shared weights.

    The default is the paper's B1U25, with 310,659 parameters for one channel; B1U9
    (units=9) has 302,467.

    Batch normalisation is private to each unit and averages its statistics over about
    the last thousand updates, as in the authors' code. With norm=False and bias=False
    there are 297,216 parameters. With rectified=True as well it is the network of
    PyTorch ports, whose in-place ReLUs change the enlarged image and the features of
    the first layer before these are added to later ones.

    The paper's ablations: shared=False gives every unit its own weights; with
    chain=True a unit adds to the features of the unit before it, not of the first
    layer.

    `dtype` is that of the activations; parameters, statistics and the residual sum stay
    float32. `axis_name` is the axis over which a batch is spread under shard_map or
    pmap; statistics are then those of the whole batch.

    Memory: the gradient of B1U25 for 128 patches of 31x31 takes 3.5 GB, since
    normalisation and ReLU are recomputed in the backward pass; on a CPU, where XLA
    undoes that, 9.7 GB.
    """

    input = "interpolated"

    blocks: int = 1
    units: int = 25
    width: int = 128
    shared: bool = True
    chain: bool = False
    norm: bool = True
    bias: bool = True
    rectified: bool = False
    dtype: str = "float32"
    axis_name: str | None = None

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return self.blocks * (1 + 2 * self.units) + 1

    @nn.compact
    def __call__(self, enlarged: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns sr [B, H, W, C], not clipped, for the enlarged image [B, H, W, C].

        With train=True it normalises by the batch and updates "batch_stats".
        """
        conv = functools.partial(
            blocks.Conv,
            kernel_size=(3, 3),
            use_bias=self.bias,
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
        )
        norm = functools.partial(
            blocks.CaffeBatchNorm,
            use_running_average=not train,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )

        @nn.remat
        def activated(conv, norm, x):
            return conv(nn.relu(x if norm is None else norm(x)))

        def layer(conv, x, name):
            return activated(conv, norm(name=name) if self.norm else None, x)

        kept = nn.relu if self.rectified else (lambda x: x)
        x = enlarged
        for b in range(self.blocks):
            head = conv(self.width, name=f"block_{b}_head")
            start = x = kept(layer(head, x, f"block_{b}_norm_head"))
            for u in range(self.units):  # gradients of a scan are slow on CPUs
                if u == 0 or not self.shared:
                    unit = "" if self.shared else f"{u}_"
                    conv_a, conv_b = (
                        conv(self.width, name=f"block_{b}_{unit}{part}")
                        for part in ("a", "b")
                    )
                added = layer(conv_a, x, f"block_{b}_norm_{u}_a")
                added = layer(conv_b, added, f"block_{b}_norm_{u}_b")
                x = added + (x if self.chain else start)
        tail = conv(enlarged.shape[-1], name="tail")
        residual = layer(tail, x, "norm_tail").astype(jnp.float32)
        return kept(enlarged) + residual

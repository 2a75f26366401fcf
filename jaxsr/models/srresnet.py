"""SRResNet: residual blocks with batch normalisation; the generator of SRGAN.

Source: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative
Adversarial Network", CVPR 2017.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks, edsr

EPSILON = 1e-5  # of the batch normalisation


class SRResNet(nn.Module):
    """Upscales by 2, 3 or 4 through `blocks` residual blocks, `width` wide.

    The defaults have 1,550,659 parameters, and statistics in "batch_stats". As in the
    paper, the first layer sees [0, 1] and the last one gives [-1, 1]. The paper leaves
    open the initialisation, here Glorot's, and momentum and epsilon of the batch
    normalisation, here PyTorch's. `dtype` is that of the body's activations; head,
    tail, statistics and parameters stay float32. With `frozen`, training too normalises
    by "batch_stats", which then stay as they are. `axis_name` is the axis over which a
    batch is spread under shard_map or pmap: its statistics are those of the whole. For
    ablations norm=False leaves the normalisation out, and skips=False what is added to
    the output of a block and of the body.

    Memory: the gradient for 16 patches of 24x24 takes 0.5 GB.
    """

    input = "low"

    scale: int = 4
    blocks: int = 16
    width: int = 64
    norm: bool = True
    skips: bool = True
    dtype: str = "float32"
    frozen: bool = False
    axis_name: str | None = None

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return 2 * self.blocks + 8

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns sr [B, s*h, s*w, C], not clipped, for lr [B, h, w, C].

        Args:
            lr: the images.
            train: unless `frozen`, normalises by the batch and moves "batch_stats",
                which is mutable.
        """
        if self.scale not in edsr.FACTORS:
            known = sorted(edsr.FACTORS)
            raise ValueError(f"scale must be one of {known}; got {self.scale}.")
        conv = functools.partial(
            blocks.Conv, kernel_init=nn.initializers.glorot_uniform(), dtype=self.dtype
        )
        batch_norm = functools.partial(
            nn.BatchNorm,
            use_running_average=self.frozen or not train,
            axis_name=self.axis_name,
            momentum=0.9,
            epsilon=EPSILON,
            dtype=self.dtype,
        )

        def norm(x, name):
            return batch_norm(name=name)(x) if self.norm else x

        ends = functools.partial(conv, kernel_size=(9, 9), dtype="float32")
        conv = functools.partial(conv, kernel_size=(3, 3))

        x = blocks.PReLU(name="head_prelu")(ends(self.width, name="head")(lr))
        x = features = x.astype(self.dtype)
        for i in range(self.blocks):
            y = conv(self.width, name=f"block_{i}_conv_0")(x)
            y = norm(y, f"block_{i}_norm_0")
            y = blocks.PReLU(name=f"block_{i}_prelu")(y)
            y = conv(self.width, name=f"block_{i}_conv_1")(y)
            y = norm(y, f"block_{i}_norm_1")
            x = x + y if self.skips else y
        x = norm(conv(self.width, name="body_out")(x), "body_norm")
        x = features + x if self.skips else x
        for i, factor in enumerate(edsr.FACTORS[self.scale]):
            x = conv(self.width * factor**2, name=f"up_{i}")(x)
            x = blocks.PReLU(name=f"up_{i}_prelu")(blocks.pixel_shuffle(x, factor))
        x = ends(lr.shape[-1], name="tail")(x.astype(jnp.float32))
        return (x + 1) / 2


def from_edsr(net: edsr.EDSR, variables: dict) -> dict:
    """The variables of the SRResNet that computes the same as an EDSR.

    A 3x3 kernel is the middle of a 9x9 one, a PReLU of slope 0 or 1 is a ReLU or
    nothing, and statistics of mean 0 and variance 1 leave things as they are. So it
    holds where the network normalises by "batch_stats", and but for the pixels near the
    image's border, beyond which EDSR sees its mean colour and SRResNet black.

    Args:
        net: the EDSR.
        variables: its variables.

    Returns:
        "params" and "batch_stats" of an SRResNet of the same scale, blocks and width.
    """
    theirs = variables["params"]
    mean = edsr.means(net.mean, theirs["head"]["kernel"].shape[2]).reshape(-1)
    # Features are 127.5 times smaller, so that the last layer's output is in [-1, 1].
    head, tail = theirs["head"], theirs["tail"]
    params = {
        name: {"kernel": layer["kernel"], "bias": layer["bias"] / 127.5}
        for name, layer in theirs.items()
    }
    middle = ((3, 3), (3, 3), (0, 0), (0, 0))
    params["head"] = {
        "kernel": jnp.pad(2 * head["kernel"], middle),
        "bias": head["bias"] / 127.5
        - 2 * jnp.einsum("hwio,i->o", head["kernel"], mean),
    }
    params["tail"] = {
        "kernel": jnp.pad(tail["kernel"], middle),
        "bias": tail["bias"] / 127.5 + 2 * mean - 1,
    }
    for i in range(net.blocks):
        scaled = params[f"block_{i}_conv_1"]
        params[f"block_{i}_conv_1"] = {
            k: net.residual_scale * x for k, x in scaled.items()
        }
    norms = [f"block_{i}_norm_{j}" for i in range(net.blocks) for j in (0, 1)]
    norms.append("body_norm")
    one = jnp.ones(net.width)
    # What the normalisation's epsilon takes, its scale gives back.
    params |= {n: {"scale": one * (1 + EPSILON) ** 0.5, "bias": 0 * one} for n in norms}
    slopes = {"head_prelu": 1.0} | {f"block_{i}_prelu": 0.0 for i in range(net.blocks)}
    slopes |= {f"up_{i}_prelu": 1.0 for i in range(len(edsr.FACTORS[net.scale]))}
    params |= {name: {"slope": slope * one} for name, slope in slopes.items()}
    stats = {name: {"mean": 0 * one, "var": one} for name in norms}
    return {"params": params, "batch_stats": stats}

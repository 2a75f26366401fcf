"""MDSR: one EDSR for several scales, each with its own first and last layers.

Source: Lim, Son, Kim, Nah and Lee, "Enhanced Deep Residual Networks for Single Image
Super-Resolution", CVPR workshops 2017; the tail that all scales share is from the
authors' second code, https://github.com/sanghyun-son/EDSR-PyTorch
"""

import functools

import flax.linen as nn
import jax

from jaxsr.models import edsr


class MDSR(nn.Module):
    """Upscales by any of `scales` with `blocks` residual blocks of `width` channels.

    The defaults are the paper's large model, of 7,953,987 parameters; its baseline has
    blocks=16 and 3,227,203. With a tail for each scale, as in the authors' first code,
    they have 7,957,449 and 3,230,665. Only the layers of the requested scale are
    computed; the gradient of the others is zero. Images, `mean` and `dtype` are as in
    `edsr.EDSR`.

    Memory: the gradient for 16 patches of 48x48 takes 2.8 GB at x4.
    """

    input = "low"

    scales: tuple[int, ...] = (2, 3, 4)
    blocks: int = 80
    width: int = 64
    shared_tail: bool = True
    mean: tuple[float, ...] = edsr.DIV2K_MEAN
    dtype: str = "float32"
    remat: bool = False

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return 2 * self.blocks + 12

    @nn.compact
    def __call__(self, lr: jax.Array, *, scale: int | None = None) -> jax.Array:
        """Returns sr [B, s*h, s*w, C], not clipped, for lr [B, h, w, C].

        Args:
            lr: the images.
            scale: one of `scales`; the largest by default.
        """
        scale = max(self.scales) if scale is None else scale
        if scale not in self.scales:
            raise ValueError(f"scale must be one of {self.scales}; got {scale}.")
        used = self.scales if self.is_initializing() else (scale,)
        head = edsr.conv(edsr.shift(lr, self.mean), self.width, name="head")
        before, after = {}, {}
        for s in used:
            before[s] = head.astype(self.dtype)
            for i in range(2):
                name = f"x{s}_block_{i}"
                before[s] = edsr.residual_block(before[s], name=name, size=5)
        x = before[scale] + edsr.body(before[scale], self.blocks, remat=self.remat)
        tail = functools.partial(edsr.conv, width=lr.shape[-1], dtype="float32")
        for s in used:
            after[s] = edsr.upsample(x, s, name=f"x{s}_up")
            if not self.shared_tail:
                after[s] = tail(after[s], name=f"x{s}_tail")
        x = after[scale]
        if self.shared_tail:
            x = tail(x, name="tail")
        return edsr.unshift(x, self.mean)

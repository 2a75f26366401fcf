"""LapSRN and MS-LapSRN: pyramids that double the image level by level.

Each level upscales the image by a transposed convolution with a 4x4 kernel and adds the
details that convolutions predict from the low-resolution features.

The transposed convolutions of features have 3x3 kernels, as in the authors' code and
weights. The first paper's text says 4x4, which contradicts the 812 K weights that it
prints for x4.

Sources: Lai, Huang, Ahuja and Yang, "Deep Laplacian Pyramid Networks for Fast and
Accurate Super-Resolution", CVPR 2017; the same, "Fast and Accurate Image
Super-Resolution with Deep Laplacian Pyramid Networks", TPAMI 2018; and their code,
https://github.com/phoenix104104/LapSRN
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr.models import blocks


class LapSRN(nn.Module):
    """Doubles an image for each of `scales`, by `depth` convolutions, `width` wide.

    The defaults are the paper's network for x4, with 814,242 parameters. For x2 it is
    scales=(2,) (407,441), for x8 scales=(2, 4, 8), depth=5 (667,123). Smaller scales
    are computed on the way to the largest, so a network gives their images too.
    `up_side` is the kernel side of the transposed convolutions of features: 3, or 4 as
    in ports.

    The paper's ablations: residual=False makes each image from the features alone; with
    pyramid=False all convolutions precede the first level and only the last level adds
    details, so the network is for its largest scale only.

    `dtype` is that of the features; parameters and images stay float32.

    Memory: the gradient at x4 for the authors' batch of 64 patches of 32x32 takes
    2.7 GB.
    """

    input = "low"

    scales: tuple[int, ...] = (2, 4)
    depth: int = 10
    width: int = 64
    up_side: int = 3
    residual: bool = True
    pyramid: bool = True
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        depths = [self.depth] * len(self.scales)
        if not self.pyramid:  # all of them before the first level
            depths = [0] * (len(depths) - 1) + [sum(depths)]
        return _reach(depths)

    def __call__(self, lr: jax.Array, *, scale: int | None = None) -> jax.Array:
        """Returns sr [B, scale*h, scale*w, C], not clipped, for lr [B, h, w, C].

        Args:
            scale: one of `scales`; None is the largest.
        """
        return self.levels(lr, scale=scale)[-1]

    @nn.compact
    def levels(
        self, lr: jax.Array, *, scale: int | None = None
    ) -> tuple[jax.Array, ...]:
        """Returns the images at each of `scales` up to `scale`; args as for a call."""
        conv = functools.partial(_conv, self.width, dtype=self.dtype)
        count, channels = _count(self, scale), lr.shape[-1]
        if not (self.pyramid or self.residual):
            raise ValueError("pyramid=False needs residual=True.")

        def features(x, level):
            for i in range(self.depth):
                x = _lrelu(conv(name=f"level_{level}_conv_{i}")(x))
            return x

        x = _lrelu(conv(kernel_init=FIRST, name="conv_in")(lr))
        if not self.pyramid:
            for level in range(count):
                x = features(x, level)
        image, images = lr, []
        for level in range(count):
            if self.pyramid:
                x = features(x, level)
            x = _lrelu(
                _up(self.width, self.dtype, f"level_{level}_up", self.up_side)(x)
            )
            if self.residual:
                image = _up_image(channels, name=f"level_{level}_image")(image)
            if self.pyramid or level == len(self.scales) - 1:
                last = _conv(channels, dtype=self.dtype, name=f"level_{level}_residual")
                made = last(x).astype(jnp.float32)
                image = image + made if self.residual else made
            images.append(image)
        return tuple(images)


class MSLapSRN(nn.Module):
    """Doubles an image for each of `scales`, with the same weights at every level.

    A level applies one block of `depth` convolutions `recursions` times and adds the
    features that the level began with to each output. The defaults are the paper's
    D5R8, with 222,801 parameters; D5R2 and D5R5 have as many. `dtype` is that of the
    features; parameters and images stay float32.

    Memory: the gradient at x8 for 21 patches of 16x16, a third of the authors' batch,
    takes 2.7 GB.
    """

    input = "low"

    scales: tuple[int, ...] = (2, 4, 8)
    depth: int = 5
    recursions: int = 8
    width: int = 64
    dtype: str = "float32"

    @property
    def halo(self) -> int:
        """Input pixels on each side that one output pixel depends on."""
        return _reach([self.depth * self.recursions] * len(self.scales))

    def __call__(self, lr: jax.Array, *, scale: int | None = None) -> jax.Array:
        """Returns sr [B, scale*h, scale*w, C], not clipped, for lr [B, h, w, C].

        Args:
            scale: one of `scales`; None is the largest.
        """
        return self.levels(lr, scale=scale)[-1]

    @nn.compact
    def levels(
        self, lr: jax.Array, *, scale: int | None = None
    ) -> tuple[jax.Array, ...]:
        """Returns the images at each of `scales` up to `scale`; args as for a call."""
        conv = functools.partial(_conv, self.width, dtype=self.dtype)
        convs = [conv(name=f"conv_{i}") for i in range(self.depth)]
        up = _up(self.width, self.dtype, name="up")
        residual = _conv(lr.shape[-1], dtype=self.dtype, name="residual")
        up_image = _up_image(lr.shape[-1], name="image")

        x = conv(kernel_init=FIRST, name="conv_in")(lr)
        image, images = lr, []
        for _ in range(_count(self, scale)):
            start = x
            for _ in range(self.recursions):  # gradients of a scan are slow on CPUs
                for block in convs:
                    x = block(_lrelu(x))
                x += start
            x = up(_lrelu(x))
            image = up_image(image) + residual(x).astype(jnp.float32)
            images.append(image)
        return tuple(images)


def bilinear(rng: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """The 4x4 kernel by which a transposed convolution doubles an image bilinearly."""
    del rng
    taps = jnp.array([1, 3, 3, 1], dtype) / 4
    return jnp.einsum("y,x,io->yxio", taps, taps, jnp.eye(*shape[2:], dtype=dtype))


def _count(net, scale) -> int:
    """The levels to make for a scale; all where parameters are made."""
    doublings = tuple(2 ** (i + 1) for i in range(len(net.scales)))
    if not net.scales or net.scales != doublings:
        raise ValueError(f"scales must be (2,), (2, 4) ...; got {net.scales}.")
    if scale is None or net.is_initializing():
        return len(net.scales)
    if scale not in net.scales:
        raise ValueError(f"scale must be one of {net.scales}; got {scale}.")
    return net.scales.index(scale) + 1


def _reach(depths: list[int]) -> int:
    """The halo of levels of so many convolutions each, the last level first."""
    reach = 1  # the last residual convolution
    for depth in depths:
        reach = (reach + 2) // 2 + depth
    return reach + 1


FIRST = nn.initializers.normal(0.001)
_lrelu = functools.partial(nn.leaky_relu, negative_slope=0.2)
_conv = functools.partial(
    blocks.Conv, kernel_size=(3, 3), kernel_init=nn.initializers.he_normal()
)


def _up(width, dtype, name, side=3):
    if side not in (3, 4):
        raise ValueError(f"up_side must be 3 or 4; got {side}.")
    return blocks.ConvTranspose(width, side, crop=side - 3, dtype=dtype, name=name)


def _up_image(channels, name):
    return blocks.ConvTranspose(
        channels, 4, crop=1, use_bias=False, kernel_init=bilinear, name=name
    )

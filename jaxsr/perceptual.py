"""Perceptual networks: VGG19's features and their loss, LPIPS and DISTS.

Images are RGB [B, H, W, 3] in [0, 1]. `importers.features` reads the weights.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsr import image, metrics

# Convolutions and channels of each block; a 2x2 maximum between two of them.
VGG19_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
VGG19_LAYERS = tuple(
    f"conv{i}_{j}"
    for i, (count, _) in enumerate(VGG19_BLOCKS, 1)
    for j in range(1, count + 1)
)

# AlexNet's convolutions: channels, side of the kernel, stride, padding.
ALEXNET = (
    (64, 11, 4, 2),
    (192, 5, 1, 2),
    (384, 3, 1, 1),
    (256, 3, 1, 1),
    (256, 3, 1, 1),
)
LPIPS_SIDE = 31  # pixels of the smallest image of which AlexNet's last layers see any
# `lpips` subtracts the first from RGB in [-1, 1] and divides by the second.
LPIPS_SHIFT = (-0.030, -0.088, -0.188)
LPIPS_SCALE = (0.458, 0.448, 0.450)

# As `VGG19_BLOCKS`, and what `dists` subtracts from RGB and divides it by.
VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
DISTS_MEAN = (0.485, 0.456, 0.406)
DISTS_DEVIATION = (0.229, 0.224, 0.225)


class VGG19(nn.Module):
    """The convolutions of VGG19 up to one of `VGG19_LAYERS`.

    The parameter `mean` is subtracted from the images, in 0..255, so that the module
    can hold the weights of several frameworks.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale
    Image Recognition", ICLR 2015, configuration E.
    """

    layer: str = "conv5_4"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns the layer's output after its activation, before any pooling.

        [B, h, w, C] of RGB images [B, H, W, 3] in [0, 1]; h is H, halved and rounded
        down once for each block before.
        """
        if self.layer not in VGG19_LAYERS:
            raise ValueError(
                f"layer must be one of {', '.join(VGG19_LAYERS)}; got {self.layer!r}."
            )
        _check(images, least=2 ** (int(self.layer[4]) - 1), whom=f"VGG19 {self.layer}")
        mean = self.param("mean", nn.initializers.zeros, (3,))
        x = 255.0 * images - mean.reshape(1, 1, 1, 3)
        for i, (count, width) in enumerate(VGG19_BLOCKS, 1):
            for j in range(1, count + 1):
                x = nn.relu(nn.Conv(width, (3, 3), name=f"conv{i}_{j}")(x))
                if self.layer == f"conv{i}_{j}":
                    return x
            x = nn.max_pool(x, (2, 2), strides=(2, 2))


def vgg19_features(params: dict, images: jax.Array, layer: str) -> jax.Array:
    """The features of images at a layer of VGG19 with these params."""
    return VGG19(layer).apply({"params": params}, images)


def vgg_loss(
    params: dict,
    sr: jax.Array,
    hr: jax.Array,
    *,
    layer: str,
    reduction: str = "mean",
) -> jax.Array:
    """Squared difference [B] of VGG19's features, each divided by 12.75.

    At "conv2_2" the paper's VGG22, at "conv5_4" its VGG54; averaged over pixels. The
    divisor is for features of the original weights, of which Keras has a copy; those of
    torchvision have other magnitudes. It scales the loss to about the mean squared
    error: for Set5's butterfly enlarged x4 by bicubic, whose error in [-1, 1] is 0.03,
    VGG54 is 0.2 as the mean over channels and 100 as the sum, VGG22 is 400 as the mean.

    Args:
        params: of `VGG19`, as `importers.features.load_vgg19` gives them. With these
            and `layer` bound by functools.partial it is a loss (sr, hr) -> [B].
        sr: RGB [B, H, W, 3] in [0, 1].
        hr: as sr.
        layer: one of `VGG19_LAYERS`.
        reduction: over channels, "mean" or "sum". Equation 5 read literally is the sum,
            512 times the mean for VGG54 and 128 times for VGG22. An adversary that has
            the weight w beside the mean has the same part in the gradient by 512 w, or
            128 w, beside the sum.

    Source: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a
    Generative Adversarial Network", CVPR 2017, equation 5 and section 3.2.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction must be one of {sorted(REDUCTIONS)}; got {reduction!r}."
        )
    metrics.check_pair(sr, hr)
    features = functools.partial(vgg19_features, params, layer=layer)
    difference = (features(sr) - features(hr)) / 12.75
    return jnp.mean(REDUCTIONS[reduction](difference**2, axis=-1), axis=(1, 2))


REDUCTIONS = {"mean": jnp.mean, "sum": jnp.sum}


class LPIPS(nn.Module):
    """AlexNet's five features of two images, compared with learned channel weights.

    Source: Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of
    Deep Features as a Perceptual Metric", CVPR 2018; `lpips`, their code, version 0.1.
    """

    @nn.compact
    def __call__(self, sr: jax.Array, hr: jax.Array) -> jax.Array:
        """Returns the distance [B] of RGB images [B, H, W, 3] in [0, 1]."""
        metrics.check_pair(sr, hr)
        _check(hr, least=LPIPS_SIDE, whom="LPIPS")
        shift, scale = (
            jnp.reshape(jnp.array(x), (1, 1, 1, 3)) for x in (LPIPS_SHIFT, LPIPS_SCALE)
        )
        x = (2 * jnp.concatenate([sr, hr]) - 1 - shift) / scale
        distance = 0.0
        for i, (width, side, stride, padding) in enumerate(ALEXNET, 1):
            if i in (2, 3):
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
            conv = nn.Conv(width, (side, side), stride, padding, name=f"conv{i}")
            x = nn.relu(conv(x))
            # `lpips` adds 1e-10 to the root, which has no gradient at zero.
            unit = x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-20)
            difference = jnp.subtract(*jnp.split(unit, 2)) ** 2
            linear = nn.Conv(1, (1, 1), use_bias=False, name=f"lin{i}")
            distance += jnp.mean(linear(difference), axis=(1, 2, 3))
        return distance


def lpips(params: dict, sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Perceptual distance [B] of RGB images [B, H, W, 3] in [0, 1]: 0 for equal ones.

    That of `lpips` with net="alex", over all pixels, borders included.

    Args:
        params: of `LPIPS`, as `importers.features.load_lpips` gives them.
        sr: at least 31 pixels a side.
        hr: as sr.
    """
    return LPIPS().apply({"params": params}, sr, hr)


class DISTS(nn.Module):
    """Images and VGG16's five features of them, compared by structure and texture.

    Source: Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure
    and Texture Similarity", IEEE TPAMI 2022, equations 3 to 7; `DISTS_pytorch`, their
    code, version 0.1.
    """

    @nn.compact
    def __call__(self, sr: jax.Array, hr: jax.Array) -> jax.Array:
        """Returns the distance [B] of RGB images [B, H, W, 3] in [0, 1]."""
        metrics.check_pair(sr, hr)
        _check(hr, least=16, whom="DISTS")
        images = jnp.concatenate([sr, hr])
        mean, deviation = (
            jnp.reshape(jnp.array(x), (1, 1, 1, 3))
            for x in (DISTS_MEAN, DISTS_DEVIATION)
        )
        x, stages = (images - mean) / deviation, [images]
        for i, (count, width) in enumerate(VGG16_BLOCKS, 1):
            if i > 1:
                x = _smooth_pool(x)
            for j in range(1, count + 1):
                x = nn.relu(nn.Conv(width, (3, 3), name=f"conv{i}_{j}")(x))
            stages.append(x)
        similar = [_textures_and_structures(*jnp.split(x, 2)) for x in stages]
        textures, structures = (jnp.concatenate(x, axis=-1) for x in zip(*similar))
        alpha, beta = (
            self.param(name, nn.initializers.ones, textures.shape[-1:])
            for name in ("alpha", "beta")
        )
        return 1 - (textures @ alpha + structures @ beta) / jnp.sum(alpha + beta)


def _smooth_pool(x):
    """The root of the squares' sums, weighted by a 3x3 Hann window, at every other."""
    x = x**2
    for axis in (1, 2):
        x = jnp.moveaxis(x, axis, -1)
        x = jnp.pad(x, [(0, 0)] * 3 + [(1, 1)])
        left, middle, right = (x[..., i : x.shape[-1] - 2 + i : 2] for i in range(3))
        x = jnp.moveaxis((left + 2 * middle + right) / 4, -1, axis)
    return jnp.sqrt(x + 1e-12)


def _textures_and_structures(sr, hr):
    """How similar are, in each channel, means and correlations of features: [B, C]."""

    def mean(x):
        return jnp.mean(x, axis=(1, 2), keepdims=True)

    mean_sr, mean_hr = mean(sr), mean(hr)
    sr, hr = sr - mean_sr, hr - mean_hr
    textures = (2 * mean_sr * mean_hr + 1e-6) / (mean_sr**2 + mean_hr**2 + 1e-6)
    structures = (2 * mean(sr * hr) + 1e-6) / (mean(sr**2) + mean(hr**2) + 1e-6)
    return textures[:, 0, 0], structures[:, 0, 0]


def dists(params: dict, sr: jax.Array, hr: jax.Array) -> jax.Array:
    """Deep image structure and texture similarity [B] of RGB images: 0 for equal ones.

    Over all pixels, borders included. Differentiable, so also a loss.

    Args:
        params: of `DISTS`, as `importers.features.load_dists` gives them.
        sr: [B, H, W, 3] in [0, 1], at least 16 pixels a side. The authors reduce
            images first, so that the shorter side has 256 pixels; this does not.
        hr: as sr.
    """
    return DISTS().apply({"params": params}, sr, hr)


def _check(images, *, least, whom):
    image.check_float(images)
    if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < least:
        raise ValueError(
            f"{whom} takes RGB images [B, H, W, 3] of at least {least} pixels a side; "
            f"got shape {images.shape}."
        )

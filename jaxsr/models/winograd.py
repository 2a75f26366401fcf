"""3x3 convolutions by Winograd's algorithm, for training on CPUs.

Its F(2x2, 3x3) has 16 products for 2x2 outputs of a channel instead of 36 (Lavin and
Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4.1). In
float32 the results differ from direct ones by about 5e-6 of their standard deviation.
"""

import functools

import einops
import jax
import jax.numpy as jnp

# Of four inputs, three taps and two outputs in a row: the paper's B^T, G and A^T.
INPUT = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))

# About as many pixels of a batch at a time keep what lies between within the caches.
PIXELS = 4096

# Numbers in the largest input or output that is worth it: XLA:CPU allocates the outputs
# of all layers' loops when an update begins, which may double its memory.
MOST = 2**23


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution [B, h, w, O] of x [B, h, w, C], padded by zeros, with kernel
    [3, 3, C, O]. Its gradients by automatic differentiation have as few products."""
    images, height, width, _ = x.shape
    most = max(1, PIXELS // (height * width))
    part = max(n for n in range(1, most + 1) if images % n == 0)
    transform = jnp.array(KERNEL, x.dtype)
    kernel = jnp.einsum("ia,jb,abco->ijco", transform, transform, kernel)
    # Taken apart here: in the loop, the gradient of each part would be padded to all.
    kernel = [[kernel[i, j] for j in range(4)] for i in range(4)]
    # The checkpoint keeps the loop from saving the transformed input for the gradient.
    out = jax.lax.map(
        jax.checkpoint(lambda x: _convolve(x, kernel)),
        x.reshape(-1, part, *x.shape[1:]),
    )
    return out.reshape(*x.shape[:3], -1)


def _convolve(x: jax.Array, kernel: list[list[jax.Array]]) -> jax.Array:
    """`convolve` with the 4x4 transformed kernels, each [C, O]."""
    _, height, width, channels = x.shape
    h, w = -(-height // 2), -(-width // 2)
    x = jnp.pad(x, ((0, 0), (1, 2 * h + 1 - height), (1, 2 * w + 1 - width), (0, 0)))

    def multiply(x, kernel):  # as a product of matrices, whose gradients are fast too
        return (x.reshape(-1, channels) @ kernel).reshape(*x.shape[:3], -1)

    rows = _combine(INPUT, [x[:, i : i + 2 * h - 1 : 2] for i in range(4)])
    products = []
    for row, kernels in zip(rows, kernel, strict=True):
        tiles = _combine(INPUT, [row[:, :, j : j + 2 * w - 1 : 2] for j in range(4)])
        products.append(_combine(OUTPUT, map(multiply, tiles, kernels)))
    out = [_combine(OUTPUT, column) for column in zip(*products, strict=True)]
    out = einops.rearrange(jnp.array(out), "j i b h w o -> b (h i) (w j) o")
    return out[:, :height, :width]


def _combine(weights, terms) -> list[jax.Array]:
    """For each row of weights, which are 0, 1 or -1, the weighted sum of the terms."""
    terms = list(terms)
    return [
        functools.reduce(
            jnp.add, [x if w > 0 else -x for w, x in zip(row, terms, strict=True) if w]
        )
        for row in weights
    ]

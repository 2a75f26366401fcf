import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr.models import blocks


def scattered(x, kernel, stride, crop):
    """A transposed convolution by its definition, cut to stride * size of x."""
    b, h, w, _ = x.shape
    size = kernel.shape[0]
    out = np.zeros((b, h * stride + size, w * stride + size, kernel.shape[-1]))
    for i, j in np.ndindex(h, w):
        rows, columns = (slice(stride * k, stride * k + size) for k in (i, j))
        out[:, rows, columns] += np.einsum("bi,yxio->byxo", x[:, i, j], kernel)
    out = np.pad(out, ((0, 0), (0, crop), (0, crop), (0, 0)))
    return out[:, crop : crop + stride * h, crop : crop + stride * w]


@pytest.mark.parametrize(
    ("size", "stride", "crop"),
    [(3, 2, 0), (4, 2, 1), (3, 2, 1), (9, 2, 4), (9, 3, 4), (9, 4, 4), (1, 2, 0)],
)
def test_transposed_convolution_is_the_textbooks(size, stride, crop):
    net = blocks.ConvTranspose(4, size, stride=stride, crop=crop)
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    variables = net.init(jax.random.key(0), x)
    variables["params"]["bias"] += jnp.arange(4.0)
    y = net.apply(variables, x) - jnp.arange(4.0).reshape(1, 1, 1, 4)
    kernel = variables["params"]["kernel"]
    expected = scattered(x, np.asarray(kernel), stride, crop)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    padding = (size - 1 - crop, stride - 1 + crop)
    expected = jax.lax.conv_transpose(
        x, kernel[::-1, ::-1], (stride, stride), (padding, padding)
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_pixel_shuffle_takes_channels_in_the_order_of_pytorch():
    x = jnp.arange(8).reshape(1, 1, 1, 8)
    y = blocks.pixel_shuffle(x, 2)
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(y[0, :, :, 1], [[4, 5], [6, 7]])


def test_prelu_has_a_slope_for_each_channel():
    x = jnp.array([[-4.0, 4.0, -8.0]])
    net = blocks.PReLU()
    variables = net.init(jax.random.key(0), x)
    np.testing.assert_array_equal(net.apply(variables, x), [[-1, 4, -2]])
    variables = {"params": {"slope": jnp.array([0.5, 0.5, 0.0])}}
    np.testing.assert_array_equal(net.apply(variables, x), [[-2, 4, 0]])


@pytest.mark.parametrize(
    "shape",
    [
        (5, 5, 12, 32),  # kernel gradients in parts
        (3, 3, 32, 40),  # Winograd's algorithm
    ],
)
@pytest.mark.parametrize("images", [1, 5])
def test_a_convolution_and_its_gradients_equal_those_of_lax(images, shape):
    rng = np.random.default_rng(0)
    x, dx = (
        jnp.asarray(rng.normal(size=(images, 9, 8, shape[2])), jnp.float32)
        for _ in "ab"
    )
    kernel, dk = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in "ab")
    settings = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

    def ours(x, kernel):
        return blocks.convolve(x, kernel, (1, 1), "SAME", **settings)

    def theirs(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", **settings)

    def of(conv):
        def loss(x, kernel):
            return jnp.sum(jnp.tanh(conv(x, kernel) / 10))

        def curvature(x, kernel):  # Hessian times (dx, dk)
            return jax.jvp(jax.grad(loss, (0, 1)), (x, kernel), (dx, dk))[1]

        return (
            conv(x, kernel),
            jax.grad(loss, (0, 1))(x, kernel),
            jax.jvp(conv, (x, kernel), (dx, dk)),
            jax.jvp(lambda k: conv(x, k), (kernel,), (dk,)),
            jax.vmap(jax.grad(loss, (0, 1)))(
                jnp.stack([x, dx]), jnp.stack([kernel, dk])
            ),
            curvature(x, kernel),
        )

    def assert_close(one, other):
        largest = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * largest)

    jax.tree.map(assert_close, jax.jit(of, static_argnums=0)(ours), of(theirs))


def test_a_convolution_of_no_images_has_a_gradient_of_zeros():
    def loss(kernel):
        x = jnp.zeros([0, 9, 8, 32])
        settings = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        return blocks.convolve(x, kernel, (1, 1), "SAME", **settings).sum()

    assert not jax.grad(loss)(jnp.ones([3, 3, 32, 40])).any()


@pytest.mark.parametrize(
    ("images", "shape", "parts"),
    [
        (32, (3, 3, 64, 64), 0),  # VDSR's, by products of matrices
        (32, (5, 5, 64, 32), 16),  # SRCNN's
        (32, (3, 3, 256, 256), 16),  # DRCN's
        (32, (3, 3, 64, 1), 1),
        (32, (3, 3, 1, 64), 1),
        (8, (3, 3, 12, 12), 1),  # FSRCNN's
    ],
)
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_a_kernel_gradient_is_made_in_the_fastest_way_on_cpus(
    images, shape, parts, platform
):
    def loss(kernel, x):
        return blocks.convolve(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ).sum()

    exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=[platform])(
        jax.ShapeDtypeStruct(shape, jnp.float32),
        jax.ShapeDtypeStruct((images, 41, 41, shape[2]), jnp.float32),
    )
    count = exported.mlir_module().count("stablehlo.convolution")
    assert count == (parts if platform == "cpu" else 1)


def test_unshuffling_takes_a_shuffle_back():
    images = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    x = blocks.pixel_unshuffle(images, 2)
    # Channels of image, of row, of column: these are of the first 2x2 pixels.
    np.testing.assert_array_equal(
        x[0, 0, 0], [0, 3, 18, 21, 1, 4, 19, 22, 2, 5, 20, 23]
    )
    np.testing.assert_array_equal(blocks.pixel_shuffle(x, 2), images)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsr import models
from jaxsr.inference import tiling

FSRCNN_S = {"width": 32, "narrow": 5, "depth": 1}
DENSE = {"blocks": 2, "depth": 2, "growth": 3, "width": 4, "bottleneck": 4}
EDSR_BASELINE = {"blocks": 16, "width": 64, "residual_scale": 1.0}

# name, fields, channels, parameters of the paper's network
PARAMETERS = [
    ("bicubic", {}, 1, 0),
    ("bilinear", {}, 1, 0),
    ("drcn", {}, 1, 1_775_121),
    ("drrn", {"units": 9}, 1, 302_467),
    ("drrn", {"units": 9, "norm": False}, 1, 297_601),
    ("drrn", {"units": 25, "norm": False, "bias": False}, 1, 297_216),
    ("drrn", {"blocks": 2, "units": 3, "norm": False, "bias": False}, 1, 739_584),
    ("drrn", {}, 1, 310_659),
    ("edsr", {}, 3, 40_729_603),
    ("edsr", {"scale": 3}, 3, 43_680_003),
    ("edsr", {"scale": 4}, 3, 43_089_923),
    ("edsr", {"scale": 2, **EDSR_BASELINE}, 3, 1_369_859),
    ("edsr", {"scale": 3, **EDSR_BASELINE}, 3, 1_554_499),
    ("edsr", {"scale": 4, **EDSR_BASELINE}, 3, 1_517_571),
    ("espcn", {"scale": 2}, 1, 21_284),
    ("espcn", {"scale": 3}, 1, 22_729),
    ("espcn", {"scale": 4}, 1, 24_752),
    *[("fsrcnn", {"scale": scale}, 1, 12_809) for scale in (2, 3, 4)],
    *[("fsrcnn", {"scale": scale, **FSRCNN_S}, 1, 4_086) for scale in (2, 3, 4)],
    ("lanczos", {}, 1, 0),
    ("lapsrn", {"scales": (2,)}, 1, 407_441),
    ("lapsrn", {}, 1, 814_242),
    ("lapsrn", {"scales": (2, 4, 8), "depth": 5}, 1, 667_123),
    ("mdsr", {}, 3, 7_953_987),
    ("mdsr", {"blocks": 16}, 3, 3_227_203),
    ("mdsr", {"shared_tail": False}, 3, 7_957_449),
    ("mdsr", {"blocks": 16, "shared_tail": False}, 3, 3_230_665),
    *[("ms_lapsrn", {"recursions": r}, 1, 222_801) for r in (2, 5, 8)],
    ("nearest", {}, 1, 0),
    ("red", {"depth": 10, "skip_every": 0}, 1, 296_641),
    ("red", {"depth": 20}, 1, 665_921),
    ("red", {}, 1, 1_035_201),
    ("red", {"shrinking": True}, 1, 1_035_201),
    ("srcnn", {}, 3, 20_099),
    ("srcnn", {}, 1, 8_129),
    ("srcnn", {"sides": (9, 3, 5)}, 1, 24_513),
    ("srcnn", {"sides": (9, 5, 5)}, 1, 57_281),
    ("srdensenet", {"features": "h"}, 1, 1_553_409),
    ("srdensenet", {"features": "hl"}, 1, 1_848_321),
    ("srdensenet", {}, 1, 2_659_585),
    ("srdensenet", {"width": 16, "dense": True}, 1, 6_242_465),
    ("srresnet", {}, 3, 1_550_659),
    ("srresnet", {"scale": 2}, 3, 1_402_883),
    ("vdsr", {}, 1, 665_921),
    ("vdsr", {"residual": False}, 1, 665_921),
]

# The smallest form of each, for what does not depend on size.
SMALL = [
    ("bicubic", {}),
    ("bilinear", {}),
    ("drcn", {"depth": 2, "width": 4}),
    ("drcn", {"depth": 2, "width": 4, "skip": False}),
    ("drrn", {"blocks": 2, "units": 2, "width": 4}),
    ("drrn", {"units": 1, "width": 4, "norm": False, "bias": False}),
    ("drrn", {"units": 2, "width": 4, "shared": False, "chain": True}),
    ("drrn", {"units": 2, "width": 4, "norm": False, "rectified": True}),
    ("edsr", {"scale": 2, "blocks": 1, "width": 3}),
    ("edsr", {"scale": 3, "blocks": 1, "width": 3}),
    ("edsr", {"scale": 4, "blocks": 1, "width": 3}),
    ("espcn", {"scale": 2, "widths": (5, 4), "activation": "relu"}),
    ("espcn", {"scale": 3, "widths": (5, 4), "output_tanh": True}),
    *[("fsrcnn", {"scale": s, "width": 5, "narrow": 4, "depth": 1}) for s in (2, 3, 4)],
    ("lanczos", {}),
    ("lapsrn", {"scales": (2, 4, 8), "depth": 2, "width": 4}),
    ("lapsrn", {"scales": (2, 4), "depth": 2, "width": 4, "pyramid": False}),
    ("lapsrn", {"scales": (2, 4), "depth": 2, "width": 4, "residual": False}),
    ("mdsr", {"blocks": 1, "width": 3}),
    ("ms_lapsrn", {"depth": 2, "recursions": 2, "width": 4}),
    ("nearest", {}),
    ("red", {"depth": 6, "width": 4}),
    ("red", {"depth": 6, "width": 4, "shrinking": True}),
    ("red", {"depth": 4, "width": 4, "skip_every": 0}),
    ("srcnn", {"sides": (5, 3, 3), "widths": (4, 3)}),
    ("srdensenet", {"features": "h", **DENSE}),
    ("srdensenet", {"features": "hl", **DENSE}),
    ("srdensenet", {"dense": True, **DENSE}),
    ("srresnet", {"scale": 2, "blocks": 1, "width": 3}),
    ("srresnet", {"scale": 4, "blocks": 1, "width": 3}),
    ("srresnet", {"scale": 2, "blocks": 1, "width": 3, "norm": False, "skips": False}),
    ("vdsr", {"depth": 4, "width": 5}),
    ("vdsr", {"depth": 2, "width": 3, "residual": False}),
    ("vdsr", {"depth": 4, "width": 5, "padding": "edge"}),
]


def init(net, size=(16, 18), channels=1):
    x = jnp.asarray(np.random.default_rng(0).random((2, *size, channels), np.float32))
    return net.init(jax.random.key(0), x), x


def calls(net):
    """(enlargement, keyword arguments) of each way to call a network."""
    if hasattr(net, "scales"):
        return [(scale, {"scale": scale}) for scale in net.scales]
    return [(getattr(net, "scale", 1), {})]


def channels_of(name):
    """The channels that a network is made for."""
    return {name: channels for name, _, channels, _ in PARAMETERS}[name]


@pytest.mark.parametrize(("name", "fields", "channels", "expected"), PARAMETERS)
def test_parameter_count_is_the_papers(name, fields, channels, expected):
    net = models.make(name, **fields)
    x = jax.ShapeDtypeStruct((1, 8, 8, channels), jnp.float32)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
    leaves = jax.tree.leaves(shapes.get("params", {}))
    assert sum(leaf.size for leaf in leaves) == expected


def test_every_network_has_its_rows():
    for rows in (PARAMETERS, SMALL):
        assert {row[0] for row in rows} == set(models.NETWORKS)


@pytest.mark.parametrize(("name", "fields"), SMALL)
def test_halo_is_the_support_of_a_gradient(name, fields):
    """Of every output pixel that one input pixel becomes, over several inputs."""
    net = models.make(name, **fields)
    side = 2 * net.halo + 5
    variables, x = init(net, (side, side), channels_of(name))
    rng = np.random.default_rng(0)  # zeros of an initialisation hide paths, too
    variables = jax.tree.map(
        lambda p: p + 0.1 * rng.standard_normal(p.shape), variables
    )
    centre = side // 2
    for factor, static in calls(net):
        inside = slice(centre * factor, (centre + 1) * factor)

        def output(x, inside=inside, static=static):
            y = net.apply(variables, x, **static)
            return (y[:, inside, inside] ** 2).sum()

        support = np.zeros((side, side), bool)
        for seed in range(5):  # a ReLU can hide a path from one input
            x = jax.random.normal(jax.random.key(seed), x.shape)
            support |= np.any(jax.grad(output)(x) != 0, axis=(0, 3))
        rows, columns = np.flatnonzero(support.any(1)), np.flatnonzero(support.any(0))
        reach = max(centre - rows.min(), rows.max() - centre)
        reach = max(reach, centre - columns.min(), columns.max() - centre)
        if factor == max(f for f, _ in calls(net)):
            assert reach == net.halo
        assert reach <= net.halo


@pytest.mark.parametrize(("name", "fields"), SMALL)
@pytest.mark.parametrize("size", [(1, 1), (3, 17)])
def test_odd_sizes_and_gradients_are_finite(name, fields, size):
    net = models.make(name, **fields)
    variables, x = init(net, size, channels_of(name))
    for factor, static in calls(net):
        y = net.apply(variables, x, **static)
        assert y.shape == (2, factor * size[0], factor * size[1], x.shape[-1])
        assert y.dtype == jnp.float32
        grads = jax.grad(lambda v, static=static: net.apply(v, x, **static).sum())(
            variables
        )
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(("name", "fields"), SMALL)
def test_tiles_give_the_whole_image(name, fields):
    net = models.make(name, **fields)
    tile = 2 * net.halo + 9
    variables, _ = init(net, (8, 8), channels_of(name))
    rng = np.random.default_rng(0)
    x = rng.random((tile + 7, 2 * tile + 3, channels_of(name)), np.float32)
    for _, static in calls(net):
        whole = net.apply(variables, x[None], **static)[0]
        tiled = tiling.apply(net, variables, x, tile=tile, **static)
        np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_residual_vdsr_adds_its_input():
    net = models.make("vdsr", depth=3, width=4)
    plain = models.make("vdsr", depth=3, width=4, residual=False)
    variables, x = init(net)
    np.testing.assert_allclose(
        net.apply(variables, x), x + plain.apply(variables, x), atol=1e-6
    )


def test_vdsr_is_initialised_by_fan_in():
    variables, _ = init(models.make("vdsr"))
    params = variables["params"]
    for name, fan_in in (("conv_0", 9), ("conv_5", 576), ("conv_out", 576)):
        std = np.std(params[name]["kernel"])
        np.testing.assert_allclose(std, np.sqrt(2 / fan_in), rtol=0.12)
        assert (params[name]["bias"] == 0).all()


def test_vdsr_output_is_what_it_was():
    # Also computed with scipy.signal.correlate2d in float64, layer by layer.
    golden = [0.2137801, 0.6183231, 1.2971100]
    net = models.make("vdsr", depth=5, width=8)
    x = jnp.linspace(0, 1, 35).reshape(1, 5, 7, 1)
    variables = jax.tree.map(
        lambda p: jnp.sin(jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape) / 4,
        jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x),
    )
    y = net.apply(variables, x)[0, :, :, 0]
    np.testing.assert_allclose([y[0, 0], y[2, 3], y[4, 6]], golden, rtol=1e-5)


def test_bfloat16_activations_leave_parameters_and_sum_in_float32():
    net = models.make("vdsr", depth=4, width=8, dtype="bfloat16")
    variables, x = init(net)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
    y = net.apply(variables, x)
    full = models.make("vdsr", depth=4, width=8).apply(variables, x)
    assert y.dtype == jnp.float32
    assert 0 < np.abs(y - full).max() < 0.05


def test_wrong_names_are_answered_with_the_right_ones():
    with pytest.raises(ValueError, match=r"\['bicubic', .*'vdsr'.*\]; got 'vdrs'"):
        models.make("vdrs")
    with pytest.raises(ValueError, match=r"'depth'.*got \['dept'\]"):
        models.make("vdsr", dept=3)
    with pytest.raises(ValueError, match="at least 2; got 1"):
        init(models.make("vdsr", depth=1))

import logging

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxsr import models
from jaxsr.inference import tiling


class Shuffle(nn.Module):
    """A small network of input "low": two 3x3 convolutions and a pixel shuffle."""

    input = "low"

    scale: int = 2
    halo: int = 2

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(6, (3, 3), name="conv_0")(x))
        return shuffled(nn.Conv(self.scale**2, (3, 3), name="conv_1")(x), self.scale)


class Branches(nn.Module):
    """A network of several scales: one convolution each."""

    input = "low"
    halo = 1

    scales: tuple[int, ...] = (2, 3)

    @nn.compact
    def __call__(self, x, scale=None):
        convs = {s: nn.Conv(s**2, (3, 3), name=f"x{s}")(x) for s in self.scales}
        return shuffled(convs[scale or self.scales[0]], scale or self.scales[0])


def shuffled(x, s):
    b, h, w, _ = x.shape
    x = x.reshape(b, h, w, s, s).transpose(0, 1, 3, 2, 4)
    return x.reshape(b, h * s, w * s, 1)


def make_vdsr(depth=4, width=6):
    return models.make("vdsr", depth=depth, width=width)


def init_variables(net, channels=1):
    """Random weights and biases, so large that the output is far from the input."""
    variables = net.init(jax.random.key(0), np.zeros((1, 8, 8, channels), np.float32))
    leaves, tree = jax.tree.flatten(variables)
    rng = np.random.default_rng(0)
    return tree.unflatten([rng.normal(0, 0.3, x.shape).astype("f4") for x in leaves])


def make_image(height, width, channels=1):
    return np.random.default_rng(1).random((height, width, channels), np.float32)


def whole(net, variables, x, **static):
    return np.asarray(net.apply(variables, x[None], **static))[0]


SIZES = [(16, 16), (45, 33), (9, 50), (50, 7), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "net", [make_vdsr(), Shuffle(2), Shuffle(3)], ids=["interpolated", "x2", "x3"]
)
def test_tiled_equals_whole(net, size):
    variables, x = init_variables(net), make_image(*size)
    expected = whole(net, variables, x)
    sr = tiling.apply(net, variables, x, tile=16)
    assert sr.dtype == np.float32
    assert np.abs(expected - expected.mean()).max() > 0.1 or size == (1, 1)
    np.testing.assert_allclose(sr, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3])
def test_a_branch_of_a_network_of_several_scales_equals_whole(scale):
    net = Branches()
    variables, x = init_variables(net), make_image(30, 21)
    sr = tiling.apply(net, variables, x, scale=scale, tile=12)
    expected = whole(net, variables, x, scale=scale)
    np.testing.assert_allclose(sr, expected, atol=1e-5)


def test_a_network_that_understates_its_halo_is_found_out():
    x = make_image(40, 40)
    variables = init_variables(Shuffle())
    sr = tiling.apply(Shuffle(halo=1), variables, x, tile=16)
    assert np.abs(sr - whole(Shuffle(), variables, x)).max() > 1e-2


def test_the_default_tile_equals_whole_for_a_deep_network():
    net = make_vdsr(depth=20, width=2)
    variables, x = init_variables(net), make_image(30, 700)
    sr = tiling.apply(net, variables, x)
    np.testing.assert_allclose(sr, whole(net, variables, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 100])
@pytest.mark.parametrize("scale", [1, 3])
def test_spans_lie_inside_and_keep_each_output_once_a_halo_from_inner_edges(
    length, scale
):
    source = np.arange(length * scale) // scale
    spans = tiling.spans(length, 16, 3, source, source)
    assert [s.begin for s in spans] == [0] + [s.end for s in spans[:-1]]
    assert spans[-1].end == length * scale
    for s in spans:
        assert s.start >= 0 and s.stop <= length
        assert s.stop - s.start == min(16, length)
        assert s.start == 0 or source[s.begin] - s.start >= 3
        assert s.stop == length or s.stop - source[s.end - 1] > 3


def test_two_tiles_of_ten_by_hand():
    source = np.arange(14)
    spans = tiling.spans(14, 10, 2, source, source)
    assert spans == [tiling.Span(0, 10, 0, 8), tiling.Span(4, 14, 8, 14)]


@pytest.mark.parametrize("net", [make_vdsr(), Shuffle(2)], ids=["interpolated", "x2"])
def test_an_ensemble_in_tiles_is_the_mean_over_eight_whole_images(net):
    variables, x = init_variables(net), make_image(45, 33)
    turned = [np.rot90(image, k) for image in (x, x[:, ::-1]) for k in range(4)]
    sr = [np.rot90(whole(net, variables, y), -i % 4) for i, y in enumerate(turned)]
    expected = np.mean(sr[:4] + [y[:, ::-1] for y in sr[4:]], axis=0)
    assert np.abs(expected - whole(net, variables, x)).max() > 0.1
    result = tiling.apply(net, variables, x, tile=16, ensemble=True)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_tiles_are_spread_over_all_devices(monkeypatch):
    net = make_vdsr()
    forward, used = tiling.make_forward(net, None), []

    def watched(variables, x):
        used.append({shard.device for shard in x.addressable_shards})
        return forward(variables, x)

    monkeypatch.setattr(tiling, "make_forward", lambda *asked: watched)
    variables, x = init_variables(net), make_image(40, 33)
    sr = tiling.apply(net, variables, x, tile=16)
    np.testing.assert_allclose(sr, whole(net, variables, x), atol=1e-5)
    assert len(jax.local_devices()) == 8 and used == [set(jax.local_devices())] * 2
    tiling.apply(net, variables, x[:16, :16])
    assert len(used[2]) == 1


def test_precision_is_that_of_the_activations():
    net, x = make_vdsr(), make_image(20, 20)
    variables = init_variables(net)
    full = tiling.apply(net, variables, x)
    for precision, least in (("bfloat16", 1e-4), ("float16", 1e-5)):
        half = tiling.apply(net, variables, x, precision=precision)
        assert half.dtype == np.float32
        error = np.abs(half - full).max() / np.abs(full).max()
        assert least < error < 500 * least
    with pytest.raises(ValueError, match="'bfloat16', 'float16', 'fl.*got 'half'"):
        tiling.apply(net, variables, x, precision="half")


class Counted(models.VDSR):
    """Notes the shape of its input whenever it is traced, and so compiled."""

    traced = []

    def __call__(self, x):
        self.traced.append(x.shape)
        return super().__call__(x)


def test_nothing_recompiles_from_one_large_image_to_the_next():
    variables = init_variables(make_vdsr(width=7))

    def enlarge(*size):
        net = Counted(depth=4, width=7)
        tiling.apply(net, variables, make_image(*size), tile=16)

    before = len(Counted.traced)
    for size in [(40, 33), (17, 90), (64, 16)]:
        enlarge(*size)
    assert len(Counted.traced) == before + 1
    enlarge(7, 90)
    assert len(Counted.traced) == before + 2


def make_device(net, side, error):
    """Stands for a device whose memory holds tiles up to `side`, and keeps count."""
    forward, seen = tiling.make_forward(net, None), []

    def limited(variables, x):
        seen.append(x.shape[1:3])
        if max(x.shape) > side:
            raise error
        return forward(variables, x)

    return limited, seen


NO_MEMORY = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating.")


@pytest.mark.parametrize("error", [NO_MEMORY, MemoryError()])
def test_out_of_memory_halves_the_tile_and_retries(monkeypatch, caplog, error):
    net, x = make_vdsr(), make_image(100, 70)
    variables = init_variables(net)
    expected = whole(net, variables, x)
    device, seen = make_device(net, 32, error)
    monkeypatch.setattr(tiling, "make_forward", lambda net, scale, precision: device)
    with caplog.at_level(logging.WARNING):
        sr = tiling.apply(net, variables, x)
    np.testing.assert_allclose(sr, expected, atol=1e-5)
    assert seen[:3] == [(100, 70), (50, 50), (25, 25)]
    assert [r.getMessage() for r in caplog.records] == [
        "Out of memory with tiles of 100; retrying with 50.",
        "Out of memory with tiles of 50; retrying with 25.",
    ]


def test_out_of_memory_with_the_smallest_tile_says_so(monkeypatch):
    net = make_vdsr()
    device, seen = make_device(net, 8, NO_MEMORY)
    monkeypatch.setattr(tiling, "make_forward", lambda net, scale, precision: device)
    with pytest.raises(MemoryError, match="side 20 does not fit"):
        tiling.apply(net, init_variables(net), make_image(40, 40))
    assert seen == [(40, 40), (20, 20)]


def test_other_errors_of_the_device_are_not_taken_for_a_lack_of_memory(monkeypatch):
    error = jax.errors.JaxRuntimeError("INTERNAL: no")
    device, _ = make_device(make_vdsr(), 8, error)
    monkeypatch.setattr(tiling, "make_forward", lambda net, scale, precision: device)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        tiling.apply(make_vdsr(), init_variables(make_vdsr()), make_image(40, 40))


def test_wrong_input_is_answered_clearly():
    net = make_vdsr()
    variables = init_variables(net)
    with pytest.raises(ValueError, match=r"\[H, W, C\].*\(1, 8, 8, 1\)"):
        tiling.apply(net, variables, np.zeros((1, 8, 8, 1), np.float32))
    with pytest.raises(ValueError, match="not empty"):
        tiling.apply(net, variables, np.zeros((0, 8, 1), np.float32))
    with pytest.raises(TypeError, match="uint8.*from_uint"):
        tiling.apply(net, variables, np.zeros((8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="tile must be at least 16.*got 15"):
        tiling.apply(net, variables, make_image(8, 8), tile=15)
    with pytest.raises(ValueError, match=r"scale must be one of \[2, 3\]; got 4"):
        tiling.apply(Branches(), {}, make_image(8, 8), scale=4)

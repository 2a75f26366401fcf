import errno
import json
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxsr import cards, models, weights

FACTS = {"color": "y", "scales": [2, 3, 4], "trained_on": "T91"}


def make_model(net=None, seed=0):
    net = net or models.make("vdsr", depth=3, width=4)
    variables = net.init(jax.random.key(seed), jnp.zeros([1, 8, 8, 1]))
    return weights.Model(net, variables, weights.make_card(net, **FACTS, step=7))


def assert_same(found, expected):
    assert found.net == expected.net
    assert found.card == expected.card
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)
    assert {x.dtype for x in jax.tree.leaves(found.variables)} == {np.dtype("float32")}


@pytest.mark.parametrize("by", ["file", "run directory", "shipped name"])
def test_a_saved_model_is_loaded_bit_for_bit(tmp_path, monkeypatch, by):
    model = make_model()
    file = tmp_path / "model.safetensors"
    weights.save(file, model)
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    name_or_path = {"file": file, "run directory": tmp_path, "shipped name": "model"}
    assert_same(weights.load(name_or_path[by]), model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_loaded_as_float32(tmp_path, dtype):
    model = make_model()
    half = jax.tree.map(lambda x: x.astype(dtype), model.variables)
    weights.save(tmp_path / "half.safetensors", model._replace(variables=half))
    expected = jax.tree.map(lambda x: x.astype("float32"), half)
    found = weights.load(tmp_path / "half.safetensors")
    assert_same(found, model._replace(variables=expected))


class Toy(nn.Module):
    scales: tuple[int, ...] = (2, 3)

    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True, name="bn")(x)


def test_batch_statistics_and_tuple_fields_survive(tmp_path, monkeypatch):
    monkeypatch.setitem(models.NETWORKS, "toy", models.Network(Toy))
    model = make_model(Toy(scales=(2, 4)))
    weights.save(tmp_path / "toy.safetensors", model)
    found = weights.load(tmp_path / "toy.safetensors")
    assert_same(found, model)
    assert set(found.variables) == {"params", "batch_stats"}
    assert hash(found.net) == hash(model.net)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, call
):
    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "model.safetensors"
    old = make_model(seed=0)
    weights.save(file, old)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, call, fail)
        weights.save(file, make_model(seed=1))
    assert list(tmp_path.iterdir()) == [file]
    assert_same(weights.load(file), old)


def test_save_refuses_what_the_card_does_not_say(tmp_path):
    model = make_model()
    other = make_model(models.make("vdsr", depth=4, width=4))
    with pytest.raises(ValueError, match="make_card"):
        weights.save(tmp_path / "x", model._replace(card=other.card))
    with pytest.raises(ValueError, match="params/conv_2/kernel: expected nothing"):
        weights.save(tmp_path / "x", model._replace(variables=other.variables))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blur": 1000}, "its card's blur must be a number from 0 up to 100; got 1000"),
        ({"step": -1}, "its card's step must be an integer .* or None; got -1"),
        ({"scores": {"Set5": {"x2": {"psnr": 30.0}}}}, "its card's scores must be"),
        ({"hours": float("inf")}, "Out of range float values are not JSON compliant"),
        ({"hours": np.float32(1)}, "float32 is not JSON serializable"),
    ],
)
def test_save_refuses_a_card_that_load_would(tmp_path, change, message):
    model = make_model()
    with pytest.raises(ValueError, match=f"Cannot save .*/x: .*{message}"):
        weights.save(tmp_path / "x", model._replace(card=model.card | change))
    short = {key: value for key, value in model.card.items() if key != "network"}
    with pytest.raises(ValueError, match=r"its card lacks \['network'\]"):
        weights.save(tmp_path / "x", model._replace(card=short))
    assert not list(tmp_path.iterdir())


BROKEN = {
    "a cut file": (lambda whole: whole[:-1], "not a whole .safetensors file"),
    "a cut header": (lambda whole: whole[:50], "not a whole .safetensors file"),
    "an empty file": (lambda whole: b"", "not a whole .safetensors file"),
    "a text file": (lambda whole: b"weights\n" * 99, "not a whole .safetensors file"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_by_name(tmp_path, kind):
    broken, message = BROKEN[kind]
    file = tmp_path / "model.safetensors"
    weights.save(file, make_model())
    file.write_bytes(broken(file.read_bytes()))
    with pytest.raises(ValueError, match=f"{file}.*{message}"):
        weights.load(file)


CARDS = {
    "no metadata": (None, "must hold a card"),
    "foreign metadata": ({"format": "pt"}, r"must hold a card.*\['format'\]"),
    "no JSON": ({"jaxsr": "vdsr"}, "Expecting value"),
    "half a card": (
        {"jaxsr": '{"color": "y"}'},
        r"lacks \['digest', 'fields', 'network'",
    ),
    "an unknown network": ({"network": "x"}, "one of .*vdsr.*got 'x'"),
    "an unknown field": ({"fields": {"layers": 3}}, r"depth.*got \['layers'\]"),
    "an unknown colour": ({"color": "cmyk"}, "'rgb', 'y', 'ycbcr'.; got 'cmyk'"),
    "an impossible network": ({"fields": {"depth": 1}}, "depth must be at least 2"),
    "a list for a card": ({"jaxsr": "[1]"}, r"its card must be a dictionary.*\[1\]"),
    "deep JSON": ({"jaxsr": "[" * 100_000}, "its card must be JSON"),
    "a number beyond all": ({"jaxsr": '{"step": Infinity}'}, "must be finite"),
    "no list of scales": ({"scales": 2}, "card's scales must be a list.*got 2"),
    "scales of text": (
        {"scales": ["2"]},
        "card's scales must be a list, each a number",
    ),
    "scores in a list": ({"scores": [36.4]}, "card's scores must be a dictionary"),
    "scores without SSIM": (
        {"scores": {"Set5": {"x2": {"psnr": 36.4}}}},
        "card's scores must be .* with psnr: a number, ssim: a number; got",
    ),
    "scores of another key": (
        {"scores": {"Set5": {"two": {"psnr": 36.4, "ssim": 0.9}}}},
        "card's scores must be a dictionary",
    ),
    "fields in a list": ({"fields": ["depth"]}, "card's fields must be a dictionary"),
    "a depth of text": ({"fields": {"depth": "3"}}, "vdsr's depth must be an integer"),
    "a depth beyond all": ({"fields": {"depth": 10**6}}, "from 0 to 1024; got 1000000"),
    "training on nothing": ({"trained_on": None}, "trained_on must be text; got None"),
    "steps of text": ({"step": "7"}, "card's step must be an integer.*; got '7'"),
    "hours of text": ({"hours": "7"}, "card's hours must be a number from 0; got '7'"),
    "a blur of text": ({"blur": "1"}, "card's blur must be a number from 0 up to 100"),
    "half a cost": ({"cost": {"halo": 3}}, "cost must be a dictionary with parameters"),
    "the cost of another scale": (
        {
            "cost": {
                "parameters": 1,
                "halo": 3,
                "input": "low",
                "multiply_adds": {"8": 1},
            }
        },
        r"its card's cost lacks the scales \[2, 3, 4\]; got {'8': 1}",
    ),
    "an ensemble in a list": ({"ensemble": []}, "card's ensemble must be a dictionary"),
    "upscaling of text": (
        {"upscaling": {"2": {"psnr": "36", "multiply_adds": 1}}},
        "card's upscaling must be .*psnr: a number, multiply_adds: a number or",
    ),
    "validation in a list": ({"validation": [31]}, "validation must be a dictionary"),
    "a scale beyond all": (
        {"network": "fsrcnn", "fields": {"scale": 1_000_000}, "scales": [2]},
        "fsrcnn's scale must be an integer from 1 to 64; got 1000000",
    ),
    "a crop beyond all": (
        {"network": "fsrcnn", "fields": {"crop": 10**400}},
        "fsrcnn's crop must be an integer from 0 to 64 or None; got 1000",
    ),
    "another scale than the network's": (
        {"network": "fsrcnn", "fields": {"scale": 2}, "scales": [3]},
        r"scales must be among the network's \(2,\); got \[3\]",
    ),
}


@pytest.mark.parametrize("kind", CARDS)
def test_a_wrong_card_is_refused_with_a_remedy(tmp_path, kind):
    change, message = CARDS[kind]
    model, file = make_model(), tmp_path / "model.safetensors"
    if change and not change.keys() & {"jaxsr", "format"}:
        change = {"jaxsr": json.dumps(model.card | change)}
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, file, change)
    with pytest.raises(ValueError, match=f"{file}.*{message}"):
        weights.load(file)


def test_tensors_that_do_not_fit_are_all_listed(tmp_path):
    model, file = make_model(), tmp_path / "model.safetensors"
    tensors = {
        f"params/{layer}/{name}": np.asarray(x)
        for layer, tensors in model.variables["params"].items()
        for name, x in tensors.items()
    }
    del tensors["params/conv_0/bias"]
    tensors["params/conv_1/kernel"] = np.zeros([5, 5, 4, 4], np.float32)
    tensors["params/extra"] = np.zeros([2], np.float32)
    safetensors.numpy.save_file(tensors, file, {"jaxsr": json.dumps(model.card)})
    with pytest.raises(ValueError) as caught:
        weights.load(file)
    _, listed = str(caught.value).split("'dtype': 'float32'}. ")
    assert listed.split("; ") == [
        "params/conv_0/bias: expected (4,), found nothing",
        "params/conv_1/kernel: expected (3, 3, 4, 4), found (5, 5, 4, 4)",
        "params/extra: expected nothing, found (2,)",
    ]


@pytest.mark.parametrize("missing", ["vdsrr", "no/such.safetensors", ""])
def test_an_unknown_name_is_answered_with_the_shipped_ones(
    tmp_path, monkeypatch, missing
):
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("vdsr", "edsr"):
        weights.save(tmp_path / f"{name}.safetensors", make_model())
    assert weights.shipped() == ["edsr", "vdsr"]
    with pytest.raises(FileNotFoundError, match=rf"\['edsr', 'vdsr'\].*'{missing}'"):
        weights.load(missing)


def test_former_names_give_the_same_models(caplog):
    for scale in (2, 3, 4):
        found = weights.load(f"srcnn_x{scale}")
        assert_same(found, weights.load(f"srcnn_955_x{scale}"))
        assert found.net.sides == (9, 5, 5) and found.card["scales"] == [scale]
        assert (
            caplog.messages[-1] == f"srcnn_x{scale} is now called srcnn_955_x{scale}."
        )
    assert len(caplog.messages) == 3 and "srcnn_x2" not in weights.shipped()


def test_the_card_names_network_and_fields_and_takes_json_alone():
    net = models.make("vdsr", depth=3)
    card = weights.make_card(net, **FACTS, protocol="Y")
    assert card["network"] == "vdsr"
    assert card["fields"] == models.fields_of(net)
    assert card["protocol"] == "Y"
    with pytest.raises(TypeError, match="JSON"):
        weights.make_card(net, **FACTS, scores={"Set5": jnp.zeros([2])})
    with pytest.raises(ValueError, match="color must be one of .*'Y'"):
        weights.make_card(net, **FACTS | {"color": "Y"})


def test_the_shapes_are_those_of_the_variables():
    net = models.make("vdsr", depth=3, width=4)
    variables = net.init(jax.random.key(0), jnp.zeros([1, 8, 8, 3]))
    expected = jax.tree.map(lambda x: (x.shape, x.dtype), variables)
    shapes = weights.init_shapes(net, 3)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == expected

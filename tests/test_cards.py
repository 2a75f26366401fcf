"""Which shipped model is chosen, by the tables on their cards."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxsr import cards, image, models, weights
from jaxsr.data import sources
from jaxsr.evaluation import protocol, rating

CARD = {
    "network": "vdsr",
    "fields": {},
    "color": "y",
    "scales": [2],
    "trained_on": "T91",
    "step": 1,
    "scores": {},
    "digest": "",
}


def ship(folder, **tables):
    """Model files of a header alone: name -> scale -> (dB, billions of operations)."""
    for name, table in tables.items():
        rows = {
            scale: {"psnr": psnr, "multiply_adds": adds * 1e9}
            for scale, (psnr, adds) in table.items()
        }
        card = CARD | ({"upscaling": rows} if rows else {})
        header = json.dumps({"__metadata__": {"jaxsr": json.dumps(card)}}).encode()
        content = len(header).to_bytes(8, "little") + header
        (folder / f"{name}.safetensors").write_bytes(content)


TABLES = {
    "tiny": {"2": (36.0, 3), "4": (30.0, 1)},
    "middle": {"2": (37.0, 50), "4": (30.2, 20)},
    "deep": {"2": (36.5, 600), "4": (31.0, 600)},
    "unrated": {},
}


@pytest.mark.parametrize(
    ("scale", "quality", "chosen"),
    [
        (2, "fast", "tiny"),
        (2, "balanced", "middle"),
        (2, "best", "middle"),
        (4, "balanced", "middle"),
        (4, "best", "deep"),
        # Halfway in the logarithm: 33.6 against 33.75 dB; and a little less than that.
        (2**1.5, "best", "deep"),
        (2.5, "best", "middle"),
        (1.2, "best", "middle"),
        (9.5, "best", "deep"),
        (9.5, "fast", "tiny"),
    ],
)
def test_the_best_within_the_budget_is_chosen(
    tmp_path, monkeypatch, scale, quality, chosen
):
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    ship(tmp_path, **TABLES)
    assert cards.choose(scale, quality) == chosen


def test_where_all_are_too_slow_it_is_the_fastest(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    ship(tmp_path, slow={"2": (36, 300)}, slower={"2": (37, 400)})
    assert cards.choose(2, "fast") == "slow"


def test_what_cannot_be_chosen_is_answered_clearly(tmp_path, monkeypatch):
    message = "one of .'fast', 'balanced', 'best'.; got 'x'"
    with pytest.raises(ValueError, match=message):
        cards.choose(2, "x")
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="has no shipped models"):
        cards.choose(2)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", (99).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"{}"],
)
def test_a_file_without_a_card_is_named(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="a.safetensors is not a jaxsr model file"):
        cards.read(tmp_path / "a.safetensors")


def test_a_card_is_checked_without_jax(tmp_path, monkeypatch):
    ship(tmp_path, a={"2": (36, 3)})
    path = tmp_path / "a.safetensors"
    assert cards.read(path)["upscaling"] == {"2": {"psnr": 36, "multiply_adds": 3e9}}
    monkeypatch.setitem(CARD, "scales", 2)
    ship(tmp_path, a={})
    message = f"Cannot load {path}: its card's scales must be a list, each a number"
    with pytest.raises(ValueError, match=message):
        cards.read(path)


@pytest.mark.parametrize("quality", cards.QUALITIES)
@pytest.mark.parametrize("scale", rating.SCALES)
def test_no_shipped_model_within_the_budget_scores_higher(scale, quality):
    tables = {
        name: cards.read(cards.path_of(name))["upscaling"][f"{scale:g}"]
        for name in cards.shipped()
    }
    budget = cards.QUALITIES[quality]
    within = [t["psnr"] for t in tables.values() if t["multiply_adds"] <= budget]
    chosen = tables[cards.choose(scale, quality)]
    assert chosen["multiply_adds"] <= budget and chosen["psnr"] == max(within)


def test_the_choice_needs_no_jax():
    code = "import sys; from jaxsr import cards; cards.choose(3, 'best')"
    code += "; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", cards.shipped())
def test_a_shipped_card_holds_quality_and_cost_at_every_scale(name):
    card = cards.read(cards.path_of(name))
    assert list(card["upscaling"]) == [f"{scale:g}" for scale in rating.SCALES]
    psnrs = [row["psnr"] for row in card["upscaling"].values()]
    assert 20 < min(psnrs) < max(psnrs) < 45
    costs = [row["multiply_adds"] for row in card["upscaling"].values()]
    if card["cost"]["input"] == "interpolated":
        assert set(costs) == set(card["cost"]["multiply_adds"].values())
    else:
        own = card["scales"][-1]
        at_own = card["upscaling"][f"{own}"]["multiply_adds"]
        assert at_own == card["cost"]["multiply_adds"].get(
            str(own), next(iter(card["cost"]["multiply_adds"].values()))
        )
    assert card["rated_on"].endswith(" images of validation")
    assert card["cost"]["halo"] == weights.load(name).net.halo


def test_quality_and_cost_are_those_of_what_users_get():
    """Bicubic: of colour images of 8 bits. A network: cost by the scale it makes."""
    rng = np.random.default_rng(0)
    hr = rng.integers(256, size=(31, 41, 3), dtype=np.uint8)
    source = sources.Source("one", ("a",), lambda i: hr, None)
    card = rating.rated(protocol.baseline(color="rgb"), source, (2.5,)).card
    cut = hr[:30, :40]
    low = image.to_uint(image.resize(image.from_uint(cut), 0.4))
    assert low.shape == (12, 16, 3)
    sr = image.to_uint(image.resize(image.from_uint(low), 2.5))
    y = [np.round(image.rgb_to_y(image.from_uint(x)) * 255) for x in (sr, cut)]
    error = np.mean((y[0] - y[1])[3:-3, 3:-3] ** 2)
    expected = 10 * np.log10(255**2 / error)
    assert card["upscaling"]["2.5"]["psnr"] == pytest.approx(expected, abs=1e-3)
    net = models.make("espcn", scale=3, widths=(2, 2))
    variables = net.init(jax.random.key(0), np.zeros([1, 8, 8, 1]))
    card = weights.make_card(net, color="y", scales=[3], trained_on="nothing")
    card = rating.rated(weights.Model(net, variables, card), source, (3, 6)).card
    # 5x5 1->2, 3x3 2->2, 3x3 2->9, for 240x426 pixels
    adds = (25 * 2 + 9 * 2 * 2 + 9 * 2 * 9) * 240 * 426
    assert card["cost"]["multiply_adds"] == {"": adds}
    found = {s: row["multiply_adds"] for s, row in card["upscaling"].items()}
    assert found == {"3": adds, "6": adds // 4}

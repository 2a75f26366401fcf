"""Every shipped model loads, has a whole card, and is as good as that says."""

import pytest
from conftest import find_weights

from jaxsr import cards, weights
from jaxsr.data import sets
from jaxsr.evaluation import protocol
from jaxsr.importers import features

FACTS = (
    "trained_on",
    "step",
    "epochs",
    "hours",
    "device",
    "recipe",
    "commit",
    "digest",
)
BENCHMARKS = ("Set5", "Set14", "B100")
SMALL = "samples-validation"  # three photographs, there without any image set


def test_they_are_small():
    sizes = [path.stat().st_size for path in cards.FOLDER.glob("*.safetensors")]
    assert sum(sizes) < 40e6


@pytest.mark.parametrize("name", weights.shipped())
def test_a_card_is_whole(name):
    card = weights.load(name).card
    assert all(card[fact] for fact in FACTS), card
    assert not card["commit"].endswith("-dirty")
    assert sets.split_of(card["trained_on"]) == "train"
    # By which `queue.take` says whether another one is better.
    measure = "lpips" if card["objective"] == "adversarial" else "psnr"
    assert card["validation"][measure] > 0
    for data in (*BENCHMARKS, SMALL):
        assert set(card["scores"][data]) == {f"x{scale}" for scale in card["scales"]}


@pytest.mark.parametrize("name", weights.shipped())
def test_it_is_better_than_bicubic_by_what_its_card_says(name):
    model = weights.load(name)
    source = sets.open_source(SMALL)
    for score in protocol.compare(model, [source], model.card["scales"]):
        if score.image == "mean" and score.network == "bicubic":
            margin = model.card["scores"][SMALL][f"x{score.scale}"]["psnr"] - score.psnr
            # A model trained against a discriminator is not after PSNR.
            assert margin > (0.3 if model.card["objective"] != "adversarial" else -2)
        elif score.image == "mean":
            on_card = model.card["scores"][SMALL][f"x{score.scale}"]
            assert score.psnr == pytest.approx(on_card["psnr"], abs=0.005)
            assert score.ssim == pytest.approx(on_card["ssim"], abs=0.0005)


def test_srgan_looks_more_like_the_truth_than_srresnet():
    lpips = features.load_lpips(find_weights("lpips/lpips_alexnet.npz"))
    source = sets.open_source(SMALL)
    found = {
        name: [
            score.lpips
            for score in protocol.evaluate(weights.load(name), source, [4], lpips=lpips)
            if score.image == "mean"
        ][0]
        for name in ("srgan_x4", "srresnet_x4")
    }
    assert found["srgan_x4"] < 0.7 * found["srresnet_x4"]

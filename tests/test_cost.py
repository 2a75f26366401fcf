"""What networks cost, against what the literature prints for 1280x720."""

import json

import pytest

from jaxsr import image, models
from jaxsr.models import cost


@pytest.mark.parametrize(
    ("name", "fields", "printed"),
    [
        ("srcnn", {"sides": (9, 5, 5)}, 52.7),
        ("vdsr", {}, 612.6),
        ("drcn", {}, 17_974.3),
        ("drrn", {"units": 25}, 6_796.9),
        ("drrn", {"units": 25, "norm": False, "bias": False}, 6_796.9),
        # A transposed convolution at its input pixels, not at its output's.
        ("fsrcnn", {"scale": 2}, (7_928 + 4_536) * 640 * 360 / 1e9),
        ("lapsrn", {"scales": (2,)}, 94.1),
    ],
)
def test_multiply_adds_are_those_of_the_literature(name, fields, printed):
    net = models.make(name, **fields)
    found = cost.count(net, 1, scale=2 if models.is_multiscale(net) else None)
    assert found.multiply_adds / 1e9 == pytest.approx(
        printed, rel=0.02 if name == "fsrcnn" else 1e-3
    )


def test_every_network_is_listed_with_its_defaults_or_variants():
    assert set(models.NETWORKS) == set(models.NETWORKS)
    for name, entry in models.NETWORKS.items():
        assert entry.color in image.CHANNELS
        assert entry.variants
        for fields in entry.variants:
            models.make(name, **fields)


FAST = ("bicubic", "espcn", "fsrcnn", "srcnn")


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in models.NETWORKS
    ],
)
def test_the_file_of_costs_is_what_the_networks_cost(name):
    assert json.loads(cost.FILE.read_text())[name] == cost.listed(name)


def test_the_file_of_costs_lists_the_catalogs_variants():
    file = json.loads(cost.FILE.read_text())
    assert list(file) == list(models.NETWORKS)
    for name, entry in models.NETWORKS.items():
        assert [row["fields"] for row in file[name]["variants"]] == json.loads(
            json.dumps(entry.variants)
        )
        defaults = models.fields_of(models.NETWORKS[name].cls)
        assert file[name]["defaults"] == json.loads(json.dumps(defaults))

"""DRRN, figure 4: recursive blocks B and residual units U."""

from jaxsr.reproduction import drawing, measures, recipes, study

DRRN = {
    "schedule": {"name": "step", "learning_rate": 0.1, "factor": 0.5, "every": 10.0},
    "epochs": 50.0,
    "data.backend": "device",
    "data.batch": 128,
    "data.patch": 31,
    "data.stride": 21,
}
NOTES = (
    "84,150 updates, the rate halved every 16,830; the authors' solver runs 2,000,000 "
    "and halves it every 65,360"
)
SIZES = {"B2U3": (2, 3), "B3U2": (3, 2), "B1U9": (1, 9), "B1U25": (1, 25)}


def variant(blocks: int = 1, units: int = 25, **fields) -> dict:
    """A network and its optimizer, which slows the biases of convolutions alone."""
    each = [""] if fields.get("shared", True) else [f"{u}_" for u in range(units)]
    names = [f"{unit}{part}" for unit in each for part in ("a", "b")]
    slowed = [f"block_{b}_{name}" for b in range(blocks) for name in ["head", *names]]
    rates = tuple((f"{name}/bias", 0.1) for name in [*slowed, "tail"])
    return {
        "network": {"name": "drrn", "blocks": blocks, "units": units} | fields,
        "optim": recipes.CLIPPED_SGD | {"rates": rates},
    }


STUDY = study.Study(
    varies="Recursive blocks B and residual units U",
    source="DRRN, figure 4",
    settings=DRRN,
    variants={name: variant(*size) for name, size in SIZES.items()},
    measure=measures.all_of(measures.psnr("Set5"), measures.parameters),
    draw=drawing.dots("Set5 x3"),
    notes=NOTES,
)

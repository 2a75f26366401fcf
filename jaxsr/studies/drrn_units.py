"""DRRN, figure 4: recursive blocks B and residual units U."""

from jaxsr.reproduction import drawing, measures, recipes, study

DRRN = {
    "optim": recipes.CLIPPED_SGD | {"rates": (("bias", 0.1),)},
    "schedule": {"name": "step", "learning_rate": 0.1, "factor": 0.5, "every": 10.0},
    "epochs": 50.0,
    "data.backend": "device",
    "data.batch": 128,
    "data.patch": 31,
    "data.stride": 21,
}
SIZES = {"B2U3": (2, 3), "B3U2": (3, 2), "B1U9": (1, 9), "B1U25": (1, 25)}

STUDY = study.Study(
    varies="Recursive blocks B and residual units U",
    source="DRRN, figure 4",
    settings=DRRN,
    variants={
        name: {"network": {"name": "drrn", "blocks": blocks, "units": units}}
        for name, (blocks, units) in SIZES.items()
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.parameters),
    draw=drawing.dots("Set5 x3"),
    notes="50 epochs; the authors' solver runs 306",
)

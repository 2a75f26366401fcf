"""VDSR, table 1 and figure 4: residual against plain learning at three rates."""

from jaxsr.reproduction import drawing, measures, recipes, study

VDSR = {
    "optim": recipes.CLIPPED_SGD,
    "schedule": {"name": "step", "learning_rate": 0.1, "factor": 0.1, "every": 20.0},
    "data.name": "T91",
}


def _variant(residual, rate):
    return {
        "network": {"name": "vdsr", "depth": 10, "residual": residual},
        "schedule": VDSR["schedule"] | {"learning_rate": rate},
    }


RATES = (0.1, 0.01, 0.001)

STUDY = study.Study(
    varies="Residual or plain output, and the first learning rate, of 10 layers at x2",
    source="VDSR, table 1 and figure 4",
    settings=VDSR | {"data.scales": (2,), "data.backend": "device"},
    variants={
        f"{name}, {rate:g}": _variant(name == "residual", rate)
        for rate in RATES
        for name in ("residual", "plain")
    },
    measure=measures.after(10, 20, 40, 80),
    draw=drawing.epochs(
        *(("Set5 x2", [f"residual, {rate:g}", f"plain, {rate:g}"]) for rate in RATES)
    ),
    along=2.0,
    notes=(
        "Gradients are clipped by their norm with theta 0.01, which the paper does not "
        "print"
    ),
)

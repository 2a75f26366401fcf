"""VDSR, section 3.2: the bound of the adjustable clip, which it does not print."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import vdsr_residual


def _variant(clip, theta):
    bound = {"clip": clip, "theta": theta} if clip else {"clip": ""}
    optim = {
        key: x
        for key, x in vdsr_residual.VDSR["optim"].items()
        if key not in ("clip", "theta")
    }
    return {"optim": optim | bound}


BOUNDS = {
    **{f"norm, {theta:g}": ("norm", theta) for theta in (1e-3, 1e-2, 1e-1)},
    **{f"value, {theta:g}": ("value", theta) for theta in (1e-5, 1e-4, 1e-3)},
    "none": ("", 0.0),
}

STUDY = study.Study(
    varies="Clip of the gradient by norm or by value, and its bound theta",
    source="VDSR, section 3.2",
    settings=vdsr_residual.VDSR
    | {
        "network": {"name": "vdsr", "depth": 10},
        "data.scales": (2,),
        "data.backend": "device",
    },
    variants={name: _variant(*bound) for name, bound in BOUNDS.items()},
    measure=measures.psnr("Set5"),
    draw=drawing.dots("Set5 x2"),
    notes="The paper prints no theta and no scores for it",
)

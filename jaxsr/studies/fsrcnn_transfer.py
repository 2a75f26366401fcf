"""FSRCNN, figure 5: other scales by the deconvolution alone, or from scratch."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import fsrcnn_dsm

FROZEN = ["extract", "shrink", *(f"map_{i}" for i in range(4)), "expand"]
FROZEN += [f"prelu_{name}" for name in FROZEN]
RATES = tuple((name, 0.0) for name in FROZEN)


def _scale(scale, **more):
    return {
        "network": {"name": "fsrcnn", "scale": scale},
        "data.scales": (scale,),
    } | more


def _moved(scale):
    return _scale(scale, start="x3", optim={"name": "adam", "rates": RATES})


STUDY = study.Study(
    varies="x2 and x4 from the x3 network by the deconvolution alone, or from scratch",
    source="FSRCNN, figure 5",
    settings=fsrcnn_dsm.FAST,
    variants={
        "x3": _scale(3),
        "x2, from scratch": _scale(2),
        "x2, deconvolution of x3's": _moved(2),
        "x4, from scratch": _scale(4),
        "x4, deconvolution of x3's": _moved(4),
    },
    measure=measures.psnr("Set5"),
    draw=drawing.epochs(
        ("Set5 x2", ["x2, from scratch", "x2, deconvolution of x3's"]),
        ("Set5 x4", ["x4, from scratch", "x4, deconvolution of x3's"]),
    ),
    along=10.0,
    notes=fsrcnn_dsm.NOTES,
)

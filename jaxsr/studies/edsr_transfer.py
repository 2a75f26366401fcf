"""EDSR, figure 4: x3 and x4 from the x2 network, or from scratch."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import edsr_bn


def _scale(scale, **more):
    network = {"name": "edsr", "blocks": 8, "width": 32, "residual_scale": 1.0}
    return {
        "network": network | {"scale": scale},
        "data.scales": (scale,),
    } | more


STUDY = study.Study(
    varies="x3 and x4 from the x2 network, or from scratch; 8 blocks of 32 channels",
    source="EDSR, figure 4",
    settings=edsr_bn.EDSR,
    variants={
        "x2": _scale(2),
        "x3, from scratch": _scale(3),
        "x3, from x2": _scale(3, start="x2"),
        "x4, from scratch": _scale(4),
        "x4, from x2": _scale(4, start="x2"),
    },
    measure=measures.psnr("Set5"),
    draw=drawing.epochs(
        ("Set5 x3", ["x3, from scratch", "x3, from x2"]),
        ("Set5 x4", ["x4, from scratch", "x4, from x2"]),
    ),
    along=3.0,
    notes=edsr_bn.NOTES,
)

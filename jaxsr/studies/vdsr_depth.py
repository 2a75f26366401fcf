"""VDSR, figure 3: PSNR over depth, one network for all scales."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import vdsr_residual

DEPTHS = {str(depth): depth for depth in (5, 8, 10, 13, 15, 18, 20)}

STUDY = study.Study(
    varies="Depth from 5 to 20 layers, one network for x2, x3 and x4",
    source="VDSR, figure 3",
    settings=vdsr_residual.VDSR | {"data.backend": "device"},
    variants={
        name: {"network": {"name": "vdsr", "depth": depth}}
        for name, depth in DEPTHS.items()
    },
    measure=measures.psnr("Set5"),
    draw=drawing.over(DEPTHS, "Set5 x2", "Set5 x3", "Set5 x4", label="depth"),
)

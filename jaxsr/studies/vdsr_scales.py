"""VDSR, table 2: networks trained at some scales, tested at all."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import vdsr_residual

SCALES = [(2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)]

STUDY = study.Study(
    varies="The scales that a network of 20 layers is trained at",
    source="VDSR, table 2",
    settings=vdsr_residual.VDSR
    | {"network": {"name": "vdsr"}, "data.backend": "device"},
    variants={
        ", ".join(f"x{s}" for s in scales): {"data.scales": scales} for scales in SCALES
    },
    measure=measures.psnr("Set5", scales=(1.5, 2, 2.5, 3, 3.5, 4)),
    draw=drawing.dots("Set5 x2", "Set5 x3", "Set5 x4"),
)

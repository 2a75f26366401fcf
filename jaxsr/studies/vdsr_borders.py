"""VDSR, section 3.2: zero padding or none, by distance from the border."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import vdsr_residual

NETWORK = {"name": "vdsr", "depth": 10}
DISTANCES = (0, 1, 2, 4, 8, 16, 32)

STUDY = study.Study(
    varies="Layers padded with zeros, or unpadded on an image with repeated edges",
    source="VDSR, section 3.2",
    settings=vdsr_residual.VDSR | {"data.scales": (2,), "data.backend": "device"},
    variants={
        "zero padding": {"network": NETWORK},
        "unpadded": {
            "network": NETWORK | {"padding": "edge"},
            "in_training": {"padding": "valid"},
        },
    },
    measure=measures.at_distances("Set5", DISTANCES),
    draw=drawing.along_columns(
        {f"{d} px": d for d in DISTANCES},
        label="distance from the border, pixels",
        of="Set5 x2",
    ),
    notes="The paper only says that borders are predicted well",
)

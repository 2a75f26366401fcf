"""SRResNet, figure of the depth study: without skips; and without normalisation."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import srresnet_depth

FIELDS = {
    "SRResNet": {},
    "no skips": {"skips": False},
    "no normalisation": {"norm": False},
}

STUDY = study.Study(
    varies="SRResNet of 8 blocks without skips, or without batch normalisation",
    source="SRGAN, figure of network depth (supplement)",
    settings=srresnet_depth.SRRESNET,
    variants={
        name: {"network": {"name": "srresnet", "blocks": 8} | fields}
        for name, fields in FIELDS.items()
    },
    measure=measures.psnr("Set5", "Set14"),
    draw=drawing.dots("Set5 x4", "Set14 x4"),
    sets=("Set5", "Set14"),
    notes=srresnet_depth.NOTES,
)

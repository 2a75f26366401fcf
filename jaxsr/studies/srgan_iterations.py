"""SRGAN, figure of the supplement: the generator's output along training."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import srgan_content

STUDY = study.Study(
    varies="The updates of SRGAN with VGG54",
    source="SRGAN, figure of training iterations (supplement)",
    settings=srgan_content.STUDY.settings,
    variants={
        "SRResNet": {"model": "srresnet_x4"},
        "SRGAN, VGG54": srgan_content.VGG54
        | srgan_content.ADVERSARY
        | {"start": "SRResNet"},
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.lpips("Set5")),
    draw=drawing.snapshots("SRGAN, VGG54", 5),
    along=20.0,
    notes="The crops are those of Set5 in which bicubic is furthest off",
)

"""EDSR, section 3.1: batch normalisation; and the scaling of residuals."""

from jaxsr.reproduction import drawing, measures, recipes, study

EDSR = recipes.fast(4e-4, 60.0) | {
    "color": "rgb",
    "data.name": recipes.ALL_IMAGES,
    "data.patch": 32,
    "data.scales": (2,),
}
NOTES = "Our faster recipe, 6,000 updates with Adam at full length"


def _edsr(**fields):
    return {"network": {"name": "edsr", "residual_scale": 1.0} | fields}


STUDY = study.Study(
    varies="Batch normalisation, and the scaling of residuals of a wide network",
    source="EDSR, sections 3.1 and 3.2",
    settings=EDSR,
    variants={
        "8x64, normalised": {"network": {"name": "srresnet", "scale": 2, "blocks": 8}},
        "8x64": {
            "network": {"name": "srresnet", "scale": 2, "blocks": 8, "norm": False}
        },
        "EDSR 8x64": _edsr(blocks=8, width=64),
        "EDSR 4x256, scaling 1": _edsr(blocks=4, width=256),
        "EDSR 4x256, scaling 0.1": _edsr(blocks=4, width=256, residual_scale=0.1),
    },
    measure=measures.all_of(measures.psnr("Set5", "Set14"), measures.parameters),
    draw=drawing.dots("Set5 x2", "Set14 x2"),
    sets=("Set5", "Set14"),
    timed=True,
    notes=f"{NOTES}. The first two are SRResNets",
)

"""SRResNet, figure of the depth study: blocks, PSNR and seconds."""

from jaxsr.reproduction import drawing, measures, recipes, study

# The repaired recipe: L1, a cosine and flips, which the paper's has not.
SRRESNET = recipes.fast(4e-4, 60.0) | {
    "color": "rgb",
    "data.name": recipes.ALL_IMAGES,
    "data.patch": 24,
    "data.scales": (4,),
}
NOTES = "Our faster recipe, 6,000 updates with Adam on L1 at full length"
BLOCKS = {f"{blocks} block{'s' * (blocks > 1)}": blocks for blocks in (1, 2, 4, 8, 16)}

STUDY = study.Study(
    varies="Residual blocks, with batch normalisation",
    source="SRGAN, figure of network depth (supplement)",
    settings=SRRESNET,
    variants={
        name: {"network": {"name": "srresnet", "blocks": blocks}}
        for name, blocks in BLOCKS.items()
    },
    measure=measures.all_of(measures.psnr("Set5", "Set14"), measures.parameters),
    draw=drawing.over(BLOCKS, "Set5 x4", drawing.SECONDS, label="residual blocks"),
    sets=("Set5", "Set14"),
    timed=True,
    notes=NOTES,
)

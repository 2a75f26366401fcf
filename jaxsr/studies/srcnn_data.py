"""SRCNN, section 4.1: 91 images against many more."""

from jaxsr.reproduction import drawing, measures, recipes, study
from jaxsr.studies import srcnn_filters

STUDY = study.Study(
    varies="The training images: 91, or all sets that jaxsr fetches",
    source="SRCNN (TPAMI 2016), section 4.1 and its figure",
    settings=srcnn_filters.SRCNN,
    variants={
        "91 images": {"data.name": "T91"},
        "all images": {"data.name": recipes.ALL_IMAGES},
    },
    measure=measures.psnr("Set5", "Set14"),
    draw=drawing.epochs(("Set5 x3", ["91 images", "all images"])),
    along=10.0,
    sets=("Set5", "Set14"),
    notes=(
        "Our faster recipe, 20,000 updates with Adam at full length; in place of the "
        "paper's ImageNet stand 600 photographs"
    ),
)

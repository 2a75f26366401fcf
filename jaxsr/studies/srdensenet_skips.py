"""SRDenseNet, table 1: the features that the deconvolutions take."""

from jaxsr.reproduction import drawing, measures, recipes, study

FEATURES = {"H": "h", "HL": "hl", "All": "all"}

STUDY = study.Study(
    varies="Features: of the last block (H), with the first layer's (HL), of all (All)",
    source="SRDenseNet, table 1",
    settings={
        "epochs": 60.0,
        "loss": "mse",
        "schedule": {
            "name": "step",
            "learning_rate": 1e-4,
            "factor": 0.1,
            "every": 30.0,
        },
        "data.name": recipes.ALL_IMAGES,
        "data.backend": "device",
        "data.scales": (4,),
        "data.patch": 25,
        "data.stride": 25,
        "data.batch": 32,
        "data.symmetries": 1,
    },
    variants={
        name: {"network": {"name": "srdensenet", "features": features}}
        for name, features in FEATURES.items()
    },
    measure=measures.all_of(measures.psnr("Set5", "Set14"), measures.parameters),
    draw=drawing.dots("Set5 x4", "Set14 x4"),
    sets=("Set5", "Set14"),
    notes="The paper's ranking is H < HL < All; its numbers are not at hand",
)

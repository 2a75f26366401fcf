"""LapSRN, table 2: without the pyramid, the residual or the Charbonnier loss."""

from jaxsr.reproduction import drawing, measures, recipes, study

NETWORK = {"name": "lapsrn", "scales": (2, 4), "depth": 5}

STUDY = study.Study(
    varies="LapSRN without its pyramid, its residual images or its robust loss",
    source="LapSRN (CVPR 2017), table 2",
    settings=recipes.fast(1e-3, 60.0)
    | {
        "network": NETWORK,
        "objective": {"name": "pyramid"},
        "loss": "charbonnier_sum",
        "data.name": "291",
        "data.plan": "pyramid",
        "data.patch": 96,
        "data.scales": (4,),
    },
    variants={
        "no pyramid": {
            "network": NETWORK | {"pyramid": False},
            "objective": {"name": "supervised"},
        },
        "no residual": {"network": NETWORK | {"residual": False}},
        "squared error": {"loss": "half_sum_squared"},
        "LapSRN": {},
    },
    measure=measures.psnr("Set5", "Set14"),
    draw=drawing.dots("Set5 x4", "Set14 x4"),
    sets=("Set5", "Set14"),
    notes="Our faster recipe, 6,000 updates with Adam at full length on 291 images",
)

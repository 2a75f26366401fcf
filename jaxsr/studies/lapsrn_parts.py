"""LapSRN, table 2: without the pyramid, the residual or the Charbonnier loss."""

from jaxsr.reproduction import drawing, measures, study

STUDY = study.Study(
    varies="LapSRN without its pyramid, its residual images or its robust loss",
    source="LapSRN (CVPR 2017), table 2",
    settings={
        "network": {"name": "lapsrn", "scales": (2, 4), "depth": 5},
        "objective": {"name": "pyramid"},
        "loss": "charbonnier_sum",
        "schedule": {"name": "cosine", "learning_rate": 1e-3, "warmup": 2.0},
        "ema_decay": 0.999,
        "epochs": 60.0,
        "data.name": "291",
        "data.backend": "device",
        "data.plan": "pyramid",
        "data.epoch": 100,
        "data.batch": 8,
        "data.patch": 96,
        "data.scales": (4,),
    },
    variants={
        "no pyramid": {
            "network": {
                "name": "lapsrn",
                "scales": (2, 4),
                "depth": 5,
                "pyramid": False,
            },
            "objective": {"name": "supervised"},
        },
        "no residual": {
            "network": {
                "name": "lapsrn",
                "scales": (2, 4),
                "depth": 5,
                "residual": False,
            }
        },
        "squared error": {"loss": "half_sum_squared"},
        "LapSRN": {},
    },
    measure=measures.psnr("Set5", "Set14"),
    draw=drawing.dots("Set5 x4", "Set14 x4"),
    sets=("Set5", "Set14"),
    notes="Our faster recipe, 6,000 updates with Adam at full length on 291 images",
)

"""RED, tables of super-resolution: 10, 20 and 30 layers, and no skips."""

from jaxsr.reproduction import drawing, measures, study

STUDY = study.Study(
    varies="Depth, and 30 layers without the skips between them",
    source="RED, tables of super-resolution",
    settings={
        "epochs": 80.0,
        "schedule": {"name": "constant", "learning_rate": 1e-4},
        "data.name": "BSD200+BSD180",
        "data.backend": "device",
        "data.patch": 50,
        "data.stride": 50,
        "data.batch": 16,
    },
    variants={
        # Of ten layers the paper's network has the outer skip alone.
        "RED10": {"network": {"name": "red", "depth": 10, "skip_every": 0}},
        "RED20": {"network": {"name": "red", "depth": 20}},
        "RED30": {"network": {"name": "red", "depth": 30}},
        "RED30, no skips": {"network": {"name": "red", "depth": 30, "skip_every": 0}},
    },
    measure=measures.psnr("Set5", "Set14"),
    draw=drawing.dots("Set5 x2", "Set5 x3", "Set5 x4"),
    sets=("Set5", "Set14"),
)

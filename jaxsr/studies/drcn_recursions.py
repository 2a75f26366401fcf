"""DRCN, figures 6 and 7: recursions, supervision of all of them, and the skip."""

from jaxsr.reproduction import drawing, measures, recipes, study

DEPTHS = (1, 6, 11, 16)

STUDY = study.Study(
    varies="Recursions; 16 without supervising each, and without the skip",
    source="DRCN, figures of recursions and of the ensemble",
    settings={
        "epochs": 60.0,
        "objective": {"name": "recursive", "updates": 2940},
        "optim": recipes.CLIPPED_SGD,
        "schedule": {
            "name": "step",
            "learning_rate": 0.01,
            "factor": 0.1,
            "every": 20.0,
        },
        "data.name": "T91",
        "data.backend": "device",
        "data.scales": (2,),
        "data.stride": 21,
        "data.symmetries": 1,
    },
    variants={
        f"{depth} recursion{'s' * (depth > 1)}": {
            "network": {"name": "drcn", "depth": depth}
        }
        for depth in DEPTHS
    }
    | {
        "16, only the sum supervised": {
            "network": {"name": "drcn"},
            "objective": {"name": "supervised"},
        },
        "16, no skip": {"network": {"name": "drcn", "skip": False}},
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.recursions("Set5", DEPTHS)),
    draw=drawing.along_columns(
        {f"recursion {depth}": depth for depth in DEPTHS},
        label="recursion (star: the sum of all)",
        of="Set5 x2",
    ),
    notes=(
        "The rate falls every 20 epochs, not with the validation error; the clip and "
        "the weights of the losses are ours, for the paper prints none"
    ),
)

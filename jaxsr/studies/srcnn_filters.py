"""SRCNN, section 4.3.2: the size of the filters."""

from jaxsr.reproduction import drawing, measures, study

# Not the paper's recipe, which takes weeks: Adam on L1 from the identity.
SRCNN = {
    "network": {"name": "srcnn", "identity": True},
    "loss": "l1",
    "schedule": {"name": "cosine", "learning_rate": 1e-3, "warmup": 2.0},
    "ema_decay": 0.999,
    "epochs": 200.0,
    "data.name": "T91",
    "data.backend": "device",
    "data.plan": "random",
    "data.epoch": 100,
    "data.batch": 8,
    "data.patch": 48,
    "data.scales": (3,),
}
NOTES = (
    "Our faster recipe, 20,000 updates with Adam at full length, on T91 unless stated; "
    "the paper trains on ImageNet"
)
SIDES = {"9-1-5": (9, 1, 5), "9-3-5": (9, 3, 5), "9-5-5": (9, 5, 5)}

STUDY = study.Study(
    varies="The side of the second layer's filters",
    source="SRCNN (TPAMI 2016), section 4.3.2",
    settings=SRCNN,
    variants={
        name: {"network": SRCNN["network"] | {"sides": sides}}
        for name, sides in SIDES.items()
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.parameters),
    draw=drawing.dots("Set5 x3"),
    notes=NOTES,
)

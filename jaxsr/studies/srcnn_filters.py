"""SRCNN, section 4.3.2: the size of the filters."""

from jaxsr.reproduction import drawing, measures, recipes, study

# Not the paper's recipe, which takes weeks: Adam on L1 from the identity.
SRCNN = recipes.fast(1e-3, 200.0) | {
    "network": {"name": "srcnn", "identity": True},
    "data.name": "T91",
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
    source="SRCNN (TPAMI 2016), section 4.3.2 and its figure",
    settings=SRCNN,
    variants={
        name: {"network": SRCNN["network"] | {"sides": sides}}
        for name, sides in SIDES.items()
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.parameters),
    draw=drawing.epochs(("Set5 x3", list(SIDES))),
    along=10.0,
    notes=NOTES,
)

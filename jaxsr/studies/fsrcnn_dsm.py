"""FSRCNN, table 1: its three sizes."""

from jaxsr.reproduction import drawing, measures, recipes, study

# Not the paper's recipe, which takes days: Adam on L1 along a cosine.
FAST = recipes.fast(2e-3, 200.0) | {
    "data.name": "291",
    "data.patch": 32,
}
NOTES = "Our faster recipe, 20,000 updates with Adam at full length on 291 images"
SIZES = {
    f"d={d}, s={s}, m={m}": (d, s, m)
    for s in (12, 16)
    for d in (48, 56)
    for m in (2, 3, 4)
}

STUDY = study.Study(
    varies="Feature width d, shrunk width s and mapping depth m",
    source="FSRCNN, table 1",
    settings=FAST | {"data.scales": (3,)},
    variants={
        name: {"network": {"name": "fsrcnn", "width": d, "narrow": s, "depth": m}}
        for name, (d, s, m) in SIZES.items()
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.parameters),
    draw=drawing.over(
        {name: m for name, (d, s, m) in SIZES.items()},
        "Set5 x3",
        label="mapping layers m",
        groups={name: f"d={d}, s={s}" for name, (d, s, m) in SIZES.items()},
    ),
    notes=NOTES,
)

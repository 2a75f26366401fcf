"""DRRN, table 1: shared weights, and to what a unit adds."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import drrn_units

FIELDS = {
    "not shared, chain": {"shared": False, "chain": True},
    "not shared": {"shared": False},
    "chain": {"chain": True},
    "DRRN": {},
}

STUDY = study.Study(
    varies="Weights shared by the units or not; units in a chain or on many paths",
    source="DRRN, table 1",
    settings=drrn_units.DRRN,
    variants={
        name: drrn_units.variant(units=9, **fields) for name, fields in FIELDS.items()
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.parameters),
    draw=drawing.dots("Set5 x3"),
    notes=drrn_units.NOTES,
)

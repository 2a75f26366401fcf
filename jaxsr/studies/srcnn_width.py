"""SRCNN, table 1: the number of filters."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import srcnn_filters

WIDTHS = {"128-64": (128, 64), "64-32": (64, 32), "32-16": (32, 16)}

STUDY = study.Study(
    varies="The numbers of filters of the first two layers, 9-1-5",
    source="SRCNN (TPAMI 2016), table 1",
    settings=srcnn_filters.SRCNN,
    variants={
        name: {"network": srcnn_filters.SRCNN["network"] | {"widths": widths}}
        for name, widths in WIDTHS.items()
    },
    measure=measures.all_of(measures.psnr("Set5"), measures.parameters),
    draw=drawing.dots("Set5 x3"),
    timed=True,
    notes=srcnn_filters.NOTES,
)

"""ESPCN, table 1: tanh or ReLU, and pre-shuffled targets."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import fsrcnn_dsm


def _variant(activation, objective="supervised"):
    return {
        "network": {"name": "espcn", "activation": activation},
        "objective": {"name": objective},
    }


STUDY = study.Study(
    varies="The activation, and the loss after the pixel shuffle or before it",
    source="ESPCN, table 1 and section 3.2",
    settings=fsrcnn_dsm.FAST | {"data.scales": (3,), "data.name": "T91"},
    variants={
        "tanh": _variant("tanh"),
        "ReLU": _variant("relu"),
        "tanh, pre-shuffled": _variant("tanh", "shuffled"),
    },
    measure=measures.psnr("Set5", "Set14"),
    draw=drawing.dots("Set5 x3", "Set14 x3"),
    sets=("Set5", "Set14"),
    notes="Our faster recipe, 20,000 updates with Adam at full length on T91",
)

"""VDSR, table 3 and figures 1, 6 and 7: every model, and others as printed."""

from jaxsr import cards
from jaxsr.evaluation import papers
from jaxsr.reproduction import drawing, measures, study

SETS = ("Set5", "Set14", "B100")
PRINTED = {
    "A+": "VDSR-table3",
    "RFL": "VDSR-table3",
    "SelfExSR": "VDSR-table3",
    "SRCNN": "9-5-5 (VDSR-table3)",
    "VDSR": "paper-table3",
}
# Beside bicubic and the true image in the strip of crops.
SHOWN = ("srcnn_955_x3", "fsrcnn_x3", "vdsr", "edsr_baseline_x3")


def _cells(network, variant):
    scores = papers.scores()[network][variant]
    return {
        f"{data} {scale}{', SSIM' * (key == 'ssim')}": scores[data][scale][key]
        for key in ("psnr", "ssim")
        for data in SETS
        for scale in ("x2", "x3", "x4")
    }


def _seconds(network, variant):
    return papers.scores()[network][variant]["Set5"]["x2"]["time_s"]


STUDY = study.Study(
    varies="All shipped models, and others as printed",
    source="VDSR, table 3 and figures 1, 6 and 7",
    settings={},
    variants={name: {"model": name} for name in cards.shipped()},
    measure=measures.psnr(*SETS, ssim=True),
    draw=drawing.against_seconds(
        "Set5 x2",
        {f"{name}, printed": _seconds(name, v) for name, v in PRINTED.items()},
    ),
    strip=drawing.crops("B100", ["148026", "38092"], 3, *SHOWN),
    sets=SETS,
    timed=True,
    notes="Urban100 is not among the image sets that jaxsr fetches",
    cells={f"{name}, printed": _cells(name, v) for name, v in PRINTED.items()},
)

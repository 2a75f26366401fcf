"""SRCNN, table 5: the colour channels that a network takes."""

from jaxsr.reproduction import drawing, measures, study
from jaxsr.studies import srcnn_filters

COLORS = {"Y": "y", "YCbCr": "ycbcr", "RGB": "rgb"}

STUDY = study.Study(
    varies="The colour channels: Y with bicubic chroma, YCbCr or RGB",
    source="SRCNN (TPAMI 2016), table 5",
    settings=srcnn_filters.SRCNN,
    variants={name: {"color": color} for name, color in COLORS.items()},
    measure=measures.all_of(
        measures.psnr("Set5"), measures.rgb_psnr("Set5"), measures.parameters
    ),
    draw=drawing.dots("Set5 x3", "Set5 x3, RGB"),
    notes=(
        f"{srcnn_filters.NOTES}. The paper prints 34.57 dB in RGB for bicubic, so it "
        "measures otherwise than here: compare differences"
    ),
)

"""SRGAN, table 1: content losses, with and without the adversary."""

from jaxsr.reproduction import drawing, measures, recipes, study

START = {"start": "SRResNet, MSE"}
ADVERSARY = {"objective": {"name": "adversarial", "weight": 1e-3}}
# The paper's weights are for images in [-1, 1], ours for [0, 1]: a quarter for the
# squared error, twice for the total variation.
MSE_ADVERSARY = {"objective": {"name": "adversarial", "weight": 2.5e-4}}
VGG22 = {"loss": "vgg", "perceptual.layer": "conv2_2"}
VGG54 = {"loss": "vgg", "perceptual.layer": "conv5_4"}

STUDY = study.Study(
    varies="The content loss: squared error, VGG22 or VGG54; with an adversary or not",
    source="SRGAN, table 1",
    settings={
        "network": {"name": "srresnet"},
        "color": "rgb",
        "loss": "mse",
        "epochs": 200.0,
        "schedule": {
            "name": "step",
            "learning_rate": 1e-4,
            "factor": 0.1,
            "every": 100.0,
        },
        "data.name": recipes.ALL_IMAGES,
        "data.backend": "device",
        "data.plan": "random",
        "data.epoch": 1000,
        "data.scales": (4,),
        "data.patch": 24,
        "data.batch": 16,
    },
    variants={
        "SRResNet, MSE": {"model": "srresnet_x4"},
        "SRResNet, VGG22": START | VGG22 | {"perceptual.total_variation": 4e-8},
        "SRGAN, MSE": START | MSE_ADVERSARY,
        "SRGAN, VGG22": START
        | VGG22
        | {
            # VGG22 as a mean over channels is some 700 times as large as VGG54.
            "objective": {"name": "adversarial", "weight": 0.7},
        },
        "SRGAN, VGG54": START | VGG54 | ADVERSARY,
    },
    measure=measures.all_of(
        measures.psnr("Set5", "Set14", ssim=True),
        measures.lpips("Set5", "Set14"),
    ),
    draw=drawing.dots("Set5 x4", "Set14 x4", "Set14 x4, LPIPS"),
    strip=drawing.crops("Set14", ["baboon", "comic"], 4),
    sets=("Set5", "Set14"),
    notes=(
        "SRResNet, MSE is the shipped srresnet_x4, trained by L1, as which the others "
        "begin. The adversary's weight beside VGG22 is 0.7, since as a mean over "
        "channels that loss is some 700 times as large as VGG54. The paper's SSIM is "
        "that of another program; MOS, the opinion of 26 people, is printed only"
    ),
)

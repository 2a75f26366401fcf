"""SRGAN, table 1: content losses, with and without the adversary."""

from jaxsr.reproduction import drawing, measures, recipes, study

START = {"start": "SRResNet, MSE"}
ADVERSARY = {"objective": {"name": "adversarial", "weight": 1e-3}}
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
        "SRResNet, VGG22": START | VGG22 | {"perceptual.total_variation": 2e-8},
        "SRGAN, MSE": START | ADVERSARY,
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
        "All begin as the shipped srresnet_x4. The paper's SSIM is that of another "
        "program; MOS, the opinion of 26 people, is printed only"
    ),
)

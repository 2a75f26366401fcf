"""SRResNet-VGG22 x4, of the paper's comparison of content losses.

    python -m jaxsr.main --config experiments/srresnet_vgg22.py

VGG22 and the total variation, without an adversary; the variation's weight of 2e-8 is
for images in [-1, 1], so 4e-8 here. The paper does not say where it starts; here it is
the model of experiments/srresnet.py, whose learning rate it keeps.

Result: not run to its end.
"""

from experiments import srresnet


def get_config():
    config = srresnet.get_config()
    config.start = "runs/srresnet"
    config.loss = "vgg"
    config.perceptual.layer = "conv2_2"
    config.perceptual.total_variation = 4e-8
    config.validation.best_by = "lpips"
    return config

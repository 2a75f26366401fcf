"""SRGAN-VGG22 x4, of the paper's comparison of content losses.

    python -m jaxsr.main --config experiments/srgan_vgg22.py

The adversary's 1e-3 belongs to the mean over 128 channels; with
--config.perceptual.reduction=sum, 0.128 is the same.

Result: not run to its end.
"""

from experiments import srgan


def get_config():
    config = srgan.get_config()
    config.perceptual.layer = "conv2_2"
    return config

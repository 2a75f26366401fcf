"""SRGAN-VGG22 x4, of the paper's comparison of content losses.

python -m jaxsr.main --config experiments/srgan_vgg22.py
"""

from experiments import srgan


def get_config():
    config = srgan.get_config()
    config.perceptual.layer = "conv2_2"
    return config

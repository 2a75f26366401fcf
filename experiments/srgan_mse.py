"""SRGAN-MSE x4, of the paper's comparison of content losses.

    python -m jaxsr.main --config experiments/srgan_mse.py

The loss is that of images in [0, 1], a quarter of the paper's in [-1, 1], and so is the
adversary's weight: Adam does not see a common factor.

Result: not run to its end.
"""

from experiments import srgan


def get_config():
    config = srgan.get_config()
    config.loss = "mse"
    config.objective.weight = 2.5e-4
    return config

"""SRGAN x4 of 8 blocks, 32 wide, for machines without an accelerator.

    python -m jaxsr.main --config experiments/srgan_fast.py

From the model of experiments/srresnet_fast.py, batches of 8, a discriminator half as
wide, 600 updates: some ways along the paper's own, an hour or less on two CPU cores.
"""

from experiments import srgan


def get_config():
    config = srgan.get_config()
    config.network = {"name": "srresnet", "scale": 4, "blocks": 8, "width": 32}
    config.start = "runs/srresnet_fast"
    config.discriminator = {"width": 32}
    config.epochs = 12.0
    config.schedule = {"name": "constant", "learning_rate": 1e-4}
    config.data.name = "T91+BSD200+BSD180+General100"
    config.data.epoch = 50
    config.data.batch = 8
    config.validation.every = 1.0
    return config

"""SRResNet x4 of 8 blocks, 32 wide, for machines without an accelerator.

    python -m jaxsr.main --config experiments/srresnet_fast.py

A cosine from a higher rate, in 2400 updates: an hour or less on two CPU cores.

Result: 28.84 dB on Set5 (bicubic 28.43), in 30 minutes on two CPU cores.
"""

from experiments import srresnet


def get_config():
    config = srresnet.get_config()
    config.network = {"name": "srresnet", "scale": 4, "blocks": 8, "width": 32}
    config.epochs = 24.0
    config.schedule = {"name": "cosine", "learning_rate": 5e-4}
    config.data.name = "T91+BSD200+BSD180+General100"
    config.data.epoch = 100
    config.validation.every = 4.0
    return config

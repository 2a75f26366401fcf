"""EDSR x2 of 8 blocks, 32 wide, for machines without an accelerator.

    python -m jaxsr.main --config experiments/edsr_fast.py

A cosine from a higher rate, in 3000 updates: half an hour on two CPU cores. x3 and
x4 start from it: --config.start=runs/edsr_fast --config.network.scale=4
--config.data.scales="(4,)" --config.data.patch=32 --config.epochs=25.

Result: 36.91 dB on Set5 in 25 minutes on two CPU cores.
"""

from experiments import edsr


def get_config():
    config = edsr.get_config()
    config.network = {
        "name": "edsr",
        "scale": 2,
        "blocks": 8,
        "width": 32,
        "residual_scale": 1.0,
    }
    config.epochs = 30.0
    config.schedule = {"name": "cosine", "learning_rate": 1e-3}
    config.data.name = "T91+BSD200+BSD180+General100"
    config.data.epoch = 100
    config.validation.every = 5.0
    return config

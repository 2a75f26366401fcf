"""EDSR-baseline x2 as in the authors' code: L1, Adam halved every 200,000 updates.

    python -m jaxsr.main --config experiments/edsr.py

x3 and x4 start from it, but for the layers that enlarge: --config.start=runs/edsr
--config.network.scale=4 --config.data.scales="(4,)". The full network is
network.blocks=32, network.width=256 and network.residual_scale=0.1. The paper trains on
DIV2K; here on all available images, or data.name=tfds:div2k.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 300.0
    config.network = {
        "name": "edsr",
        "scale": 2,
        "blocks": 16,
        "width": 64,
        "residual_scale": 1.0,
    }
    config.color = "rgb"
    config.loss = "l1"
    config.optim = {"name": "adam"}
    config.schedule = {
        "name": "step",
        "learning_rate": 1e-4,
        "factor": 0.5,
        "every": 200.0,
    }
    config.data.name = "T91+BSD200+BSD180+General100+OpenPhotos"
    config.data.plan = "random"
    config.data.epoch = 1000
    config.data.scales = (2,)
    config.data.patch = 48
    config.data.batch = 16
    config.validation.every = 5.0
    return config

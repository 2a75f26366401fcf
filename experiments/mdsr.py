"""MDSR-baseline for x2, x3 and x4 as in the authors' code: one scale for each batch.

    python -m jaxsr.main --config experiments/mdsr.py

The branches that a batch does not use stay as they are. The full network is
network.blocks=80.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 650.0
    config.network = {"name": "mdsr", "scales": (2, 3, 4), "blocks": 16, "width": 64}
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
    config.data.patch = 48
    config.data.batch = 16
    config.validation.every = 5.0
    return config

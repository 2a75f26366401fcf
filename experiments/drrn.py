"""DRRN B1U9 for x2, x3 and x4 as in the authors' solver: 291, clip by 0.01 / rate.

    python -m jaxsr.main --config experiments/drrn.py

The authors count an epoch over all eight flips and rotations, here one is drawn: their
ten epochs are 80 of ours. They train B1U25 likewise (network.units=25).
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 2400.0
    config.network = {"name": "drrn", "blocks": 1, "units": 9}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "clip": "norm",
        "theta": 0.01,
        "rates": (("bias", 0.1),),
    }
    config.schedule = {
        "name": "step",
        "learning_rate": 0.1,
        "factor": 0.5,
        "every": 80.0,
    }
    config.data.patch = 31
    config.data.stride = 21
    config.data.batch = 128
    return config

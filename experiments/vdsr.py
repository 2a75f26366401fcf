"""VDSR for x2, x3 and x4 as in the paper: 291 images, 80 epochs of SGD.

    python -m jaxsr.main --config experiments/vdsr.py

Result: see RESULTS.md.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.network = {"name": "vdsr", "depth": 20, "width": 64, "residual": True}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "clip": "norm",
        "theta": 0.01,
    }
    config.schedule = {
        "name": "step",
        "learning_rate": 0.1,
        "factor": 0.1,
        "every": 20.0,
    }
    return config

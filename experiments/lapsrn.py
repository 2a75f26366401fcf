"""LapSRN x4 as in the paper: 128x128 crops of 291, the Charbonnier loss of both levels.

    python -m jaxsr.main --config experiments/lapsrn.py

The low resolution is cut from the whole image's, where the authors reduce the crop. All
crops of a batch are flipped and turned the same way. The weight decay is the 5e-4 that
acts in their code (their options say 1e-4).

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 1000.0
    config.network = {"name": "lapsrn", "scales": (2, 4), "depth": 10}
    config.objective = {"name": "pyramid"}
    config.loss = "charbonnier_sum"
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "rates": (("bias", 0.1),),
    }
    config.schedule = {
        "name": "step",
        "learning_rate": 1e-5,
        "factor": 0.5,
        "every": 50.0,
        "final": 0.1,
    }
    config.data.plan = "pyramid"
    config.data.epoch = 1000
    config.data.scales = (4,)
    config.data.patch = 128
    config.data.reduced = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    return config

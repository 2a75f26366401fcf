"""DRCN for x2 as in the paper: 16 recursions, all supervised, T91.

    python -m jaxsr.main --config experiments/drcn.py

The schedule of alpha is unpublished: here it falls from 1 to 0 over the first 20 of 60
epochs, of 147 updates each. Without a clip the rate of 0.01 diverges on the summed
loss: the paper has none, and that of VDSR, by the same authors, is added. It bounds the
norm, where VDSR's text bounds each value; vdsr.py says why, and where theta is from.

The rate falls after five epochs without a lower validation error, as far as 1e-6, where
the paper stops. The bound on the gradient stays theta / 0.01: an update is bounded by
theta before the first fall, and by as much less as the rate after it.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 60.0
    config.network = {"name": "drcn"}
    config.objective = {"name": "recursive", "updates": 2_940}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "clip": "norm",
        "theta": 0.01,
    }
    config.schedule = {"name": "constant", "learning_rate": 0.01}
    config.plateau = {
        "factor": 0.1,
        "patience": 5,
        "min_scale": 1e-4,
        "of": "validation",
    }
    config.data.name = "T91"
    config.data.scales = (2,)
    config.data.stride = 21
    config.data.symmetries = 1
    return config

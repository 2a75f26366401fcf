"""ESPCN x3 as in the paper: T91, 17x17 patches, the rate falls when the cost stalls.

    python -m jaxsr.main --config experiments/espcn.py

The paper prints neither batch nor momentum nor the threshold: 16 and 0.9, and 20 epochs
in which the cost, the mean loss of an epoch, does not fall by 1e-4 of itself are ours.
The paper stops after 100 epochs without a lower cost; this run has a fixed length.

The paper's pre-shuffled targets, of the same loss and gradient, are
--config.objective="{'name':'shuffled'}".

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 2000.0
    config.network = {"name": "espcn", "scale": 3, "activation": "tanh"}
    config.loss = "mse"
    config.optim = {"name": "sgd", "momentum": 0.9, "rates": (("conv_out", 0.1),)}
    config.schedule = {"name": "constant", "learning_rate": 0.01}
    config.plateau = {"factor": 0.1, "patience": 20, "min_scale": 0.01}
    config.data.name = "T91"
    config.data.scales = (3,)
    config.data.patch = 17
    config.data.stride = 14
    config.data.batch = 16
    config.data.symmetries = 1
    config.validation.every = 20.0
    return config

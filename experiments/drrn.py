"""DRRN B1U25 for x2, x3 and x4 as in the authors' solver: 291, clip by 0.01 / rate.

    python -m jaxsr.main --config experiments/drrn.py

The rate is halved after each 65,360 updates and training ends after two million, as in
their solver; an epoch is 1,683 updates here. Only the biases of convolutions are
slowed. The smaller network is drrn_b1u9.py.

The clip bounds the norm of the whole gradient, by 0.01 over the current rate: that is
what the authors' solver says, and what their Caffe does. Here theta is the authors'.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 1188.4
    config.network = {"name": "drrn", "blocks": 1, "units": 25}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "clip": "norm",
        "theta": 0.01,
        "rates": tuple(
            (f"{name}/bias", 0.1)
            for name in ("block_0_head", "block_0_a", "block_0_b", "tail")
        ),
    }
    config.schedule = {
        "name": "step",
        "learning_rate": 0.1,
        "factor": 0.5,
        "every": 38.8354,
    }
    config.data.patch = 31
    config.data.stride = 21
    config.data.batch = 128
    return config

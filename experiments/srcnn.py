"""SRCNN 9-1-5 for x3 as in the paper: T91, SGD, the last layer ten times slower.

    python -m jaxsr.main --config experiments/srcnn.py

The authors stop after 15 million updates of 128 sub-images; 33x33 ones at stride 14 are
21,884 on these files (the paper prints 24,800). Unpadded convolutions see the 33x33 and
are compared with the centre.

The larger network is srcnn_955.py, another scale --config.data.scales="(2,)", and those
of the colour study --config.color=rgb and ycbcr.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 87_720.0  # of 171 updates
    config.network = {"name": "srcnn", "sides": (9, 1, 5), "widths": (64, 32)}
    config.in_training = {"padding": "valid"}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "rates": (("bias", 0.1), ("conv_out", 0.1)),
    }
    config.schedule = {"name": "constant", "learning_rate": 1e-4}
    config.data.name = "T91"
    config.data.scales = (3,)
    config.data.patch = 33
    config.data.stride = 14
    config.data.batch = 128
    config.data.symmetries = 1
    config.validation.every = 100.0
    return config

"""FSRCNN x3, first stage as in the paper: T91 in 20 versions, the deconvolution slower.

    python -m jaxsr.main --config experiments/fsrcnn.py

As in the authors' scripts the first layer sees 11x11 pixels without padding, the others
pad its 7x7 with zeros, and the 19x19 that become of these are compared. 1000 epochs are
our guess at their "until saturation". The second stage starts from this run:
fsrcnn_general.py. Another scale trains only the deconvolution: fsrcnn_transfer.py.

The rate is a tenth of the paper's 1e-3, as in a Caffe port's solver: on the loss that
Caffe sums over the pixels 1e-3 diverges within six updates.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 1000.0
    config.network = {"name": "fsrcnn", "scale": 3}
    config.in_training = {"padding": "zero"}
    config.optim = {"name": "sgd", "momentum": 0.9, "rates": (("deconv", 0.1),)}
    config.schedule = {"name": "constant", "learning_rate": 1e-4}
    config.data.name = "T91"
    config.data.scales = (3,)
    config.data.patch = 11
    config.data.stride = 4
    config.data.batch = 128
    config.data.reduced = (1.0, 0.9, 0.8, 0.7, 0.6)
    config.data.symmetries = 4  # rotations
    config.validation.every = 10.0
    return config

"""VDSR for x2, x3 and x4 as in the paper: 291 images, 80 epochs of SGD.

    python -m jaxsr.main --config experiments/vdsr.py

The adjustable clip bounds the norm of the whole gradient, by theta over the current
rate. The paper's text bounds each value, and its theta is unpublished. By value 0.01
diverges with this recipe; 1e-4 trains (--config.optim.clip=value
--config.optim.theta=1e-4), and was 0.44 dB ahead of 0.01 by norm after 420 updates of
10 layers at x2 (RESULTS.md, VDSR's clip). 0.01 comes from networks other than the
authors': DRRN's authors have it for theirs and for a VDSR with batch normalisation, and
a Caffe port of the plain VDSR clips at 0.1 with a first rate of 0.1.

Result: not run to its end. 959 of 67,760 updates reached 33.94, 31.44 and 29.19 dB on
Set5 in 2.3 hours on two CPU cores (RESULTS.md).
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

"""VDSR for x2, x3 and x4 by a recipe that is sooner there.

    python -m jaxsr.main --config experiments/vdsr_fast.py

Adam, a cosine, averaged parameters, reduced copies of the images.
"""

from experiments import vdsr


def get_config():
    config = vdsr.get_config()
    config.optim = {"name": "adam"}
    config.schedule = {"name": "cosine", "learning_rate": 0.001}
    config.ema_decay = 0.999
    config.epochs = 120.0
    config.data.reduced = (1.0, 0.8, 0.6)
    return config

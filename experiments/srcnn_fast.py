"""SRCNN 9-5-5 for x3 by a recipe that is sooner there.

    python -m jaxsr.main --config experiments/srcnn_fast.py

Adam, a cosine, averaged parameters, more images and symmetries.
"""

from experiments import srcnn


def get_config():
    config = srcnn.get_config()
    config.optim = {"name": "adam"}
    config.schedule = {"name": "cosine", "learning_rate": 0.001}
    config.ema_decay = 0.999
    config.epochs = 300.0
    config.data.name = "291"
    config.data.symmetries = 8
    config.validation.every = 10.0
    return config

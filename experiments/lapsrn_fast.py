"""LapSRN, x4, by a recipe that is sooner there.

    python -m jaxsr.main --config experiments/lapsrn_fast.py

Adam, a cosine, averaged parameters, more images.
"""

from experiments import lapsrn


def get_config():
    config = lapsrn.get_config()
    config.optim = {"name": "adam"}
    config.schedule = {"name": "cosine", "learning_rate": 0.0002}
    config.ema_decay = 0.999
    config.epochs = 100.0
    config.data.name = "291+General100"
    return config

"""ESPCN, x3, by a recipe that is sooner there.

    python -m jaxsr.main --config experiments/espcn_fast.py

Adam, a cosine, averaged parameters, more images and symmetries.
"""

from experiments import espcn


def get_config():
    config = espcn.get_config()
    config.optim = {"name": "adam"}
    config.schedule = {"name": "cosine", "learning_rate": 0.001}
    config.ema_decay = 0.999
    config.epochs = 300.0
    config.data.name = "291+General100"
    config.data.symmetries = 8
    config.plateau = {}
    config.validation.every = 10.0
    return config

"""FSRCNN, x3, by a recipe that is sooner there.

    python -m jaxsr.main --config experiments/fsrcnn_fast.py

Adam, a cosine, averaged parameters, larger patches, more images and symmetries.
"""

from experiments import fsrcnn


def get_config():
    config = fsrcnn.get_config()
    config.in_training = {}
    config.optim = {"name": "adam"}
    config.schedule = {"name": "cosine", "learning_rate": 0.002}
    config.ema_decay = 0.999
    config.epochs = 100.0
    config.data.name = "291+General100"
    config.data.patch = 16
    config.data.stride = 12
    config.data.batch = 32
    config.data.symmetries = 8
    config.validation.every = 2.0
    return config

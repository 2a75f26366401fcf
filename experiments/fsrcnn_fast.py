"""FSRCNN, x3, by a recipe that is sooner there.

    python -m jaxsr.main --config experiments/fsrcnn_fast.py

That of `base.fast`, with larger patches, and the repeated edges of inference.
"""

from experiments import base, fsrcnn


def get_config():
    config = fsrcnn.get_config()
    base.fast(config, learning_rate=4e-3, epochs=200.0)
    config.in_training = {}
    config.data.patch = 32
    return config

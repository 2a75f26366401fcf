"""FSRCNN, x3, by a faster recipe.

    python -m jaxsr.main --config experiments/fsrcnn_fast.py

That of `base.fast`, with larger patches, and the repeated edges of inference.

Result: the shipped models were trained by it, with the settings on their cards.
RESULTS.md has time, device and score of each run.
"""

from experiments import base, fsrcnn


def get_config():
    config = fsrcnn.get_config()
    base.fast(config, learning_rate=4e-3, epochs=200.0)
    config.in_training = {}
    config.data.patch = 32
    return config

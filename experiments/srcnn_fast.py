"""SRCNN 9-1-5, x3, by a faster recipe.

    python -m jaxsr.main --config experiments/srcnn_fast.py

That of `base.fast`, with larger patches. The network begins as the identity of the
enlarged image, which it has to sharpen.

Result: not run; the shipped models are of srcnn_955_fast.py.
"""

from experiments import base, srcnn


def get_config():
    config = srcnn.get_config()
    base.fast(config, learning_rate=1e-3, epochs=200.0)
    config.network["identity"] = True
    config.data.patch = 48
    return config

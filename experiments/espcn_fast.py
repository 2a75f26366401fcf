"""ESPCN, x3, by a faster recipe.

    python -m jaxsr.main --config experiments/espcn_fast.py

That of `base.fast`, with larger patches.

Result: the shipped models were trained by it, with the settings on their cards.
RESULTS.md has time, device and score of each run.
"""

from experiments import base, espcn


def get_config():
    config = espcn.get_config()
    base.fast(config, learning_rate=2e-3, epochs=200.0)
    config.data.patch = 32
    return config

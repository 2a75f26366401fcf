"""LapSRN x4 by a faster recipe.

    python -m jaxsr.main --config experiments/lapsrn_fast.py

That of `base.fast`, with the paper's loss, crops of 96x96, and its places for them.

Result: the shipped models were trained by it, with the settings on their cards.
RESULTS.md has time, device and score of each run.
"""

from experiments import base, lapsrn


def get_config():
    config = lapsrn.get_config()
    loss, plan = config.loss, config.data.plan
    base.fast(config, learning_rate=1e-3, epochs=100.0)
    config.loss, config.data.plan = loss, plan
    config.data.patch = 96
    return config

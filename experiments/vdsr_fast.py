"""VDSR for x2, x3 and x4 by a faster recipe.

    python -m jaxsr.main --config experiments/vdsr_fast.py

That of `base.fast`.

Result: the shipped models were trained by it, with the settings on their cards.
RESULTS.md has time, device and score of each run.
"""

from experiments import base, vdsr


def get_config():
    config = vdsr.get_config()
    base.fast(config, learning_rate=1e-3, epochs=200.0)
    return config

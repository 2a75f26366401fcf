"""SRCNN 9-5-5, x3, by the recipe of srcnn_fast.py.

python -m jaxsr.main --config experiments/srcnn_955_fast.py

Result: the shipped models were trained by it, with the settings on their cards.
RESULTS.md has time, device and score of each run.
"""

from experiments import srcnn_955, srcnn_fast


def get_config():
    config = srcnn_fast.get_config()
    config.network.update(srcnn_955.get_config().network)
    return config

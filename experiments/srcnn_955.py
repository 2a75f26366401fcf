"""SRCNN 9-5-5, the larger network of the paper, for x3 by the recipe of srcnn.py.

python -m jaxsr.main --config experiments/srcnn_955.py

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import srcnn


def get_config():
    config = srcnn.get_config()
    config.network = {"name": "srcnn", "sides": (9, 5, 5), "widths": (64, 32)}
    return config

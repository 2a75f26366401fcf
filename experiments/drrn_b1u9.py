"""DRRN B1U9, the smaller network of the paper, by the recipe of drrn.py.

python -m jaxsr.main --config experiments/drrn_b1u9.py

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import drrn


def get_config():
    config = drrn.get_config()
    config.network = {"name": "drrn", "blocks": 1, "units": 9}
    return config

"""FSRCNN x3, second stage as in the paper: General100 too, at half the rates.

python -m jaxsr.main --config experiments/fsrcnn_general.py

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import fsrcnn


def get_config():
    config = fsrcnn.get_config()
    config.start = "runs/fsrcnn"
    config.schedule = {"name": "constant", "learning_rate": 5e-5}
    config.data.name = "T91+General100"
    return config

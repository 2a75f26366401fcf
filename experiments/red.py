"""RED30 for x2, x3 and x4: 50x50 patches of BSD images, Adam.

    python -m jaxsr.main --config experiments/red.py

The paper's 300 BSD images include those of B100, on which we measure: the 380 others
are taken. Its batch is not known; 16 is that of a port. Of the half million patches
that it speaks of we have 61,560 at three scales, turned and flipped.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.network = {"name": "red", "depth": 30}
    config.loss = "half_sum_squared"
    config.optim = {"name": "adam"}
    config.schedule = {"name": "constant", "learning_rate": 1e-4}
    config.data.name = "BSD200+BSD180"
    config.data.patch = 50
    config.data.stride = 50
    config.data.batch = 16
    return config

"""MS-LapSRN D5R8 for x2, x4 and x8: a third of each batch of 48 at each scale.

    python -m jaxsr.main --config experiments/ms_lapsrn.py

The thirds are three batches of one scale, whose gradients are averaged into one update;
so an epoch is the authors' 1000 updates. Rate, batch and length are those recorded with
their D5R8 weights; the gradient clipping of 1000 recorded there, of unknown kind, is
left out. The rest is LapSRN's.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import lapsrn


def get_config():
    config = lapsrn.get_config()
    config.epochs = 1420.0
    config.network = {"name": "ms_lapsrn", "depth": 5, "recursions": 8}
    config.schedule.every = 100.0
    config.accumulate = 3
    config.data.epoch = 3000
    config.data.scales = (2, 4, 8)
    config.data.batch = 16
    return config

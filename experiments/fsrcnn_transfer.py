"""FSRCNN x2 from x3 as in the paper: only the deconvolution is trained.

    python -m jaxsr.main --config experiments/fsrcnn_transfer.py

As in the authors' scripts 14x14 pixels become 19x19. For x4, 10x10 become 21x21:
--config.network.scale=4 --config.data.scales="(4,)" --config.data.patch=10.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import fsrcnn


def get_config():
    config = fsrcnn.get_config()
    config.start = "runs/fsrcnn"
    config.network = {"name": "fsrcnn", "scale": 2}
    frozen = ["extract", "shrink", *(f"map_{i}" for i in range(4)), "expand"]
    frozen += [f"prelu_{name}" for name in frozen]
    rates = (*((name, 0.0) for name in frozen), ("deconv", 0.1))
    config.optim = {"name": "sgd", "momentum": 0.9, "rates": rates}
    config.data.scales = (2,)
    config.data.patch = 14
    return config

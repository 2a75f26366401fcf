"""SRDenseNet x4: 100x100 patches, Adam, the rate a tenth after 30 of 60 epochs.

    python -m jaxsr.main --config experiments/srdensenet.py

The paper trains on 50,000 images of ImageNet; here on all available images, of which an
epoch is some 380 updates, about a fiftieth of theirs.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 60.0
    config.network = {"name": "srdensenet", "scale": 4}
    config.loss = "mse"
    config.optim = {"name": "adam"}
    config.schedule = {
        "name": "step",
        "learning_rate": 1e-4,
        "factor": 0.1,
        "every": 30.0,
    }
    config.data.name = "T91+BSD200+BSD180+General100+OpenPhotos"
    config.data.scales = (4,)
    config.data.patch = 25
    config.data.stride = 25
    config.data.batch = 32
    config.data.symmetries = 1
    return config

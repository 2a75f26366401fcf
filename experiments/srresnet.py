"""SRResNet x4 on the mean squared error: 96x96 crops, Adam, a million updates.

    python -m jaxsr.main --config experiments/srresnet.py

The paper trains on 350,000 images of ImageNet; here on all available images, turned and
flipped, of which it says nothing. The loss is
that of images in [0, 1], a quarter of the paper's in [-1, 1]: Adam does not see the
factor.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import base


def get_config():
    config = base.get_config()
    config.epochs = 1000.0
    config.network = {"name": "srresnet", "scale": 4, "blocks": 16}
    config.color = "rgb"
    config.loss = "mse"
    config.optim = {"name": "adam"}
    config.schedule = {"name": "constant", "learning_rate": 1e-4}
    config.data.name = "T91+BSD200+BSD180+General100+OpenPhotos"
    config.data.plan = "random"
    config.data.epoch = 1000
    config.data.scales = (4,)
    config.data.patch = 24
    config.data.batch = 16
    config.validation.every = 5.0
    return config

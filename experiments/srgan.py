"""SRGAN x4 as in the paper: SRResNet trained on, against VGG54 and a discriminator.

    python -m jaxsr.main --config experiments/srgan.py

It starts from the model of experiments/srresnet.py, or of --config.start=FILE;
--config.start="" starts from nothing. 100,000 updates at 1e-4, then 100,000 at 1e-5.
Of each pair of updates the discriminator's comes first, which the paper leaves open.
"""

from experiments import srresnet


def get_config():
    config = srresnet.get_config()
    config.start = "runs/srresnet"
    config.epochs = 200.0
    config.loss = "vgg"
    config.perceptual.layer = "conv5_4"
    config.objective = {"name": "adversarial", "weight": 1e-3}
    config.schedule = {
        "name": "step",
        "learning_rate": 1e-4,
        "factor": 0.1,
        "every": 100.0,
    }
    config.validation.best_by = "lpips"
    return config

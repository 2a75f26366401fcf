"""SRGAN x4 as in the paper: SRResNet trained on, against VGG54 and a discriminator.

    python -m jaxsr.main --config experiments/srgan.py

It starts from the model of experiments/srresnet.py, or of --config.start=FILE;
--config.start="" begins with random weights. 100,000 updates at 1e-4, then 100,000
at 1e-5.
Of each pair of updates the discriminator's comes first, which the paper leaves open.

The paper's weight of the adversary, 1e-3, is taken to belong to the mean over the 512
channels of VGG54, which is near the squared error of images, as the paper wants its
content loss to be. Its equation 5 read literally is the sum, which a TensorFlow port
has with the same weight: --config.perceptual.reduction=sum. The adversary then counts
1/512 of what it does here; with --config.objective.weight=0.512 as much.

Result: not run to its end. RESULTS.md has shorter runs.
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

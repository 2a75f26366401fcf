"""SRGAN x4 of 8 blocks, 32 wide, for machines without an accelerator.

    python -m jaxsr.main --config experiments/srgan_fast.py

From the model of experiments/srresnet_fast.py, with batches of 8, a discriminator half
as wide, 800 updates: half an hour on two CPU cores. Its content loss is VGG22, a
quarter of the work of VGG54 and sooner there. As the mean over channels that loss is
some 700 times as large as VGG54's, and so is the adversary's weight.

Result: not run to its end. RESULTS.md has shorter runs.
"""

from experiments import srgan


def get_config():
    config = srgan.get_config()
    config.network = {"name": "srresnet", "scale": 4, "blocks": 8, "width": 32}
    config.start = "runs/srresnet_fast"
    config.perceptual.layer = "conv2_2"
    config.objective.weight = 0.7
    config.discriminator = {"width": 32}
    config.epochs = 16.0
    config.schedule = {"name": "constant", "learning_rate": 1e-4}
    config.data.name = "T91+BSD200+BSD180+General100"
    config.data.epoch = 50
    config.data.batch = 8
    config.validation.every = 2.0
    return config

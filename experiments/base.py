"""Every setting with its default; an experiment changes what differs.

An epoch is every training patch once (plan "grid") or `data.epoch` updates.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.epochs = 80.0  # length of the run; fractions are fine
    config.precision = "float32"  # or "tf32", or "bfloat16" activations

    # A name of jaxsr.models.MODELS and the fields that differ from the paper's.
    config.network = {"name": "vdsr"}
    config.in_training = {}  # fields of the network that differ while it is trained
    config.color = "y"  # or "rgb", or "ycbcr"
    config.loss = "half_sum_squared"  # a name of jaxsr.losses.LOSSES, or "vgg"
    # A name of jaxsr.objectives.OBJECTIVES and its arguments, or "adversarial" and
    # those of jaxsr.step.make_gan_step.
    config.objective = {"name": "supervised"}
    config.discriminator = {}  # its fields that differ from the paper's
    config.perceptual = ml_collections.ConfigDict()
    config.perceptual.layer = "conv5_4"  # of VGG19, for the loss "vgg"
    config.perceptual.reduction = "mean"  # over its channels, or "sum"
    config.perceptual.weights = ""  # VGG19's file; "" looks for one
    config.perceptual.lpips = ""  # LPIPS's file; "" looks for one
    config.perceptual.total_variation = 0.0  # its weight beside any loss
    config.start = ""  # a model file to start from; "" starts anew
    config.ema_decay = 0.0  # of the averaged parameters; 0 keeps none

    # Names of jaxsr.optim.OPTIMIZERS and SCHEDULES and their arguments; lengths in
    # epochs.
    config.optim = {"name": "adam"}
    config.schedule = {"name": "constant", "learning_rate": 1e-4}
    # {"factor": 0.1, "patience": 5}: the rate falls after 5 epochs without a lower
    # loss; with "of": "validation", after 5 validations without a lower error.
    config.plateau = {}
    config.accumulate = 1  # updates whose gradients are averaged into one

    config.data = ml_collections.ConfigDict()
    config.data.name = "291"  # a set, a folder, "tfds:NAME", or several joined by "+"
    config.data.dir = ""  # where sets lie; "" is $JAXSR_DATA or ~/.cache/jaxsr/data
    config.data.strict = False  # True: an error where the set is missing, not `samples`
    config.data.backend = "tfdata"  # or "device": the set lies on the accelerator
    config.data.plan = "grid"  # or "random" crops, or those of a "pyramid"
    config.data.scales = (2, 3, 4)
    # Pixels a side, of the network's input; in the plan "pyramid" of the true image.
    config.data.patch = 41
    config.data.stride = 41  # of the grid, in pixels of the network's input
    config.data.batch = 64  # patches in an update, over all devices
    config.data.epoch = 1000  # updates in an epoch of the plans but "grid"
    config.data.symmetries = 8  # flips and rotations drawn from; 1 for none
    config.data.reduced = (1.0,)  # also train on the images reduced by these factors
    config.data.blur = 0.0  # sigma in pixels; 0 is bicubic degradation

    config.validation = ml_collections.ConfigDict()
    config.validation.name = "validation"  # 20 images that are never trained on
    config.validation.every = 1.0  # epochs
    config.validation.best_by = "psnr"  # or "lpips"; "" keeps the newest model

    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.minutes = 1.0  # between two
    config.checkpoint.keep = 3  # the newest, beside the best by validation

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.sets = ("Set5", "Set14", "B100", "Urban100")  # those found

    config.log_every = 100  # updates
    config.updates_per_dispatch = 32  # on an accelerator; a CPU makes one at a time
    return config.lock()


def fast(config: ml_collections.ConfigDict, learning_rate: float, epochs: float):
    """Changes a paper's recipe into ours; RESULTS.md says what each part brought.

    Adam after a warm-up along a cosine, L1, small batches at random places. An epoch is
    of 100 updates.
    """
    config.optim = {"name": "adam"}
    config.schedule = {
        "name": "cosine",
        "learning_rate": learning_rate,
        "warmup": 2.0,
    }
    config.plateau = {}
    config.loss = "l1"
    config.ema_decay = 0.999
    config.epochs = epochs
    config.data.name = "291+General100"
    config.data.plan = "random"
    config.data.batch = 8
    config.data.epoch = 100
    config.data.symmetries = 8
    config.data.reduced = (1.0,)
    config.validation.every = epochs / 20

"""The defaults, which an experiment changes where it differs.

jaxsr/training/config.py says what each setting is, in what unit, and what it may be.
"""

import ml_collections

from jaxsr.training import config as configs


def get_config() -> ml_collections.ConfigDict:
    settings = configs.defaults()
    # A name or a sum: a key of a ConfigDict otherwise keeps the type of its default.
    settings["loss"] = ml_collections.FieldReference(settings["loss"], object)
    return ml_collections.ConfigDict(settings).lock()


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
    config.validation.every = 10.0

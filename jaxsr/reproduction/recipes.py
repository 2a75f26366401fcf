"""Settings that several studies share."""

# Kim, Lee and Lee's optimizer, with theta as DRRN's authors have it.
CLIPPED_SGD = {
    "name": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "clip": "norm",
    "theta": 0.01,
}
ALL_IMAGES = "T91+BSD200+BSD180+General100+OpenPhotos"


def fast(learning_rate: float, epochs: float) -> dict:
    """Our faster recipe: Adam along a cosine, L1, batches of 8 random patches.

    Args:
        learning_rate: the largest, after the warm-up.
        epochs: of 100 updates each.
    """
    return {
        "loss": "l1",
        "schedule": {
            "name": "cosine",
            "learning_rate": learning_rate,
            "warmup": 2.0,
        },
        "ema_decay": 0.999,
        "epochs": epochs,
        "data.backend": "device",
        "data.plan": "random",
        "data.epoch": 100,
        "data.batch": 8,
    }

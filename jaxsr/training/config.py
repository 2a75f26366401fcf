"""The settings of a run: defaults, units and allowed values.

An epoch is every training patch once (plan "grid") or `data.epoch` updates.
"""

import os
from collections.abc import Iterator

import jax

from jaxsr import (
    checks,
    image,
    losses,
    models,
    optim,
    perceptual,
    weights,
)

# The objective and the loss that are not in the tables, for they need a second network.
ADVERSARIAL = "adversarial"
VGG = "vgg"

_DICTIONARY = checks.table(checks.ANYTHING)
_NAMES = checks.several(checks.TEXT)
_RATES = checks.several(checks.pair("rate", checks.TEXT, checks.number(0)))
_LOSS = checks.one_of([*losses.LOSSES, VGG])
_WEIGHTED = checks.several(
    checks.pair("weight above 0", _LOSS, checks.number(above=0)), least=1
)

SETTINGS = {
    "seed": (0, checks.integer(0)),  # of the network's first weights
    "epochs": (80.0, checks.number(above=0)),  # length of the run; fractions are fine
    # "tf32" is for products on NVIDIA GPUs; "bfloat16" is the dtype of activations.
    "precision": ("float32", checks.one_of(["float32", "tf32", "bfloat16"])),
    # A name of jaxsr.models.NETWORKS and the fields that differ from the paper's.
    "network": ({"name": "vdsr"}, _DICTIONARY),
    "in_training": ({}, _DICTIONARY),  # fields that differ while it is trained
    # "channels" are no colours: .npy and TIFF files of so many, see files/stacks.py.
    "color": ("y", checks.one_of(image.COLORS)),
    "channels": (1, checks.integer(most=image.MOST)),
    # A loss, or a weighted sum of several, as (("l1", 1.0), ("gradient", 0.1)).
    "loss": ("half_sum_squared", checks.either(_LOSS, _WEIGHTED)),
    # A name of jaxsr.objectives.OBJECTIVES and its arguments, or "adversarial" and
    # those of jaxsr.step.make_gan_step.
    "objective": ({"name": "supervised"}, _DICTIONARY),
    "discriminator": ({}, _DICTIONARY),  # its fields that differ from the paper's
    # The layer of VGG19 whose features the loss "vgg" compares.
    "perceptual.layer": ("conv5_4", checks.one_of(perceptual.VGG19_LAYERS)),
    # How the squared errors of its features are combined over channels.
    "perceptual.reduction": ("mean", checks.one_of(perceptual.REDUCTIONS)),
    "perceptual.weights": ("", checks.TEXT),  # file of VGG19; "" searches for it
    "perceptual.lpips": ("", checks.TEXT),  # file of LPIPS; "" searches for it
    "perceptual.total_variation": (0.0, checks.number(0)),  # weight beside any loss
    "start": ("", checks.TEXT),  # initial model; "" for random weights
    # Draws anew those filters of `start` that ReLU has silenced, see models/revive.py.
    "revive": (False, checks.FLAG),
    "ema_decay": (0.0, checks.number(0, below=1)),  # 0 disables averaging
    # Names of jaxsr.optim.OPTIMIZERS and SCHEDULES and their arguments; lengths in
    # epochs.
    "optim": ({"name": "adam"}, _DICTIONARY),
    "schedule": ({"name": "constant", "learning_rate": 1e-4}, _DICTIONARY),
    # {"factor": 0.1, "patience": 5}: the rate falls after 5 epochs without a lower
    # loss; with "of": "validation", after 5 validations without a lower error.
    "plateau": ({}, _DICTIONARY),
    "accumulate": (1, checks.integer()),  # updates whose gradients are averaged
    # A set, a folder, "tfds:NAME", or several joined by "+".
    "data.name": ("291", checks.TEXT),
    # The folder of low-resolution images of your own, paired by name; "" makes them.
    "data.low": ("", checks.TEXT),
    # The folder of the image sets; "" is $JAXSR_DATA or ~/.cache/jaxsr/data.
    "data.dir": ("", checks.TEXT),
    "data.strict": (False, checks.FLAG),  # a missing set is an error
    # "device" keeps the images in the memory of the accelerator.
    "data.backend": ("tfdata", checks.one_of(["device", "tfdata"])),
    "data.seed": (0, checks.integer(0)),  # of the order and symmetries of patches
    "data.plan": ("grid", checks.one_of(["grid", "pyramid", "random"])),
    # Fractions, as 2.5, for networks of interpolated images alone.
    "data.scales": (
        (2, 3, 4),
        checks.several(checks.number(above=1, most=64), least=1),
    ),
    # Pixels a side, of the network's input; in the plan "pyramid" of the true image.
    "data.patch": (41, checks.integer()),
    "data.stride": (41, checks.integer()),  # of the grid, in pixels of the input
    "data.batch": (64, checks.integer()),  # patches in an update, over all devices
    "data.epoch": (1000, checks.integer()),  # updates in an epoch, except for "grid"
    "data.symmetries": (8, checks.integer(most=8)),  # flips and rotations; 1 for none
    # The images are also trained on reduced by these factors.
    "data.reduced": (
        (1.0,),
        checks.several(checks.number(above=0, most=1), least=1),
    ),
    "data.blur": (0.0, checks.number(0, 100)),  # sigma in pixels; 0 is bicubic alone
    "validation.name": ("validation", checks.TEXT),  # images never trained on
    "validation.low": ("", checks.TEXT),  # as data.low
    "validation.every": (1.0, checks.number(above=0)),  # epochs
    # "" keeps the newest model.
    "validation.best_by": ("psnr", checks.one_of(["lpips", "psnr", ""])),
    "checkpoint.minutes": (1.0, checks.number(0)),  # between two checkpoints
    "checkpoint.keep": (3, checks.integer()),  # the newest, beside the best
    # Those found are scored after training.
    "evaluation.sets": (("Set5", "Set14", "B100", "Urban100"), _NAMES),
    "log_every": (100, checks.integer()),  # updates
    # How an update is spread over the devices: both compute the same.
    "parallel": ("shard_map", checks.one_of(["shard_map", "pmap"])),
    # Compute the activations inside residual blocks again for the gradient, which takes
    # less memory and a third more time.
    "remat": (False, checks.FLAG),
    # On an accelerator; a CPU makes one at a time.
    "updates_per_dispatch": (32, checks.integer(most=10_000)),
    # Values of settings, as {"seed": (0, 1, 2)} or {"optim": {"theta": (0.01, 0.1)}}:
    # a run for each combination.
    "sweep": ({}, _DICTIONARY),
    # Whether runs that differ in seed, start and `NUMBERS` alone train as one program;
    # "auto" does that on accelerators.
    "sweep_at_once": ("auto", checks.one_of(["auto", "yes", "no"])),
}

# Arguments that may differ between runs of one program.
NUMBERS = (
    "optim.b1",
    "optim.b2",
    "optim.eps",
    "optim.momentum",
    "optim.theta",
    "optim.weight_decay",
    "schedule.learning_rate",
)

# Allowed values of arguments, for every optimizer, schedule ... that takes them.
ARGUMENTS = {
    "objective.updates": checks.integer(),
    "objective.weight": checks.number(0),
    "optim.b1": checks.number(0, below=1),
    "optim.b2": checks.number(0, below=1),
    "optim.clip": checks.either(checks.one_of([*optim.CLIPS, ""]), checks.NOTHING),
    "optim.eps": checks.number(above=0),
    "optim.momentum": checks.number(0, below=1),
    "optim.rates": _RATES,
    "optim.theta": checks.number(above=0),
    "optim.weight_decay": checks.number(0),
    "plateau.atol": checks.number(0),
    "plateau.cooldown": checks.integer(0),
    "plateau.factor": checks.number(above=0, below=1),
    "plateau.min_scale": checks.number(0, 1),
    "plateau.of": checks.one_of(["loss", "validation"]),
    "plateau.patience": checks.integer(),
    "plateau.rtol": checks.number(0),
    "schedule.every": checks.number(above=0),
    "schedule.factor": checks.number(above=0),
    "schedule.final": checks.number(0, 1),
    "schedule.learning_rate": checks.number(0),
    "schedule.warmup": checks.number(0),
}


def defaults() -> dict:
    """Every setting's default, in nested dictionaries."""
    nested = {}
    for name, (default, _) in SETTINGS.items():
        section, _, key = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = default
    return nested


def check(config: dict) -> None:
    """Raises a ValueError, of one line, for an invalid setting."""
    _check_names(config)
    for name, (_, kind) in SETTINGS.items():
        section, _, key = name.rpartition(".")
        checks.check(name, (config[section] if section else config)[key], kind)
    for name, kind in ARGUMENTS.items():
        section, _, key = name.partition(".")
        if key in config[section]:
            checks.check(name, config[section][key], kind)
    for section in ("network", "schedule", "optim", "objective"):
        if not checks.TEXT.holds(config[section].get("name")):
            raise ValueError(f"{section} must have a name; got {config[section]}.")
    for field, setting in (("dtype", "precision"), ("remat", "remat")):
        if field in config["network"] | config["in_training"]:
            raise ValueError(f"network.{field} is not for configs: set {setting}.")
    if config["revive"] and not config["start"]:
        raise ValueError("revive is for the model that start names; it names none.")
    _check_remat(config)
    _check_scales(config)
    _check_channels(config)
    _check_loss(config)
    _check_memory(config)


def tidied(config: dict) -> dict:
    """A config that `check` passed, in which equal values are written alike.

    Integer scales are int, also those like 2.0; weights of losses are floats.
    """
    data, loss = config["data"], config["loss"]
    scales = tuple(checks.tidy(scale) for scale in data["scales"])
    if not isinstance(loss, str):
        loss = tuple((name, float(weight)) for name, weight in loss)
    return config | {"loss": loss, "data": data | {"scales": scales}}


def _check_names(config):
    sections = {name.rpartition(".")[0] for name in SETTINGS} - {""}
    for section in sections:
        checks.check(section, config.get(section), _DICTIONARY)
    found = config.keys() - sections
    found |= {f"{section}.{key}" for section in sections for key in config[section]}
    if found != SETTINGS.keys():
        raise ValueError(
            "the settings must be those that experiments/base.py begins with; missing "
            f"are {sorted(SETTINGS.keys() - found)}, unknown "
            f"{sorted(found - SETTINGS.keys())}."
        )


def _check_remat(config):
    name = config["network"]["name"]
    able = [
        n
        for n, entry in models.NETWORKS.items()
        if "remat" in models.fields_of(entry.cls)
    ]
    if config["remat"] and name not in able:
        raise ValueError(f"remat is for {', '.join(able)}; {name} has none.")


def _check_scales(config):
    data = config["data"]
    net = models.make(**config["network"])
    own = models.scales_of(net)
    fractions = [scale for scale in data["scales"] if scale % 1]
    if fractions and net.input == "low":
        raise ValueError(
            f"data.scales must be integers for {config['network']['name']}, which "
            "turns each low-resolution pixel into a whole number of pixels; got "
            f"{fractions}. Networks of interpolated images, as vdsr, take fractions."
        )
    if fractions and data["blur"]:
        raise ValueError(
            "data.blur takes every scale-th pixel, so data.scales must be integers; "
            f"got {fractions}. Set data.blur=0."
        )
    if data["low"] and (data["blur"] or tuple(data["reduced"]) != (1.0,)):
        raise ValueError(
            "data.low brings its own low-resolution images: set data.blur=0 and "
            f"data.reduced=(1.0,); got {data['blur']} and {tuple(data['reduced'])}."
        )
    if own is not None and not set(data["scales"]) <= set(own):
        raise ValueError(
            f"data.scales must be among the network's {sorted(own)}; got "
            f"{data['scales']}."
        )
    if is_gan(config) and len(data["scales"]) > 1:
        raise ValueError(
            f"an {ADVERSARIAL} run has one scale, for its discriminator sees images of "
            f"one size; got data.scales={data['scales']}."
        )
    if data["batch"] % jax.device_count():
        raise ValueError(
            f"data.batch must be a multiple of the {jax.device_count()} devices; got "
            f"{data['batch']}."
        )


def _check_channels(config):
    color, count = config["color"], config["channels"]
    if color != "channels" and count != 1:
        raise ValueError(
            f"channels are set for color='channels' alone; got channels={count} and "
            f"color={color!r}."
        )
    if color == "channels" and config["validation"]["best_by"] == "lpips":
        raise ValueError(
            "LPIPS is of RGB images; got color='channels'. Set "
            "validation.best_by='psnr'."
        )


def _check_loss(config):
    names = [name for name, _ in loss_terms(config)]
    if VGG in names and config["color"] != "rgb":
        raise ValueError(
            f"the loss {VGG!r} is of RGB images: set color='rgb'; got "
            f"{config['color']!r}."
        )
    if config["objective"]["name"] == "shuffled" and (
        others := sorted(set(names) - set(losses.OF_PIXELS))
    ):
        raise ValueError(
            "the objective 'shuffled' compares pixels that are no neighbours, so its "
            f"losses must be of {list(losses.OF_PIXELS)}; got {others}. Set "
            "objective={'name': 'supervised'}."
        )


def _check_memory(config):
    """Raises a ValueError for settings that need more than this machine's memory."""
    data, channels = config["data"], channels_of(config)
    net = models.make(**config["network"] | config["in_training"])
    enlarged = net.input == "low" and data["plan"] != "pyramid"
    side = data["patch"] * (max(data["scales"]) if enlarged else 1)
    shapes = weights.init_shapes(net, channels)
    count = sum(x.size for x in jax.tree.leaves(shapes))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for what, numbers in (
        (f"a batch of {data['batch']} patches", data["batch"] * side**2 * channels),
        (f"{config['network']['name']}'s {count} parameters", 4 * count),
        (f"{data['epoch']} updates an epoch", data["epoch"]),
    ):
        if 4 * numbers > memory:
            raise ValueError(
                f"{what} of these settings would need {4 * numbers / 1e9:,.0f} GB or "
                f"more, and this machine has {memory / 1e9:.0f}: set data.batch, "
                "data.patch, network or data.epoch lower."
            )


def channels_of(config: dict) -> int:
    """How many channels the network takes."""
    return image.channels(config["color"], config["channels"])


def stack_of(config: dict) -> int | None:
    """The number of channels of images that are no photographs; None of others."""
    return config["channels"] if config["color"] == "channels" else None


def loss_terms(config: dict) -> list[tuple[str, float]]:
    """(name, weight) of each loss whose sum a run minimises."""
    loss = config["loss"]
    return [(loss, 1.0)] if isinstance(loss, str) else list(loss)


def uses_vgg(config: dict) -> bool:
    """Whether a loss compares features of VGG19."""
    return VGG in dict(loss_terms(config))


def is_gan(config: dict) -> bool:
    """Whether a run trains its network against a discriminator."""
    return config["objective"]["name"] == ADVERSARIAL


def chooses(config: dict) -> bool:
    """Whether validation chooses the kept model or steers the learning rate."""
    by_validation = config["plateau"].get("of") == "validation"
    return bool(config["validation"]["best_by"]) or by_validation


def flat(config: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields ("section.name", value) for every setting, and argument of one."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

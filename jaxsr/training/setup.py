"""A config -> the pieces of a run.

A name in a config is a key of some table, and a wrong one is answered with the right
ones.
"""

import functools
import inspect
import logging
import os
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np
import optax
from flax import traverse_util

from jaxsr import (
    losses,
    models,
    optim,
    perceptual,
    weights,
)
from jaxsr.data import fetching, patches, sets, sources
from jaxsr.importers import features
from jaxsr.models import discriminator, edsr, srresnet
from jaxsr.training import objectives
from jaxsr.training import step as steps
from jaxsr.training.config import ADVERSARIAL, VGG, is_gan

# Prefixes of layers whose weights belong to one scale, as in EDSR and FSRCNN: at
# another scale some have the same shape.
ENLARGING = ("deconv", "up_")


def use_cores(batch: int) -> None:
    """Makes a JAX device of each CPU core, as many as a batch divides by.

    XLA computes the gradients of convolutions on one core of a device: with two cores
    an update takes half to two thirds of the time. To be called before JAX is used;
    does nothing where XLA_FLAGS already says how many there are.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        cores = os.cpu_count() or 1
        count = max(n for n in range(1, cores + 1) if batch % n == 0)
        jax.config.update("jax_num_cpu_devices", count)


def choose(table: dict, section: str, settings: dict, *args, **given):
    """Calls the entry settings["name"] of a table with the other settings.

    Raises:
        ValueError: for a name or a setting that is not there, with those that are.
    """
    settings = dict(settings)
    name = settings.pop("name", None)
    if name not in table:
        raise ValueError(
            f"{section}.name must be one of {sorted(table)}; got {name!r}."
        )
    parameters = list(inspect.signature(table[name]).parameters.values())[len(args) :]
    parameters = [p for p in parameters if p.name not in given]
    known = [p.name for p in parameters]
    needed = [p.name for p in parameters if p.default is p.empty]
    unknown = sorted(set(settings) - set(known))
    missing = sorted(set(needed) - set(settings))
    if unknown or missing:
        raise ValueError(
            f"{section} {name!r} has the settings {known}"
            + (f"; got {unknown}" if unknown else "")
            + (f"; {missing} missing" if missing else "")
            + f". Another one is given whole: --config.{section}=\"{{'name': ...}}\"."
        )
    try:
        return table[name](*args, **settings, **given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{section}: {error}") from error


def open_data(
    data: dict, validation: str, input: str
) -> tuple[sources.Source, sources.Source]:
    """The training and the validation images that a config asks for.

    A named set that is not on disk is fetched. Those that cannot be had are done
    without, unless data.strict; where none can, the free photographs of `samples` take
    their place. Images too small for a patch are left out of training, and named.

    Raises:
        ValueError: where a benchmark set would be trained on or steer the run.
    """
    for name in (data["name"], validation):
        if sets.split_of(name) == "test":
            raise ValueError(f"{name} is a benchmark: it only measures, in the end.")
    source = _open(data, data["name"], "samples", "TRAINING ON")
    least = data["patch"] if data["plan"] == "pyramid" else 1
    source = sources.with_reduced(source, tuple(data["reduced"]), least=least)
    return (
        _with_room(data, source, input),
        _open(data, validation, "samples-validation", "VALIDATING ON"),
    )


def _with_room(data: dict, source: sources.Source, input: str) -> sources.Source:
    """The source but for images that do not hold a patch at every scale."""
    if source.sizes is None:
        return source
    patch, needed = data["patch"], data["patch"]
    if data["plan"] != "pyramid":
        low = input == "low"
        needed = max(patch * s if low else -(-patch // s) * s for s in data["scales"])
    fits = np.min(source.sizes, axis=1) >= needed
    if not fits.any():
        raise ValueError(
            f"no image is large enough for a patch of {patch}x{patch} at a scale of "
            f"{data['scales']}: it needs {needed} pixels a side; the largest has "
            f"{np.max(source.sizes, axis=0).tolist()}."
        )
    if not fits.all() and jax.process_index() == 0:
        small = np.array(source.names)[~fits]
        named = ", ".join(small[:9]) + ", ..." * (len(small) > 9)
        print(
            f"{len(small)} of {len(fits)} images are not trained on: they have less "
            f"than {needed} pixels a side: {named}",
            flush=True,
        )
    return sources.only(source, np.flatnonzero(fits))


def _open(data, name, samples, doing):
    data_dir, opened, missing = data["dir"] or None, [], []
    for part in sets.parts_of(name):
        try:
            opened.append(fetching.open_or_fetch(part, data_dir))
        except (sources.DataNotFound, fetching.FetchError) as error:
            if data["strict"]:
                raise
            missing.append(f"!! {error}\n")
    if not missing:
        return sources.join(name, opened)
    instead = "+".join(source.name for source in opened)
    if jax.process_index() == 0:
        print(
            f"\n{'!' * 80}\n{''.join(missing)}!! {doing} "
            f"{instead or f'THE FEW PHOTOGRAPHS OF `{samples}`'} INSTEAD of {name}.\n"
            f"!! --config.data.strict=True makes this an error.\n{'!' * 80}\n",
            flush=True,
        )
    return sources.join(instead, opened) if opened else sets.open_source(samples)


def make_plan(data: dict, source: sources.Source, input: str) -> patches.Plan:
    """The plan of a run, from the `data` section of its config."""
    common = {name: data[name] for name in ("scales", "patch", "batch", "symmetries")}
    if data["plan"] != "grid":
        random = data["plan"] == "random"
        make = patches.random_plan if random else patches.pyramid_plan
        return make(len(source.names), epoch=data["epoch"], input=input, **common)
    if source.sizes is None:
        raise ValueError(
            f"the sizes of {source.name}'s images are not known beforehand, so there "
            "is no grid of patches. Set data.plan='random'."
        )
    return patches.grid_plan(source.sizes, stride=data["stride"], input=input, **common)


def make_feed(
    config: dict, source: sources.Source, plan: patches.Plan, input: str
) -> patches.Feed:
    """The feed of a run, by the backend that its config names.

    For a loss of VGG19's features its weights, 80 MB, are in each batch too: as
    constants of the compiled step they would take it minutes to compile.
    """
    data = config["data"]
    if data["backend"] == "device":
        from jaxsr.data import device as backend
    else:
        try:
            from jaxsr.data import tfdata as backend
        except ImportError as error:
            raise ValueError(
                "data.backend='tfdata' needs TensorFlow: install jaxsr[train], or set "
                "data.backend='device'."
            ) from error
    feed = backend.make_feed(
        source,
        plan,
        seed=config["seed"],
        scales=tuple(data["scales"]),
        color=config["color"],
        input=input,
        blur=data["blur"],
        shard=(jax.process_index(), jax.process_count()),
    )
    if config["loss"] != VGG:
        return feed
    vgg19 = features.load_vgg19(config["perceptual"]["weights"] or None)
    return patches.Feed(
        (feed.data, vgg19),
        lambda data, x: feed.cut(data[0], x) | {VGG: data[1]},
        feed.inputs,
    )


def make_optimizer(config: dict, epoch: int):
    """(tx, schedule) of a run of `epoch` updates an epoch.

    With `accumulate` > 1 the schedule counts the optimizer's updates, each of which is
    made of so many of the run's.
    """
    epoch = max(1, epoch // config["accumulate"])
    schedule = choose(
        optim.SCHEDULES,
        "schedule",
        config["schedule"],
        epoch=epoch,
        epochs=config["epochs"],
    )
    tx = choose(optim.OPTIMIZERS, "optim", config["optim"], schedule)
    if hasattr(models.MODELS[config["network"]["name"]], "scales"):
        tx = optim.skip_unused(tx)
    if config["plateau"]:
        try:
            plateau = optim.plateau(**config["plateau"], epoch=epoch)
        except TypeError as error:
            raise ValueError(f"plateau: {error}.") from error
        tx = optax.chain(tx, plateau)
    if config["accumulate"] > 1:
        several = optax.MultiSteps(tx, config["accumulate"])
        tx = optax.GradientTransformationExtraArgs(several.init, several.update)
    return tx, schedule


def make_step(config: dict, tx: optax.GradientTransformation) -> Callable:
    """The (state, batch) -> (state, metrics) of a run, not compiled.

    The batches are those of `make_feed`, spread over the axis `steps.AXIS`.
    """
    train_step = _make_step(config, tx)
    if config["loss"] != VGG:
        return train_step
    return lambda state, batch: _make_step(config, tx, batch[VGG])(state, batch)


def _make_step(config, tx, vgg19=None):
    ema_decay = config["ema_decay"]
    if not is_gan(config):
        objective = make_objective(config, vgg19)
        return steps.make_train_step(
            objective, tx, ema_decay=ema_decay, axis_name=steps.AXIS
        )
    judge = make_discriminator(config)
    return choose(
        {ADVERSARIAL: steps.make_gan_step},
        "objective",
        config["objective"],
        functools.partial(objectives.apply, _in_training(config)),
        lambda variables, x: objectives.apply(judge, variables, {"lr": x}),
        make_loss(config, vgg19),
        tx,
        ema_decay=ema_decay,
        axis_name=steps.AXIS,
    )


def make_objective(config: dict, vgg19: dict | None = None) -> objectives.Objective:
    """The objective of a run that is no GAN; `vgg19` as in `make_loss`."""
    net, loss = _in_training(config), make_loss(config, vgg19)
    return choose(objectives.OBJECTIVES, "objective", config["objective"], net, loss)


def make_loss(
    config: dict, vgg19: dict | None = None
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The loss (sr, hr) -> [B] of a run.

    Args:
        config: of the run.
        vgg19: the params of `perceptual.VGG19`, for a loss of its features.
    """
    settings = config["perceptual"]
    if config["loss"] == VGG:
        kind = {name: settings[name] for name in ("layer", "reduction")}
        loss = functools.partial(perceptual.vgg_loss, vgg19, **kind)
    else:
        loss = losses.LOSSES[config["loss"]]
    if not (weight := settings["total_variation"]):
        return loss
    return lambda sr, hr: loss(sr, hr) + weight * losses.total_variation(sr)


def loss_name(config: dict) -> str:
    """What a run's loss is called on its model's card."""
    layer = config["perceptual"]["layer"]
    return f"{VGG} {layer}" if config["loss"] == VGG else config["loss"]


def _in_training(config: dict) -> nn.Module:
    """The network of a run as it is trained, in its precision."""
    _, dtype = models.PRECISIONS[config["precision"]]
    fields = config["network"] | config["in_training"] | {"dtype": dtype}
    if "axis_name" in models.fields_of(models.MODELS[fields["name"]]):
        fields["axis_name"] = steps.AXIS
    return models.make(**fields)


def make_discriminator(config: dict) -> discriminator.Discriminator:
    """The adversary of a run's network, in its precision."""
    _, dtype = models.PRECISIONS[config["precision"]]
    given = {"dtype": dtype, "axis_name": steps.AXIS}
    return models.made(
        discriminator.Discriminator,
        "discriminator",
        config["discriminator"] | given,
    )


def warm_start(
    net: nn.Module, variables: dict, path: str, *, whole: bool = False
) -> dict:
    """The variables, those of the model file at `path` where name and shape agree.

    From a model of another scale the layers of `ENLARGING` are not taken. An EDSR is
    turned into the SRResNet that computes the same, where that is the network.

    Args:
        net: the network.
        variables: its initial ones.
        path: what `weights.load` takes.
        whole: raise a ValueError where any variable would stay as it was.

    Raises:
        ValueError: where none agree.
    """
    try:
        model = weights.load(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} start='' starts from nothing.") from error
    if isinstance(net, srresnet.SRResNet) and isinstance(model.net, edsr.EDSR):
        theirs = srresnet.from_edsr(model.net, model.variables)
        model = model._replace(variables=theirs)
    other = getattr(model.net, "scale", None) != getattr(net, "scale", None)
    flat = traverse_util.flatten_dict(variables, sep="/")
    theirs = traverse_util.flatten_dict(model.variables, sep="/")
    taken = {
        name: x
        for name, x in theirs.items()
        if name in flat
        and flat[name].shape == x.shape
        and not (other and name.split("/")[1].startswith(ENLARGING))
    }
    if not taken:
        raise ValueError(
            f"no tensor of {path} fits this network: expected some of {sorted(flat)}, "
            f"found {sorted(theirs)}."
        )
    left = sorted(set(flat) - set(taken))
    if left and whole:
        raise ValueError(
            f"{path} must be a trained {models.name_of(net)} with the fields "
            f"{models.fields_of(net)}; it is a {models.name_of(model.net)} with "
            f"{models.fields_of(model.net)}, without {', '.join(left[:4])}"
            + ", ..." * (len(left) > 4)
            + "."
        )
    if left:
        logging.warning("%s gives all but %s.", path, ", ".join(left))
    return traverse_util.unflatten_dict(flat | taken, sep="/")

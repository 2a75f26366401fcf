"""The parts of a run, made from its settings: plan, optimizer, loss, step ...

A name in a config is a key of a table; the error for an unknown name lists the keys.
"""

import functools
import inspect
from collections.abc import Callable

import flax.linen as nn
import jax
import optax

from jaxsr import losses, models, optim, perceptual
from jaxsr.data import patches, sources
from jaxsr.importers import features
from jaxsr.models import cost, discriminator
from jaxsr.training import config as configs
from jaxsr.training import objectives
from jaxsr.training import step as steps


def choose(table: dict, section: str, settings: dict, *args, **given):
    """Calls the entry settings["name"] of a table with the other settings.

    Raises:
        ValueError: for an unknown name or setting; the message lists the known ones.
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
            + f". Override it whole: --config.{section}=\"{{'name': ...}}\"."
        )
    try:
        return table[name](*args, **settings, **given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{section}: {error}") from error


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

    For a loss of VGG19's features each batch also holds its weights, 80 MB: as
    constants of the compiled step they would make compilation take minutes.
    """
    data = config["data"]
    if data["backend"] == "device":
        from jaxsr.data import device as backend
    else:
        try:
            from jaxsr.data import tfdata as backend
        except ImportError as error:
            raise ValueError(
                "data.backend='tfdata' needs TensorFlow: pip install 'jaxsr[train]', "
                "or set data.backend='device'."
            ) from error
    feed = backend.make_feed(
        source,
        plan,
        seed=data["seed"],
        scales=tuple(data["scales"]),
        color=config["color"],
        input=input,
        blur=data["blur"],
        shard=(jax.process_index(), jax.process_count()),
    )
    if not configs.uses_vgg(config):
        return feed
    vgg19 = features.load_vgg19(config["perceptual"]["weights"] or None)
    return feed._replace(
        data=(feed.data, vgg19),
        cut=lambda data, x: feed.cut(data[0], x) | {configs.VGG: data[1]},
    )


def make_optimizer(config: dict, epoch: int):
    """(tx, schedule) of a run of `epoch` updates an epoch.

    With `accumulate` > 1 the schedule counts the optimizer's updates, one for every
    `accumulate` updates of the run.
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
    net = models.NETWORKS[config["network"]["name"]].cls
    if models.is_multiscale(net):
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
    if not configs.uses_vgg(config):
        return train_step
    return lambda state, batch: _make_step(config, tx, batch[configs.VGG])(state, batch)


def _make_step(config, tx, vgg19=None):
    ema_decay = config["ema_decay"]
    if not configs.is_gan(config):
        objective = make_objective(config, vgg19)
        return steps.make_train_step(
            objective, tx, ema_decay=ema_decay, axis_name=steps.AXIS
        )
    judge = make_discriminator(config)
    return choose(
        {configs.ADVERSARIAL: steps.make_gan_step},
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
    """The objective of a run without a discriminator; `vgg19` as in `make_loss`."""
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
    kind = {name: settings[name] for name in ("layer", "reduction")}
    vgg_loss = functools.partial(perceptual.vgg_loss, vgg19, **kind)
    table = losses.LOSSES | {configs.VGG: vgg_loss}
    terms = [(table[name], weight) for name, weight in configs.loss_terms(config)]
    if weight := settings["total_variation"]:
        terms.append((lambda sr, hr: losses.total_variation(sr), weight))
    return losses.weighted(terms)


def loss_name(config: dict) -> str:
    """The name of a run's loss on its model's card, such as "l1 + 0.1 gradient"."""
    shown = {configs.VGG: f"{configs.VGG} {config['perceptual']['layer']}"}
    return " + ".join(
        f"{weight:g} " * (weight != 1) + shown.get(name, name)
        for name, weight in configs.loss_terms(config)
    )


def _in_training(config: dict) -> nn.Module:
    """The network of a run in its training form and precision."""
    _, dtype = models.PRECISIONS[config["precision"]]
    fields = config["network"] | config["in_training"]
    known = models.fields_of(models.NETWORKS[fields["name"]].cls)
    given = {"dtype": dtype, "axis_name": steps.AXIS, "remat": config["remat"]}
    fields |= {name: x for name, x in given.items() if name in known}
    return models.make(**fields)


def make_discriminator(config: dict) -> discriminator.Discriminator:
    """The discriminator of a run, in its precision."""
    _, dtype = models.PRECISIONS[config["precision"]]
    given = {"dtype": dtype, "axis_name": steps.AXIS}
    return models.made(
        discriminator.Discriminator,
        "discriminator",
        config["discriminator"] | given,
    )


def cost_of(config: dict) -> cost.Cost:
    """The parameters of a run's network, and its multiply-adds for one patch."""
    data = config["data"]
    net = models.make(**config["network"] | config["in_training"])
    scale, low = max(data["scales"]), net.input == "low"
    side = data["patch"] * (scale if low and data["plan"] != "pyramid" else 1)
    return cost.count(
        net,
        configs.channels_of(config),
        size=(side, side),
        scale=scale if models.is_multiscale(net) else None,
    )


def gflop(config: dict) -> float:
    """10^9 operations of an update for each of its patches.

    Multiplications and additions of the convolutions, for the result and as many for
    each of two gradients, however a platform computes them.
    """
    return 6e-9 * cost_of(config).multiply_adds

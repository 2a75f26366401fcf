"""Makes the parts of a run from its config, without using the work directory."""

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jax.sharding import NamedSharding

from jaxsr import checks, models, weights
from jaxsr.data import fetching, own, pairs, patches, sets, sources
from jaxsr.evaluation import protocol
from jaxsr.models import edsr, revive, srresnet
from jaxsr.training import config as configs
from jaxsr.training import factories, identity, process, results
from jaxsr.training import step as steps

# Prefixes of layers whose weights belong to one scale, as in EDSR and FSRCNN: at
# another scale some have the same shape.
ENLARGING = ("deconv", "up_")
HEARD = 10  # validation images, in which a filter is looked for before it is silent


class Setup(NamedTuple):
    """The parts of a run that do not change during training."""

    config: dict
    settings: dict  # of `identity.settings_of`
    images: dict  # of "data" and "validation" `identity.sizes_of`
    source: sources.Source
    validation: sources.Source
    lpips: dict | None  # the params of LPIPS, where the run is measured by it
    plan: patches.Plan
    feed: patches.Feed
    total: int  # updates
    each: int  # updates per dispatch
    net: nn.Module
    variables: dict  # the network's first
    adversary: dict | None  # the discriminator's first, of a GAN
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    update: Callable  # compiled, as `steps.make_update` says
    replicated: NamedSharding
    sharded: NamedSharding

    def first_state(self) -> steps.TrainState:
        """The state before the first update."""
        ema = self.config["ema_decay"] > 0
        return steps.init_state(
            self.variables, self.tx, ema=ema, adversary=self.adversary
        )

    def put(self, inputs: Iterable) -> dict:
        """The inputs of several updates, stacked and spread over the devices."""
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self.sharded, x),
            patches.stack(inputs),
        )


def set_up(config: dict, *, fresh: bool = True, in_study: bool = False) -> Setup:
    """The parts of a run.

    Args:
        config: the settings, see `config.SETTINGS`.
        fresh: whether the run is new, so that the model of `start` is read.
        in_study: whether the validation images may be a benchmark, whose scores during
            training a study shows. They then select nothing.

    Raises:
        ValueError: for a setting that is wrong.
    """
    configs.check(config)
    config = configs.tidied(config)
    precision, _ = models.PRECISIONS[config["precision"]]
    jax.config.update("jax_default_matmul_precision", precision)
    net = models.make(**config["network"])
    shown = in_study and not configs.chooses(config)
    source, validation = open_data(
        config["data"],
        config["validation"],
        net.input,
        benchmark=shown,
        channels=configs.stack_of(config),
    )
    scales = config["data"]["scales"]
    lpips = results.load_lpips(config)
    validation = protocol.measurable(validation, scales, lpips=lpips is not None)
    for reason in source.left_out + validation.left_out:
        process.say(f"Skipped: {reason}")
    # Report errors in them before the training, not after it.
    results.open_benchmarks(config, fetch=True)
    plan = factories.make_plan(config["data"], source, net.input)
    feed = factories.make_feed(config, source, plan, net.input)
    total = max(1, round(config["epochs"] * plan.epoch))
    checks.check(f"epochs x {plan.epoch} updates", total, checks.integer())
    tx, schedule = factories.make_optimizer(config, plan.epoch)
    # Batches of different sizes cannot be stacked.
    mixed = net.input == "low" and len(scales) > 1
    one = mixed or jax.default_backend() == "cpu"
    update, replicated, sharded = steps.make_update(
        factories.make_step(config, tx), feed.cut, parallel=config["parallel"]
    )
    variables, adversary = _initial(config, net, plan, validation, fresh)
    return Setup(
        config=config,
        settings=identity.settings_of(config, source, validation),
        images={
            "data": identity.sizes_of(source),
            "validation": identity.sizes_of(validation),
        },
        source=source,
        validation=validation,
        lpips=lpips,
        plan=plan,
        feed=feed,
        total=total,
        each=1 if one else config["updates_per_dispatch"],
        net=net,
        variables=variables,
        adversary=adversary,
        tx=tx,
        schedule=schedule,
        update=update,
        replicated=replicated,
        sharded=sharded,
    )


def sibling(run: Setup, config: dict, *, fresh: bool = True) -> Setup:
    """The parts of a run that differs from another in numbers, seed and start alone.

    Images, plan and feed are the other's.

    Args:
        run: the other.
        config: the settings.
        fresh: as in `set_up`.

    Raises:
        ValueError: for a setting that is wrong.
    """
    configs.check(config)
    config = configs.tidied(config)
    tx, schedule = factories.make_optimizer(config, run.plan.epoch)
    variables, adversary = _initial(config, run.net, run.plan, run.validation, fresh)
    return run._replace(
        config=config,
        settings=identity.settings_of(config, run.source, run.validation),
        variables=variables,
        adversary=adversary,
        tx=tx,
        schedule=schedule,
    )


def _initial(config, net, plan, validation, fresh):
    """`first_variables`, those of the network by way of `start`."""
    variables, adversary = first_variables(config, net, min(plan.sides.values()))
    if config["start"] and fresh:
        gan = adversary is not None
        variables = warm_start(net, variables, config["start"], whole=gan)
        if config["revive"]:
            variables = _revived(config, net, variables, validation)
    return variables, adversary


def _revived(config, net, variables, validation):
    """The variables by `revive.revived`, for `HEARD` of the validation images."""
    data, inputs = config["data"], []
    about = {"color": config["color"], "input": net.input, "blur": data["blur"]}
    for i in range(min(len(validation.names), HEARD)):
        for scale in data["scales"]:
            low = sources.read_low(validation, i, scale)
            x, _ = pairs.make_pair(validation.read(i), scale, low=low, **about)
            inputs.append((x[None], models.static_arguments(net, scale)))
    rng = jax.random.fold_in(jax.random.key(config["seed"]), 2)
    variables, count = revive.revived(net, variables, inputs, rng)
    process.say(f"{config['start']}: {count} silent filters are drawn anew.")
    return variables


def first_variables(
    config: dict, net: nn.Module, side: int
) -> tuple[dict, dict | None]:
    """The first variables of the network and, of a GAN, of its discriminator.

    Args:
        config: of the run.
        net: its network.
        side: of the network's input in training, in pixels.
    """
    channels = configs.channels_of(config)
    seed = jax.random.key(config["seed"])
    variables = net.init(seed, jnp.zeros([1, side, side, channels]))
    if not configs.is_gan(config):
        return variables, None
    side *= config["data"]["scales"][0] if net.input == "low" else 1
    hr = jnp.zeros([1, side, side, channels])
    judge = factories.make_discriminator(config)
    return variables, judge.init(jax.random.fold_in(seed, 1), hr)


def open_data(
    data: dict,
    validation: dict,
    input: str,
    *,
    benchmark: bool = False,
    channels: int | None = None,
) -> tuple[sources.Source, sources.Source]:
    """The training and the validation images that a config asks for.

    A named set that is not on disk is downloaded. If that fails the set is left out,
    unless data.strict; without any set, the photographs of `samples` are used. Images
    too small for a patch are not trained on; their names are printed.

    Args:
        data: that section of a config.
        validation: that of the validation images.
        input: of the network.
        benchmark: whether these may be a benchmark.
        channels: as in `sets.open_source`; then a missing set is an error.

    Raises:
        ValueError: where a benchmark set would be trained on or steer the run.
    """
    for name in [data["name"]] + [validation["name"]] * (not benchmark):
        if sets.split_of(name) == "test":
            raise ValueError(
                f"{name} is a benchmark set: it is only for the "
                "evaluation after training."
            )
    source = _open(data, data, "samples", "TRAINING ON", channels)
    least = data["patch"] if data["plan"] == "pyramid" else 1
    source = sources.with_reduced(source, tuple(data["reduced"]), least=least)
    return (
        _large_enough(data, source, input),
        _open(data, validation, "samples-validation", "VALIDATING ON", channels),
    )


def _large_enough(data: dict, source: sources.Source, input: str) -> sources.Source:
    """The source without images too small for a patch at every scale."""
    if source.sizes is None:
        return source
    patch, needed = data["patch"], data["patch"]
    if data["plan"] != "pyramid":
        scales = data["scales"]
        if input == "low":
            needed = patch * max(scales)
        else:  # after the crop to a multiple
            needed = max([patch] + [-(-patch // s) * s for s in scales if not s % 1])
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
            f"{len(small)} of {len(fits)} images are not trained on, for they have "
            f"fewer than {needed} pixels a side: {named}",
            flush=True,
        )
    return sources.only(source, np.flatnonzero(fits))


def _open(data, section, samples, doing, channels):
    """The images of data or validation, with low-resolution ones if it has a folder."""
    name, folder = section["name"], section["low"]
    data_dir, opened, missing = data["dir"] or None, [], []
    for part in sets.parts_of(name):
        try:
            low = "skip" if folder else "error"
            kind = {"low": low, "channels": channels}
            opened.append(fetching.open_or_fetch(part, data_dir, **kind))
        except (sources.DataNotFound, fetching.FetchError) as error:
            if data["strict"] or folder or channels is not None:
                raise
            missing.append(f"!! {error}\n")
    if not missing:
        source = sources.join(name, opened)
        return own.with_low(source, folder, data["scales"]) if folder else source
    instead = "+".join(source.name for source in opened)
    if jax.process_index() == 0:
        print(
            f"\n{'!' * 80}\n{''.join(missing)}!! {doing} "
            f"{instead or f'THE FEW PHOTOGRAPHS OF `{samples}`'} INSTEAD of {name}.\n"
            f"!! --config.data.strict=True makes this an error.\n{'!' * 80}\n",
            flush=True,
        )
    return sources.join(instead, opened) if opened else sets.open_source(samples)


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
        raise FileNotFoundError(
            f"{error} Set start='' to begin with random weights."
        ) from error
    if isinstance(net, srresnet.SRResNet) and isinstance(model.net, edsr.EDSR):
        theirs = srresnet.from_edsr(model.net, model.variables)
        model = model._replace(variables=theirs)
    ours, their = (
        None if models.is_multiscale(n) else models.scales_of(n)
        for n in (net, model.net)
    )
    other = ours != their
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
        logging.warning("%s provides all tensors except %s.", path, ", ".join(left))
    return traverse_util.unflatten_dict(flat | taken, sep="/")

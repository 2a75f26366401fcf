"""One update of a training run, as a pure function of arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from jaxsr.training import objectives

AXIS = "data"  # the name of the axis over which a run spreads a batch


class Adversary(NamedTuple):
    """The state of a GAN's discriminator; arrays only."""

    params: Any
    batch_stats: Any
    opt_state: Any
    won: jax.Array  # [] int32, consecutive updates with d_real - d_fake above `WON`
    collapsed: jax.Array  # [] int32, consecutive updates with a nearly flat output


class TrainState(NamedTuple):
    """The state of a run; arrays only, so a checkpoint is exactly this."""

    step: jax.Array  # [] int32, updates made so far
    params: Any
    batch_stats: Any  # {} for a network without batch normalisation
    opt_state: Any
    ema_params: Any  # {} if averaging is disabled
    adversary: Any = {}  # an Adversary where there is one


def init_state(
    variables: dict,
    tx: optax.GradientTransformation,
    *,
    ema: bool = False,
    adversary: dict | None = None,
) -> TrainState:
    """The state before the first update, from a network's initial variables.

    Args:
        variables: of the network.
        tx: its optimizer, and that of its adversary.
        ema: whether an average of the parameters is kept.
        adversary: the variables of a discriminator, for `make_gan_step`.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros([], jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=tx.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else {},
        adversary=Adversary(
            params=adversary["params"],
            batch_stats=adversary["batch_stats"],
            opt_state=tx.init(adversary["params"]),
            won=jnp.zeros([], jnp.int32),
            collapsed=jnp.zeros([], jnp.int32),
        )
        if adversary
        else {},
    )


def variables_of(state: TrainState) -> dict:
    """The variables of the trained network: the averaged ones, if there are any."""
    return _variables(state.ema_params or state.params, state.batch_stats)


def _variables(params, batch_stats):
    return {"params": params} | ({"batch_stats": batch_stats} if batch_stats else {})


def make_train_step(
    objective: objectives.Objective,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float = 0.0,
    axis_name: str | None = None,
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """Returns the pure function (state, batch) -> (state, metrics), not compiled.

    The metrics are scalars: "loss" (the batch mean), "psnr" of the batch,
    "gradient_norm" (before the clip), "clipped" where the optimizer clips, "plateau"
    where one scales the rate, and the objective's own.

    Args:
        objective: what is differentiated.
        tx: the optimizer; it is also given the loss, as `value`.
        ema_decay: of the exponential average of the parameters; 0 disables it. At first
            it is (1 + step) / (10 + step) where that is less, so that the average soon
            forgets the initial parameters.
        axis_name: under `shard_map` (with check_vma=False) or `pmap`, the axis over
            which the batch is spread: gradients, metrics and batch statistics are
            averaged over it, the gradients before the clip. Batch normalisation needs
            the same name as its field. None where the function sees the whole batch.
    """
    tx = optax.with_extra_args_support(tx)

    def train_step(state, batch):
        def mean_loss(params):
            variables = _variables(params, state.batch_stats)
            loss, aux = objective(variables, batch, state.step)
            return jnp.mean(loss), aux

        (loss, aux), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        loss, aux, grads = _mean((loss, aux, grads), axis_name)
        return _updated(state, tx, grads, loss, aux, ema_decay)

    return train_step


def make_gan_step(
    generate: Callable[[dict, dict], tuple[jax.Array, dict]],
    judge: Callable[[dict, jax.Array], tuple[jax.Array, dict]],
    content: Callable[[jax.Array, jax.Array], jax.Array],
    tx: optax.GradientTransformation,
    *,
    weight: float = 1e-3,
    ema_decay: float = 0.0,
    axis_name: str | None = None,
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """Returns the pure function (state, batch) -> (state, metrics) of a GAN.

    It updates the discriminator once and then, against the new one, the generator once.
    The discriminator sees true and made images as two batches, each normalised by its
    own statistics.

    The metrics are scalars: "loss" = "content_loss" + weight * "adversarial_loss";
    "discriminator_loss"; "d_real" and "d_fake", the mean probabilities that the
    discriminator, before its update, gives true and made images of being true;
    "gradient_norm" and "discriminator_gradient_norm"; "psnr" of the batch; "won" and
    "collapsed", as in `Adversary`.

    Args:
        generate: (variables, batch) -> (sr, new batch statistics).
        judge: (variables, images) -> (logits [B] that they are true, new statistics).
        content: (sr, hr) -> [B].
        tx: of both networks.
        weight: of the adversarial loss, -log D(sr).
        ema_decay: of the exponential average of the generator's parameters.
        axis_name: the axis over which the batch is spread, see `make_train_step`.

    Source: Ledig et al., CVPR 2017, sections 2 and 3.2. They leave open how the two
    take turns within a pair of updates.
    """
    tx = optax.with_extra_args_support(tx)

    def train_step(state, batch):
        hr, adversary = batch["hr"], state.adversary

        def generated(params):
            return generate(_variables(params, state.batch_stats), batch)

        sr, backward, batch_stats = jax.vjp(generated, state.params, has_aux=True)

        def discriminator_loss(params):
            variables = {"params": params, "batch_stats": adversary.batch_stats}
            real, variables["batch_stats"] = judge(variables, hr)
            fake, statistics = judge(variables, sr)
            loss = jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))
            means = [jnp.mean(jax.nn.sigmoid(x)) for x in (real, fake)]
            return loss, (statistics, means)

        judging = jax.value_and_grad(discriminator_loss, has_aux=True)
        (judged, (statistics, (real, fake))), judged_grads = _mean(
            judging(adversary.params), axis_name
        )
        updates, opt_state = tx.update(
            judged_grads, adversary.opt_state, adversary.params, value=judged
        )
        params = optax.apply_updates(adversary.params, updates)

        def generator_loss(sr):
            fake, _ = judge({"params": params, "batch_stats": statistics}, sr)
            parts = jnp.mean(content(sr, hr)), jnp.mean(jax.nn.softplus(-fake))
            return parts[0] + weight * parts[1], parts

        (loss, parts), sr_grad = jax.value_and_grad(generator_loss, has_aux=True)(sr)
        (grads,) = backward(sr_grad)
        aux = objectives.aux(sr, hr, batch_stats)
        moments = [[jnp.mean(x), jnp.mean(x**2)] for x in (sr, hr)]
        loss, parts, grads, aux, moments = _mean(
            (loss, parts, grads, aux, moments), axis_name
        )
        state, metrics = _updated(state, tx, grads, loss, aux, ema_decay)
        made, true = (second - first**2 for first, second in moments)
        flat = made < FLAT**2 * true
        adversary = Adversary(
            params,
            statistics,
            opt_state,
            won=jnp.where(real - fake > WON, adversary.won + 1, 0),
            collapsed=jnp.where(flat, adversary.collapsed + 1, 0),
        )
        metrics |= {
            "content_loss": parts[0],
            "adversarial_loss": parts[1],
            "discriminator_loss": judged,
            "discriminator_gradient_norm": optax.tree.norm(judged_grads),
            "d_real": real,
            "d_fake": fake,
            "won": adversary.won,
            "collapsed": adversary.collapsed,
        }
        return state._replace(adversary=adversary), metrics

    return train_step


WON = 0.98  # d_real - d_fake above which the discriminator has won
FLAT = 0.1  # of the true images' standard deviation


def _mean(tree, axis_name):
    """The mean over the devices that a batch is spread over, if it is."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def _updated(state, tx, grads, loss, aux, ema_decay):
    """The state after an update of the network by its gradients, and its metrics.

    All arguments are those of the whole batch.
    """
    updates, opt_state = tx.update(grads, state.opt_state, state.params, value=loss)
    params = optax.apply_updates(state.params, updates)
    metrics = {
        "loss": loss,
        "psnr": -10 * jnp.log10(aux["mse"]),
        "gradient_norm": optax.tree.norm(grads),
    } | aux["metrics"]
    clipped = optax.tree.get(opt_state, "clipped")
    if clipped is not None:
        metrics["clipped"] = clipped
    plateau = optax.tree.get(opt_state, "ReduceLROnPlateauState")
    if plateau is not None:
        metrics["plateau"] = plateau.scale
    decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
    new_state = state._replace(
        step=state.step + 1,
        params=params,
        batch_stats=aux["batch_stats"],
        opt_state=opt_state,
        ema_params=jax.tree.map(
            lambda average, new: decay * average + (1 - decay) * new,
            state.ema_params,
            params if state.ema_params else {},
        ),
    )
    return new_state, metrics


def make_train_steps(
    train_step: Callable, cut: Callable, *, single: bool = False
) -> Callable:
    """Returns (state, data, inputs) -> (state, metrics): many updates in one dispatch.

    Args:
        train_step: (state, batch) -> (state, metrics).
        cut: (data, input) -> batch, as a `patches.Feed` has it.
        single: for one update at a time, without a scan. So on a CPU: inside a loop XLA
            leaves the convolutions of gradients in a form that is 25 times slower. The
            two forms differ in the last bit, so a run keeps to one; scans of different
            lengths agree on a CPU, and on a GPU to the last bit but one.

    Returns:
        A pure function, not compiled: `inputs` has a leading axis of updates, and so
        have the metrics.
    """

    def train_one(state, data, inputs):
        batch = cut(data, jax.tree.map(lambda x: x[0], inputs))
        state, metrics = train_step(state, batch)
        return state, jax.tree.map(lambda x: x[None], metrics)

    def train_many(state, data, inputs):
        return jax.lax.scan(lambda s, x: train_step(s, cut(data, x)), state, inputs)

    return train_one if single else train_many


def make_update(
    train_step: Callable,
    cut: Callable,
    *,
    parallel: str = "shard_map",
    devices: list[jax.Device] | None = None,
) -> tuple[Callable, NamedSharding, NamedSharding]:
    """The compiled (state, data, inputs) -> (state, metrics) over all devices.

    Also returns the sharding of state and data, replicated, and that of the inputs of
    several updates, whose batches are spread over the devices. Each device runs the
    step on its share of the batch, so the step needs `AXIS` as its axis_name.

    Args:
        train_step: (state, batch) -> (state, metrics).
        cut: (data, input) -> batch, as a `patches.Feed` has it.
        parallel: "shard_map", or "pmap", which compute the same.
        devices: by default all, those of other processes too.

    Raises:
        ValueError: for "pmap" where this version of JAX has none.
    """
    devices = devices or jax.devices()
    mesh = jax.make_mesh(
        (len(devices),),
        (AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=devices,
    )
    whole, spread = PartitionSpec(), PartitionSpec(None, AXIS)
    single = jax.default_backend() == "cpu"
    train_steps = make_train_steps(train_step, cut, single=single)
    if parallel == "pmap":
        update = _pmapped(train_steps, mesh)
    else:
        mapped = jax.shard_map(
            train_steps,
            mesh=mesh,
            in_specs=(whole, whole, spread),
            out_specs=whole,
            check_vma=False,  # else gradients are summed before the step averages them
        )
        update = jax.jit(mapped, donate_argnums=0)
    return update, NamedSharding(mesh, whole), NamedSharding(mesh, spread)


def _pmapped(train_steps: Callable, mesh: jax.sharding.Mesh) -> Callable:
    """`make_update`'s function by jax.pmap, which takes the arrays of this process."""
    if not hasattr(jax, "pmap"):
        raise ValueError(
            f"parallel='pmap' needs jax.pmap, which jax {jax.__version__} lacks. Set "
            "parallel='shard_map'."
        )
    whole, spread = PartitionSpec(), PartitionSpec(None, AXIS)
    mapped = jax.pmap(
        train_steps,
        axis_name=AXIS,
        in_axes=(None, None, 1),
        out_axes=None,
        devices=mesh.devices.tolist(),
        donate_argnums=0,
    )
    count = len(mesh.local_devices)

    def split(x):
        return x.reshape(x.shape[0], count, -1, *x.shape[2:])

    def update(state, data, inputs):
        state, data, inputs = (
            multihost_utils.global_array_to_host_local_array(tree, mesh, spec)
            for tree, spec in ((state, whole), (data, whole), (inputs, spread))
        )
        outputs = mapped(state, data, jax.tree.map(split, inputs))
        return multihost_utils.host_local_array_to_global_array(outputs, mesh, whole)

    return update

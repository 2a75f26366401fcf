"""Runs that differ in a few settings; as one program where their shapes agree.

Each run has a work directory of its own, and is in every respect what it would be
alone: it can be resumed alone, or with the others.
"""

import contextlib
import copy
import itertools
import logging
import math
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxsr import optim
from jaxsr.training import checkpoint, factories, identity, logs, loop, process, setup
from jaxsr.training import config as configs
from jaxsr.training import step as steps

logger = logging.getLogger(__name__)

RUNS = "runs"  # the axis over which runs are spread


class Job(NamedTuple):
    """A run of a sweep."""

    label: str  # as "optim.theta=0.01", the name of its work directory
    config: dict
    workdir: pathlib.Path
    origin: dict  # as in `loop.train`


def train(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    *,
    origin: dict | None = None,
    verbose: bool = False,
    profile: int = 0,
) -> None:
    """Trains the runs of config["sweep"] in directories below `workdir`.

    The arguments and errors are those of `loop.train`. A run whose loss is not finite
    ends, and the others go on.
    """
    del verbose
    if profile:
        raise ValueError("--profile traces a single run, not a sweep.")
    jobs = plan(config.to_dict(), pathlib.Path(workdir).expanduser(), origin or {})
    for job in jobs:
        configs.check(job.config)
    failed, complete = train_all(jobs)
    if failed:
        lines = [f"{label}: {reason}" for label, reason in failed.items()]
        head = f"{len(failed)} of {len(jobs)} runs failed:"
        raise FloatingPointError("\n".join([head, *lines]))
    if not complete:
        raise SystemExit(1)


def plan(config: dict, workdir: pathlib.Path, origin: dict) -> list[Job]:
    """The runs of a sweep: every combination of its values.

    Args:
        config: its settings.
        workdir: holds their work directories.
        origin: as in `loop.train`; each run adds its own values to the "recipe".

    Raises:
        ValueError: for a setting that does not exist, or one without values.
    """
    swept = dict(configs.flat(config["sweep"]))
    for name, values in swept.items():
        section, _, key = name.rpartition(".")
        if name not in configs.SETTINGS.keys() | configs.ARGUMENTS.keys() and (
            key not in config.get(section, {})
        ):
            raise ValueError(f"there is no setting {name!r} to sweep over.")
        listed = isinstance(values, (list, tuple))
        if not listed or not values or len(set(map(str, values))) < len(values):
            raise ValueError(f"sweep {name} needs different values; got {values!r}.")
    jobs = []
    for values in itertools.product(*swept.values()):
        one = copy.deepcopy(config) | {"sweep": {}}
        for name, value in zip(swept, values):
            section, _, key = name.rpartition(".")
            (one[section] if section else one)[key] = value
        own = [f"{name}={x}" for name, x in zip(swept, values)]
        recipe = [origin.get("recipe", ""), *(f"--config.{text}" for text in own)]
        label = ",".join(own)
        job = Job(
            label,
            one,
            workdir / label.replace("/", "_"),
            origin | {"recipe": " ".join(recipe).strip()},
        )
        jobs.append(job)
    return jobs


def train_all(jobs: list[Job]) -> tuple[dict[str, str], bool]:
    """Trains runs, as one program where that is faster, else one after another.

    Returns label -> why, of those whose loss was not finite, and whether all images
    could be read.

    Raises:
        SystemExit: with 128 + the number of a signal, after it was interrupted.
    """
    failed, complete = train_at_once(jobs), True
    for job in jobs:
        if job.label in failed:
            continue
        process.say(f"\n== {job.label} ==")
        own = ml_collections.ConfigDict(job.config)
        try:
            loop.train(own, job.workdir, origin=job.origin)
        except FloatingPointError as error:
            logger.warning("%s failed: %s", job.label, error)
            failed[job.label] = str(error)
        except SystemExit as stop:
            if stop.code != 1:  # a signal; 1 says that some images were skipped
                raise
            complete = False
    return failed, complete


def train_at_once(jobs: list[Job], *, in_study: bool = False) -> dict[str, str]:
    """Trains runs as one program, where that is asked for or faster, and possible.

    Only their final scores are then left for `loop.train`.

    Returns label -> why, of those whose loss was not finite.

    Raises:
        SystemExit: with 128 + the number of a signal, after it was interrupted.
    """
    asked = jobs[0].config["sweep_at_once"]
    if asked == "auto":
        asked = "no" if jax.default_backend() == "cpu" else "yes"
    if asked == "no" or jax.process_count() > 1:
        return {}
    if apart := separate(jobs):
        logger.info("The runs differ in %s: one after another.", ", ".join(apart))
        return {}
    return _train_at_once(jobs, in_study)


def separate(jobs: list[Job]) -> list[str]:
    """The settings in which runs differ so that they cannot be one program."""
    settings = [dict(configs.flat(job.config)) for job in jobs]
    names = sorted(set().union(*settings))
    shared = ("seed", "start", *configs.NUMBERS)
    return [
        name
        for name in names
        if name not in shared
        and any(one.get(name) != settings[0].get(name) for one in settings)
    ]


def _train_at_once(jobs, in_study) -> dict[str, str]:
    """`train_at_once`, whatever is faster.

    Runs that diverge leave the group, which begins again without them from its last
    checkpoints; one that does not fit into memory is split.

    Returns label -> why, of those that diverged.
    """
    if len(jobs) < 2:
        return {}  # it is trained as any other
    try:
        groups, failed = _train_group(jobs, in_study)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(
            error
        ):
            raise
        half = len(jobs) // 2
        logger.warning("Out of memory with %d runs at once; trying %d.", 2 * half, half)
        groups, failed = [jobs[:half], jobs[half:]], {}
    for group in groups:
        failed |= _train_at_once(group, in_study)
    return failed


def _train_group(jobs, in_study):
    """(groups that are left to train, label -> why of runs that diverged)."""
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(process.Interrupt())
        members, first = [], None
        for job in jobs:
            process.check_workdir(job.workdir)
            config = ml_collections.ConfigDict(job.config)
            if first is None:
                run = first = loop.set_up(config, job.workdir, in_study=in_study)
            else:
                fresh = loop.is_fresh(job.workdir)
                run = setup.sibling(first, config.to_dict(), fresh=fresh)
            identity.claim(job.workdir, run.settings, run.images)
            stack.enter_context(process.alone(job.workdir))
            own = loop.Loop(
                run,
                job.workdir,
                job.origin,
                lambda: interrupt.number,
                label=f"{job.label}: ",
            )
            stack.callback(checkpoint.close, own.manager)
            members.append(own)
        by_step = {}  # some may have been saved before a kill, others not
        for job, member in zip(jobs, members):
            by_step.setdefault(member.step, []).append(job)
        if len(by_step) > 1:
            return list(by_step.values()), {}
        if members[0].step >= first.total:
            return [], {}
        together = Together(members)
        process.say(f"{len(members)} runs at once on {together.devices} device(s).")
        members[0].describe(False)
        try:
            if stop := together.go():
                members[0].end(stop)
        except Diverged:
            left = [job for i, job in enumerate(jobs) if i not in together.failed]
            return [left], {jobs[i].label: why for i, why in together.failed.items()}
    return [], {}


class Diverged(Exception):
    """Some runs of a group have diverged, and the others are saved."""


class Together(loop.Loop):
    """Several runs at one update, as one program.

    Args:
        members: the runs.
    """

    def __init__(self, members: list[loop.Loop]):
        self.members, self.failed = members, {}  # index -> why
        self.step, self.signal = members[0].step, members[0].signal
        self.log = members[0].log
        run = members[0].run
        # Numbers that differ; values of the others stay constants of the program.
        optims = [
            {
                name: dict(configs.flat(m.run.config)).get(name)
                for name in configs.NUMBERS
            }
            for m in members
        ]
        names = [n for n in configs.NUMBERS if len({str(o[n]) for o in optims}) > 1]
        self.numbers = [{name: one[name] for name in names} for one in optims]

        def make(numbers):
            config = copy.deepcopy(run.config)
            for name, x in numbers.items():
                section, _, key = name.partition(".")
                config[section][key] = x
            return factories.make_optimizer(config, run.plan.epoch)[0]

        tx = optim.swept(make, self.numbers[0])
        train_step = factories.make_step(run.config, tx)
        update, states, inputs, self.devices = make_update(
            train_step, run.feed.cut, runs=len(members)
        )
        self.run = run._replace(update=update, replicated=inputs, sharded=inputs)
        self.states = states
        self.state = self._stacked()
        for m in members:
            m.pace = logs.Pace(step=m.step, total=run.total, batch=run.plan.batch)

    def _stacked(self):
        """The states of all runs, with a leading axis, spread over the devices."""
        states = []
        for numbers, member in zip(self.numbers, self.members):
            arrays = {name: np.float32(x) for name, x in numbers.items()}
            states.append(
                _map_optimizers(
                    lambda inner, arrays=arrays: optim.SweptState(arrays, inner),
                    jax.device_get(member.state),
                )
            )
        stacked = jax.tree.map(lambda *x: np.stack(x), *states)
        return jax.device_put(stacked, self.states)

    def _unstacked(self):
        """(index, run) of those that have not diverged, with its newest state."""
        states = jax.device_get(self.state)
        for i, member in enumerate(self.members):
            if i in self.failed:
                continue
            state = jax.tree.map(lambda x, i=i: x[i], states)
            state = _map_optimizers(lambda swept: swept.inner, state)
            member.state = jax.device_put(state, member.run.replicated)
            member.step = self.step
            yield i, member

    def _is_validated(self) -> bool:
        return all(member._is_validated() for member in self.members)

    def _record(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        for i, member in enumerate(self.members):
            if i in self.failed:
                continue
            member.step = self.step
            try:
                member._record(step, {name: x[:, i] for name, x in metrics.items()})
            except FloatingPointError as error:
                logger.warning("%s%s", member.label, error)
                self.failed[i] = str(error)

    def _validate(self) -> dict[int, dict]:
        scores = {i: member._validate() for i, member in self._unstacked()}
        if self.run.config["plateau"]:  # which has taken the scores into its state
            self.state = self._stacked()
        return scores

    def _keep(self, scores: dict[int, dict]) -> None:
        for i, member in self._unstacked():
            member._keep(scores.get(i, {}))

    def _save(self, scores: dict[int, dict]) -> None:
        for i, member in self._unstacked():
            member._save(scores.get(i, {}))
        if self.failed:
            raise Diverged


def _map_optimizers(change: Callable, state: steps.TrainState) -> steps.TrainState:
    """The state with its optimizers' states changed."""
    if state.adversary:
        own = state.adversary._replace(opt_state=change(state.adversary.opt_state))
        state = state._replace(adversary=own)
    return state._replace(opt_state=change(state.opt_state))


def make_update(
    train_step: Callable, cut: Callable, *, runs: int
) -> tuple[Callable, NamedSharding, NamedSharding, int]:
    """`steps.make_update` for the states of several runs along a leading axis.

    All runs see the whole batch. They are spread over the largest number of devices
    that divides their number.

    Returns the update, the sharding of states, that of data and inputs, and the number
    of devices.
    """
    count = math.gcd(runs, jax.device_count())
    mesh = jax.make_mesh(
        (count, 1),
        (RUNS, steps.AXIS),
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=jax.devices()[:count],
    )
    whole, spread = PartitionSpec(), PartitionSpec(RUNS)
    single = jax.default_backend() == "cpu"
    every = jax.vmap(train_step, in_axes=(0, None))
    update = jax.shard_map(
        steps.make_train_steps(every, cut, single=single),
        mesh=mesh,
        in_specs=(spread, whole, whole),
        out_specs=(spread, PartitionSpec(None, RUNS)),
        check_vma=False,
    )
    return (
        jax.jit(update, donate_argnums=0),
        NamedSharding(mesh, spread),
        NamedSharding(mesh, whole),
        count,
    )

"""The training loop: updates, validates, logs and saves."""

import itertools
import logging
import os
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
import tqdm
from clu import parameter_overview

from jaxsr import models, optim, weights
from jaxsr.evaluation import figures
from jaxsr.training import (
    checkpoint,
    factories,
    identity,
    logs,
    process,
    results,
    setup,
)
from jaxsr.training import config as configs
from jaxsr.training import step as steps

# Errors of a run that are reported in one line, without a traceback.
ERRORS = (
    ValueError,
    OSError,
    ImportError,
    MemoryError,
    FloatingPointError,
    RuntimeError,
)


def train(
    config,
    workdir: str | os.PathLike,
    *,
    origin: dict | None = None,
    verbose: bool = False,
    in_study: bool = False,
    profile: int = 0,
) -> None:
    """Trains as `config` says until its end, or until SIGINT or SIGTERM.

    Resumes from the newest checkpoint in `workdir`, if there is one. Writes there
    crops/STEP.png at each validation, model.safetensors at each that is the best so
    far, and results.md, results.json, crops.png and curves.png at the end.

    Args:
        config: the settings, see `config.SETTINGS`.
        workdir: the work directory, created if it is missing.
        origin: further entries of the model's card, such as the command and the commit.
        verbose: print every parameter's shape, mean and deviation.
        in_study: as in `setup.set_up`.
        profile: updates to trace into workdir/profile, for TensorBoard and Perfetto.

    Raises:
        ValueError: for a wrong setting, or a workdir of another run.
        FloatingPointError: where the loss is not finite.
        SystemExit: with 128 + the signal's number after it was interrupted and saved;
            with 1 if the run is complete but some images were skipped.
    """
    workdir = pathlib.Path(workdir).expanduser()
    process.check_workdir(workdir)
    if config["sweep"]:
        raise ValueError("a sweep is several runs; jaxsr.reproduction.sweep trains it.")
    run = set_up(config, workdir, in_study=in_study)
    identity.claim(workdir, run.settings, run.images)
    with process.alone(workdir):
        with process.Interrupt() as interrupt:
            loop = Loop(run, workdir, origin or {}, lambda: interrupt.number)
            loop.describe(verbose)
            try:
                stop = loop.go(profile)
            finally:
                checkpoint.close(loop.manager)
        loop.end(stop)


def set_up(config, workdir: pathlib.Path, *, in_study: bool = False) -> setup.Setup:
    """The parts of a config's run in a work directory, new or resumed."""
    fresh = is_fresh(workdir)
    return setup.set_up(config.to_dict(), fresh=fresh, in_study=in_study)


def is_fresh(workdir: pathlib.Path) -> bool:
    """Whether a work directory has no checkpoints."""
    checkpoints = workdir / "checkpoints"
    return not (checkpoints.exists() and os.listdir(checkpoints))


class Loop:
    """What changes while a run trains.

    Args:
        run: what it is made of.
        workdir: holds its checkpoints, of which the newest is restored.
        origin: as in `train`.
        signal: the number of the signal that asks this process to stop, or 0.
        label: begins what is printed of its updates.
    """

    def __init__(
        self,
        run: setup.Setup,
        workdir: pathlib.Path,
        origin: dict,
        signal: Callable[[], int] = lambda: 0,
        label: str = "",
    ):
        self.label = label
        self.run, self.workdir, self.origin, self.signal = run, workdir, origin, signal
        self.manager = checkpoint.open_directory(
            workdir / "checkpoints", keep=run.config["checkpoint"]["keep"]
        )
        state = jax.device_put(run.first_state(), run.replicated)
        restored = checkpoint.restore(self.manager, state)
        self.state = state if restored is None else restored
        self.step = int(self.state.step)
        self.best = results.best_so_far(
            workdir / weights.MODEL, run.config, run.validation.name, run.lpips
        )
        self.log = None
        if jax.process_index() == 0:
            every = run.config["log_every"]
            self.log = logs.Log(workdir, step=self.step, every=every)
        self.clock = logs.Clock(workdir)

    def describe(self, verbose: bool) -> None:
        """Prints the network, its training images and the progress."""
        run, params = self.run, self.run.variables["params"]
        if verbose:
            process.say(parameter_overview.get_parameter_overview(params))
        count = sum(x.size for x in jax.tree.leaves(params))
        process.say(f"{run.config['network']['name']}: {count:,} parameters.")
        process.say(
            f"{run.source.name}: {len(run.source.names)} images, "
            f"{run.plan.patches} patches and {run.plan.epoch} updates an epoch; "
            f"{jax.device_count()} x {jax.devices()[0].device_kind}; "
            f"{run.total} updates, {self.step} of them done."
        )

    def go(self, profile: int = 0) -> int:
        """Updates until the end, a signal, or a loss that is not finite.

        Returns the signal's number, or 0. `profile` is as in `train`.
        """
        run = self.run
        inputs = run.feed.inputs(self.step, run.total - self.step)
        data = jax.device_put(run.feed.data, run.replicated)
        saved_at, pending = time.monotonic(), None
        self.pace = logs.Pace(step=self.step, total=run.total, batch=run.plan.batch)
        self.bar = tqdm.tqdm(
            total=run.total,
            initial=self.step,
            unit="update",
            dynamic_ncols=True,
            disable=None if self.log else True,  # None: only in a terminal
        )
        if self._is_due() and not self._is_validated():
            self._keep(self._validate())
            if stop := process.agree(self.signal(), False)[0]:
                return stop
        if self.step < run.total:
            process.say("Compiling the update; the first can take a minute.")
        folder = self.workdir / "profile" if profile else None
        with self.bar, process.Profile(run.update, folder, profile) as update:
            while self.step < run.total:
                count = min(run.each - self.step % run.each, run.total - self.step)
                batches = run.put(itertools.islice(inputs, count))
                self.state, metrics = update(self.state, data, batches)
                self.step += count
                # The numbers of the last dispatch are read while this one computes.
                self._read(pending)
                pending, scores = (self.step - count, metrics), {}
                due = self._is_due()
                if due:
                    self._read(pending)
                    pending, scores = None, self._validate()
                waited = time.monotonic() - saved_at
                stop, late = process.agree(
                    self.signal(), waited > 60 * run.config["checkpoint"]["minutes"]
                )
                if stop or late or due:
                    self._read(pending)
                    pending = None
                    # First: killed in between, the run does it again.
                    self._keep(scores)
                    self._save(scores)
                    saved_at = time.monotonic()
                if stop:
                    return stop
        return 0

    def end(self, stop: int) -> None:
        """Scores a complete run; exits if it was interrupted or images were skipped.

        Raises:
            SystemExit: as in `train`.
        """
        run = self.run
        if stop:
            process.say(
                f"Saved at update {self.step}. Rerun the same command to resume."
            )
            raise SystemExit(128 + stop)
        left_out = run.source.left_out + tuple(run.feed.left_out.values())
        left_out += run.validation.left_out
        if jax.process_index() == 0:
            args = run.config, self.workdir, run.validation, run.lpips
            left_out += results.finish(*args)
        if left_out := dict.fromkeys(left_out):
            process.say(
                "\n".join([f"Done, but {len(left_out)} images skipped:", *left_out])
            )
            raise SystemExit(1)

    def _save(self, scores: dict[str, float]) -> None:
        """Saves a checkpoint, and the state of the log and the clock."""
        if self.log is not None:
            self.log.hold(self.step, self.manager.all_steps())
        psnr = scores.get("validation_psnr")
        checkpoint.save(self.manager, self.state, psnr=psnr)
        if self.log is not None:
            self.clock.save()

    def _is_due(self) -> bool:
        """Whether a validation falls into the last dispatch, or the run is over."""
        if not self.step:
            return False
        every = self.run.plan.epoch * self.run.config["validation"]["every"]
        before = (self.step - 1) // self.run.each * self.run.each
        return self.step // every > before // every or self.step >= self.run.total

    def _is_validated(self) -> bool:
        """Whether this step's validation was done before the run was interrupted."""
        done = False
        if self.log is not None:
            records = logs.read(self.workdir) if self.step >= self.run.total else []
            done = self._has_model() and (
                bool(self.manager.metrics(self.step))
                or any(
                    r["step"] == self.step and "validation_psnr" in r for r in records
                )
            )
        return bool(process.from_first(done))

    def _has_model(self) -> bool:
        try:
            weights.load(self.workdir / weights.MODEL)
        except (FileNotFoundError, ValueError):
            return False
        return True

    def _read(self, pending) -> None:
        """Checks and logs the metrics of one dispatch: (step before it, arrays)."""
        if pending is None:
            return
        step, metrics = pending
        metrics = jax.device_get(metrics)
        count = len(metrics["loss"])
        if self.log and (text := self.pace.estimate(step + count)):
            process.say(text)
        self._record(step, metrics)
        loss = np.mean(metrics["loss"][-1])
        self.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self.bar.update(count)

    def _record(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        """`_read` for the metrics [updates] of one run."""
        self._check_finite(step, metrics)
        if self.log is None:
            return
        count = len(metrics["loss"])
        for i in range(count):
            values = {name: x[i] for name, x in metrics.items()}
            record = self.log.update(step + i + 1, values)
            if record:
                rate = self.run.schedule((step + i) // self.run.config["accumulate"])
                record["learning_rate"] = float(rate) * record.get("plateau", 1.0)
                record |= self.pace.measure(self.step)
                self.log.write(step + i + 1, record)
                if not sys.stderr.isatty():
                    text = f"update {step + i + 1}: loss {record['loss']:.4g}"
                    process.say(self.label + text)
        for text in logs.alarms(metrics):
            logging.warning("%sUpdate %d: %s", self.label, step + count, text)

    def _check_finite(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        checked = [name for name in metrics if name.endswith(("loss", "gradient_norm"))]
        finite = np.all([np.isfinite(metrics[name]) for name in checked], axis=0)
        if finite.all():
            return
        i = int(np.argmin(finite))
        values = ", ".join(f"{name} {metrics[name][i]}" for name in checked)
        saved = self.manager.latest_step()
        raise FloatingPointError(
            f"not finite at update {step + i + 1}: {values}. "
            + (
                f"The last good checkpoint is that of update {saved} in "
                f"{self.manager.directory}."
                if saved is not None
                else "No checkpoint was saved before it."
            )
            + " A lower learning rate or a tighter clip may help."
        )

    def _validate(self) -> dict[str, float]:
        """The scores of `results.validate`, empty if interrupted.

        All but "validation_psnr" on the first process alone.
        """
        run, scores = self.run, {}
        if self.log is not None:
            scores = results.validate(
                self._model(),
                run.validation,
                run.config["data"]["scales"],
                lpips=run.lpips,
                stopped=lambda: bool(self.signal()),
            )
        psnr = float(process.from_first(scores.get("validation_psnr", np.nan)))
        if np.isnan(psnr):
            return {}
        if run.config["plateau"].get("of") == "validation":
            opt_state = optim.validated(self.state.opt_state, psnr)
            state = self.state._replace(opt_state=opt_state)
            self.state = jax.device_put(state, run.replicated)
        return scores | {"validation_psnr": psnr}

    def _keep(self, scores: dict[str, float]) -> None:
        """Keeps the best model by validation; before the first one, the newest.

        What `_validate` found is noted last: killed in between, the run finds it again.
        """
        if self.log is None:
            return
        run = self.run
        by = results.best_by(run.config, run.lpips)
        value = None
        if by and scores:
            value = results.SIGNS[by] * scores[f"validation_{by}"]
        if not by or self.best is None or (value is not None and value > self.best):
            self.best = value
            weights.save(self.workdir / weights.MODEL, self._model(scores))
        if not scores:
            return
        scale = max(run.config["data"]["scales"])
        crops = results.crops_of(self._model(), run.validation, scale)
        strip = np.concatenate(crops[0], axis=1)[None]
        self.log.write_images(self.step, {"bicubic, ours, true": strip})
        (self.workdir / "crops").mkdir(exist_ok=True)
        figures.crops(
            self.workdir / "crops" / f"{self.step:08}.png",
            crops,
            titles=["bicubic", f"{self.step} updates", "true"],
        )
        self.log.write(self.step, scores)
        found = [f"{scores['validation_psnr']:.3f} dB"]
        if "validation_lpips" in scores:
            found.append(f"LPIPS {scores['validation_lpips']:.4f}")
        process.say(
            f"{self.label}update {self.step}, epoch {self.step / run.plan.epoch:.2f}: "
            f"{run.validation.name} {', '.join(found)}"
        )

    def _model(self, scores: dict[str, float] | None = None) -> weights.Model:
        """The model as it is now; its card says `scores`, where it was validated."""
        run, config = self.run, self.run.config
        net, scores = models.trained(run.net), scores or {}
        names = [name for name in results.SIGNS if f"validation_{name}" in scores]
        card = weights.make_card(
            net,
            color=config["color"],
            scales=list(config["data"]["scales"]),
            trained_on=run.source.name,
            step=self.step,
            digest=identity.digest(run.settings),
            objective=config["objective"]["name"],
            loss=factories.loss_name(config),
            validation={"data": run.validation.name}
            | {name: scores[f"validation_{name}"] for name in names},
            epochs=round(self.step / run.plan.epoch, 3),
            hours=round(self.clock.seconds() / 3600, 3),
            device=f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            **({"blur": blur} if (blur := config["data"]["blur"]) else {}),
            **({"channels": n} if (n := configs.stack_of(config)) else {}),
            **self.origin,
        )
        variables = jax.device_get(steps.variables_of(self.state))
        return weights.Model(net, variables, card)

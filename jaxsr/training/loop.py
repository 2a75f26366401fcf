"""The training loop: the only place that compiles the step, logs and saves."""

import itertools
import logging
import os
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from clu import parameter_overview
from jax.sharding import NamedSharding, PartitionSpec

from jaxsr import (
    checks,
    image,
    models,
    optim,
    weights,
)
from jaxsr.data import patches
from jaxsr.evaluation import figures, protocol
from jaxsr.training import checkpoint, identity, logs, process, results, setup
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

# Metric that chooses the best model -> 1 where higher is better, -1 where lower is.
SIGNS = {"psnr": 1, "lpips": -1}

# metric -> the value at which it is time for a word, and that word
ALARMS = {
    "won": (
        500,
        "for 500 updates the discriminator has told true from made images without "
        "fail: the generator learns nothing from it any more. A lower learning rate, "
        "or a better trained generator to start from, may help.",
    ),
    "collapsed": (
        500,
        "for 500 updates the images made have been all but flat. Start anew from the "
        "trained generator, at a lower learning rate.",
    ),
}


def train(
    config,
    workdir: str | os.PathLike,
    *,
    origin: dict | None = None,
    verbose: bool = False,
) -> None:
    """Trains as `config` says until its end, or until SIGINT or SIGTERM.

    Goes on from the newest checkpoint in `workdir` where there is one. In the end
    writes there model.safetensors, results.md, results.json, crops.png and curves.png;
    at each validation crops/STEP.png.

    Args:
        config: of what `config.SETTINGS` has.
        workdir: the run's directory, made where it is missing.
        origin: what the model's card also says, as the command and the commit.
        verbose: print every parameter's shape, mean and deviation.

    Raises:
        ValueError: for a setting that is wrong, or a workdir of another run.
        FloatingPointError: where the loss is not finite.
        SystemExit: with 128 + the signal's number after it was interrupted and saved;
            with 1 where all was done but for bad images, which are named.
    """
    config = config.to_dict()
    workdir = pathlib.Path(workdir).expanduser()
    process.check_workdir(workdir)
    run = _Run(config, workdir, origin or {})
    identity.claim(workdir, run.settings, run.images)
    with process.alone(workdir):
        run.restore(verbose)
        with process.Interrupt() as interrupt:
            try:
                run.go(interrupt)
            finally:
                checkpoint.close(run.manager)
        if interrupt.number:
            process.say(
                f"Saved at update {run.step}. The same command goes on from there."
            )
            raise SystemExit(128 + interrupt.number)
        left_out = run.source.left_out + run.validation.left_out
        if jax.process_index() == 0:
            left_out += results.finish(config, workdir, run.validation, run.lpips)
        if left_out := dict.fromkeys(left_out):
            process.say(
                "\n".join([f"Done, but {len(left_out)} images left out:", *left_out])
            )
            raise SystemExit(1)


TIMED = 9  # updates by which the time of all is estimated
QUICK = "experiments/quickstart.py"


def _span(seconds: float) -> str:
    """A time to read: "40 seconds", "25 minutes", "7.5 hours" or "3.2 days"."""
    for size, unit in ((86400, "days"), (3600, "hours")):
        if seconds >= 2 * size or (unit == "hours" and seconds >= size):
            return f"{seconds / size:.1f} {unit}"
    if seconds >= 120:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds:.0f} seconds"


def make_update(
    train_step: Callable, cut: Callable, *, devices: list[jax.Device] | None = None
) -> tuple[Callable, NamedSharding, NamedSharding]:
    """The compiled (state, data, inputs) -> (state, metrics) over all devices.

    Also returns the sharding of state and data, replicated, and that of the inputs of
    several updates, whose batches are spread over the devices. Each device runs the
    step on its share of the batch, so the step needs `steps.AXIS` as its axis_name.

    Args:
        train_step: (state, batch) -> (state, metrics).
        cut: (data, input) -> batch, as a `patches.Feed` has it.
        devices: by default all, those of other processes too.
    """
    devices = devices or jax.devices()
    mesh = jax.make_mesh(
        (len(devices),),
        (steps.AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=devices,
    )
    whole, spread = PartitionSpec(), PartitionSpec(None, steps.AXIS)
    single = jax.default_backend() == "cpu"
    update = jax.shard_map(
        steps.make_train_steps(train_step, cut, single=single),
        mesh=mesh,
        in_specs=(whole, whole, spread),
        out_specs=whole,
        check_vma=False,  # else the gradients are summed before the step averages them
    )
    return (
        jax.jit(update, donate_argnums=0),
        NamedSharding(mesh, whole),
        NamedSharding(mesh, spread),
    )


class _Run:
    """Everything that is set up once, without touching the workdir; and the loop."""

    def __init__(self, config: dict, workdir: pathlib.Path, origin: dict):
        configs.check(config)
        self.config, self.workdir, self.origin = config, workdir, origin
        precision, _ = models.PRECISIONS[config["precision"]]
        jax.config.update("jax_default_matmul_precision", precision)
        self.net = models.make(**config["network"])
        self.source, self.validation = setup.open_data(
            config["data"], config["validation"]["name"], self.net.input
        )
        scales = config["data"]["scales"]
        self.lpips = results.load_lpips(config)
        self.validation = protocol.measurable(
            self.validation, scales, lpips=self.lpips is not None
        )
        for reason in self.source.left_out + self.validation.left_out:
            process.say(f"Left out: {reason}")
        # What is wrong with them now, not after the training.
        results.open_benchmarks(config, fetch=True)
        self.settings = identity.settings_of(config, self.source, self.validation)
        self.images = {
            "data": identity.sizes_of(self.source),
            "validation": identity.sizes_of(self.validation),
        }
        self.plan = setup.make_plan(config["data"], self.source, self.net.input)
        self.feed = setup.make_feed(config, self.source, self.plan, self.net.input)
        self.total = max(1, round(config["epochs"] * self.plan.epoch))
        checks.check(
            f"epochs x {self.plan.epoch} updates", self.total, checks.integer()
        )
        self.tx, self.schedule = setup.make_optimizer(config, self.plan.epoch)
        on_cpu = jax.default_backend() == "cpu"
        # Batches of different sizes cannot be stacked.
        sizes = len(config["data"]["scales"]) if self.net.input == "low" else 1
        self.each = 1 if on_cpu or sizes > 1 else config["updates_per_dispatch"]

        self.update, self.replicated, self.sharded = make_update(
            setup.make_step(config, self.tx), self.feed.cut
        )

        side = min(self.plan.sides.values())
        x = jnp.zeros([1, side, side, image.channels(config["color"])])
        seed = jax.random.key(config["seed"])
        self.variables, self.adversary = self.net.init(seed, x), None
        gan = configs.is_gan(config)
        if gan:
            side *= scales[0] if self.net.input == "low" else 1
            hr = jnp.zeros([1, side, side, x.shape[-1]])
            judge = setup.make_discriminator(config)
            self.adversary = judge.init(jax.random.fold_in(seed, 1), hr)
        checkpoints = workdir / "checkpoints"
        if config["start"] and not (checkpoints.exists() and os.listdir(checkpoints)):
            self.variables = setup.warm_start(
                self.net, self.variables, config["start"], whole=gan
            )

    def restore(self, verbose: bool = False) -> None:
        """Takes the newest checkpoint of the workdir, or the state of a new run."""
        config = self.config
        self.manager = checkpoint.open_directory(
            self.workdir / "checkpoints", keep=config["checkpoint"]["keep"]
        )
        ema = config["ema_decay"] > 0
        state = steps.init_state(
            self.variables, self.tx, ema=ema, adversary=self.adversary
        )
        self.state = jax.device_put(state, self.replicated)
        restored = checkpoint.restore(self.manager, self.state)
        if restored is not None:
            self.state = restored
        self.step = int(self.state.step)
        self.best = self._best_so_far()
        self.log = None
        if jax.process_index() == 0:
            self.log = logs.Log(self.workdir, step=self.step, every=config["log_every"])
        params = self.variables["params"]
        if verbose:
            process.say(parameter_overview.get_parameter_overview(params))
        count = sum(x.size for x in jax.tree.leaves(params))
        process.say(f"{config['network']['name']}: {count:,} parameters.")
        self.clock = logs.Clock(self.workdir)
        process.say(
            f"{self.source.name}: {len(self.source.names)} images, "
            f"{self.plan.patches} patches and {self.plan.epoch} updates an epoch; "
            f"{jax.device_count()} x {jax.devices()[0].device_kind}; "
            f"{self.total} updates, {self.step} of them done."
        )

    def go(self, interrupt: process.Interrupt) -> None:
        """Updates until the end, a signal, or a loss that is not finite."""
        inputs = self.feed.inputs(self.step, self.total - self.step)
        data = jax.device_put(self.feed.data, self.replicated)
        saved_at, pending = time.monotonic(), None
        self.timed = None
        self.since = (self.step, time.monotonic())
        self.bar = tqdm.tqdm(
            total=self.total,
            initial=self.step,
            unit="update",
            dynamic_ncols=True,
            disable=None if self.log else True,  # None: only in a terminal
        )
        if self._is_due() and not self._is_validated():
            self._keep(self._validate(interrupt))
            if stop := process.agree(interrupt.number, False)[0]:
                interrupt.number = stop
                return
        if self.step < self.total:
            process.say("Compiling the update; the first can take a minute.")
        with self.bar:
            while self.step < self.total:
                count = min(self.each - self.step % self.each, self.total - self.step)
                batches = self._put(itertools.islice(inputs, count))
                self.state, metrics = self.update(self.state, data, batches)
                self.step += count
                # The numbers of the last dispatch are read while this one computes.
                self._read(pending)
                pending, scores = (self.step - count, metrics), {}
                due = self._is_due()
                if due:
                    self._read(pending)
                    pending, scores = None, self._validate(interrupt)
                waited = time.monotonic() - saved_at
                stop, late = process.agree(
                    interrupt.number, waited > 60 * self.config["checkpoint"]["minutes"]
                )
                if stop or late or due:
                    self._read(pending)
                    pending = None
                    # The model first: killed in between, the run makes it again.
                    self._keep(scores)
                    if self.log is not None:
                        self.log.hold(self.step, self.manager.all_steps())
                    checkpoint.save(
                        self.manager, self.state, psnr=scores.get("validation_psnr")
                    )
                    saved_at = time.monotonic()
                    if self.log is not None:
                        self.clock.save()
                if stop:
                    interrupt.number = stop
                    return

    def _is_due(self) -> bool:
        """Whether a validation falls into the last dispatch, or the run is over."""
        if not self.step:
            return False
        every = self.plan.epoch * self.config["validation"]["every"]
        before = (self.step - 1) // self.each * self.each
        return self.step // every > before // every or self.step >= self.total

    def _is_validated(self) -> bool:
        """Whether this step's validation was done before the run was interrupted."""
        done = False
        if self.log is not None:
            records = logs.read(self.workdir) if self.step >= self.total else []
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

    def _put(self, batches):
        """Stacks the inputs of several updates and spreads them over the devices."""
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self.sharded, x),
            patches.stack(batches),
        )

    def _read(self, pending) -> None:
        """Checks and logs the metrics of one dispatch: (step before it, arrays)."""
        if pending is None:
            return
        step, metrics = pending
        metrics = jax.device_get(metrics)
        checked = [name for name in metrics if name.endswith(("loss", "gradient_norm"))]
        finite = np.all([np.isfinite(metrics[name]) for name in checked], axis=0)
        if not finite.all():
            i = int(np.argmin(finite))
            values = ", ".join(f"{name} {metrics[name][i]}" for name in checked)
            raise FloatingPointError(
                f"not finite at update {step + i + 1}: {values}. The last "
                f"good checkpoint is "
                f"that of update {self.manager.latest_step()} in "
                f"{self.manager.directory}. A lower learning rate or a tighter "
                "clip may help."
            )
        if self.log is None:
            return
        self._estimate(step + len(finite))
        for i in range(len(finite)):
            values = {name: x[i] for name, x in metrics.items()}
            record = self.log.update(step + i + 1, values)
            if record:
                rate = self.schedule((step + i) // self.config["accumulate"])
                record["learning_rate"] = float(rate) * record.get("plateau", 1.0)
                record |= self._pace()
                self.log.write(step + i + 1, record)
                if not sys.stderr.isatty():
                    process.say(f"update {step + i + 1}: loss {record['loss']:.4g}")
        for name, (count, text) in ALARMS.items():
            if count in metrics.get(name, ()):
                logging.warning("Update %d: %s", step + len(finite), text)
        self.bar.set_postfix(loss=f"{metrics['loss'][-1]:.4g}", refresh=False)
        self.bar.update(len(finite))

    def _pace(self) -> dict[str, float]:
        """The seconds since it was last asked, and patches trained on in each."""
        since, self.since = self.since, (self.step, time.monotonic())
        updates, seconds = np.subtract(self.since, since).tolist()
        rate = updates * self.plan.batch / max(seconds, 1e-9)
        return {"seconds": seconds, "images_per_second": rate}

    def _estimate(self, step: int) -> None:
        """Says, once, how long the run will take, by its first updates.

        The first dispatch is left out, for it is also compiled.
        """
        if self.timed is None:
            self.timed = (step, time.monotonic())
        if not self.timed or step < self.timed[0] + TIMED:
            return
        updates, seconds = np.subtract((step, time.monotonic()), self.timed).tolist()
        left = seconds / updates * (self.total - step)
        self.timed = ()
        process.say(
            f"The {self.total - step:,} updates left will take about {_span(left)} on "
            f"this device, validations not counted."
            + f" {QUICK} trains a useful model in minutes."
            * (left > 3600)
        )

    def _validate(self, interrupt: process.Interrupt) -> dict[str, float]:
        """Mean scores of the validation images, PSNR in dB in all and by scale.

        Empty if interrupted; all but "validation_psnr" on the first process alone.
        """
        scores = {}
        if self.log is not None:
            scales = self.config["data"]["scales"]
            means = []
            rows = protocol.evaluate(
                self._model(), self.validation, scales, lpips=self.lpips
            )
            total = len(scales) * (len(self.validation.names) + 1)
            bar = tqdm.tqdm(rows, "validating", total, leave=False, disable=None)
            for row in bar:
                if interrupt.number:
                    break
                if row.image == "mean":
                    means.append(row)
            else:
                # A blank image is restored exactly, to an infinite PSNR.
                psnr = float(min(np.mean([row.psnr for row in means]), 100.0))
                scores = {f"validation_psnr_x{row.scale}": row.psnr for row in means}
                scores["validation_psnr"] = psnr
                for name in ("ssim", "lpips"):
                    values = [getattr(row, name) for row in means]
                    if None not in values:
                        scores[f"validation_{name}"] = float(np.mean(values))
        psnr = float(process.from_first(scores.get("validation_psnr", np.nan)))
        if np.isnan(psnr):
            return {}
        if self.config["plateau"].get("of") == "validation":
            opt_state = optim.validated(self.state.opt_state, psnr)
            state = self.state._replace(opt_state=opt_state)
            self.state = jax.device_put(state, self.replicated)
        return scores | {"validation_psnr": psnr}

    def _keep(self, scores: dict[str, float]) -> None:
        """Keeps the best model by validation; before the first one, the newest.

        What `_validate` found is noted last: killed in between, the run finds it again.
        """
        if self.log is None:
            return
        by = results.best_by(self.config, self.lpips)
        value = SIGNS[by] * scores[f"validation_{by}"] if by and scores else None
        if not by or self.best is None or (value is not None and value > self.best):
            self.best = value
            weights.save(self.workdir / weights.MODEL, self._model(scores))
        if scores:
            crops = self._crops()
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
                f"update {self.step}, epoch {self.step / self.plan.epoch:.2f}: "
                f"{self.validation.name} {', '.join(found)}"
            )

    def _crops(self) -> list[list[np.ndarray]]:
        """[bicubic, ours, true] of some images, where bicubic is furthest off."""
        scale, model = max(self.config["data"]["scales"]), self._model()
        count = min(3, len(self.validation.names))
        return [
            protocol.crops(model, self.validation.read(i), scale, side=96)
            for i in range(count)
        ]

    def _model(self, scores: dict[str, float] | None = None) -> weights.Model:
        names = [name for name in SIGNS if f"validation_{name}" in (scores or {})]
        card = weights.make_card(
            self.net,
            color=self.config["color"],
            scales=list(self.config["data"]["scales"]),
            trained_on=self.source.name,
            step=self.step,
            digest=identity.digest(self.settings),
            objective=self.config["objective"]["name"],
            loss=setup.loss_name(self.config),
            validation={"data": self.validation.name}
            | {name: scores[f"validation_{name}"] for name in names},
            epochs=round(self.step / self.plan.epoch, 3),
            hours=round(self.clock.seconds() / 3600, 3),
            device=f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            **({"blur": blur} if (blur := self.config["data"]["blur"]) else {}),
            **self.origin,
        )
        variables = jax.device_get(steps.variables_of(self.state))
        return weights.Model(self.net, variables, card)

    def _best_so_far(self) -> float | None:
        """How good the model so far is on the validation images of now, if known."""
        try:
            card = weights.load(self.workdir / weights.MODEL).card
        except FileNotFoundError:
            return None
        except ValueError as error:
            logging.warning("%s. It will be written anew.", error)
            return None
        validation = card.get("validation", {})
        by = results.best_by(self.config, self.lpips)
        same = validation.get("data") == self.validation.name
        same &= card.get("blur", 0.0) == self.config["data"]["blur"]
        return SIGNS[by] * validation[by] if same and by in validation else None

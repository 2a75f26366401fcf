"""The training loop: the only place that compiles the step, logs and saves."""

import hashlib
import inspect
import itertools
import json
import logging
import os
import pathlib
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from clu import parameter_overview
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from jaxsr import (
    checkpoint,
    evaluate,
    logs,
    losses,
    models,
    objectives,
    optim,
    report,
    weights,
)
from jaxsr import step as steps
from jaxsr.data import pairs, patches, sources

PRECISIONS = {
    # name -> (jax_default_matmul_precision, dtype of the network's activations)
    "bfloat16": ("default", "bfloat16"),
    "float32": ("highest", "float32"),
    "tf32": ("tensorfloat32", "float32"),
}
BACKENDS = ("device", "tfdata")

# Settings that a run may be gone on with changed: none alters what an update computes.
FREE = (
    "checkpoint",
    "data.backend",
    "data.dir",
    "data.strict",
    "evaluation",
    "log_every",
    "updates_per_dispatch",
    "validation",
)


def train(config, workdir: str | os.PathLike) -> None:
    """Trains as `config` says until its end, or until SIGINT or SIGTERM.

    Goes on from the newest checkpoint in `workdir` where there is one. In the end writes
    there model.safetensors, results.md, results.json and crops.png.

    Args:
        config: as experiments/base.py has it.
        workdir: the run's directory, made where it is missing.

    Raises:
        ValueError: for a setting that is wrong, or a workdir of another run.
        FloatingPointError: where the loss is not finite.
        SystemExit: with 128 + the signal's number after it was interrupted and saved.
    """
    config = config.to_dict()
    workdir = pathlib.Path(workdir)
    run = _Run(config, workdir)
    interrupt = _Interrupt()
    try:
        run.go(interrupt)
    finally:
        interrupt.restore()
        checkpoint.close(run.manager)
    if interrupt.number:
        _say(f"Interrupted and saved at update {run.step}. The same command goes on.")
        raise SystemExit(128 + interrupt.number)
    if jax.process_index() == 0:
        finish(config, workdir)


class _Run:
    """Everything that is set up once, and the loop over it."""

    def __init__(self, config: dict, workdir: pathlib.Path):
        _check(config)
        self.config, self.workdir = config, workdir
        data = config["data"]
        precision, dtype = PRECISIONS[config["precision"]]
        jax.config.update("jax_default_matmul_precision", precision)
        self.net = models.make(**config["network"])
        self.source, self.validation = open_data(data, config["validation"]["name"])
        self.digest = _digest(config, sources.digest(self.source))
        _claim(workdir, config, sources.digest(self.source))

        self.plan = make_plan(data, self.source, self.net.input)
        devices = jax.device_count()
        if data["batch"] % devices:
            raise ValueError(
                f"data.batch must be a multiple of the {devices} devices; got "
                f"{data['batch']}."
            )
        mesh = jax.make_mesh(
            (devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
        )
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self.sharded = NamedSharding(mesh, PartitionSpec(None, "data"))
        self.feed = _make_feed(config, self.source, self.plan, self.net.input)

        epoch, epochs = self.plan.epoch, config["epochs"]
        self.total = round(epochs * epoch)
        self.schedule = choose(
            optim.SCHEDULES, "schedule", config["schedule"], epoch=epoch, epochs=epochs
        )
        tx = choose(optim.OPTIMIZERS, "optim", config["optim"], self.schedule)
        trained = self.net
        if dtype != "float32":
            trained = models.make(**config["network"] | {"dtype": dtype})
        objective = objectives.supervised(trained, losses.LOSSES[config["loss"]])
        self.update = jax.jit(
            steps.make_train_steps(
                steps.make_train_step(objective, tx, ema_decay=config["ema_decay"]),
                self.feed.cut,
            ),
            in_shardings=(self.replicated, self.replicated, self.sharded),
            out_shardings=self.replicated,
            donate_argnums=0,
        )

        shape = [1, data["patch"], data["patch"], pairs.COLORS[config["color"]]]
        variables = self.net.init(jax.random.key(config["seed"]), jnp.zeros(shape))
        state = steps.init_state(variables, tx, ema=config["ema_decay"] > 0)
        self.state = jax.device_put(state, self.replicated)
        self.manager = checkpoint.open_directory(
            workdir / "checkpoints", keep=config["checkpoint"]["keep"]
        )
        restored = checkpoint.restore(self.manager, self.state)
        if restored is not None:
            self.state = restored
        self.step = int(self.state.step)
        self.best = _best(workdir)
        self.log = None
        if jax.process_index() == 0:
            self.log = logs.Log(workdir, step=self.step, every=config["log_every"])
            _say(parameter_overview.get_parameter_overview(variables["params"]))
            _say(
                f"{self.source.name}: {len(self.source.names)} images, "
                f"{self.plan.patches} patches and {epoch} updates an epoch; "
                f"{devices} x {jax.devices()[0].device_kind}; "
                f"{self.total} updates, {self.step} of them done."
            )

    def go(self, interrupt: "_Interrupt") -> None:
        """Updates until the end, a signal, or a loss that is not finite."""
        config = self.config
        each = config["updates_per_dispatch"] or (
            1 if jax.default_backend() == "cpu" else 32
        )
        inputs = self.feed.inputs(self.step, self.total - self.step)
        data = jax.device_put(self.feed.data, self.replicated)
        saved_at, pending = time.monotonic(), None
        self.since = (self.step, time.monotonic())
        bar = tqdm.tqdm(
            total=self.total,
            initial=self.step,
            unit="update",
            dynamic_ncols=True,
            disable=None if self.log else True,
        )
        with bar:
            while self.step < self.total:
                count = min(each - self.step % each, self.total - self.step)
                batches = list(itertools.islice(inputs, count))
                self.state, metrics = self.update(self.state, data, self._put(batches))
                epoch_before = self._epochs()
                self.step += count
                # The numbers of the last dispatch are read while this one computes.
                self._read(pending, bar)
                pending = (self.step - count, metrics)
                late = (
                    time.monotonic() - saved_at > 60 * config["checkpoint"]["minutes"]
                )
                stop, late = _agree(interrupt.number, late)
                validate = int(self._epochs()) > int(epoch_before)
                done = self.step >= self.total
                if stop or late or validate or done:
                    self._read(pending, bar)
                    pending = None
                    psnr = self._validate() if validate or done else None
                    checkpoint.save(self.manager, self.state, psnr=psnr)
                    self._write_model(psnr)
                    saved_at = time.monotonic()
                if stop:
                    interrupt.number = stop
                    return

    def _epochs(self) -> float:
        return self.step / self.plan.epoch / self.config["validation"]["every"]

    def _put(self, batches):
        """Stacks the inputs of several updates and spreads them over the devices."""
        stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self.sharded, x), stacked
        )

    def _read(self, pending, bar) -> None:
        """Checks and logs the metrics of one dispatch: (step before it, arrays)."""
        if pending is None:
            return
        step, metrics = pending
        metrics = jax.device_get(metrics)
        finite = np.isfinite(metrics["loss"])
        if not finite.all():
            raise FloatingPointError(
                f"the loss is {metrics['loss'][~finite][0]} at update "
                f"{step + int(np.argmin(finite)) + 1}. The last good checkpoint is that "
                f"of update {self.manager.latest_step()} in {self.manager.directory}. A "
                "lower learning rate or a tighter clip may help."
            )
        if self.log is None:
            return
        for i in range(len(finite)):
            means = self.log.update(
                step + i + 1, {name: x[i] for name, x in metrics.items()}
            )
            if means:
                means["learning_rate"] = float(self.schedule(step + i))
                means["images_per_second"] = self._speed()
                self.log.write(step + i + 1, means)
        bar.set_postfix(loss=f"{metrics['loss'][-1]:.4g}", refresh=False)
        bar.update(len(finite))

    def _speed(self) -> float:
        """Patches trained on per second since it was last asked."""
        since, self.since = self.since, (self.step, time.monotonic())
        updates, seconds = np.subtract(self.since, since)
        return float(updates * self.plan.batch / max(seconds, 1e-9))

    def _validate(self) -> float:
        """Mean PSNR in dB over the validation images and scales, the same everywhere."""
        psnr = np.zeros([])
        if self.log is not None:
            model = self._model()
            rows = list(
                evaluate.evaluate(model, self.validation, self.config["data"]["scales"])
            )
            means = [row for row in rows if row.image == "mean"]
            psnr = np.mean([row.psnr for row in means])
            scores = {f"validation_psnr_x{row.scale}": row.psnr for row in means}
            self.log.write(self.step, {"validation_psnr": float(psnr), **scores})
            self.log.write_images(self.step, {"bicubic, ours, true": self._picture()})
            tqdm.tqdm.write(
                f"update {self.step}, epoch {self.step / self.plan.epoch:.2f}: "
                f"{self.validation.name} {psnr:.3f} dB"
            )
        if jax.process_count() > 1:
            psnr = multihost_utils.broadcast_one_to_all(psnr)
        return float(psnr)

    def _picture(self) -> np.ndarray:
        """[1, side, 3 * side, 1]: where bicubic is furthest off on the first image."""
        scale = max(self.config["data"]["scales"])
        pixels = self.validation.read(0)
        sr, hr = evaluate.restore_image(self._model(), pixels, scale)
        base, _ = evaluate.restore_image(evaluate.bicubic(), pixels, scale)
        top, left = report.crop_box(base, hr, 96)
        crops = [x[top : top + 96, left : left + 96] for x in (base, sr, hr)]
        return np.concatenate(crops, axis=1)[None]

    def _model(self, psnr: float | None = None) -> weights.Model:
        config = self.config
        card = weights.make_card(
            self.net,
            color=config["color"],
            scales=list(config["data"]["scales"]),
            trained_on=self.source.name,
            step=self.step,
            digest=self.digest,
            validation={"data": self.validation.name, "psnr": psnr},
            epochs=round(self.step / self.plan.epoch, 3),
        )
        variables = jax.device_get(steps.variables_of(self.state))
        return weights.Model(self.net, variables, card)

    def _write_model(self, psnr: float | None) -> None:
        """Keeps the best model by validation; before the first validation, the newest."""
        better = self.best is None if psnr is None else psnr > (self.best or 0.0)
        if better and self.log is not None:
            weights.save(self.workdir / "model.safetensors", self._model(psnr))
        self.best = psnr if better else self.best


class _Interrupt:
    """Notes SIGINT and SIGTERM, so that the loop can save and leave; a second one ends."""

    def __init__(self):
        self.number = 0
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM)
        }

    def _note(self, number, frame):
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        tqdm.tqdm.write("Saving, then leaving; once more leaves without saving.")

    def restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def finish(config: dict, workdir: pathlib.Path) -> None:
    """Scores the run's model on the benchmark sets at hand and shows the table."""
    path = workdir / "model.safetensors"
    model = weights.load(path)
    if (workdir / "results.md").exists() and model.card["scores"]:
        _say((workdir / "results.md").read_text())
        return
    data_dir = config["data"]["dir"] or None
    sets = []
    for name in config["evaluation"]["sets"]:
        try:
            sets.append(sources.open_source(name, data_dir))
        except sources.DataNotFound as error:
            logging.info("Left out of the table: %s", error)
    if not sets:
        sets = [open_data(config["data"], config["validation"]["name"])[1]]
    scales = config["data"]["scales"]
    total = 2 * len(scales) * sum(len(source.names) + 1 for source in sets)
    rows = evaluate.compare(model, sets, scales)
    scores = list(tqdm.tqdm(rows, "scoring", total, leave=False, disable=None))
    table = report.table(scores, model.card["network"])
    protocol = evaluate.PROTOCOLS[model.card["color"]]
    text = (
        f"{table}\n\nPSNR in dB / SSIM. Trained on {model.card['trained_on']}, "
        f"{model.card['step']} updates. Protocol: {protocol}.\n"
    )
    means = [s for s in scores if s.image == "mean" and s.network != "bicubic"]
    for s in means:
        of_set = model.card["scores"].setdefault(s.data, {})
        of_set[f"x{s.scale}"] = {"psnr": s.psnr, "ssim": s.ssim}
    model.card["protocol"] = protocol
    report.write_json(workdir / "results.json", scores, card=model.card)
    _draw_crops(workdir / "crops.png", model, sets[0], max(scales))
    weights.save(path, model)
    (workdir / "results.md").write_text(text)
    _say(text)


def _draw_crops(path, model, source, scale):
    columns = {"bicubic": [], model.card["network"]: [], "true": []}
    boxes = []
    for i in range(min(4, len(source.names))):
        pixels = source.read(i)
        sr, hr = evaluate.restore_image(model, pixels, scale)
        base, _ = evaluate.restore_image(evaluate.bicubic(), pixels, scale)
        for column, x in zip(columns.values(), (base, sr, hr)):
            column.append(x)
        boxes.append(report.crop_box(base, hr))
    report.crops(path, columns, boxes=boxes)


def open_data(data: dict, validation: str) -> tuple[sources.Source, sources.Source]:
    """The training and the validation images that a config asks for.

    A named set that is not on disk is fetched; where that fails too, the run goes on
    with `samples`, unless data.strict.
    """
    try:
        return _open(data, data["name"]), _open(data, validation)
    except sources.DataNotFound as error:
        if data["strict"]:
            raise
        print(
            f"\n{'!' * 78}\n!! {error}\n!! TRAINING ON THE FEW PHOTOGRAPHS OF `samples` "
            "INSTEAD; its scores will be lower.\n!! data.strict=True makes this an "
            f"error.\n{'!' * 78}\n",
            flush=True,
        )
        return (
            sources.open_source("samples"),
            sources.open_source("samples-validation"),
        )


def _open(data, name):
    data_dir = data["dir"] or None
    try:
        return sources.open_source(name, data_dir)
    except sources.DataNotFound as missing:
        try:
            sources.fetch(name, data_dir)
        except (OSError, ValueError) as error:
            raise sources.DataNotFound(f"{missing} Fetching failed: {error}") from error
        return sources.open_source(name, data_dir)


def make_plan(data: dict, source: sources.Source, input: str) -> patches.Plan:
    """The plan of a run, from the `data` section of its config."""
    common = {
        name: data[name] for name in ("scales", "patch", "batch", "symmetries")
    } | {"input": input}
    if data["plan"] == "random" or source.sizes is None:
        return patches.random_plan(
            len(source.names), sizes=source.sizes, epoch=data["epoch"], **common
        )
    return patches.grid_plan(source.sizes, stride=data["stride"], **common)


def _make_feed(config, source, plan, input):
    data = config["data"]
    if data["backend"] == "device":
        from jaxsr.data import device as backend
    else:
        from jaxsr.data import tfdata as backend
    return backend.make_feed(
        source,
        plan,
        seed=config["seed"],
        scales=tuple(data["scales"]),
        patch=data["patch"],
        color=config["color"],
        input=input,
        blur=data["blur"],
        shard=(jax.process_index(), jax.process_count()),
    )


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
    known = list(inspect.signature(table[name]).parameters)[len(args) :]
    known = [key for key in known if key not in given]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"{section} {name!r} has the settings {known}; got {unknown}.")
    try:
        return table[name](*args, **settings, **given)
    except TypeError as error:
        raise ValueError(
            f"{section} {name!r} needs the settings {known}: {error}"
        ) from error


def _check(config):
    for name, table in (
        ("loss", losses.LOSSES),
        ("precision", PRECISIONS),
        ("color", pairs.COLORS),
    ):
        if config[name] not in table:
            raise ValueError(
                f"{name} must be one of {sorted(table)}; got {config[name]!r}."
            )
    for name, known in (("backend", BACKENDS), ("plan", ("grid", "random"))):
        if config["data"][name] not in known:
            raise ValueError(
                f"data.{name} must be one of {known}; got {config['data'][name]!r}."
            )
    for name in ("epochs", "log_every"):
        if config[name] <= 0:
            raise ValueError(f"{name} must be positive; got {config[name]}.")
    if config["validation"]["every"] <= 0:
        raise ValueError("validation.every must be a positive number of epochs.")
    if not 0 <= config["ema_decay"] < 1:
        raise ValueError(
            f"ema_decay must be from 0 to below 1; got {config['ema_decay']}."
        )


def _flat(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _bound(config) -> dict:
    """The settings that make a run what it is, as JSON gives them back."""
    free = FREE
    if config["schedule"]["name"] != "cosine":
        free += ("epochs",)  # then more epochs just go on
    flat = {
        key: value
        for key, value in _flat(config)
        if not any(key == name or key.startswith(f"{name}.") for name in free)
    }
    return json.loads(json.dumps(flat))


def _digest(config, data: str) -> str:
    text = json.dumps([_bound(config), data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _claim(workdir, config, data):
    """Writes down what run a workdir belongs to, or checks that it is this one."""
    path = workdir / "config.json"
    ours = _bound(config) | {"data.digest": data}
    if not path.exists():
        if jax.process_index() == 0:
            workdir.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(ours, indent=1) + "\n")
        return
    theirs = json.loads(path.read_text())
    differing = [
        f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} now"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    if differing:
        raise ValueError(
            f"{workdir} belongs to another run ({'; '.join(differing)}). Give another "
            "--workdir, or the settings of that run."
        )


def _best(workdir) -> float | None:
    path = workdir / "model.safetensors"
    return weights.load(path).card["validation"]["psnr"] if path.exists() else None


def _agree(number: int, late: bool) -> tuple[int, bool]:
    """The signal and the need to save, if any process has them."""
    if jax.process_count() > 1:
        flags = multihost_utils.process_allgather(np.array([number, int(late)]))
        number, late = flags.max(axis=0).tolist()
    return int(number), bool(late)


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)

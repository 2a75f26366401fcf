"""Trains the shipped models one after another: python -m jaxsr.training.queue [NAME...]

experiments/shipped.toml lists them. Rerun the command to resume. Finished runs and
models that have reached their goal are skipped. A model that is better on the
validation images than the shipped one replaces it.
"""

import importlib
import math
import pathlib
import shlex
import sys
import tomllib
from collections.abc import Sequence
from typing import NamedTuple

import ml_collections

from jaxsr import cards, devices, terminal, weights
from jaxsr.data import sets
from jaxsr.evaluation import protocol, rating
from jaxsr.training import config as configs
from jaxsr.training import identity, logs, loop, process

VALIDATION = "validation"  # the images by which a model is chosen for a scale


class Entry(NamedTuple):
    """One model of the list."""

    name: str  # of the shipped model, and of its run's directory
    experiment: str  # a file of the list's folder, without its suffix
    settings: dict  # setting -> value, over those of the experiment
    goal: dict  # scale, as "x2" -> PSNR on Set5 in dB that is enough; may be empty

    @property
    def flags(self) -> list[str]:
        """The settings as flags of jaxsr.main."""
        return [f"--config.{key}={value}" for key, value in self.settings.items()]


class Progress(NamedTuple):
    """How far a run is."""

    state: str  # "not begun", "begun" or "done"
    updates: int
    total: int
    psnr: float | None  # of its best model on the validation images, in dB
    hours_left: float | None  # at the pace of its newest record


def read(path: pathlib.Path) -> list[Entry]:
    """The models that a file such as experiments/shipped.toml lists, in its order.

    Raises:
        ValueError: for a file that is not such a list.
    """
    try:
        content = tomllib.loads(path.read_text())
        common = content.get("settings", {})
        return [
            Entry(
                name,
                entry["experiment"],
                _tuples(common | entry["settings"]),
                entry.get("goal", {}),
            )
            for name, entry in content["models"].items()
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must have a table [models.NAME] with `experiment` and `settings` "
            f"for each model: {error!r}."
        ) from error


def _tuples(value):
    """The value with tuples for TOML's lists, as configs have them."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def make_config(entry: Entry) -> ml_collections.ConfigDict:
    """The settings of a model's run.

    Raises:
        ValueError: for an experiment or a setting that does not exist.
    """
    try:
        config = importlib.import_module(f"experiments.{entry.experiment}").get_config()
        for key, value in entry.settings.items():
            section, _, last = key.rpartition(".")
            holder = config
            for part in section.split(".") if section else ():
                holder = holder[part]
            if last not in holder:
                raise KeyError(f"no setting {key!r}")
            with holder.ignore_type():
                holder[last] = value
    except (ModuleNotFoundError, KeyError, TypeError) as error:
        raise ValueError(f"{entry.name}: {error.args[0]}.") from error
    return config


def progress(entry: Entry, runs: pathlib.Path) -> Progress:
    """How far the run of a model is, from its directory."""
    config, workdir = make_config(entry), runs / entry.name
    total = round(config.epochs * config.data.epoch)
    records = logs.read(workdir)
    paced = [record for record in records if record.get("seconds")]
    updates = records[-1]["step"] if records else 0
    done = (workdir / "results.md").exists()
    hours = None
    if done:
        hours = 0.0
    elif paced:
        rate = paced[-1]["images_per_second"] / config.data.batch
        hours = (total - updates) / rate / 3600
    state = "done" if done else "begun" if updates else "not begun"
    return Progress(state, updates, total, _psnr(workdir / weights.MODEL), hours)


def table(entries: list[Entry], runs: pathlib.Path, shipped: pathlib.Path) -> str:
    """How far each model is, as Markdown; arguments as for `main`."""
    lines = [
        "| model | state | updates | validation, dB | shipped, dB | hours left |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in entries:
        run = progress(entry, runs)
        before = _psnr(_file(entry.name, shipped))
        psnrs = ["-" if x is None else f"{x:.3f}" for x in (run.psnr, before)]
        hours = "-" if run.hours_left is None else f"{run.hours_left:.1f}"
        cells = [entry.name, run.state, f"{run.updates:,} of {run.total:,}"]
        lines.append(f"| {' | '.join([*cells, *psnrs, hours])} |")
    return "\n".join(lines)


def _file(name: str, shipped: pathlib.Path) -> pathlib.Path:
    return shipped / f"{name}{cards.SUFFIX}"


def _reached(entry: Entry, shipped: pathlib.Path) -> bool:
    """Whether the shipped model is as good as its goal, by its card."""
    scores = _card(_file(entry.name, shipped)).get("scores", {}).get("Set5", {})
    return bool(entry.goal) and all(
        scale in scores and scores[scale]["psnr"] >= psnr
        for scale, psnr in entry.goal.items()
    )


def _card(path: pathlib.Path) -> dict:
    return weights.load(path).card if path.exists() else {}


def _psnr(path: pathlib.Path) -> float | None:
    """The validation PSNR, in dB, on the card of a model, where there is one."""
    return _card(path).get("validation", {}).get("psnr")


def _quality(path: pathlib.Path) -> float | None:
    """The higher, the better: `_psnr`, or minus LPIPS of a GAN's generator."""
    card = _card(path)
    if card.get("objective") != configs.ADVERSARIAL:
        return _psnr(path)
    lpips = card.get("validation", {}).get("lpips")
    return None if lpips is None else -lpips


def take(
    name: str, workdir: pathlib.Path, shipped: pathlib.Path, benchmarks: Sequence[str]
) -> bool:
    """Ships the best model of a run if it is better than the shipped one.

    The validation images alone decide; the sets `benchmarks` are then scored for its
    card, with the mean over eight symmetries if the replaced model's card has it.

    Returns whether it was shipped.
    """
    path = _file(name, shipped)
    found, before = _quality(workdir / weights.MODEL), _quality(path)
    if found is None or (before is not None and found <= before):
        return False
    model = weights.halved(weights.load(workdir))
    ensemble = path.exists() and "ensemble" in weights.load(path).card
    scales = model.card["scales"]
    opened = [protocol.measurable(sets.open_source(s), scales) for s in benchmarks]
    model = model._replace(card=model.card | {"scores": {}})
    scores = list(protocol.compare(model, opened, scales, ensemble=ensemble))
    model = protocol.with_scores(model, scores)
    shipped.mkdir(parents=True, exist_ok=True)
    weights.save(path, rating.rated(model, sets.open_source(VALIDATION)))
    text = ", ".join(
        f"{data} {scale} {score['psnr']:.2f}"
        for data, scales in model.card["scores"].items()
        for scale, score in scales.items()
    )
    was = "" if before is None else f" (was {abs(before):.3f})"
    unit = "LPIPS" if model.card.get("objective") == configs.ADVERSARIAL else "dB"
    process.say(f"{name}: {abs(found):.3f} {unit} on validation{was}; {text}. Shipped.")
    return True


def rate(names: list[str], shipped: pathlib.Path) -> None:
    """Writes `rating.rated`'s tables onto the cards of shipped models: these, or all.

    Nothing else in the files changes.
    """
    validation = sets.open_source(VALIDATION)
    for name in names or sorted(path.stem for path in shipped.glob(f"*{cards.SUFFIX}")):
        path = _file(name, shipped)
        model = rating.rated(weights.load(path), validation)
        weights.save(path, weights.halved(model))
        found = model.card["upscaling"].items()
        text = ", ".join(f"x{scale} {row['psnr']:.2f}" for scale, row in found)
        process.say(f"{name}: {text} dB")


def main(argv: list[str] | None = None) -> int:
    parser = terminal.Parser(
        prog="python -m jaxsr.training.queue", description=__doc__.split("\n\n")[1]
    )
    parser.add_argument("names", nargs="*", help="models of the list; default: all")
    parser.add_argument(
        "--models", default="experiments/shipped.toml", help="the list (%(default)s)"
    )
    parser.add_argument(
        "--runs",
        default="runs",
        help="the folder of the work directories (%(default)s)",
    )
    parser.add_argument(
        "--shipped",
        default=cards.FOLDER,
        type=pathlib.Path,
        help="where improved models are put (default: in the package)",
    )
    parser.add_argument(
        "--list", action="store_true", help="show the progress of each run"
    )
    parser.add_argument(
        "--rate",
        action="store_true",
        help="only measure again the figures by which `--model auto` chooses",
    )
    parser.add_argument(
        "--take", action="store_true", help="only ship the models improved so far"
    )
    args = parser.parse_args(argv)
    terminal.make_safe()
    runs = pathlib.Path(args.runs).expanduser()
    args.shipped = args.shipped.expanduser()
    try:
        if args.rate:
            devices.keep_compiled()
            rate(args.names, args.shipped)
            return 0
        entries = _chosen(read(pathlib.Path(args.models).expanduser()), args.names)
        configs = [make_config(entry) for entry in entries]
    except (ValueError, OSError) as error:
        sys.exit(f"error: {terminal.printable(str(error))}")
    if args.list:
        print(table(entries, runs, args.shipped))
        return 0
    if args.take:
        for entry, config in zip(entries, configs):
            benchmarks = config.evaluation.sets
            take(entry.name, runs / entry.name, args.shipped, benchmarks)
        return 0
    devices.keep_compiled()
    devices.use_cores(math.gcd(*(config.data.batch for config in configs)))
    failed = []
    for entry, config in zip(entries, configs):
        workdir = runs / entry.name
        try:
            if progress(entry, runs).state != "done":
                if _reached(entry, args.shipped):
                    process.say(f"{entry.name}: its goal is reached.")
                    continue
                _train(entry, config, workdir)
            # Also of a run that was done before: a kill may have come in between.
            take(entry.name, workdir, args.shipped, config.evaluation.sets)
        except loop.ERRORS as error:
            failed.append(entry.name)
            process.say(f"{entry.name} failed: {error}")
    if failed:
        process.say(f"{len(failed)} of {len(entries)} failed: {', '.join(failed)}.")
    return int(bool(failed))


def _train(entry: Entry, config, workdir: pathlib.Path) -> None:
    """Runs to the end, also where images were skipped, which the run has said."""
    process.say(f"{entry.name}: {entry.experiment} {shlex.join(entry.flags)}")
    origin = identity.origin(f"{entry.experiment}.py", entry.flags)
    try:
        loop.train(config, workdir, origin=origin)
    except SystemExit as stop:
        if stop.code != 1:  # interrupted
            raise


def _chosen(entries, names):
    known = [entry.name for entry in entries]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"models must be among {known}; got {unknown}.")
    return [entry for entry in entries if not names or entry.name in names]


if __name__ == "__main__":
    sys.exit(main())

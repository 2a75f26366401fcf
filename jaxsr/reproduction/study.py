"""What a study is: runs that differ in one thing, their scores, and their figure."""

import importlib
import importlib.util
import json
import pathlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

from jaxsr import studies, weights
from jaxsr.training import config as configs
from jaxsr.training import logs

# In the work directory of a run, written when it has been measured.
MEASURED, SECONDS = "measured.json", "seconds_per_image.txt"


class Job(NamedTuple):
    """One run of a study, whether it has run or not."""

    variant: str
    seed: int
    config: dict
    workdir: pathlib.Path
    model: str = ""  # the name of one that is measured as it is, or nothing

    @property
    def measured(self) -> dict | None:
        """{"columns": its numbers} or {"failed": reason}, once it is measured."""
        path = self.workdir / MEASURED
        return json.loads(path.read_text()) if path.exists() else None

    def trained(self) -> "Run":
        """The run once it is trained, or of the model that it names."""
        model = weights.load(self.model or self.workdir / weights.MODEL)
        config = self.config
        if self.model:
            data = config["data"] | {"scales": tuple(model.card["scales"])}
            config = config | {"color": model.card["color"], "data": data}
        return Run(config, model, logs.read(self.workdir), self.workdir)


class Run(NamedTuple):
    """A trained variant."""

    config: dict
    model: weights.Model
    records: list[dict]  # its metrics.jsonl
    workdir: pathlib.Path


class Results(NamedTuple):
    """The scores of a study, as far as it has run.

    Attributes:
        measured: variant -> for each seed its column -> number, empty if it failed.
        paper: variant -> column -> the number that the paper prints.
        bicubic: column -> the score of bicubic interpolation.
        curves: variant -> for each seed its validations as (epoch, PSNR in dB).
        seconds: variant -> for each seed the seconds for an image, where a study is
            timed; these are in no table.
        jobs: what has been measured without failing.
    """

    measured: dict[str, list[dict[str, float]]]
    paper: dict[str, dict[str, float]]
    bicubic: dict[str, float]
    curves: dict[str, list[list[tuple[float, float]]]]
    seconds: dict[str, list[float]]
    jobs: list[Job]


class Study(NamedTuple):
    """A study of a paper.

    Attributes:
        varies: what its variants differ in, and what they have in common.
        source: the paper's table or figure.
        settings: setting, as "data.patch" -> value, where it is not the default.
        variants: name -> the settings of this variant alone. Its "start" may be the
            name of another variant, which is then trained before it. One that has the
            setting "model", of `weights.load`, is that model and is not trained.
        measure: makes the numbers of a table's row of a `Run`; see `measures`.
        draw: makes the figure of `Results`; see `drawing`.
        strip: makes a strip of crops of them, or none.
        along: epochs between two measurements of the first of `sets` while a run
            trains, for studies of its course; 0 for none. Nothing is chosen by them.
        sets: the benchmark sets that are measured.
        timed: whether the seconds that a network takes for an image are measured.
        notes: what is not as in the paper, and what its numbers cannot be compared in.
        cells: variant -> column -> the paper's number; by default, those of this study
            in `papers.json`. A variant that is not run is a row all the same.
    """

    varies: str
    source: str
    settings: dict
    variants: dict[str, dict]
    measure: Callable[[Run], dict[str, float]]
    draw: Callable[[Results], object]
    strip: Callable[[Results], object] | None = None
    along: float = 0.0
    sets: tuple[str, ...] = ("Set5",)
    timed: bool = False
    notes: str = ""
    cells: dict[str, dict[str, float]] | None = None

    def config(self, variant: str, *, budget: float = 1.0, seed: int = 0) -> dict:
        """The settings of a variant's run.

        Args:
            variant: its name.
            budget: the fraction of the full length; the schedule shrinks with it.
            seed: of the network's first weights.
        """
        config = configs.defaults()
        own = {"validation.best_by": "", "evaluation.sets": (), "data.strict": True}
        own |= self.settings | self.variants[variant] | {"seed": seed}
        own.pop("model", None)
        for name, value in own.items():
            section, _, key = name.rpartition(".")
            place = config[section] if section else config
            if key not in place:
                raise ValueError(f"there is no setting {name!r}.")
            place[key] = dict(value) if isinstance(value, dict) else value
        config["epochs"] *= budget
        for key in ("every", "warmup"):
            if key in config["schedule"]:
                config["schedule"][key] *= budget
        if "updates" in config["objective"]:
            updates = round(config["objective"]["updates"] * budget)
            config["objective"]["updates"] = max(1, updates)
        # Validations choose nothing here, so they are of a set that is measured anyway.
        every = self.along * budget if self.along else config["epochs"]
        config["validation"] |= {"name": self.sets[0], "every": every}
        return config

    def order(self) -> list[str]:
        """The variants in an order in which each comes after its start."""
        ordered = []

        def add(name):
            start = self.variants[name].get("start")
            if start in self.variants:
                add(start)
            if name not in ordered:
                ordered.append(name)

        for name in self.variants:
            add(name)
        return ordered


def names() -> list[str]:
    """The names of the studies in the package."""
    found = pkgutil.iter_modules(studies.__path__)
    return sorted(module.name.replace("_", "-") for module in found)


def load(name: str) -> Study:
    """The study of that name, or of that Python file.

    Raises:
        ValueError: where there is none.
    """
    if name.endswith(".py"):
        spec = importlib.util.spec_from_file_location("study", name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.STUDY
    if name not in names():
        raise ValueError(
            f"the study must be one of {', '.join(names())}, or a Python file; got "
            f"{name!r}."
        )
    return importlib.import_module(f"jaxsr.studies.{name.replace('-', '_')}").STUDY

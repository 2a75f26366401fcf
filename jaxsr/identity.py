"""What makes a run what it is, and whether a directory is that run's."""

import hashlib
import json
import pathlib
import shlex
import subprocess

import jax

from jaxsr import files
from jaxsr.data import sources

# Settings that a run may be gone on with changed: none alters what an update computes.
FREE = (
    "checkpoint",
    "data.backend",
    "data.dir",
    "data.name",  # what images it has, by name and size, is compared
    "data.strict",
    "evaluation",
    "log_every",
    "perceptual.lpips",
    "perceptual.weights",
    "updates_per_dispatch",
    "validation",
)


# Setting -> the value under which versions that did not have it computed. A run of
# theirs resumes where that is its value now; a new setting without a row here refuses.
BEFORE = {
    "accumulate": 1,
    "data.blur": 0.0,
    "data.reduced": [1.0],
    "ema_decay": 0.0,
    "perceptual.layer": "conv5_4",
    "perceptual.reduction": "mean",
    "perceptual.total_variation": 0.0,
    "start": "",
}


def settings_of(
    config: dict, source: sources.Source, validation: sources.Source
) -> dict:
    """Setting -> value of all that makes a run what it is, its data included."""
    free = FREE
    if config["schedule"]["name"] != "cosine":
        free += ("epochs",)  # then more epochs just go on
    if config["plateau"].get("of") == "validation":
        free = tuple(name for name in free if name != "validation")
    settings = {
        key: value
        for key, value in _flat(config)
        if not any(key == name or key.startswith(f"{name}.") for name in free)
    }
    settings["start"] = pathlib.Path(config["start"]).name  # wherever it lies now
    settings["data.digest"] = sources.digest(source)
    if config["plateau"].get("of") == "validation":
        settings["validation.digest"] = sources.digest(validation)
    return json.loads(json.dumps(settings))


def digest(settings: dict) -> str:
    """SHA-256, in hex, of what makes a run what it is."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def origin(experiment: str, flags: list[str]) -> dict[str, str]:
    """Where a model comes from: the experiment with its settings, and the commit."""
    flags = [flag for flag in flags if not flag.startswith("--config.data.dir")]
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(
            git, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True
        ).stdout.strip()
    except OSError:  # no git on this machine
        commit = ""
    return {"recipe": shlex.join([experiment, *flags]), "commit": commit}


def claim(workdir: pathlib.Path, settings: dict) -> None:
    """Writes into a new workdir whose run it is, or checks that it is this one's."""
    path = workdir / "config.json"
    if not path.exists():
        if jax.process_index() == 0:
            workdir.mkdir(parents=True, exist_ok=True)
            files.write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        theirs = BEFORE | json.loads(path.read_bytes())
        theirs["start"] = pathlib.Path(theirs["start"]).name
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}), so the settings of that run are unknown. If "
            "yours are the same, remove the file and resume."
        ) from error
    differing = [
        f"{key}: {theirs.get(key)!r} there, {settings.get(key)!r} now"
        for key in sorted(settings.keys() | theirs.keys())
        if settings.get(key) != theirs.get(key)
    ]
    if differing:
        raise ValueError(
            f"{workdir} belongs to another run ({'; '.join(differing)}). Give another "
            "--workdir, or the settings of that run."
        )


def _flat(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

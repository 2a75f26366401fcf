"""Identifies the run that a work directory belongs to."""

import hashlib
import json
import pathlib
import shlex
import subprocess

import jax

from jaxsr import files
from jaxsr.data import sources
from jaxsr.training import config as configs

IMAGES = "images.json"  # beside config.json, what the run is trained on

# Settings that may change when a run is resumed: none alters what an update computes.
FREE = (
    "checkpoint",
    "data.backend",
    "data.dir",
    "data.low",  # as data.name
    "data.name",  # what images it has, by name and size, is compared
    "data.strict",
    "evaluation",
    "log_every",
    "parallel",
    "perceptual.lpips",
    "perceptual.weights",
    "remat",
    "sweep",
    "sweep_at_once",
    "updates_per_dispatch",
    "validation",
)


# Setting -> the value equivalent to versions before it existed. Their runs resume if
# the setting has this value. Without an entry here, a new setting makes them fail.
BEFORE = {
    "accumulate": 1,
    "channels": 1,
    "data.blur": 0.0,
    "data.reduced": [1.0],
    "ema_decay": 0.0,
    "perceptual.layer": "conv5_4",
    "perceptual.reduction": "mean",
    "perceptual.total_variation": 0.0,
    "revive": False,
    "start": "",
}


def settings_of(
    config: dict, source: sources.Source, validation: sources.Source
) -> dict:
    """Setting -> value, for all settings that identify a run, its data included."""
    free = FREE
    if config["schedule"]["name"] != "cosine":
        free += ("epochs",)  # then more epochs only continue the run
    if config["plateau"].get("of") == "validation":
        free = tuple(name for name in free if name != "validation")
        free += ("validation.low",)  # in the digest below
    settings = {
        key: value
        for key, value in configs.flat(config)
        if not any(key == name or key.startswith(f"{name}.") for name in free)
    }
    settings["start"] = pathlib.Path(config["start"]).name  # it may have been moved
    settings["data.digest"] = sources.digest(source)
    if config["plateau"].get("of") == "validation":
        settings["validation.digest"] = sources.digest(validation)
    return json.loads(json.dumps(settings))


def digest(settings: dict) -> str:
    """SHA-256, in hex, of the settings that identify a run."""
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


def sizes_of(source: sources.Source) -> dict[str, list[int] | None]:
    """Name -> (height, width), as far as it is known, of all images of a source."""
    sizes = source.sizes
    known = [None] * len(source.names) if sizes is None else sizes.tolist()
    found = dict(zip(source.names, known))
    for low in (source.low or {}).values():
        found |= sizes_of(low)
    return found


def claim(workdir: pathlib.Path, settings: dict, images: dict | None = None) -> None:
    """Marks a new workdir as this run's, or checks that it belongs to this run.

    Args:
        workdir: the run's directory.
        settings: as `settings_of` gives them.
        images: "data" and "validation" -> `sizes_of` their images, so that a resumed
            run can name those that changed.
    """
    path = workdir / "config.json"
    if not path.exists():
        _write(path, settings)
        if images is not None:
            _write(workdir / IMAGES, images)
        return
    try:
        theirs = json.loads(path.read_bytes())
        theirs = BEFORE | {"data.seed": theirs["seed"]} | theirs
        theirs["start"] = pathlib.Path(theirs["start"]).name
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}), so the settings of that run are unknown. If "
            "yours are the same, remove the file and resume."
        ) from error
    differing = [
        _changed(workdir, key.removesuffix(".digest"), images)
        if key.endswith(".digest")
        else f"{key}: {theirs.get(key)!r} there, {settings.get(key)!r} now"
        for key in sorted(settings.keys() | theirs.keys())
        if settings.get(key) != theirs.get(key)
    ]
    if differing:
        raise ValueError(
            f"{workdir} belongs to another run ({'; '.join(differing)}). Give another "
            "--workdir, or the settings of that run."
        )
    if images is not None and not (workdir / IMAGES).exists():
        _write(workdir / IMAGES, images)


def _write(path, content):
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps(content, indent=1) + "\n")


def _changed(workdir, whose, images):
    """How the images of "data" or "validation" differ from the run's."""
    try:
        before = json.loads((workdir / IMAGES).read_text())[whose]
        now = images[whose]
        kinds = {
            "new": sorted(now.keys() - before.keys()),
            "missing": sorted(before.keys() - now.keys()),
            "of another size": [n for n in now if now[n] != before.get(n, now[n])],
        }
    except (OSError, ValueError, TypeError, KeyError):
        return f"its images of {whose} changed, and {IMAGES} does not say which"
    changes = [
        f"{len(names)} {kind}: {', '.join(names[:9])}" + ", ..." * (len(names) > 9)
        for kind, names in kinds.items()
        if names
    ]
    how = ", ".join(changes) or "in their order or in low-resolution pixels"
    return f"its images of {whose} changed, {how}"

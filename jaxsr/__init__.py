"""Single-image super-resolution in JAX: the classic networks, exact to their papers.

    model = jaxsr.load("runs/vdsr")
    large = jaxsr.upscale(photo, 2.5, model)

Each module holds pure functions (jaxsr.image, jaxsr.models, jaxsr.optim
...), imported on first use.
"""

import importlib

_MODULES = (
    "build",
    "checkpoint",
    "comparison",
    "data",
    "enlarge",
    "evaluate",
    "files",
    "image",
    "jobs",
    "logs",
    "losses",
    "metrics",
    "models",
    "objectives",
    "optim",
    "perceptual",
    "published",
    "report",
    "step",
    "tiling",
    "train",
    "weights",
)
_MEMBERS = {
    "Model": "weights",
    "load": "weights",
    "make_upscaler": "enlarge",
    "save": "weights",
    "upscale": "enlarge",
    "upscale_files": "jobs",
}

__all__ = sorted([*_MODULES, *_MEMBERS])
__version__ = "0.1.0"


def __getattr__(name):
    if name in _MEMBERS:
        return getattr(importlib.import_module(f"jaxsr.{_MEMBERS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"jaxsr.{name}")
    raise AttributeError(f"jaxsr has {', '.join(__all__)}; got {name!r}.")


def __dir__():
    return __all__

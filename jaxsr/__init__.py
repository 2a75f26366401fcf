"""Single-image super-resolution in JAX: the classic networks, exact to their papers.

    model = jaxsr.load("runs/vdsr")
    large = jaxsr.upscale(photo, 2.5, model)

The public names are imported on first use. Modules of pure
functions: jaxsr.image, jaxsr.models, jaxsr.losses, jaxsr.metrics, jaxsr.optim ...
"""

import importlib

# public name -> its module
_MODULES = {
    **{
        name: name
        for name in (
            "data",
            "evaluation",
            "files",
            "image",
            "importers",
            "inference",
            "losses",
            "metrics",
            "models",
            "optim",
            "perceptual",
            "training",
            "weights",
        )
    },
    "checkpoint": "training.checkpoint",
    "evaluate": "evaluation.protocol",
    "objectives": "training.objectives",
    "report": "evaluation.tables",
    "step": "training.step",
    "tiling": "inference.tiling",
    "train": "training.loop",
}
# public name -> the module that it is a member of
_MEMBERS = {
    "Model": "weights",
    "load": "weights",
    "make_upscaler": "inference.upscale",
    "save": "weights",
    "upscale": "inference.upscale",
    "upscale_files": "inference.jobs",
}

__all__ = sorted([*_MODULES, *_MEMBERS])
__version__ = "0.1.0.dev0"


def __getattr__(name):
    if name in _MEMBERS:
        return getattr(importlib.import_module(f"jaxsr.{_MEMBERS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"jaxsr.{_MODULES[name]}")
    raise AttributeError(f"jaxsr has {', '.join(__all__)}; got {name!r}.")


def __dir__():
    return __all__

"""The networks, one file each, and the table of their names.

A network is a Flax module whose class says, as `input`, what it takes: "interpolated"
(the bicubic-enlarged image, any scale) or "low" (the low-resolution image, enlarged by
its field `scale`); and whose property `halo` says how many input pixels on each side
one output pixel depends on.
"""

import dataclasses
import math
import types
import typing

import flax.linen as nn

from jaxsr import checks
from jaxsr.models.drcn import DRCN
from jaxsr.models.drrn import DRRN
from jaxsr.models.edsr import EDSR
from jaxsr.models.espcn import ESPCN
from jaxsr.models.fsrcnn import FSRCNN
from jaxsr.models.interpolation import Bicubic, Bilinear, Lanczos, Nearest
from jaxsr.models.lapsrn import LapSRN, MSLapSRN
from jaxsr.models.mdsr import MDSR
from jaxsr.models.red import RED
from jaxsr.models.srcnn import SRCNN
from jaxsr.models.srdensenet import SRDenseNet
from jaxsr.models.srresnet import SRResNet
from jaxsr.models.vdsr import VDSR


def make(name: str, **fields) -> nn.Module:
    """The network of that name in `MODELS`, its paper's but for `fields`."""
    if name not in MODELS:
        raise ValueError(f"network must be one of {sorted(MODELS)}; got {name!r}.")
    return made(MODELS[name], name, fields)


def made(cls: type[nn.Module], name: str, fields: dict) -> nn.Module:
    """The module of a class; a ValueError names a field that cannot be meant."""
    known = fields_of(cls)
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"{name} has the fields {sorted(known)}; got {unknown}.")
    fields = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in fields.items()
    }  # a module with a list in it cannot be hashed by jit
    annotations = {f.name: f.type for f in dataclasses.fields(cls)}
    for key, value in fields.items():
        checks.check(f"{name}'s {key}", value, _kind(key, annotations[key]))
    layers = math.prod((known | fields).get(key, 1) for key in REPEATED)
    checks.check(f"the product of {name}'s {', '.join(REPEATED)}", layers, LAYERS)
    return cls(**fields)


def _kind(key: str, type_: type) -> checks.Kind:
    """What a field of this name and annotation may hold."""
    if typing.get_origin(type_) is tuple:
        return checks.several(_kind(key, typing.get_args(type_)[0]), least=1)
    if isinstance(type_, types.UnionType):
        return checks.either(*(_kind(key, t) for t in typing.get_args(type_)))
    kinds = {int: INTEGERS.get(key, checks.integer(most=4096)), bool: checks.FLAG}
    kinds |= {float: checks.number(), str: checks.TEXT, type(None): checks.NOTHING}
    return kinds.get(type_, checks.ANYTHING)


def check_precision(name: str) -> None:
    """Raises a ValueError where it is no key of `PRECISIONS`."""
    if name not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {sorted(PRECISIONS)}; got {name!r}."
        )


def name_of(net: nn.Module) -> str:
    """The name of a network in `MODELS`."""
    for name, cls in MODELS.items():
        if type(net) is cls:
            return name
    raise ValueError(
        f"network must be one of {sorted(MODELS)}; got {type(net).__name__}."
    )


def scales_of(net: nn.Module) -> tuple[int, ...] | None:
    """By what a network enlarges; None where it takes an enlarged image, of any."""
    if getattr(net, "input", "interpolated") != "low":
        return None
    return getattr(net, "scales", None) or (net.scale,)


def fields_of(net: nn.Module | type[nn.Module]) -> dict:
    """Name -> value (of a class: default) of a network's own fields."""
    return {
        field.name: getattr(net, field.name, None)
        for field in dataclasses.fields(net)
        if field.name not in ("parent", "name")
    }


# Of fields that are integers, those whose range is not 1 to 4096.
INTEGERS = {
    "blocks": checks.integer(0, 1024),
    "crop": checks.integer(0, 64),
    "depth": checks.integer(0, 1024),
    "scale": checks.integer(1, 64),
    "scales": checks.integer(1, 64),
    "skip_every": checks.integer(0, 1024),
}
# The fields by which layers are repeated, and how many of them can be traced.
REPEATED = ("blocks", "units", "depth", "recursions")
LAYERS = checks.integer(0, 1024)

# name -> (jax_default_matmul_precision, dtype of the activations)
PRECISIONS = {
    "bfloat16": ("default", "bfloat16"),
    "float16": ("default", "float16"),  # its gradients vanish: not for training
    "float32": ("highest", "float32"),
    "tf32": ("tensorfloat32", "float32"),
}

MODELS = {
    "bicubic": Bicubic,
    "bilinear": Bilinear,
    "drcn": DRCN,
    "drrn": DRRN,
    "edsr": EDSR,
    "espcn": ESPCN,
    "fsrcnn": FSRCNN,
    "lanczos": Lanczos,
    "lapsrn": LapSRN,
    "mdsr": MDSR,
    "ms_lapsrn": MSLapSRN,
    "nearest": Nearest,
    "red": RED,
    "srcnn": SRCNN,
    "srdensenet": SRDenseNet,
    "srresnet": SRResNet,
    "vdsr": VDSR,
}

"""The networks, one file each, and the table of their names.

A network is a Flax module whose class says, as `input`, what it takes: "interpolated"
(the bicubic-enlarged image, any scale) or "low" (the low-resolution image, enlarged by
its field `scale`); and whose property `halo` says how many input pixels on each side
one output pixel depends on.
"""

import dataclasses

import flax.linen as nn

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
    known = fields_of(MODELS[name])
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"{name} has the fields {sorted(known)}; got {unknown}.")
    return MODELS[name](**fields)


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


def fields_of(net: nn.Module | type[nn.Module]) -> dict:
    """Name -> value (of a class: default) of a network's own fields."""
    return {
        field.name: getattr(net, field.name, None)
        for field in dataclasses.fields(net)
        if field.name not in ("parent", "name")
    }


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

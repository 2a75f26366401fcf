"""The networks, one file each, and the table of their names, papers and variants.

A network is a Flax module. Its class attribute `input` is "interpolated" (it takes the
bicubic-enlarged image, at any scale) or "low" (it takes the low-resolution image and
upscales it by its field `scale`). Its property `halo` is the number of input pixels on
each side that one output pixel depends on.
"""

import dataclasses
import math
import types
import typing
from typing import NamedTuple

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


def register(
    name: str,
    cls: type[nn.Module],
    *,
    paper: str = "-",
    color: str = "y",
    variants: tuple[dict, ...] = ({},),
) -> None:
    """Adds a network of your own to `NETWORKS`, under this name.

    Model files of it can only be loaded where this has been called. The commands call
    it by importing the module that --import or $JAXSR_IMPORT names.

    Args:
        name: in configs and on the cards of models.
        cls: as the networks of this folder, with `input`, `halo`, and the field
            `scale`, or `scales`, if it upscales by itself.
        paper: as in `NETWORKS`.
        color: as in `NETWORKS`.
        variants: as in `NETWORKS`.

    Raises:
        ValueError: for a name that is taken, or a class that lacks something.
    """
    if name in NETWORKS and NETWORKS[name].cls is not cls:
        raise ValueError(f"there is already a network {name!r}; choose another name.")
    lacking = [key for key in ("input", "halo") if not hasattr(cls, key)]
    if getattr(cls, "input", "") == "low" and not {"scale", "scales"} & {
        *fields_of(cls)
    }:
        lacking.append("scale")
    if lacking or cls.input not in ("interpolated", "low"):
        raise ValueError(
            f"{cls.__name__} must have the attributes input ('low' or 'interpolated') "
            f"and halo, and if its input is 'low' the field scale; got {lacking} "
            "missing."
        )
    NETWORKS[name] = Network(cls, paper, color, variants)


def make(name: str, **fields) -> nn.Module:
    """The network of that name in `NETWORKS`: its paper's, changed by `fields`."""
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {sorted(NETWORKS)}; got {name!r}.")
    return made(NETWORKS[name].cls, name, fields)


def made(cls: type[nn.Module], name: str, fields: dict) -> nn.Module:
    """The module of a class; an invalid field raises a ValueError."""
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
    """The allowed values of a field with this name and annotation."""
    if typing.get_origin(type_) is tuple:
        return checks.several(_kind(key, typing.get_args(type_)[0]), least=1)
    if isinstance(type_, types.UnionType):
        return checks.either(*(_kind(key, t) for t in typing.get_args(type_)))
    kinds = {int: INTEGERS.get(key, checks.integer(most=4096)), bool: checks.FLAG}
    kinds |= {float: checks.number(), str: checks.TEXT, type(None): checks.NOTHING}
    return kinds.get(type_, checks.ANYTHING)


def check_precision(name: str) -> None:
    """Raises a ValueError unless it is a key of `PRECISIONS`."""
    if name not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {sorted(PRECISIONS)}; got {name!r}."
        )


def name_of(net: nn.Module) -> str:
    """The name of a network in `NETWORKS`."""
    for name, network in NETWORKS.items():
        if type(net) is network.cls:
            return name
    raise ValueError(
        f"network must be one of {sorted(NETWORKS)}; got {type(net).__name__}."
    )


def scales_of(net: nn.Module) -> tuple[int, ...] | None:
    """The scales of a network; None where it takes an enlarged image, of any scale."""
    if getattr(net, "input", "interpolated") != "low":
        return None
    return getattr(net, "scales", None) or (net.scale,)


def is_multiscale(net: nn.Module | type[nn.Module]) -> bool:
    """Whether a network takes its scale as an argument of each call."""
    return hasattr(net, "scales")


def static_arguments(net: nn.Module, scale: int | None) -> dict:
    """The arguments of a network's call besides its image, at one of its scales.

    Raises:
        ValueError: if the network has several scales, and not this one.
    """
    if not is_multiscale(net):
        return {}
    if scale not in net.scales:
        raise ValueError(f"scale must be one of {sorted(net.scales)}; got {scale}.")
    return {"scale": scale}


def fields_of(net: nn.Module | type[nn.Module]) -> dict:
    """Name -> value (of a class: default) of a network's own fields."""
    return {
        field.name: getattr(net, field.name, None)
        for field in dataclasses.fields(net)
        if field.name not in ("parent", "name")
    }


def trained(net: nn.Module) -> nn.Module:
    """A saved model's network: fields that only decide its first weights at default."""
    fields = (f for f in dataclasses.fields(net) if f.metadata.get("initial"))
    return net.clone(**{f.name: f.default for f in fields})


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


class Row(NamedTuple):
    """Scores in `papers.json` that are those of some variant of a network."""

    name: str
    variant: str
    fields: dict = {}  # that differ from the network's defaults
    scales: tuple[int, ...] = ()  # at which it is so; any where empty
    trained: dict = {}  # "loss" and "objective" of the card


class Network(NamedTuple):
    """An entry of `NETWORKS`."""

    cls: type[nn.Module]
    paper: str = "-"
    color: str = "y"  # that the paper trains on: "y" or "rgb"
    variants: tuple[dict, ...] = ({},)  # the paper's: fields that differ from defaults
    rows: tuple[Row, ...] = ()  # of several that fit, the first is shown


TABLE2 = "SRGAN-table2"  # of Ledig et al., CVPR 2017
_EDSR_BASELINE = {"blocks": 16, "width": 64, "residual_scale": 1.0}
_FSRCNN_S = {"width": 32, "narrow": 5, "depth": 1}
_PYRAMIDS = {2: {"scales": (2,)}, 4: {"scales": (2, 4)}}
_PYRAMIDS[8] = {"scales": (2, 4, 8), "depth": 5}
_DRRN_PORT = {"norm": False, "bias": False}

NETWORKS = {
    "nearest": Network(Nearest, rows=(Row("Nearest", TABLE2),)),
    "bilinear": Network(Bilinear),
    "bicubic": Network(
        Bicubic,
        "Keys, TASSP 1981",
        rows=(
            Row("Bicubic", "VDSR-table3", scales=(2, 3, 4)),
            Row("Bicubic", TABLE2, scales=(4,)),
        ),
    ),
    "lanczos": Network(Lanczos, "Duchon, JAM 1979"),
    "srcnn": Network(
        SRCNN,
        "Dong et al., TPAMI 2016",
        variants=tuple({"sides": (9, side, 5)} for side in (1, 3, 5)),
        rows=(
            Row("SRCNN", "9-1-5 (91 images)"),
            Row("SRCNN", "9-3-5 (ImageNet)", {"sides": (9, 3, 5)}),
            Row("SRCNN", "9-5-5 (VDSR-table3)", {"sides": (9, 5, 5)}),
            Row("SRCNN", TABLE2, scales=(4,)),
        ),
    ),
    "fsrcnn": Network(
        FSRCNN,
        "Dong et al., ECCV 2016",
        variants=tuple(
            {"scale": s, **small} for small in ({}, _FSRCNN_S) for s in (2, 3, 4)
        ),
        rows=(
            Row("FSRCNN", "56-12-4 (91+General-100)"),
            Row("FSRCNN", "s 32-5-1 (91+General-100)", _FSRCNN_S),
        ),
    ),
    "espcn": Network(
        ESPCN,
        "Shi et al., CVPR 2016",
        variants=tuple({"scale": s} for s in (2, 3, 4)),
        rows=(
            Row("ESPCN", "tanh (91 images)", scales=(3,)),
            Row("ESPCN", "ReLU (91 images)", {"activation": "relu"}, (3,)),
            Row("ESPCN", TABLE2, scales=(4,)),
        ),
    ),
    "vdsr": Network(
        VDSR,
        "Kim et al., CVPR 2016",
        variants=({}, {"residual": False}),
        rows=(Row("VDSR", "paper-table3"),),
    ),
    "drcn": Network(
        DRCN,
        "Kim et al., CVPR 2016",
        rows=(Row("DRCN", "paper"), Row("DRCN", TABLE2)),
    ),
    "red": Network(
        RED,
        "Mao et al., NIPS 2016",
        variants=({"depth": 10, "skip_every": 0}, {"depth": 20}, {"depth": 30}),
        rows=(
            Row("RED", "RED30"),
            Row("RED", "RED20", {"depth": 20}),
            Row("RED", "RED10", {"depth": 10, "skip_every": 0}),
        ),
    ),
    "drrn": Network(
        DRRN,
        "Tai et al., CVPR 2017",
        variants=({"units": 9}, {"units": 25}, {"units": 25, **_DRRN_PORT}),
        rows=(
            Row("DRRN", "B1U25"),
            Row("DRRN", "B1U9", {"units": 9}),
            Row(
                "DRRN",
                "port jt827859032 (no BN)",
                {**_DRRN_PORT, "rectified": True},
            ),
        ),
    ),
    "lapsrn": Network(
        LapSRN,
        "Lai et al., CVPR 2017",
        variants=tuple(_PYRAMIDS.values()),
        rows=(
            *(Row("LapSRN", "own-scale model", f, (s,)) for s, f in _PYRAMIDS.items()),
            Row("LapSRN", "8x model read at x2/x4", _PYRAMIDS[8], (2, 4)),
        ),
    ),
    "ms_lapsrn": Network(
        MSLapSRN,
        "Lai et al., TPAMI 2018",
        variants=tuple({"recursions": r} for r in (2, 5, 8)),
        rows=tuple(Row("MS-LapSRN", f"D5R{r}", {"recursions": r}) for r in (8, 5, 2)),
    ),
    "srdensenet": Network(
        SRDenseNet,
        "Tong et al., ICCV 2017",
        variants=tuple({"features": f} for f in ("h", "hl", "all")),
        rows=(Row("SRDenseNet", "All"),),
    ),
    "srresnet": Network(
        SRResNet,
        "Ledig et al., CVPR 2017",
        "rgb",
        variants=({"scale": 2}, {"scale": 4}),
        rows=tuple(
            Row(name, variant, {}, (4,), {"objective": objective, "loss": loss})
            for name, objective in (
                ("SRResNet", "supervised"),
                ("SRGAN", "adversarial"),
            )
            for variant, loss in (
                ("MSE", "mse"),
                ("VGG22", "vgg conv2_2"),
                ("VGG54", "vgg conv5_4"),
            )
            if (name, variant) != ("SRResNet", "VGG54")
        ),
    ),
    "edsr": Network(
        EDSR,
        "Lim et al., CVPRW 2017",
        "rgb",
        variants=tuple(
            {"scale": s, **fields} for fields in (_EDSR_BASELINE, {}) for s in (2, 3, 4)
        ),
        rows=(Row("EDSR", "full"), Row("EDSR", "baseline", _EDSR_BASELINE)),
    ),
    "mdsr": Network(
        MDSR,
        "Lim et al., CVPRW 2017",
        "rgb",
        variants=({"blocks": 16}, {}),
        rows=(Row("MDSR", "full"), Row("MDSR", "baseline", {"blocks": 16})),
    ),
}

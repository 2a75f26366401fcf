"""Weights that the authors of papers, and of ports, published, as jaxsr models."""

import hashlib
import os
import pathlib
import re

import jax
import jax.numpy as jnp

from jaxsr import weights
from jaxsr.published import (
    drrn,
    edsr,
    espcn,
    fsrcnn,
    lapsrn,
    mdsr,
    srcnn,
    srresnet,
    vdsr,
)


def import_weights(path: str | os.PathLike, network: str) -> weights.Model:
    """The model of a published file; `network` is a key of `IMPORTERS`.

    Raises:
        ValueError: where the file is cut, foreign, or of another network.
    """
    if network not in IMPORTERS:
        known = sorted(IMPORTERS)
        raise ValueError(f"network must be one of {known}; got {network!r}.")
    path = pathlib.Path(path).expanduser()
    data = path.read_bytes()
    try:
        net, variables, about = IMPORTERS[network](data, path.suffix)
        if "scales" not in about:
            about["scales"] = [_scale_in(path.stem)]
        digest = hashlib.sha256(data).hexdigest()
        card = weights.make_card(net, digest=digest, source=path.name, **about)
        model = weights.Model(net, jax.tree.map(jnp.asarray, variables), card)
        weights.check(model)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"Cannot import {path} as {network}: {error}") from error
    return model


def _scale_in(name: str) -> int:
    """The scale that a file's name ends in."""
    match = re.search(r"x(\d+)$", name)
    if not match:
        raise ValueError(
            "its scale is in its name alone, which must end in it, as x3.mat does."
        )
    return int(match[1])


# network -> (bytes of the file, its suffix) -> (net, variables, the card's own part,
# without "scales" where only the file's name tells them)
IMPORTERS = {
    "drrn": drrn.convert,
    "edsr": edsr.convert,
    "espcn": espcn.convert,
    "fsrcnn": fsrcnn.convert,
    "lapsrn": lapsrn.convert,
    "mdsr": mdsr.convert,
    "ms_lapsrn": lapsrn.convert_shared,
    "srcnn": srcnn.convert,
    "srresnet": srresnet.convert,
    "vdsr": vdsr.convert,
}

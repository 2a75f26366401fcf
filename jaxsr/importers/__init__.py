"""Weights published by authors and ports -> jaxsr models."""

import hashlib
import os
import pathlib
import re

import jax
import jax.numpy as jnp

from jaxsr import weights
from jaxsr.importers import (
    drrn,
    edsr,
    espcn,
    fsrcnn,
    lapsrn,
    mdsr,
    srcnn,
    srresnet,
    torch_files,
    vdsr,
)


def import_weights(
    path: str | os.PathLike, network: str, *, key: str | None = None
) -> weights.Model:
    """The model of a published file.

    Args:
        path: the file.
        network: a key of `IMPORTERS`.
        key: of the dictionary of tensors, in a PyTorch file that holds several.

    Raises:
        ValueError: if the file is truncated, of another format, or of another network.
    """
    if network not in IMPORTERS:
        known = sorted(IMPORTERS)
        raise ValueError(f"network must be one of {known}; got {network!r}.")
    path = pathlib.Path(path).expanduser()
    data = path.read_bytes()
    try:
        content = data
        if path.suffix in torch_files.SUFFIXES:
            content = torch_files.read_state_dict(data, key)
        elif key is not None:
            raise ValueError(
                f"--key is for PyTorch files {torch_files.SUFFIXES}; got {path.suffix}."
            )
        net, variables, about = IMPORTERS[network](content, path.suffix)
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
    match = re.search(r"[xX](\d+)(\.pth)?$", name)
    if not match:
        raise ValueError(
            "only its name says its scale: the name must end in x and the scale, as "
            "x3.mat does."
        )
    return int(match[1])


# network -> (bytes of the file, or the tensors of a PyTorch one, its suffix) ->
# (net, variables, entries of the card; no "scales" if only the file's name has them)
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

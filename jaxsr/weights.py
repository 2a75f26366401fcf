"""A trained model as one .safetensors file: its variables, and a card of metadata.

The shipped models are in the folder `cards.FOLDER`.
"""

import json
import logging
import os
import pathlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from jaxsr import cards, files, image, models

MODEL = f"model{cards.SUFFIX}"  # in a run directory
shipped = cards.shipped
# Former names of shipped models, which still load.
RENAMED = {f"srcnn_x{scale}": f"srcnn_955_x{scale}" for scale in (2, 3, 4)}


class Model(NamedTuple):
    """A trained network: `net.apply(variables, x)`.

    The card holds JSON values alone: "network", its name in models.NETWORKS, and its
    "fields"; "color", what its channels are: "y", "rgb", "ycbcr", or "channels" that
    are no colours, whose number is "channels" then; "scales", the list of those it is
    for; "trained_on"; "step", its updates, or None; "scores", data set
    -> "x2" -> {"psnr", "ssim"}, maybe "lpips" too, maybe empty; "digest", the SHA-256
    of config and data, or of the file it was imported from. It may hold more, as the
    "protocol" of the scores; "blur", where it is for images that are blurred so before
    they are reduced; "ensemble", those of its mean over eight symmetries; and,
    where it is shipped, "upscaling", "cost" and "rated_on", by `rating.rated`.
    """

    net: nn.Module
    variables: dict
    card: dict


def make_card(
    net: nn.Module,
    *,
    color: str,
    scales: list[int],
    trained_on: str,
    step: int | None = None,
    scores: dict | None = None,
    digest: str = "",
    **more,
) -> dict:
    """The card of a `Model`; its network and fields are those of `net`."""
    image.channels(color, more.get("channels"))
    card = {
        "network": models.name_of(net),
        "fields": models.fields_of(net),
        "color": color,
        "scales": scales,
        "trained_on": trained_on,
        "step": step,
        "scores": scores or {},
        "digest": digest,
    }
    module = type(net).__module__
    if not module.startswith("jaxsr."):
        card["module"] = module  # it has to be imported to load the model
    return json.loads(json.dumps(card | more, allow_nan=False))


def halved(model: Model) -> Model:
    """The model with its variables rounded to float16: its file is half as large."""
    variables = jax.tree.map(lambda x: x.astype(jnp.float16), model.variables)
    return model._replace(variables=variables)


def save(path: str | os.PathLike, model: Model) -> None:
    """Writes a model; if that fails, an existing file at `path` is kept.

    Raises:
        ValueError: for what `load` would refuse.
    """
    path = pathlib.Path(path)
    try:
        card = json.dumps(model.card, allow_nan=False)
        cards.parse(card)
        check(model)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Cannot save {path}: {error}") from error
    flat = traverse_util.flatten_dict(model.variables, sep="/")
    tensors = {name: np.asarray(x, order="C") for name, x in flat.items()}
    with files.written_whole(path) as file:
        file.write(safetensors.numpy.save(tensors, {"jaxsr": card}))


def load(name_or_path: str | os.PathLike) -> Model:
    """A saved model, its variables in float32.

    Args:
        name_or_path: one of `shipped()` (as a string; a pathlib.Path never is), a
            .safetensors file, or a run directory that holds `MODEL`.

    Raises:
        FileNotFoundError: if it is none of these.
        ValueError: if the file is truncated or of another format, or its card and
            tensors disagree.
    """
    path = _find(name_or_path)
    try:
        tensors, card = _read(path)
        # NumPy converts: JAX would compile a program for each shape.
        arrays = {name: x.astype(np.float32) for name, x in tensors.items()}
        variables = traverse_util.unflatten_dict(arrays, sep="/")
        variables = jax.tree.map(jnp.asarray, variables)
        model = Model(_net(card), variables, card)
        check(model)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Cannot load {path}: {error}") from error
    return model


def init_shapes(net: nn.Module, channels: int) -> dict:
    """The variables of a network as jax.ShapeDtypeStruct; computes nothing."""
    x = jax.ShapeDtypeStruct((1, 8, 8, channels), jnp.float32)
    return jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)


def channels_of(card: dict) -> int:
    """How many channels a model with that card takes."""
    return image.channels(card["color"], card.get("channels"))


def check(model: Model) -> None:
    """Raises a ValueError if network or tensors disagree with the card.

    The message lists every missing, unexpected or misshapen tensor.
    """
    net, variables, card = model
    if net != _net(card):
        raise ValueError(
            f"the card must be the network's, made by make_card; got {card} for {net}."
        )
    own = models.scales_of(net)
    if own is not None and not set(card["scales"]) <= set(own):
        raise ValueError(
            f"the card's scales must be among the network's {own}; got "
            f"{card['scales']}."
        )
    expected = _shapes(init_shapes(net, channels_of(card)))
    found = _shapes(variables)
    wrong = [
        f"{name}: expected {expected.get(name, 'nothing')}, "
        f"found {found.get(name, 'nothing')}"
        for name in sorted(expected | found)
        if expected.get(name) != found.get(name)
    ]
    if wrong:
        raise ValueError(
            f"the tensors must be those of {card['network']} with {card['fields']}. "
            + "; ".join(wrong)
        )


def _find(name_or_path):
    known = shipped()
    if name_or_path in RENAMED and name_or_path not in known:
        logging.warning("%s is now called %s.", name_or_path, RENAMED[name_or_path])
        name_or_path = RENAMED[name_or_path]
    if name_or_path in known:
        return cards.path_of(name_or_path)
    path = pathlib.Path(name_or_path).expanduser()
    if path.is_dir():
        path = path / MODEL
    if not path.is_file():
        raise FileNotFoundError(
            f"A model must be one of the shipped {known}, a {cards.SUFFIX} file, "
            f"or a run directory that holds {MODEL}; got {str(name_or_path)!r}."
        )
    return path


def _read(path):
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"it is not a whole {cards.SUFFIX} file ({error}). Copy or save it again; "
            "importers.import_weights reads authors' files."
        ) from error
    if "jaxsr" not in metadata:
        raise ValueError(
            "its metadata must hold a card under 'jaxsr', as weights.save writes it; "
            f"got {sorted(metadata)}."
        )
    return tensors, cards.parse(metadata["jaxsr"])


def _net(card):
    if card["network"] not in models.NETWORKS and "module" in card:
        raise ValueError(
            f"its network, {card['network']}, is of the module {card['module']}; "
            f"import that first (--import {card['module']}, or $JAXSR_IMPORT)."
        )
    return models.make(card["network"], **card["fields"])


def _shapes(variables):
    flat = traverse_util.flatten_dict(variables, sep="/")
    return {name: tuple(x.shape) for name, x in flat.items()}

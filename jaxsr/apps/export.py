"""Networks as files for other runtimes: ONNX, StableHLO, and TFLite (LiteRT).

A file holds the network alone. Its input "image" is float32 [B, H, W, C] in [0, 1], its
output "sr" float32 [B, s*H, s*W, C], not clipped, for images of any number and size.
"""

import json
import logging
import os
import pathlib
from collections.abc import Callable

import jax
import jax.extend.core
import jax.numpy as jnp

from jaxsr import checks, files, models, terminal, weights
from jaxsr.inference import tiling

DTYPES = ("float32", "float16")
OPSET = 18  # of ONNX


def export(
    model: weights.Model,
    path: str | os.PathLike,
    *,
    scale: float | None = None,
    dtype: str = "float32",
) -> dict[str, str]:
    """Writes a network to a file, in the format of its suffix.

    Args:
        model: the network, with its weights.
        path: the file, whose suffix is in `FORMATS`; an existing one is replaced.
        scale: one of the model's; needed if its network upscales by several.
        dtype: "float16" halves the file: the weights are rounded. In ONNX and StableHLO
            the activations are of this type too. Input and output stay float32.

    Returns:
        The metadata, which the file holds too: see `facts`. In ONNX they are the
        metadata_props; as JSON they are the `fun_name` of a deserialized
        `jax.export.Exported`, and the description of a TFLite model.

    Raises:
        ValueError: for a wrong suffix, scale or dtype, or a network with an operation
            that the format lacks.
        ModuleNotFoundError: if a package that writes the format is not installed.
    """
    path = pathlib.Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(
            f"the file's suffix must be one of {sorted(FORMATS)}; got "
            f"{terminal.shown(path.name)}."
        )
    checks.check("dtype", dtype, checks.one_of(DTYPES))
    metadata = facts(model, scale) | {"dtype": dtype}
    branch = None
    if models.is_multiscale(model.net):
        branch = int(metadata["scale"])
    if path.suffix == ".onnx":
        metadata["opset"] = str(OPSET)
    try:
        content = FORMATS[path.suffix](model, branch, metadata)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each package has its own types
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{metadata['network']} cannot be exported to {path.suffix}: {reason}"
        ) from error
    with files.written_whole(path) as file:
        file.write(content)
    return metadata


def facts(model: weights.Model, scale: float | None = None) -> dict[str, str]:
    """What has to be known to use a network that is exported.

    "network" is its name; "color" what its channels are: "y" (of MATLAB's rgb2ycbcr,
    from 16/255 to 235/255), "rgb", "ycbcr" or "channels" of no colour; "input" is
    "low", or "interpolated" if it takes images that bicubic interpolation has enlarged;
    "scale" the factor of the sides, or those of the images that an "interpolated"
    network was trained on.

    Raises:
        ValueError: if the model does not have that scale, or has several.
    """
    net, _, card = model
    own = models.scales_of(net) or card["scales"]
    scales = card["scales"] or own
    if scale is not None:
        if own and scale not in own:
            raise ValueError(f"scale must be one of {sorted(own)}; got {scale:g}.")
        scales = [f"{scale:g}"]
    if net.input == "low" and len(scales) > 1:
        raise ValueError(
            f"the model has several scales; pass --scale, one of {sorted(scales)}."
        )
    return {
        "network": card["network"],
        "color": card["color"],
        "input": net.input,
        "scale": ", ".join(map(str, scales)) or "any",
    }


def _function(model, branch, dtype="float32") -> Callable[[jax.Array], jax.Array]:
    """The network as a function of the image alone."""
    forward = tiling.make_forward(model.net, branch, dtype)
    variables = (weights.halved(model) if dtype == "float16" else model).variables

    def network(image):
        # The file holds them as they are. Runtimes convert constants when they load it.
        return forward(jax.tree.map(lambda x: x.astype(jnp.float32), variables), image)

    return network


def _spec(model) -> jax.ShapeDtypeStruct:
    """The type of the input: images of any number and size."""
    channels = weights.channels_of(model.card)
    shape = jax.export.symbolic_shape(f"B, H, W, {channels}")
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _onnx(model, branch, metadata) -> bytes:
    jax2onnx, onnx = checks.extra("jax2onnx"), checks.extra("onnx")
    # It warns about each value of unknown shape.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    spec = _spec(model)
    # jax2onnx has its own versions of Flax's layers, and those do not support free
    # sizes and float16. It gets the operations that the layers consist of, without
    # nested jits, which it cannot read with jax 0.12.
    with jax.disable_jit():
        traced = jax.make_jaxpr(_function(model, branch, metadata["dtype"]))(spec)
    proto = jax2onnx.to_onnx(
        jax.extend.core.jaxpr_as_fun(traced),
        [spec],
        model_name=metadata["network"],
        opset=OPSET,
        input_names=["image"],
        output_names=["sr"],
    )
    _use_relu(proto.graph)
    onnx.helper.set_model_props(proto, metadata)
    return proto.SerializeToString()


def _use_relu(graph) -> None:
    """Writes each Max(x, 0) of an ONNX graph as Relu(x).

    Runtimes fuse Relu with the convolution before it, but not Max.
    """
    to_array = checks.extra("onnx.numpy_helper").to_array
    zeros = {x.name for x in graph.initializer if not to_array(x).any()}
    for node in graph.node:
        others = [name for name in node.input if name not in zeros]
        if node.op_type == "Max" and len(others) == 1:
            node.op_type, node.input[:] = "Relu", others
    used = {name for node in graph.node for name in node.input}
    for constant in [x for x in graph.initializer if x.name not in used]:
        graph.initializer.remove(constant)


def _stablehlo(model, branch, metadata) -> bytes:
    checks.extra("flatbuffers")  # JAX does not install it
    network = _function(model, branch, metadata["dtype"])
    network.__name__ = json.dumps(metadata)
    platforms = ["cpu", "cuda", "tpu"]
    return jax.export.export(jax.jit(network), platforms=platforms)(
        _spec(model)
    ).serialize()


def _tflite(model, branch, metadata) -> bytes:
    tf = checks.extra("tensorflow")
    tf.config.set_visible_devices([], "GPU")  # of which it would reserve the memory
    from jaxlib.mlir.dialects import stablehlo
    from tensorflow.compiler.tf2xla.python import xla
    from tensorflow.lite.tools import flatbuffer_utils

    network = jax.jit(_function(model, branch))
    exported = jax.export.export(network, platforms=["cpu"])(_spec(model))
    # In the first version, which every TensorFlow reads. With jax2tf of JAX 0.12 it has
    # one that TensorFlow 2.21 does not know.
    content = stablehlo.serialize_portable_artifact_str(exported.mlir_module(), "1.0.0")
    shape = [None] * 3 + [exported.in_avals[0].shape[-1]]

    def call(image):
        version = exported.calling_convention_version
        [sr] = xla.call_module(
            [image], version=version, module=content, Tout=[tf.float32], Sout=[shape]
        )
        return {"sr": sr}

    module = tf.Module()
    module.network = tf.function(
        call, autograph=False, input_signature=[tf.TensorSpec(shape, name="image")]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.network.get_concrete_function()], module
    )
    if metadata["dtype"] == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    content = bytearray(converter.convert())
    converted = flatbuffer_utils.convert_bytearray_to_object(content)
    converted.description = json.dumps(metadata)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(converted))


FORMATS = {".onnx": _onnx, ".stablehlo": _stablehlo, ".tflite": _tflite}

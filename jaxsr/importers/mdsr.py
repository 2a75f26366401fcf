"""MDSR: state dicts of EDSR-PyTorch, and the same with a tail for each scale."""

from jaxsr import models
from jaxsr.importers import edsr, formats, torch_files


def convert(data: dict, suffix: str):
    """(net, variables, card) of an MDSR file, its variant read off its shapes."""
    read = formats.reader(
        dict.fromkeys(torch_files.SUFFIXES, edsr.without_mean), suffix
    )
    tensors, mean = read(data)
    body = edsr.body_layers(tensors)
    layers = {"head.0": "head", **body, "tail.0": "tail"}
    branches = _branches(tensors) or {2: 0, 3: 1, 4: 2}
    shared_tail = "tail.1.weight" not in tensors
    for scale, branch in branches.items():
        if not shared_tail:
            layers[f"tail.{branch}"] = f"x{scale}_tail"
        for i in range(2):
            for j in range(2):
                source = f"pre_process.{branch}.{i}.body.{2 * j}"
                layers[source] = f"x{scale}_block_{i}_conv_{j}"
        for i in range(2 if scale == 4 else 1):
            layers[f"upsample.{branch}.{2 * i}"] = f"x{scale}_up_{i}"
    params = formats.rename(tensors, edsr.layer_names(layers))
    net = models.MDSR(
        scales=tuple(sorted(branches)),
        blocks=len(body) // 2,
        width=params["head"]["bias"].size,
        shared_tail=shared_tail,
        mean=mean,
    )
    about = {
        "color": "rgb",
        "scales": sorted(branches),
        "trained_on": "DIV2K (published weights)",
    }
    return net, {"params": params}, about


def _branches(tensors) -> dict[int, int]:
    """Scale -> number of the branch in the file."""
    branches = {}
    while f"upsample.{len(branches)}.0.weight" in tensors:
        prefix = f"upsample.{len(branches)}."
        scale = formats.enlargement(
            x for name, x in tensors.items() if name.startswith(prefix)
        )
        if scale in branches:
            raise ValueError(
                f"expected one branch for each scale, found two for {scale}."
            )
        branches[scale] = len(branches)
    return branches

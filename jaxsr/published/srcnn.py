"""SRCNN: the authors' MATLAB files. Their scale is in their names alone."""

import numpy as np

from jaxsr import models
from jaxsr.published import matlab

LAYERS = ["conv_0", "conv_1", "conv_out"]


def convert(data: bytes, suffix: str):
    """(net, variables, card) of an SRCNN, its sides and widths read off its shapes."""
    if suffix != ".mat":
        raise ValueError(f"the file must end in .mat; got {suffix!r}.")
    found = matlab.read(data)
    numbers = range(1, len(LAYERS) + 1)
    names = [f"{kind}_conv{i}" for kind in ("weights", "biases") for i in numbers]
    matlab.check_names(found, names)
    params = {}
    for i, layer in zip(numbers, LAYERS):
        columns = found[f"weights_conv{i}"]
        if i == 1:  # of one channel, whose axis it lacks
            columns = columns[np.newaxis]
        bias = found[f"biases_conv{i}"].astype(np.float32).ravel()
        params[layer] = {"kernel": matlab.kernel(columns), "bias": bias}
    kernels = [params[layer]["kernel"] for layer in LAYERS]
    net = models.SRCNN(
        sides=tuple(len(kernel) for kernel in kernels),
        widths=tuple(kernel.shape[-1] for kernel in kernels[:-1]),
    )
    about = {"color": "y", "trained_on": "published weights"}
    return net, {"params": params}, about

"""Programs that upscale a photograph x2, from file to file.

Each imports its packages when it is created, since start-up is measured.
"""

from collections.abc import Callable

TILE = 512  # side in output pixels, as jaxsr's


def make_jaxsr(model: str) -> Callable:
    """The command `jaxsr upscale`."""
    from jaxsr import cli

    def enlarge(source, target):
        status = cli.main(
            ["upscale", source, "-o", target, "--model", model, "--overwrite"]
        )
        if status:
            raise SystemExit(status)

    return enlarge


def make_network(model: str):
    """VDSR's, FSRCNN's or ESPCN's layers in PyTorch, with the weights of a model file.

    Borders are padded with zeros, also where jaxsr repeats them.
    """
    import json

    import safetensors.torch
    import torch

    with safetensors.safe_open(model, "pt") as file:
        card = json.loads(file.metadata()["jaxsr"])
    tensors = {
        name: x.float() for name, x in safetensors.torch.load_file(model).items()
    }

    def conv(name):
        kernel, bias = (tensors[f"params/{name}/{part}"] for part in ("kernel", "bias"))
        layer = torch.nn.Conv2d(*kernel.shape[2:], kernel.shape[0], padding="same")
        layer.weight.data, layer.bias.data = kernel.permute(3, 2, 0, 1), bias
        return layer

    def prelu(name):
        slope = tensors[f"params/prelu_{name}/slope"]
        layer = torch.nn.PReLU(len(slope))
        layer.weight.data = slope
        return layer

    def vdsr():
        for i in range(len(tensors) // 2 - 1):
            yield from (conv(f"conv_{i}"), torch.nn.ReLU(inplace=True))
        yield conv("conv_out")

    def espcn():
        for name in ("conv_0", "conv_1"):
            yield from (conv(name), torch.nn.Tanh())
        yield from (conv("conv_out"), torch.nn.PixelShuffle(2))

    def fsrcnn():
        for name in ("extract", "shrink", *(f"map_{i}" for i in range(4)), "expand"):
            yield from (conv(name), prelu(name))
        kernel = tensors["params/deconv/kernel"]
        layer = torch.nn.ConvTranspose2d(*kernel.shape[2:], 9, 2, 4, 1)
        layer.weight.data = kernel.permute(2, 3, 0, 1)
        layer.bias.data = tensors["params/deconv/bias"]
        yield layer

    layers = {"vdsr": vdsr, "espcn": espcn, "fsrcnn": fsrcnn}[card["network"]]()
    net = torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)
    return net.eval().requires_grad_(False)


def make_pytorch(model: str, *, tiled: bool) -> Callable:
    """Bicubic and colour by Pillow, Y through PyTorch, whole or in exact tiles."""
    import numpy as np
    import PIL.Image
    import torch

    net = make_network(model)
    low = any(
        isinstance(x, torch.nn.PixelShuffle | torch.nn.ConvTranspose2d) for x in net
    )
    factor = 2 if low else 1
    tile, halo = TILE // factor, 10 if low else (len(net) + 1) // 2

    def run(x):
        return net(x) if low else x + net(x)

    def windows(length):
        """(start, begin, end): the tile from `start` is kept in [begin, end)."""
        begin = 0
        while begin < length:
            start = max(min(begin - halo, length - tile), 0)
            end = length if start + tile >= length else start + tile - halo
            yield start, begin, end
            begin = end

    def restore(y):
        if not tiled:
            return run(y)
        height, width = (factor * side for side in y.shape[2:])
        sr = torch.empty(1, 1, height, width)
        for top, *rows in windows(y.shape[2]):
            for left, *columns in windows(y.shape[3]):
                x = run(y[:, :, top : top + tile, left : left + tile])
                to = [slice(factor * a, factor * b) for a, b in (rows, columns)]
                kept = [
                    slice(factor * (a - start), factor * (b - start))
                    for start, (a, b) in ((top, rows), (left, columns))
                ]
                sr[:, :, to[0], to[1]] = x[:, :, kept[0], kept[1]]
        return sr

    def enlarge(source, target):
        picture = PIL.Image.open(source).convert("YCbCr")
        size = 2 * picture.width, 2 * picture.height
        large = picture.resize(size, PIL.Image.Resampling.BICUBIC)
        _, cb, cr = large.split()
        y = np.asarray((picture if low else large).getchannel(0), np.float32) / 255
        y = restore(torch.from_numpy(y)[None, None])
        y = y.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        y = PIL.Image.fromarray(y[0, 0].numpy())
        picture = PIL.Image.merge("YCbCr", [y, cb, cr]).convert("RGB")
        picture.save(target, quality=95)

    return enlarge


def make_opencv(model: str) -> Callable:
    """OpenCV's bicubic resize, without a network: a bound on the speed."""
    import cv2

    def enlarge(source, target):
        picture = cv2.imread(source)
        enlarged = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(target, enlarged)

    return enlarge


ENLARGERS = {
    "jaxsr": make_jaxsr,
    "PyTorch, whole": lambda model: make_pytorch(model, tiled=False),
    "PyTorch, tiles": lambda model: make_pytorch(model, tiled=True),
    "OpenCV bicubic": make_opencv,
}

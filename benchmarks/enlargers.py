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
    """VDSR's convolutions in PyTorch, with the weights of a model file."""
    import safetensors.torch
    import torch

    tensors = safetensors.torch.load_file(model)
    inner = [f"params/conv_{i}" for i in range(len(tensors) // 2 - 1)]
    layers = []
    for name in [*inner, "params/conv_out"]:
        kernel, bias = tensors[f"{name}/kernel"], tensors[f"{name}/bias"]
        conv = torch.nn.Conv2d(*kernel.shape[2:], 3, padding=1)
        conv.weight.data, conv.bias.data = kernel.permute(3, 2, 0, 1), bias
        layers += [conv, torch.nn.ReLU(inplace=True)]
    net = torch.nn.Sequential(*layers[:-1]).to(memory_format=torch.channels_last)
    return net.eval().requires_grad_(False)


def make_pytorch(model: str, *, tiled: bool) -> Callable:
    """Bicubic and colour by Pillow, Y through PyTorch, whole or in exact tiles."""
    import numpy as np
    import PIL.Image
    import torch

    net = make_network(model)
    halo = (len(net) + 1) // 2

    def windows(length):
        """(start, begin, end): the tile from `start` is kept in [begin, end)."""
        begin = 0
        while begin < length:
            start = max(min(begin - halo, length - TILE), 0)
            end = length if start + TILE >= length else start + TILE - halo
            yield start, begin, end
            begin = end

    def restore(y):
        if not tiled:
            return y + net(y)
        sr = torch.empty_like(y)
        for top, row, row_end in windows(y.shape[2]):
            for left, column, column_end in windows(y.shape[3]):
                x = y[:, :, top : top + TILE, left : left + TILE]
                rows = slice(row - top, row_end - top)
                columns = slice(column - left, column_end - left)
                sr[:, :, row:row_end, column:column_end] = (x + net(x))[
                    :, :, rows, columns
                ]
        return sr

    def enlarge(source, target):
        picture = PIL.Image.open(source).convert("YCbCr")
        size = 2 * picture.width, 2 * picture.height
        y, cb, cr = picture.resize(size, PIL.Image.Resampling.BICUBIC).split()
        y = torch.from_numpy(np.asarray(y, np.float32) / 255)[None, None]
        y = restore(y).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
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

"""The training updates of the experiments in PyTorch, and jaxsr's measured beside them.

A network is built from those fields of jaxsr's that the experiments set, and has as
many parameters. It pads with zeros where jaxsr repeats the border. All parameters have
the same learning rate.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import paired
import recipe
import torch
from torch import nn
from torch.nn import functional as F

from jaxsr import image, models
from jaxsr.models import edsr as jaxsr_edsr
from jaxsr.training import factories


class Residual(nn.Sequential):
    """x and what the layers add to it, times `scale`."""

    def __init__(self, *layers: nn.Module, scale: float = 1.0):
        super().__init__(*layers)
        self.scale = scale

    def forward(self, x):
        return torch.add(x, super().forward(x), alpha=self.scale)


class Affine(nn.Module):
    """factor * x + the offset of each channel."""

    def __init__(self, factor: float, offset: list[float]):
        super().__init__()
        self.factor = factor
        self.register_buffer("offset", torch.tensor(offset).reshape(1, -1, 1, 1))

    def forward(self, x):
        return self.factor * x + self.offset


def conv(before: int, after: int, side: int = 3) -> nn.Conv2d:
    return nn.Conv2d(before, after, side, padding=side // 2)


def chain(widths: list[int], sides: list[int], activation: Callable) -> list[nn.Module]:
    """Convolutions between these widths, each followed by activation(width)."""
    layers = []
    for before, after, side in zip(widths, widths[1:], sides):
        layers += [conv(before, after, side), activation(after)]
    return layers


def relu(width: int = 0) -> nn.ReLU:
    return nn.ReLU(inplace=True)


def double(width: int) -> nn.ConvTranspose2d:
    """The transposed convolution that doubles the side of features."""
    return nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)


def shuffle(width: int, scale: int, activation: Callable) -> list[nn.Module]:
    """Convolutions and pixel shuffles that enlarge features by `scale`."""
    layers = []
    for factor in jaxsr_edsr.FACTORS[scale]:
        layers += [conv(width, width * factor**2), nn.PixelShuffle(factor)]
        layers.append(activation(width))
    return layers


def srcnn(net, channels):
    layers = chain([channels, *net.widths, channels], net.sides, relu)[:-1]
    for layer in layers[::2] if net.padding == "valid" else []:
        layer.padding = (0, 0)
    return nn.Sequential(*layers)


def fsrcnn(net, channels):
    widths = [channels, net.width, *[net.narrow] * (net.depth + 1), net.width]
    layers = chain(widths, [5, 1, *[3] * net.depth, 1], nn.PReLU)
    zero = net.padding == "zero"  # as in training
    if zero:
        layers[0].padding = (0, 0)
    more = 0 if zero else net.scale - 1
    deconv = nn.ConvTranspose2d(net.width, channels, 9, net.scale, 4, more)
    nn.init.normal_(deconv.weight, std=0.001)  # as jaxsr's; a larger one diverges
    return nn.Sequential(*layers, deconv)


def espcn(net, channels):
    widths = [channels, *net.widths, channels * net.scale**2]
    activation = {"relu": relu, "tanh": lambda width: nn.Tanh()}[net.activation]
    layers = chain(widths, [5, 3, 3], activation)[:-1]
    return nn.Sequential(*layers, nn.PixelShuffle(net.scale))


def vdsr(net, channels):
    widths = [channels, *[net.width] * (net.depth - 1), channels]
    return Residual(*chain(widths, [3] * net.depth, relu)[:-1])


def leaky(width: int = 0) -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2, inplace=True)


class LapSRN(nn.Module):
    def __init__(self, net, channels):
        super().__init__()
        width, sides = net.width, [3] * net.depth
        self.head = nn.Sequential(conv(channels, width), leaky())
        self.features, self.residuals, self.images = (nn.ModuleList() for _ in range(3))
        for _ in net.scales:
            layers = chain([width] * (net.depth + 1), sides, leaky)
            self.features.append(nn.Sequential(*layers, double(width), leaky()))
            self.residuals.append(conv(width, channels))
            up = nn.ConvTranspose2d(channels, channels, 4, 2, padding=1, bias=False)
            self.images.append(up)

    def forward(self, lr):
        x, image, images = self.head(lr), lr, []
        for features, residual, up in zip(self.features, self.residuals, self.images):
            x = features(x)
            image = up(image) + residual(x)
            images.append(image)
        return images


class DRRN(nn.Module):
    def __init__(self, net, channels):
        super().__init__()
        self.units, width = net.units, net.width

        def activation(width):
            return nn.Sequential(nn.BatchNorm2d(width, momentum=0.001), relu())

        # Of each layer its own, unlike the convolutions.
        self.blocks, self.activations = nn.ModuleList(), nn.ModuleList()
        for before in [channels, *[width] * (net.blocks - 1)]:
            convs = [conv(before, width), conv(width, width), conv(width, width)]
            self.blocks.append(nn.ModuleList(convs))
            self.activations.append(activation(before))
            self.activations.extend(activation(width) for _ in range(2 * net.units))
        self.activations.append(activation(width))
        self.tail = conv(width, channels)

    def forward(self, enlarged):
        activations = iter(self.activations)
        x = enlarged
        for head, a, b in self.blocks:
            start = x = head(next(activations)(x))
            for _ in range(self.units):
                x = a(next(activations)(x))
                x = start + b(next(activations)(x))
        return enlarged + self.tail(next(activations)(x))


class RED(nn.Module):
    def __init__(self, net, channels):
        super().__init__()
        widths = [channels, *[net.width] * (net.depth - 1), channels]
        self.layers = nn.ModuleList(itertools.starmap(conv, itertools.pairwise(widths)))
        self.every = net.skip_every

    def forward(self, enlarged):
        x, skips, half = enlarged, {}, len(self.layers) // 2
        for i, layer in enumerate(self.layers[:half], 1):
            x = F.relu(layer(x), inplace=True)
            if self.every and i % self.every == 0:
                skips[i] = x
        for i, layer in zip(range(half - 1, 0, -1), self.layers[half:-1]):
            x = layer(x)
            x = F.relu(x + skips[i] if i in skips else x, inplace=True)
        return enlarged + self.layers[-1](x)


class SRDenseNet(nn.Module):
    def __init__(self, net, channels):
        super().__init__()
        self.head = nn.Sequential(conv(channels, net.width), relu())
        width, self.blocks = net.width, nn.ModuleList()
        for _ in range(net.blocks):
            before = [width, *(i * net.growth for i in range(1, net.depth))]
            layers = (nn.Sequential(conv(n, net.growth), relu()) for n in before)
            self.blocks.append(nn.ModuleList(layers))
            width += net.depth * net.growth
        layers = [conv(width, net.bottleneck, 1), relu()]
        for _ in range(net.scale.bit_length() - 1):
            layers += [double(net.bottleneck), relu()]
        self.tail = nn.Sequential(*layers, conv(net.bottleneck, channels))

    def forward(self, lr):
        x = self.head(lr)
        for first, *others in self.blocks:
            layers = [first(x)]
            for layer in others:
                layers.append(layer(torch.cat(layers, 1)))
            x = torch.cat([x, *layers], 1)
        return self.tail(x)


def srresnet(net, channels):
    width = net.width

    def block():
        layers = conv(width, width), nn.BatchNorm2d(width), nn.PReLU(width)
        return Residual(*layers, conv(width, width), nn.BatchNorm2d(width))

    blocks = [block() for _ in range(net.blocks)]
    return nn.Sequential(
        conv(channels, width, 9),
        nn.PReLU(width),
        Residual(*blocks, conv(width, width), nn.BatchNorm2d(width)),
        *shuffle(width, net.scale, nn.PReLU),
        conv(width, channels, 9),
        Affine(0.5, [0.5] * channels),
    )


def edsr(net, channels):
    width = net.width
    blocks = [
        Residual(
            conv(width, width), relu(), conv(width, width), scale=net.residual_scale
        )
        for _ in range(net.blocks)
    ]
    return nn.Sequential(
        Affine(255.0, [-255.0 * value for value in net.mean]),
        conv(channels, width),
        Residual(*blocks, conv(width, width)),
        *shuffle(width, net.scale, lambda width: nn.Identity()),
        conv(width, channels),
        Affine(1 / 255, list(net.mean)),
    )


NETWORKS = {
    "drrn": DRRN,
    "edsr": edsr,
    "espcn": espcn,
    "fsrcnn": fsrcnn,
    "lapsrn": LapSRN,
    "red": RED,
    "srcnn": srcnn,
    "srdensenet": SRDenseNet,
    "srresnet": srresnet,
    "vdsr": vdsr,
}

# Of a batch; those of `jaxsr.losses`, averaged over its images.
LOSSES = {
    "charbonnier_sum": lambda error: torch.sqrt(error**2 + 1e-6).sum() / len(error),
    "half_sum_squared": lambda error: 0.5 * (error**2).sum() / len(error),
    "l1": lambda error: error.abs().mean(),
    "mse": lambda error: (error**2).mean(),
}


def make_optimizer(config: dict, params: list) -> torch.optim.Optimizer:
    optim, settings = config["optim"], {"lr": config["schedule"]["learning_rate"]}
    settings |= {"weight_decay": optim.get("weight_decay", 0.0), "fused": True}
    if optim["name"] == "adam":
        return torch.optim.AdamW(params, **settings)
    return torch.optim.SGD(params, momentum=optim["momentum"], **settings)


def make_net(config: dict) -> nn.Module:
    """The network of an experiment, with as many parameters as jaxsr's.

    Raises:
        ValueError: where their number differs, as for fields that are not known here.
    """
    net, channels = recipe.make_net(config), image.channels(config["color"])
    theirs = NETWORKS[models.name_of(net)](net, channels)
    count = sum(x.numel() for x in theirs.parameters())
    expected = factories.cost_of(config)
    if count != expected.parameters:
        raise ValueError(
            f"PyTorch's network must have the {expected.parameters} parameters of {net}"
            f"; it has {count}."
        )
    for module in theirs.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return theirs


def make_run(
    config: dict, batch: dict, updates: int, device: str
) -> Callable[[], None]:
    """A function that makes that many updates, all on this batch, and waits for them.

    The batch lies on the device, where the network is compiled unless that is a CPU;
    both are channels_last.
    """

    def put(x):
        return x.to(device, memory_format=torch.channels_last)

    net = put(make_net(config))
    lr, hr = (put(torch.tensor(batch[x]).permute(0, 3, 1, 2)) for x in ("lr", "hr"))
    forward = torch.compile(net) if device == "cuda" else net
    params, loss = list(net.parameters()), LOSSES[config["loss"]]
    optimizer = make_optimizer(config, params)
    bound = config["optim"].get("theta", 0.0) / config["schedule"]["learning_rate"]
    rounded = config["precision"] == "bfloat16"
    bfloat16 = torch.autocast(device, torch.bfloat16, enabled=rounded)

    def error(sr):
        """Of a level of a pyramid, or of an image that may be smaller than hr."""
        target, (height, width) = hr, sr.shape[2:]
        if config["objective"]["name"] == "pyramid" and sr.shape != hr.shape:
            target = F.interpolate(hr, sr.shape[2:], mode="bicubic", antialias=True)
        top, left = ((a - b) // 2 for a, b in zip(target.shape[2:], sr.shape[2:]))
        return sr.float() - target[..., top : top + height, left : left + width]

    def run():
        for _ in range(updates):
            optimizer.zero_grad()
            with bfloat16:
                sr = forward(lr)
            images = sr if isinstance(sr, list) else [sr]
            sum(loss(error(image)) for image in images).backward()
            if bound:
                nn.utils.clip_grad_norm_(params, bound)
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def make_products(side: int, dtype: str, device: str) -> dict[str, Callable]:
    """The product of two large matrices in either library, whose speed is the peak."""
    a = jnp.ones([side, side], dtype)
    b = torch.ones([side, side], dtype=getattr(torch, dtype), device=device)
    product = jax.jit(jnp.matmul)

    def theirs():
        torch.matmul(b, b)
        if device == "cuda":
            torch.cuda.synchronize()

    return {
        "product, jax": lambda: product(a, a).block_until_ready(),
        "product, PyTorch": theirs,
    }


def measure(config: dict, updates: int, repetitions: int) -> dict[str, list[float]]:
    """Contender -> GFLOP/s in each round: "jaxsr", "PyTorch", and "peak".

    "PyTorch" is missing for a network without a peer. The peak is the speed of the
    faster of the two products of matrices in the same round.

    Args:
        config: of the experiment.
        updates: in a dispatch; a CPU makes one.
        repetitions: rounds, after one that warms up and is not counted.
    """
    on_cpu = jax.default_backend() == "cpu"
    device, updates, side = ("cpu", 1, 2048) if on_cpu else ("cuda", updates, 8192)
    precise = config["precision"] == "float32"
    torch.set_float32_matmul_precision("highest" if precise else "high")
    torch.backends.cudnn.allow_tf32 = not precise
    torch.backends.cudnn.benchmark = True

    # Sets the precision of JAX's products too.
    ours, batch = recipe.make_run(config, updates)
    runs = {"jaxsr": ours}
    if config["network"]["name"] in NETWORKS:
        runs["PyTorch"] = make_run(config, batch, updates, device)
    products = make_products(side, models.PRECISIONS[config["precision"]][1], device)
    timers = {name: paired.timed(run) for name, run in (runs | products).items()}
    seconds = paired.interleave(timers, repetitions)
    gflop = factories.gflop(config) * config["data"]["batch"] * updates
    speeds = {name: [gflop / value for value in seconds[name]] for name in runs}
    fastest = map(min, zip(*(seconds[name] for name in products)))
    return speeds | {"peak": [2e-9 * side**3 / value for value in fastest]}


HEADER = ["images/s", "GFLOP/s", "% of matrix peak", "speed / PyTorch's"]


def cells(name: str, speeds: dict[str, list[float]], gflop: float) -> list[str]:
    """What stands below `HEADER` for a contender whose images take `gflop` each."""
    own, theirs = speeds[name], speeds.get("PyTorch")
    return [
        paired.spread([value / gflop for value in own]),
        paired.spread(own),
        f"{100 * paired.ratio(own, speeds['peak']):.0f}",
        f"{paired.ratio(own, theirs):.2f}" if theirs else "-",
    ]

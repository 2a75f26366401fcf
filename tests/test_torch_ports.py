"""Ports of the networks in PyTorch, imported: they compute what they did there."""

import numpy as np
import pytest

from jaxsr import importers

torch = pytest.importorskip("torch")
nn = torch.nn

WIDTH = 6


def conv(inputs, outputs, side=3, **options):
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, **options)


class Vdsr(nn.Module):
    """As twtygqyy/pytorch-vdsr: the first and the last are defined last."""

    def __init__(self):
        super().__init__()
        block = [
            nn.ModuleDict({"conv": conv(WIDTH, WIDTH, bias=False)}) for _ in range(2)
        ]
        self.residual_layer = nn.Sequential(*block)
        self.input = conv(1, WIDTH, bias=False)
        self.output = conv(WIDTH, 1, bias=False)

    def forward(self, x):
        out = torch.relu(self.input(x))
        for block in self.residual_layer:
            out = torch.relu(block["conv"](out))
        return x + self.output(out)


class Srcnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(1, WIDTH, 9), conv(WIDTH, 4, 5)
        self.conv3 = conv(4, 1, 5)

    def forward(self, x):
        return self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x)))))


class Espcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.first_part = nn.Sequential(
            conv(1, WIDTH, 5), nn.Tanh(), conv(WIDTH, 4), nn.Tanh()
        )
        self.last_part = nn.Sequential(conv(4, 9), nn.PixelShuffle(3))

    def forward(self, x):
        return self.last_part(self.first_part(x))


class Fsrcnn(nn.Module):
    """As yjn870/FSRCNN-pytorch."""

    def __init__(self):
        super().__init__()
        self.first_part = nn.Sequential(conv(1, WIDTH, 5), nn.PReLU(WIDTH))
        self.mid_part = nn.Sequential(
            conv(WIDTH, 4, 1),
            nn.PReLU(4),
            conv(4, 4),
            nn.PReLU(),  # one slope for all
            conv(4, WIDTH, 1),
            nn.PReLU(WIDTH),
        )
        self.last_part = nn.ConvTranspose2d(
            WIDTH, 1, 9, stride=3, padding=4, output_padding=2
        )
        # Gray stays gray, which is how the scale is told: all weights positive, and
        # each output pixel of the transposed convolution sees nine taps of 1/9.
        with torch.no_grad():
            for x in self.parameters():
                x.abs_().clamp_(min=0.05)
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.bias.zero_()
                    layer.weight /= layer.weight.sum((1, 2, 3), keepdim=True)
            self.last_part.bias.zero_()
            ramp = torch.linspace(0.96, 1.04, 81).reshape(1, 1, 9, 9)
            self.last_part.weight.copy_(ramp / (9 * WIDTH))

    def forward(self, x):
        return self.last_part(self.mid_part(self.first_part(x)))


class Lapsrn(nn.Module):
    """As twtygqyy/pytorch-LapSRN."""

    def __init__(self):
        super().__init__()
        up = dict(stride=2, padding=1, bias=False)
        self.conv_input = conv(1, WIDTH, bias=False)
        for level in "12":
            layers = []
            for _ in range(2):
                layers += [conv(WIDTH, WIDTH, bias=False), nn.LeakyReLU(0.2)]
            layers += [nn.ConvTranspose2d(WIDTH, WIDTH, 4, **up), nn.LeakyReLU(0.2)]
            block = nn.Module()
            block.cov_block = nn.Sequential(*layers)
            image = nn.ConvTranspose2d(1, 1, 4, **up)
            setattr(self, f"convt_I{level}", image)
            setattr(self, f"convt_R{level}", conv(WIDTH, 1, bias=False))
            setattr(self, f"convt_F{level}", nn.Sequential(block))

    def forward(self, x):
        features = nn.functional.leaky_relu(self.conv_input(x), 0.2)
        for level in "12":
            features = getattr(self, f"convt_F{level}")[0].cov_block(features)
            x = getattr(self, f"convt_I{level}")(x)
            x = x + getattr(self, f"convt_R{level}")(features)
        return x


class Edsr(nn.Module):
    """As BasicSR: 255 times the image less the mean, without layers for that."""

    def __init__(self, channels=1, scale=4):
        super().__init__()
        self.mean = torch.tensor((0.4488, 0.4371, 0.4040) if channels == 3 else (0.0,))
        self.conv_first = conv(channels, WIDTH)
        self.body = nn.Sequential(
            *(
                nn.ModuleDict(
                    {"conv1": conv(WIDTH, WIDTH), "conv2": conv(WIDTH, WIDTH)}
                )
                for _ in range(2)
            )
        )
        self.conv_after_body = conv(WIDTH, WIDTH)
        ups = []
        for _ in range(scale // 2):
            ups += [conv(WIDTH, 4 * WIDTH), nn.PixelShuffle(2)]
        self.upsample = nn.Sequential(*ups)
        self.conv_last = conv(WIDTH, channels)

    def forward(self, x):
        mean = self.mean.view(1, -1, 1, 1)
        out = first = self.conv_first(255 * (x - mean))
        for block in self.body:
            out = out + block["conv2"](torch.relu(block["conv1"](out)))
        out = self.upsample(first + self.conv_after_body(out))
        return self.conv_last(out) / 255 + mean


PORTS = {
    "vdsr": (Vdsr, "net.pth", 0),
    "srcnn": (Srcnn, "srcnn_x3.pth.tar", 8),
    "espcn": (Espcn, "net.bin", 0),
    "fsrcnn": (Fsrcnn, "net.pth", 18),
    "lapsrn": (Lapsrn, "net.pt", 0),
    "edsr": (Edsr, "net.pth", 0),
}


def saved(net, path, x):
    """What the network makes of x, after its state dict has been saved."""
    torch.save(net.state_dict(), path)
    with torch.no_grad():
        return net(torch.tensor(x).movedim(-1, 1)).movedim(1, -1).numpy()


@pytest.mark.parametrize("name", PORTS)
def test_a_port_computes_what_it_did_in_pytorch(tmp_path, name):
    make, file, border = PORTS[name]
    torch.manual_seed(0)
    x = np.random.default_rng(0).random([1, 16, 20, 1], np.float32)
    expected = saved(make(), tmp_path / file, x)
    model = importers.import_weights(tmp_path / file, name)
    found = np.asarray(model.net.apply(model.variables, x))
    assert found.shape == expected.shape
    inside = (slice(None), *[slice(border, -border or None)] * 2)
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-5)
    assert model.card["color"] == "y"
    assert (
        model.card["scales"]
        == {
            "vdsr": [2, 3, 4],
            "srcnn": [3],
            "espcn": [3],
            "fsrcnn": [3],
            "lapsrn": [2, 4],
            "edsr": [4],
        }[name]
    )


def test_basicsrs_edsr_of_rgb_has_the_mean_of_div2k(tmp_path):
    x = np.random.default_rng(0).random([1, 9, 8, 3], np.float32)
    expected = saved(Edsr(3, scale=2), tmp_path / "x.pth", x)
    model = importers.import_weights(tmp_path / "x.pth", "edsr")
    assert model.card["color"] == "rgb"
    assert model.net.mean == (0.4488, 0.4371, 0.4040)
    found = model.net.apply(model.variables, x)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_read_and_a_rounded_mean_is_the_mean(tmp_path, dtype):
    net = Edsr(3, scale=2)
    tensors = dict(net.state_dict())
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        tensors[f"{name}.weight"] = torch.eye(3).reshape(3, 3, 1, 1)
        tensors[f"{name}.bias"] = sign * 255 * net.mean
    tensors = {k: x.to(getattr(torch, dtype)) for k, x in tensors.items()}
    torch.save(tensors, tmp_path / "x.pth")
    model = importers.import_weights(tmp_path / "x.pth", "edsr")
    assert model.net.mean == (0.4488, 0.4371, 0.4040)
    head = model.variables["params"]["head"]["kernel"]
    expected = tensors["conv_first.weight"].float().permute(2, 3, 1, 0)
    np.testing.assert_array_equal(head, expected)


def test_a_mean_of_one_channel_is_read_from_the_file(tmp_path):
    tensors = dict(Edsr().state_dict())
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        tensors[f"{name}.weight"] = torch.ones(1, 1, 1, 1)
        tensors[f"{name}.bias"] = torch.tensor([sign * 0.45 * 255])
    torch.save(tensors, tmp_path / "x.pth")
    model = importers.import_weights(tmp_path / "x.pth", "edsr")
    np.testing.assert_allclose(model.net.mean, [0.45], rtol=1e-6)


def test_of_two_dictionaries_the_average_is_taken_and_said(tmp_path, caplog):
    nets = {"params": Espcn(), "params_ema": Espcn()}
    path = tmp_path / "x.pth"
    torch.save({key: net.state_dict() for key, net in nets.items()}, path)

    def first(model):
        return np.asarray(model.variables["params"]["conv_0"]["kernel"])

    def expected(key):
        kernel = nets[key].first_part[0].weight.detach()
        return kernel.permute(2, 3, 1, 0).numpy()

    caplog.set_level("INFO", "jaxsr")
    model = importers.import_weights(path, "espcn")
    np.testing.assert_array_equal(first(model), expected("params_ema"))
    assert "params, params_ema, the averaged ones, params_ema, are" in caplog.text
    model = importers.import_weights(path, "espcn", key="params")
    np.testing.assert_array_equal(first(model), expected("params"))
    with pytest.raises(
        ValueError, match=r"select one with --key: \['params', 'params_ema"
    ):
        importers.import_weights(path, "espcn", key="x")


@pytest.mark.parametrize("wrap", ["averaged", "lightning", "parallel", "compiled"])
def test_what_wraps_a_network_is_taken_off_its_names(tmp_path, wrap):
    net = Espcn()
    state = net.state_dict()
    prefix = {"averaged": "module.", "lightning": "net_g.", "parallel": "module.model."}
    prefix = prefix.get(wrap, "_orig_mod.")
    state = {f"{prefix}{name}": x for name, x in state.items()}
    if wrap == "averaged":
        state = {"n_averaged": torch.tensor(7)} | state
    if wrap == "lightning":
        state |= {f"net_d.{name}": x for name, x in net.state_dict().items()}
        state = {"epoch": 3, "state_dict": state}
    torch.save(state, tmp_path / "x.pth")
    model = importers.import_weights(tmp_path / "x.pth", "espcn")
    kernel = net.last_part[0].weight.detach().permute(2, 3, 1, 0).numpy()
    found = model.variables["params"]["conv_out"]["kernel"]
    np.testing.assert_array_equal(found, kernel)


def test_what_is_no_plain_network_is_named(tmp_path):
    net = nn.Sequential(conv(1, 4), nn.BatchNorm2d(4), conv(4, 4), conv(4, 9))
    torch.save(net.state_dict(), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"found 1\.bias of shape \(4,\)"):
        importers.import_weights(tmp_path / "x.pth", "espcn")
    torch.save({"a": torch.zeros(2, 2)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"found a of shape \(2, 2\)"):
        importers.import_weights(tmp_path / "x.pth", "srcnn")

"""A campaign: damaged images, models, cards, imports and settings.

Each gives what it should or an error of one line that is ours: never another error, a
hang, more memory than the file warrants, or an image of a wrong size. It runs in a
process of its own with 6 GB of addresses: python tests/test_damage.py COUNT [KIND ...]
"""

import contextlib
import copy
import faulthandler
import importlib
import io
import itertools
import json
import logging
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import jax
import numpy as np
import PIL.Image
import pytest
import scipy.io
import tifffile
from test_espcn import write_pb
from test_experiments import EXPERIMENTS, SMALL
from test_importers import write_caffemodel, write_mat
from test_torch_files import dumps, tensor, write_zip

from jaxsr import importers, models, weights
from jaxsr.evaluation import tables
from jaxsr.files import reading, writing
from jaxsr.inference import jobs, upscale
from jaxsr.training import loop, setup

HEIGHT, WIDTH = 11, 13
ADDRESSES = 6 * 2**30  # bytes
SECONDS = 20  # for one damaged thing
GROWTH = 1_000_000  # kB that the process may grow by

# What no setting or field of a card is meant to be, somewhere.
ODD = [
    *(None, True, "", "text", "2", b"x".hex() * 300, "\n\x1b[31m", [], {}, [[]], [0]),
    *({"a": {"b": 1}}, ["y", 2], [2, "a"], {"x2": {"psnr": 36}}, 0, 1, -1, 2, 3, 0.5),
    *(-0.5, 1e308, 1e-308, 1_000_000, 10**9, 2**31, 2**63, 10**400),
    *(float("nan"), float("inf"), -float("inf")),
]


def exif():
    tags = PIL.Image.Exif()
    tags[0x010F], tags[0x0112] = "Maker", 6
    tags.get_ifd(0x8769).update({0x9003: "2020:02:02 02:02:02", 0xA002: WIDTH})
    return tags


def image_files():
    """Name -> content of a small whole file of each format that is read."""
    rng = np.random.default_rng(0)
    deep = rng.integers(65536, size=(HEIGHT, WIDTH, 4), dtype=np.uint16)
    photo = PIL.Image.fromarray((deep[..., :3] >> 8).astype(np.uint8))
    found = {}

    def save(name, picture, **options):
        stream = io.BytesIO()
        picture.save(stream, name.split()[0], **options)
        found[name] = stream.getvalue()

    def save_tiff(name, pixels, **options):
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, **options)
        found[name] = stream.getvalue()

    save("PNG", photo, exif=exif(), dpi=(300, 300))
    save("PNG palette", photo.quantize(16), transparency=3)
    save("PNG gray", photo.convert("L"), transparency=7)
    save("PNG frames", photo, save_all=True, append_images=[photo])
    save("PNG gray of 16 bits", PIL.Image.fromarray(deep[..., 0]))
    for channels in (2, 3, 4):
        stream = io.BytesIO()
        options = {"exif": exif(), "compress_level": 3}
        writing._write_png(stream, deep[..., :channels], options)
        found[f"PNG of 16 bits, {channels} channels"] = stream.getvalue()
    save("JPEG", photo, exif=exif(), quality=90, dpi=(72, 72))
    save("JPEG progressive", photo, progressive=True)
    save("JPEG cmyk", photo.convert("CMYK"))
    save("WEBP", photo, exif=exif(), lossless=True)
    save("GIF", photo, save_all=True, append_images=[photo, photo])
    save("BMP", photo)
    save("PPM", photo)
    found["PPM of 16 bits"] = b"P6 13 11 65535\n" + deep[..., :3].tobytes()
    found["PGM of 16 bits"] = b"P5 13 11 4095\n" + deep[..., 0].tobytes()
    for compression in (None, "tiff_lzw", "jpeg", "tiff_adobe_deflate"):
        save(f"TIFF {compression}", photo, compression=compression, exif=exif())
    save("TIFF float", photo.convert("F"))
    for compression in (None, "zlib", "lzma"):
        for planar in ("contig", "separate"):
            kind = {"photometric": "rgb", "compression": compression}
            pixels = np.moveaxis(deep, -1, 0) if planar == "separate" else deep
            options = {"planarconfig": planar, "extrasamples": ["assocalpha"]}
            save_tiff(f"deep TIFF {compression} {planar}", pixels, **options, **kind)
    save_tiff("deep TIFF cmyk", deep, photometric="separated", tile=(16, 16))
    save_tiff("deep TIFF white", deep[..., 0], photometric="miniswhite", bigtiff=True)
    save_tiff("deep TIFF gray", deep[..., 0], byteorder=">", compression="zlib")
    return found


def damaged(content, rng):
    """The content with a byte or two changed, some taken out or put in, or cut."""
    data = bytearray(content)
    head = rng.random() < 0.5  # half of all damages lie in the first 200 bytes
    for _ in range(rng.integers(1, 3)):
        at = int(rng.integers(min(len(data), 200) if head else len(data)))
        match rng.integers(6):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = int(rng.integers(256))
            case 2:
                data[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff"])
            case 3:
                del data[at : at + int(rng.integers(1, 9))]
            case 4:
                data[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 5:
                del data[at:]
                return bytes(data)
    return bytes(data)


def outcome(function, *args, errors=ValueError):
    """What a function gives, or None for an error of ours; no other may come."""
    try:
        return function(*args)
    except errors as error:
        assert str(error).strip() and "\n" not in str(error), repr(error)
        cause = error
        while cause := cause.__cause__:
            assert not isinstance(cause, MemoryError), repr(error)
        return None


def twice(pixels, size, model, options, **how):
    """Stands for `upscale.to_size`, which is no part of this: the nearest pixels."""
    rows, columns = (
        np.arange(new) * old // new for new, old in zip(size, pixels.shape)
    )
    return pixels[rows][:, columns]


class Images:
    """Read by every reader, upscaled, and what was written is read again."""

    def __init__(self, folder):
        self.files = image_files()
        self.path, self.folder = folder / "x.img", folder
        PIL.Image.MAX_IMAGE_PIXELS = 10**6
        upscale.to_size, self.model = twice, small_model()
        for content in self.files.values():
            assert self.check(content, ".png")

    def __call__(self, rng):
        name = rng.choice(list(self.files))
        content = damaged(self.files[name], rng)
        return self.check(content, rng.choice([".png", ".tif", ".jpg", ".webp"]))

    def check(self, content, suffix):
        self.path.write_bytes(content)
        size = outcome(reading.size_of, self.path)
        found = outcome(reading.read_upright, self.path)
        eight = outcome(reading.read_as_stored, self.path)
        if eight is not None:
            assert eight.dtype == np.uint8 and eight.shape[2] in (1, 3)
            assert found and set(eight.shape[:2]) == set(size)
        target = self.folder / f"y{suffix}"
        summary = jobs.upscale_files(
            [self.path], target, model=self.model, existing="overwrite"
        )
        for failure in summary.failed:
            assert "\n" not in failure.reason, failure.reason
        if not found:
            assert summary.failed
            return False
        pixels = found[0].pixels
        assert pixels.shape[:2] == size, (size, pixels.shape)
        assert pixels.dtype in (np.uint8, np.uint16, np.float32)
        if summary.done:
            written, _ = reading.read_upright(target)
            assert written.pixels.shape[:2] == (2 * size[0], 2 * size[1])
            if pixels.dtype == np.uint16 and pixels.shape[2:] == (2,):
                return True  # which Pillow cannot read
            with PIL.Image.open(target) as picture:
                assert picture.size == (2 * size[1], 2 * size[0])
                picture.load()
                picture.getexif().get_ifd(0x8769)
        return True


def small_model():
    net = models.make("fsrcnn", scale=2, width=3, narrow=2, depth=1)
    score = {"psnr": 36.5, "ssim": 0.95, "lpips": 0.1}
    card = weights.make_card(
        net,
        color="y",
        scales=[2],
        trained_on="T91",
        step=7,
        scores={"Set5": {"x2": score}},
        ensemble={"Set5": {"x2": score}},
        validation={"data": "validation", "psnr": 31.0},
        upscaling={"2": {"psnr": 36.0, "multiply_adds": 1}},
        cost={"parameters": 9, "halo": 3, "input": "low", "multiply_adds": {"": 9}},
        blur=0.0,
        epochs=2.0,
    )
    return weights.Model(net, net.init(jax.random.key(0), np.zeros([1, 8, 8, 1])), card)


def use(model):
    """What is made of a card, once it is loaded."""
    lines = tables.overview({"x": model}, ["Set5", "Set14"]).splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {7}, lines
    for scale in model.card["scales"]:
        tables.paper_score(model.card, "Set5", scale)


class Models:
    """Files of models, some of whose bytes are wrong."""

    def __init__(self, folder):
        self.path = folder / "x.safetensors"
        weights.save(self.path, small_model())
        self.content = self.path.read_bytes()
        use(weights.load(self.path))

    def __call__(self, rng):
        return self.check(damaged(self.content, rng))

    def check(self, content):
        self.path.write_bytes(content)
        model = outcome(weights.load, self.path)
        if model:
            use(model)
        return model is not None


def places(value, path=()):
    """The path of every value in nested dictionaries and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, (list, tuple)) else items
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value, rng):
    """Nested dictionaries with one value of `ODD`, without one, or with one more."""
    value = copy.deepcopy(value)
    known = list(places(value))[1:]
    path = known[rng.integers(len(known))]
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    odd = ODD[rng.integers(len(ODD))]
    if isinstance(holder, tuple):
        return changed(value, rng)
    match rng.integers(20):
        case 0:
            del holder[path[-1]]
        case 1 if isinstance(holder, dict):
            holder[str(odd)] = holder.pop(path[-1])
        case _:
            holder[path[-1]] = odd
    return value


class Cards(Models):
    """Files of models whose cards hold what they should not."""

    def __call__(self, rng):
        length = int.from_bytes(self.content[:8], "little")
        header = json.loads(self.content[8 : 8 + length])
        card = json.loads(header["__metadata__"]["jaxsr"])
        for _ in range(rng.integers(1, 3)):
            card = changed(card, rng)
        header["__metadata__"]["jaxsr"] = json.dumps(card)
        text = json.dumps(header).encode()
        rest = self.content[8 + length :]
        return self.check(len(text).to_bytes(8, "little") + text + rest)


class Imports:
    """Authors' files of each format, some of whose bytes are wrong."""

    def __init__(self, folder):
        rng = np.random.default_rng(0)

        def layers(shapes):
            shapes = dict(zip(("conv_0", "conv_1", "conv_out"), shapes))
            return {
                name: {
                    "kernel": rng.normal(size=shape).astype(np.float32),
                    "bias": rng.normal(size=shape[-1:]).astype(np.float32),
                }
                for name, shape in shapes.items()
            }

        vdsr = layers([(3, 3, 1, 4), (3, 3, 4, 4), (3, 3, 4, 1)])
        write_mat(folder / "vdsr.mat", vdsr)
        plain = scipy.io.loadmat(folder / "vdsr.mat")["model"]
        scipy.io.savemat(folder / "plain.mat", {"model": plain})
        write_caffemodel(folder / "vdsr.caffemodel", vdsr)
        espcn = layers([(5, 5, 1, 6), (3, 3, 6, 4), (3, 3, 4, 4)])
        nodes = ["Conv2D", "Tanh", "Conv2D", "Tanh", "Conv2D", "DepthToSpace"]
        write_pb(folder / "espcn.pb", espcn, nodes)
        named, storages = {}, {}
        for name, layer in espcn.items():
            for part, x in layer.items():
                x = x.transpose(3, 2, 0, 1).copy() if x.ndim == 4 else x
                strides = tuple(n // x.itemsize for n in x.strides)
                part = {"kernel": "weight"}.get(part, part)
                named[f"{name}.{part}"] = tensor(name + part, 0, x.shape, strides)
                storages[name + part] = x
        (folder / "espcn.pth").write_bytes(write_zip(dumps(named), storages))
        with contextlib.suppress(ImportError):
            torch = importlib.import_module("torch")
            state = {
                f"{name}.{part}".replace("kernel", "weight"): torch.tensor(
                    x.transpose(3, 2, 0, 1).copy() if x.ndim == 4 else x
                )
                for name, layer in vdsr.items()
                for part, x in layer.items()
            }
            kind = {"_use_new_zipfile_serialization": False}
            torch.save({"params": state}, folder / "vdsr.pth", **kind)
        shapes = [(3, 3, 3, 4), *[(3, 3, 4, 4)] * 3, (3, 3, 4, 16), (3, 3, 4, 3)]
        arrays = {"DIV2K_mean": np.reshape((0.4488, 0.4371, 0.4040), (1, 3, 1, 1))}
        for i, shape in enumerate(shapes):
            arrays[f"convolution{i}_weight"] = np.zeros(
                (*shape[:1:-1], *shape[:2]), np.float32
            )
            arrays[f"convolution{i}_bias"] = np.zeros(shape[-1:], np.float32)
        np.savez(folder / "edsr.npz", **arrays)
        self.folder = folder
        kinds = ["vdsr.mat", "plain.mat", "vdsr.caffemodel", "vdsr.pth", "espcn.pb"]
        kinds = [folder / name for name in (*kinds, "espcn.pth", "edsr.npz")]
        self.files = {path: path.read_bytes() for path in kinds if path.exists()}
        for path in self.files:
            assert self.check(path)

    def __call__(self, rng):
        path = list(self.files)[rng.integers(len(self.files))]
        bad = path.with_name(f"bad{path.name}")
        bad.write_bytes(damaged(self.files[path], rng))
        return self.check(bad)

    def check(self, path):
        network = path.stem.removeprefix("bad").replace("plain", "vdsr")
        model = outcome(importers.import_weights, path, network)
        if model is None:
            return False
        weights.save(self.folder / "y.safetensors", model)
        assert weights.load(self.folder / "y.safetensors").card == model.card
        return True


class Settings:
    """Configs of every experiment, one or two of whose settings cannot be meant."""

    def __init__(self, folder):
        rng = np.random.default_rng(0)
        for i in range(3):
            pixels = rng.integers(256, size=(200, 200, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(folder / f"{i}.png")
        self.folder = folder
        own = {"backend": "device", "batch": 8, "name": str(folder), "reduced": (1.0,)}
        self.configs = []
        for name in EXPERIMENTS:
            config = importlib.import_module(f"experiments.{name}").get_config()
            config = config.to_dict() | {"start": ""}
            config["network"] |= SMALL[config["network"]["name"]]
            config["data"] |= own | {"patch": min(config["data"]["patch"], 48)}
            config["validation"] |= {"name": str(folder), "best_by": "psnr"}
            config["evaluation"]["sets"] = ()
            config["perceptual"]["layer"] = "conv1_2"
            config["discriminator"] |= {"width": 4}
            if config["loss"] != "vgg":
                self.configs.append(config)

    def __call__(self, rng):
        config = self.configs[rng.integers(len(self.configs))]
        for _ in range(rng.integers(1, 3)):
            config = changed(config, rng)
        return self.check(config)

    def check(self, config):
        return outcome(self.set_up, config, errors=loop.ERRORS) or False

    def set_up(self, config):
        """What a run does before its first update, which is traced."""
        with contextlib.redirect_stdout(io.StringIO()):
            run = setup.set_up(config)
        state = jax.eval_shape(run.first_state)
        batches = run.put(itertools.islice(run.feed.inputs(0, 1), 1))
        jax.eval_shape(run.update, state, run.feed.data, batches)
        return True


KINDS = {kind.__name__.lower(): kind for kind in (Models, Cards, Imports, Images)}
KINDS["settings"] = Settings


def campaign(kind, count):
    """How many of so many damaged things could still be read."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial, rng = KINDS[kind](pathlib.Path(folder)), np.random.default_rng(16)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read = 0
        for i in range(count):
            faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
            started = time.monotonic()
            if i % 100 == 0:
                jax.clear_caches()  # which grow by themselves
            try:
                read += trial(rng)
            except BaseException:
                print(f"Number {i} of {kind}:", file=sys.stderr)
                raise
            assert time.monotonic() - started < SECONDS, (kind, i)
        faulthandler.cancel_dump_traceback_later()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < GROWTH, f"{kind}: {grown} kB"
    return read


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damage_gives_what_it_should_or_an_error_of_one_line(count):
    root = pathlib.Path(__file__).parents[1]
    process = subprocess.run(
        [sys.executable, __file__, str(count)],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    read = json.loads(process.stdout)
    assert read.keys() == KINDS.keys()
    assert 0 < max(read.values()) < count / len(KINDS)  # some are still whole


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    logging.disable()
    chosen = sys.argv[2:] or KINDS
    each = int(sys.argv[1]) // len(chosen)
    print(json.dumps({kind: campaign(kind, each) for kind in chosen}))

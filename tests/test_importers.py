import hashlib
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from conftest import find_weights, open_set

from jaxsr import image, importers, metrics, models

LAYERS = [(1, 4), (4, 4), (4, 1)]  # channels in and out of a VDSR of depth 3, width 4


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {
        name: {
            "kernel": rng.normal(size=[3, 3, *channels]).astype(np.float32),
            "bias": rng.normal(size=channels[-1:]).astype(np.float32),
        }
        for name, channels in zip(["conv_0", "conv_1", "conv_out"], LAYERS)
    }


def cell(arrays):
    cells = np.empty([1, len(arrays)], object)
    for i, array in enumerate(arrays):
        cells[0, i] = array
    return cells


def write_mat(file, params):
    """As MATLAB: without trailing axes of length one, and the biases as columns."""
    kernels = [layer["kernel"] for layer in params.values()]
    kernels = [x[..., 0] if x.shape[-1] == 1 else x for x in kernels]
    biases = [layer["bias"][:, None] for layer in params.values()]
    model = {"weight": cell(kernels), "bias": cell(biases)}
    scipy.io.savemat(file, {"model": model}, do_compression=True)


def varint(value):
    *low, high = [
        value >> 7 * i & 127 for i in range(max(1, -(-value.bit_length() // 7)))
    ]
    return bytes([*(byte | 128 for byte in low), high])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def blob(array):
    shape = field(1, b"".join(map(varint, array.shape)))
    return field(5, array.astype("<f4").tobytes()) + field(7, shape)


def write_caffemodel(file, params, number=100):
    """As Caffe, with a layer without weights, an integer and a float in between."""
    layers = [field(number, field(1, b"data"))]
    for name, layer in params.items():
        blobs = (layer["kernel"].transpose(3, 2, 1, 0), layer["bias"])
        fields = [field(1, name.encode()), varint(10 << 3) + varint(300)]
        fields += [varint(6 << 3 | 5) + struct.pack("<f", 0.1)]
        fields += [field(7, blob(array)) for array in blobs]
        layers.append(field(number, b"".join(fields)))
    file.write_bytes(field(1, b"VDSR") + b"".join(layers))


WRITERS = {".mat": write_mat, ".caffemodel": write_caffemodel}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_weight_arrives_where_it_belongs(tmp_path, params, suffix):
    file = tmp_path / f"small{suffix}"
    WRITERS[suffix](file, params)
    net, variables, card = importers.import_weights(file, "vdsr")
    assert net == models.VDSR(depth=3, width=4)
    jax.tree.map(np.testing.assert_array_equal, variables, {"params": params})
    assert card["source"] == file.name
    assert card["digest"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (card["network"], card["color"], card["scales"]) == ("vdsr", "y", [2, 3, 4])


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_cut_anywhere_is_refused(tmp_path, params, suffix):
    file = tmp_path / f"small{suffix}"
    WRITERS[suffix](file, params)
    whole = file.read_bytes()
    for size in range(0, len(whole) - 1, 13):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"Cannot import {file} as vdsr"):
            importers.import_weights(file, "vdsr")


@pytest.mark.parametrize("suffix", WRITERS)
def test_wrong_shapes_and_single_layers_are_listed(tmp_path, params, suffix):
    file = tmp_path / f"small{suffix}"
    params["conv_1"]["kernel"] = np.zeros([5, 5, 4, 4], np.float32)
    WRITERS[suffix](file, params)
    expected = r"params/conv_1/kernel: expected \(3, 3, 4, 4\), found \(5, 5, 4, 4\)"
    with pytest.raises(ValueError, match=expected):
        importers.import_weights(file, "vdsr")
    WRITERS[suffix](file, {"conv_0": params["conv_0"]})
    with pytest.raises(ValueError, match="at least 2 convolutions, found 1"):
        importers.import_weights(file, "vdsr")


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_text_file_is_refused(tmp_path, suffix):
    file = tmp_path / f"readme{suffix}"
    file.write_text("These are no weights.\n" * 20)
    with pytest.raises(ValueError, match=f"Cannot import {file} as vdsr"):
        importers.import_weights(file, "vdsr")


def test_foreign_tensors_are_listed(tmp_path, params):
    file = tmp_path / "foreign.mat"
    scipy.io.savemat(file, {"weights_conv1": np.zeros([81, 64])})
    with pytest.raises(ValueError, match=r"struct 'model'.*\['weights_conv1'\]"):
        importers.import_weights(file, "vdsr")
    file = tmp_path / "foreign.caffemodel"
    params["prelu"] = {"kernel": np.zeros([1, 1, 1, 4]), "bias": np.zeros([4, 4])}
    write_caffemodel(file, params)
    with pytest.raises(
        ValueError, match=r"'prelu', found \[\(4, 1, 1, 1\), \(4, 4\)\]"
    ):
        importers.import_weights(file, "vdsr")


def test_messages_say_what_to_do(tmp_path, params):
    file = tmp_path / "old.caffemodel"
    write_caffemodel(file, params, number=2)
    with pytest.raises(ValueError, match="upgrade_net_proto_binary"):
        importers.import_weights(file, "vdsr")
    with pytest.raises(ValueError, match=r"one of \[.*'vdsr'.*got 'vdsrr'"):
        importers.import_weights(file, "vdsrr")
    with pytest.raises(ValueError, match="'.caffemodel', .*'.mat', .*got '.caffe'"):
        importers.import_weights(file.rename(file.with_suffix(".caffe")), "vdsr")


def psnr(model, pixels, scale):
    """Of the enlarged image's Y, by the protocol of the papers."""
    hr = jnp.asarray(image.modcrop(image.luma(pixels), scale))[None]
    enlarged = image.enlarge(image.degrade(hr, scale), scale)
    sr = image.quantise(jax.jit(model.net.apply)(model.variables, enlarged))
    return metrics.psnr(sr, hr, border=scale)[0]


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [("VDSR_Official.mat", 3, 29.955), ("VDSR_Adam.caffemodel", 3, 29.975)],
)
def test_the_butterfly_is_enlarged_as_published(butterfly, name, scale, expected):
    model = importers.import_weights(find_weights(f"vdsr/{name}"), "vdsr")
    assert sum(x.size for x in jax.tree.leaves(model.variables)) == 665_921
    score = psnr(model, butterfly, scale)
    np.testing.assert_allclose(score, expected, atol=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("VDSR_Official.mat", {2: 37.53, 3: 33.66, 4: 31.35}, 0.02),
        # by a protocol of their own, with low-resolution images rounded to 8 bits
        ("VDSR_Adam.caffemodel", {2: 37.58, 3: 33.68, 4: 31.33}, 0.04),
    ],
)
def test_the_mean_over_set5_is_the_published_one(name, expected, tolerance):
    model = importers.import_weights(find_weights(f"vdsr/{name}"), "vdsr")
    source = open_set("Set5")
    for scale, mean in expected.items():
        scores = [psnr(model, source.read(i), scale) for i in range(5)]
        np.testing.assert_allclose(np.mean(scores), mean, atol=tolerance)

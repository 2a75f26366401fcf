import jax
import numpy as np
import pytest
import scipy.io
from conftest import find_weights

from jaxsr import importers, metrics, models
from jaxsr.evaluation import protocol

NETS = {
    "lapsrn": models.LapSRN(scales=(2, 4), depth=2, width=3),
    "ms_lapsrn": models.MSLapSRN(scales=(2, 4), depth=2, recursions=3, width=4),
}
TENSORS = {
    "conv_0": "conv1",
    "conv_1": "conv2",
    "up": "upconv",
    "residual": "residual_conv",
    "image": "img_up",
}


def names_in_file(name):
    """Layer here -> there, where LapSRN's levels count down."""
    shared = {"conv_in": "input_conv"}
    if name == "ms_lapsrn":
        return shared | TENSORS
    return shared | {
        f"level_{level}_{ours}": f"level{2 - level}_{theirs}"
        for level in range(2)
        for ours, theirs in TENSORS.items()
    }


def structs(*rows):
    """A struct array as MATLAB's; rows are dictionaries."""
    array = np.empty([1, len(rows)], [(field, object) for field in rows[0]])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row.values())
    return array


@pytest.fixture(params=NETS)
def small(request, tmp_path):
    """(name, path, tensors, save, params): save() writes the tensors to the path."""
    name, path, tensors = request.param, tmp_path / "small.mat", {}
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(
        lambda: NETS[name].init(jax.random.key(0), np.zeros([1, 4, 4, 1], np.float32))
    )
    params = jax.tree.map(lambda p: rng.normal(size=p.shape), shapes)["params"]
    params = jax.tree.map(np.float32, params)
    for ours, theirs in names_in_file(name).items():
        kernel = params[ours]["kernel"]
        if "up" in theirs:
            kernel = kernel.swapaxes(2, 3)
        while kernel.shape[-1] == 1:  # as MATLAB
            kernel = kernel[..., 0]
        tensors[f"{theirs}_f"] = kernel
        if "bias" in params[ours]:
            tensors[f"{theirs}_b"] = params[ours]["bias"][None]

    def save():
        layers = ["x2SR_input_conv", "x4SR_level1_R3_conv1", "x4SR_level2_R1_conv1"]
        net = structs(
            {
                "params": structs(
                    *({"name": k, "value": x} for k, x in tensors.items())
                ),
                "layers": structs(*({"name": layer} for layer in layers)),
            }
        )
        scipy.io.savemat(path, {"net": net}, do_compression=True)

    save()
    return name, path, tensors, save, params


def test_every_weight_arrives_where_it_belongs(small):
    name, path, _, _, params = small
    net, variables, card = importers.import_weights(path, name)
    assert net == NETS[name]
    jax.tree.map(np.testing.assert_array_equal, variables, {"params": params})
    assert (card["network"], card["color"], card["scales"]) == (name, "y", [2, 4])


def test_a_cut_file_is_refused(small):
    name, path, *_ = small
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, len(whole) // 40):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"Cannot import {path} as {name}"):
            importers.import_weights(path, name)


def test_missing_unknown_and_misshapen_tensors_are_listed(small):
    name, path, tensors, save, _ = small
    kernel = tensors["input_conv_f"]
    tensors["input_conv_f"] = np.zeros([5, 5, 1, kernel.shape[-1]], np.float32)
    save()
    with pytest.raises(ValueError, match=r"conv_in/kernel: expected.*found \(5, 5, 1"):
        importers.import_weights(path, name)
    tensors["prelu"] = tensors.pop("input_conv_f")
    save()
    expected = r"expected also \['input_conv_f'\], found \['prelu'\]"
    with pytest.raises(ValueError, match=expected):
        importers.import_weights(path, name)


def test_foreign_files_are_answered_with_what_was_expected(small):
    name, path, tensors, save, _ = small
    for other in set(NETS) - {name}:
        with pytest.raises(ValueError, match="expected names with"):
            importers.import_weights(path, other)
    scipy.io.savemat(path, {"net": structs({"params": 1.0, "layers": "conv"})})
    with pytest.raises(ValueError, match="the fields 'name' and 'value'"):
        importers.import_weights(path, name)
    scipy.io.savemat(path, {"model": np.zeros(3)})
    with pytest.raises(ValueError, match=r"a struct 'net'.*found \['model'\]"):
        importers.import_weights(path, name)
    with pytest.raises(ValueError, match=r"must end in .*'.mat'.*; got '.npz'"):
        importers.import_weights(path.rename(path.with_suffix(".npz")), name)


@pytest.mark.parametrize(
    ("file", "name", "count", "scale", "expected"),
    [
        ("LapSRN_x2.mat", "lapsrn", 407_441, 2, 34.202),
        ("LapSRN_x4.mat", "lapsrn", 814_242, 4, 27.190),
        ("MSLapSRN_D5R2.mat", "ms_lapsrn", 222_801, 4, 27.513),
    ],
)
def test_the_butterfly_is_enlarged_as_measured(
    butterfly, file, name, count, scale, expected
):
    model = importers.import_weights(find_weights(f"lapsrn/{file}"), name)
    assert sum(x.size for x in jax.tree.leaves(model.variables)) == count
    sr, hr = protocol.restore_image(model, butterfly, scale)
    score = metrics.psnr(sr[None], hr[None], border=scale)[0]
    np.testing.assert_allclose(score, expected, atol=0.005)

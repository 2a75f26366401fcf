import jax
import numpy as np
import pytest
from test_tiling import Shuffle, init_variables, make_vdsr
from test_upscale import make_model, make_pixels

from jaxsr import image, matrices
from jaxsr.inference import program, tiling, upscale


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (40, 33)])
def test_shifted_sums_are_bicubic_up_to_mirrored_borders(factor, size):
    x = np.random.default_rng(0).random((2, *size, 3))
    result = program.enlarged(x.astype(np.float32), factor)
    np.testing.assert_allclose(result, image.enlarge(x, factor), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [2, 2.5])
def test_pixels_cross_to_the_device_and_back_in_the_dtype_of_the_file(
    monkeypatch, dtype, scale
):
    moved, make = [], program.make_program

    def watched(net, form):
        def run(variables, tile):
            made, finite = make(net, form)(variables, tile)
            moved.append((tile["window"].dtype, made.dtype))
            return made, finite

        return run

    monkeypatch.setattr(program, "make_program", watched)
    upscale.upscale(make_pixels(40, 33, 3, dtype=dtype), scale, make_model(Shuffle(2)))
    assert moved == [(dtype, dtype)]


@pytest.mark.parametrize("net", [Shuffle(2), make_vdsr()])
@pytest.mark.parametrize("scale", [2, 2.7])
def test_nothing_recompiles_from_one_large_photo_to_the_next(monkeypatch, net, scale):
    programs, make = set(), program.make_program

    def noted(*asked):
        programs.add(make(*asked))
        return make(*asked)

    monkeypatch.setattr(program, "make_program", noted)
    make.cache_clear()
    model = make_model(net)
    for size in [(61, 73), (90, 67), (64, 101)]:
        upscale.upscale(make_pixels(*size, 3), scale, model, tile=48)
    (compiled,) = programs
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("length", [1, 9, 47, 200])
@pytest.mark.parametrize("net", [Shuffle(3), make_vdsr()])
def test_cuts_keep_each_output_pixel_once_and_hold_what_it_is_made_of(
    net, length, exact
):
    factor = tiling.enlargement(net)
    new = 3 * length if exact else round(2.4 * length)
    cuts = program.make_cuts(net, factor, length, new, 24, exact)
    kept = np.concatenate([np.arange(new)[cut.kept] for cut in cuts])
    np.testing.assert_array_equal(kept, np.arange(new))
    assert len({cut.window.stop - cut.window.start for cut in cuts}) == 1
    bicubic = matrices.resize(length, new, new / length)
    for cut in cuts:
        assert 0 <= cut.window.start < cut.window.stop <= length
        for row in range(cut.kept.start, cut.kept.stop):
            columns = bicubic.indices[slice(*bicubic.indptr[row : row + 2])]
            assert cut.window.start <= columns.min()
            assert columns.max() < cut.window.stop


def test_an_output_that_is_not_finite_is_reported_by_its_tile():
    model = make_model(Shuffle(2))
    form = program.Form(None, "y", False, 2, "float32", False, False)
    run = program.make_program(model.net, form)
    variables = jax.tree.map(lambda x: x + np.inf, init_variables(model.net))
    tile = {
        "window": np.zeros((2, 8, 8, 3), np.uint8),
        "top": np.full((2, 3), 255, np.float32),
        "strength": np.ones(2, np.float32),
    }
    assert run(model.variables, tile)[1].all()
    assert not run(variables, tile)[1].any()

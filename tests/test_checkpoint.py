import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxsr import models, optim
from jaxsr.training import checkpoint, step

TX = optim.sgd(lambda count: 0.1, weight_decay=1e-4, clip="norm", theta=0.01)


def state_at(number):
    net = models.make("vdsr", depth=3, width=4)
    variables = net.init(jax.random.key(number), jnp.zeros([1, 8, 8, 1]))
    state = step.init_state(variables, TX, ema=True)
    return state._replace(step=jnp.asarray(number, jnp.int32))


def saved(directory, *numbers, keep=3, psnr=None):
    manager = checkpoint.open_directory(directory, keep=keep)
    for number in numbers:
        checkpoint.save(manager, state_at(number), psnr=(psnr or {}).get(number))
    checkpoint.close(manager)
    return checkpoint.open_directory(directory, keep=keep)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_state_comes_back_bit_for_bit(tmp_path):
    manager = saved(tmp_path, 7)
    restored = checkpoint.restore(manager, state_at(0))
    assert type(restored) is step.TrainState
    assert jax.tree.structure(restored) == jax.tree.structure(state_at(7))
    assert_same(restored, state_at(7))


def test_an_empty_directory_has_none(tmp_path):
    manager = checkpoint.open_directory(tmp_path / "new")
    assert checkpoint.restore(manager, state_at(0)) is None


def test_the_newest_and_the_best_are_kept(tmp_path):
    psnr = {1: 30.0, 2: 33.0, 3: 31.0, 4: 32.0}
    manager = saved(tmp_path, 1, 2, 3, 4, 5, keep=2, psnr=psnr)
    assert sorted(manager.all_steps()) == [2, 4, 5]


def test_saving_a_step_again_changes_nothing(tmp_path):
    manager = saved(tmp_path, 3)
    checkpoint.save(manager, state_at(3))
    checkpoint.close(manager)
    assert manager.all_steps() == [3]


def test_a_state_is_restored_onto_other_devices(tmp_path):
    manager = saved(tmp_path, 4)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    like = jax.device_put(state_at(0), NamedSharding(mesh, PartitionSpec()))
    restored = checkpoint.restore(manager, like)
    assert len(restored.params["conv_0"]["kernel"].sharding.device_set) == 8
    assert_same(restored, state_at(4))


def data_files(directory, number):
    """The files of a checkpoint that hold array data, largest first."""
    files = [p for p in (directory / str(number) / "state").rglob("*") if p.is_file()]
    return sorted(files, key=lambda p: -p.stat().st_size)


def flip_a_bit(directory, number):
    kernel = np.asarray(state_at(number).params["conv_1"]["kernel"])
    for path in data_files(directory, number):
        content = bytearray(path.read_bytes())
        if len(content) > kernel.nbytes // 2:
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            return


def cut_a_file(directory, number):
    path = data_files(directory, number)[0]
    path.write_bytes(path.read_bytes()[:20])


def lose_a_folder(directory, number):
    shutil.rmtree(directory / str(number) / "state")


@pytest.mark.parametrize("damage", [flip_a_bit, cut_a_file, lose_a_folder])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(
    tmp_path, caplog, damage
):
    saved(tmp_path, 1, 2).close()
    damage(tmp_path, 2)
    manager = checkpoint.open_directory(tmp_path)
    assert_same(checkpoint.restore(manager, state_at(0)), state_at(1))
    assert "step 2 is damaged" in caplog.text
    assert (tmp_path / "2.damaged").is_dir()
    checkpoint.save(manager, state_at(2))  # the run gets there again
    checkpoint.close(manager)
    damage(tmp_path, 2)  # and again
    manager = checkpoint.open_directory(tmp_path)
    assert_same(checkpoint.restore(manager, state_at(0)), state_at(1))


def test_a_run_with_only_damaged_checkpoints_does_not_start_again(tmp_path):
    saved(tmp_path, 1, 2).close()
    for number in (1, 2):
        cut_a_file(tmp_path, number)
    for _ in range(2):  # nor at the second attempt
        with pytest.raises(checkpoint.CheckpointError, match=r"\[2, 1\].*workdir"):
            checkpoint.restore(checkpoint.open_directory(tmp_path), state_at(0))


def test_a_failed_write_is_raised_and_the_one_before_stays(tmp_path):
    """A file-size limit stands in for the full disk: the write itself fails."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import conftest
from test_checkpoint import checkpoint, saved, state_at
manager = saved({str(tmp_path)!r}, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    checkpoint.save(manager, state_at(2))
    checkpoint.close(manager)
except checkpoint.CheckpointError as error:
    print("raised", error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.startswith("raised a checkpoint could not be"), out.stderr
    assert "is that of step 1" in out.stdout
    manager = checkpoint.open_directory(tmp_path)
    assert_same(checkpoint.restore(manager, state_at(0)), state_at(1))


def test_the_best_is_still_known_when_the_directory_is_opened_again(tmp_path):
    manager = saved(tmp_path, 1, 2, 3, keep=1, psnr={1: 31.0, 2: 30.0})
    assert manager.metrics(1) == {"psnr": 31.0} and manager.metrics(3) is None
    checkpoint.save(manager, state_at(4), psnr=29.0)
    checkpoint.close(manager)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "4"]

"""Which runs a directory may be resumed by."""

import json

import numpy as np
import pytest

from experiments import vdsr
from jaxsr.data import sources
from jaxsr.training import identity

SOURCE = sources.Source("a", ("one",), lambda i: None, np.array([[9, 9]]))


def settings(**changed):
    config = vdsr.get_config()
    config.update_from_flattened_dict(changed)
    return identity.settings_of(config.to_dict(), SOURCE, SOURCE)


def claimed(workdir, **changed):
    """A workdir as an older version left it: settings changed, of None removed."""
    workdir.mkdir()
    old = {k: v for k, v in (settings() | changed).items() if v is not None}
    (workdir / "config.json").write_text(json.dumps(old))
    return workdir


def test_a_run_of_a_version_without_a_setting_resumes_where_it_computed_the_same(
    tmp_path,
):
    old = claimed(tmp_path / "run", **dict.fromkeys(identity.BEFORE))
    identity.claim(old, settings())
    with pytest.raises(ValueError, match=r"ema_decay: 0.0 there, 0.5 now"):
        identity.claim(old, settings(ema_decay=0.5))


def test_a_new_setting_of_unknown_old_value_refuses_by_name(tmp_path):
    old = claimed(tmp_path / "run", **{"data.patch": None})
    with pytest.raises(ValueError, match=r"\(data.patch: None there, 41 now\)"):
        identity.claim(old, settings())


def test_the_model_that_a_run_starts_from_may_have_moved(tmp_path):
    old = claimed(tmp_path / "run", start="runs/one")
    identity.claim(old, settings(start="/elsewhere/one"))
    with pytest.raises(ValueError, match="start: 'one' there, 'two' now"):
        identity.claim(old, settings(start="runs/two"))


def source_of(**sizes):
    return sources.Source("a", tuple(sizes), None, np.array([*sizes.values()]))


def test_a_resumed_run_whose_images_changed_says_which(tmp_path):
    before = source_of(one=(9, 9), two=(8, 8), three=(7, 7))
    now = source_of(one=(9, 9), two=(8, 6), four=(5, 5))
    config = vdsr.get_config().to_dict()

    def claim(source):
        images = {"data": identity.sizes_of(source)}
        identity.claim(
            tmp_path / "run", identity.settings_of(config, source, source), images
        )

    claim(before)
    claim(before)
    with pytest.raises(
        ValueError,
        match=r"its images of data changed, 1 new: four, 1 "
        r"missing: three, 1 of another size: two\)",
    ):
        claim(now)
    (tmp_path / "run" / identity.IMAGES).unlink()  # as an older version left it
    with pytest.raises(ValueError, match="images.json does not say which"):
        claim(now)
    claim(before)
    with pytest.raises(ValueError, match="1 new: four"):
        claim(now)

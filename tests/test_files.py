"""Names of files: told apart, and places to write to."""

import os
import stat

import numpy as np
import pytest

from jaxsr import files
from jaxsr.files import reading


def test_names_are_as_short_as_tells_them_apart():
    paths = ["s1/vdsr", "s2/vdsr", "/x/s2/edsr", "/y/s2/edsr/", "red", "vdsr"]
    here = os.path.basename(os.getcwd())
    assert files.short_names(paths, taken=["red"]) == {
        "s1/vdsr": "s1/vdsr",
        "s2/vdsr": "s2/vdsr",
        "/x/s2/edsr": "x/s2/edsr",
        "/y/s2/edsr/": "y/s2/edsr",
        "red": f"{here}/red",
        "vdsr": f"{here}/vdsr",
    }
    assert files.short_names(["a/b", "./a/b", "a/c/../b"]) == dict.fromkeys(
        ["a/b", "./a/b", "a/c/../b"], "b"
    )
    assert files.short_names(["."]) == {".": here}


def test_a_place_to_write_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = files.writable("~/a/b/c.json")
    assert path == tmp_path / "a/b/c.json" and list(path.parent.iterdir()) == []


@pytest.mark.parametrize("place", ["", "file/a.json", "closed/a.json"])
def test_where_nothing_can_be_written_is_reported(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=stat.S_IREAD | stat.S_IEXEC)
    if place.startswith("closed") and os.getuid() == 0:
        pytest.skip("root may write anywhere")
    with pytest.raises(OSError, match=f"{tmp_path / place} cannot be written: .+\\.$"):
        files.writable(tmp_path / place)


def test_ppm_of_sixteen_bits_keeps_them_where_pillow_reduces(tmp_path):
    pixels = np.random.default_rng(0).integers(65536, size=(4, 5, 3), dtype=np.uint16)
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 5 4 65535\n" + pixels.astype(">u2").tobytes())
    photo, notes = reading.read_upright(path)
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert not notes
    path.write_bytes(b"P6 5 4 4095\n" + (pixels >> 4).astype(">u2").tobytes())
    photo, notes = reading.read_upright(path)
    assert photo.pixels.dtype == np.uint8 and "16 bits per channel are read" in notes[0]

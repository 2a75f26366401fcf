"""Names of files: told apart, and places to write to."""

import os
import stat

import pytest

from jaxsr import files


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
def test_where_nothing_can_be_written_is_told(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=stat.S_IREAD | stat.S_IEXEC)
    if place.startswith("closed") and os.getuid() == 0:
        pytest.skip("root may write anywhere")
    with pytest.raises(OSError, match=f"{tmp_path / place} cannot be written: .+\\.$"):
        files.writable(tmp_path / place)

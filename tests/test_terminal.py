"""Names with control characters, or that are not UTF-8, in what is printed."""

import io
import os
import pathlib
import sys

import numpy as np
import PIL.Image
import pytest

from jaxsr import cli, files, terminal
from jaxsr.training import process, queue

ESCAPED = r"\udc8e\udcca\n\x1b[31m"  # Shift-JIS, a line's end, the colour red
NAME = os.fsdecode(b"\x8e\xca\n\x1b[31m")


@pytest.fixture
def folder(tmp_path):
    """A folder of such a name, with an image and a damaged one."""
    path = tmp_path / NAME
    path.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    PIL.Image.fromarray(noise).save(path / os.fsdecode(b"\x82\xa0.png"))
    (path / "bad.png").write_text("no image")
    return path


def test_what_is_shown_is_one_line():
    assert terminal.shown("é 写\n\x1b\udc82\u202e") == "é 写\\n\\x1b\\udc82\\u202e"
    assert terminal.printable("a\n\x1bb\n") == "a\n\\x1bb\n"


def test_what_an_encoding_lacks_is_escaped(monkeypatch):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", "strict", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.make_safe()
    print("é \udc82", end="")
    assert raw.getvalue() == b"\\xe9 \\udc82"


@pytest.mark.parametrize(
    ("command", "status", "ends"),
    [
        (["evaluate", "fsrcnn_x2", "--data", "FOLDER"], 1, [f"| {ESCAPED} | x2 | "]),
        (["report", "FOLDER"], 1, [f"{ESCAPED}'."]),
        (["upscale", "none.png", "--model", "FOLDER"], 1, [f"{ESCAPED}'."]),
        (["compare", "FOLDER/bad.png", "-o", "FOLDER/é.png"], 1, [f"{ESCAPED}/bad"]),
    ],
)
def test_commands_print_names_safely(folder, capsys, command, status, ends):
    command = [arg.replace("FOLDER", str(folder)) for arg in command]
    assert cli.main(command) == status
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said
    for end in ends:
        assert end in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["upscale", "x", f"--{NAME}"], f"unrecognized arguments: --{ESCAPED}"),
        ([f"models={NAME}"], f"invalid choice: 'models={ESCAPED}'"),
        (["upscale", "x", "--tile", NAME], f"invalid int value: '{ESCAPED}'"),
        (
            ["evaluate", "x", "--scales", NAME],
            f"scales from 1, such as 2,2.5,3; got '{ESCAPED}'",
        ),
    ],
)
def test_what_cannot_be_parsed_is_printed_safely(capsys, command, said):
    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    told = capsys.readouterr().err
    assert said in told and "\x1b" not in told
    assert told.splitlines()[-1].startswith("jaxsr")


@pytest.mark.parametrize("arg", [f"--{NAME}", f"--models={NAME}"])
def test_the_queue_prints_what_it_refuses_safely(capsys, arg):
    with pytest.raises(SystemExit) as caught:
        queue.main([arg])
    told = capsys.readouterr().err + str(caught.value.code)
    assert ESCAPED in told and "\x1b" not in told


def test_files_of_such_names_are_upscaled(folder, capsys, caplog):
    assert cli.main(["upscale", str(folder), "--model", "fsrcnn_x2"]) == 1
    assert (folder / os.fsdecode(b"\x82\xa0_x2.png")).exists()
    assert f"{ESCAPED}/\\udc82\\udca0_x2.png, 48x48" in caplog.text
    assert f"{ESCAPED}/bad.png: it cannot be read" in caplog.text
    assert "\x1b" not in caplog.text
    assert capsys.readouterr().out.startswith("1 upscaled, 1 failed")


def test_texts_hold_any_name(tmp_path):
    files.write_text(tmp_path / "a.md", "é \udc82")
    assert (tmp_path / "a.md").read_text() == "é \\udc82"


def test_a_work_directory_that_orbax_could_not_write_to_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be UTF-8; .* Give another --workdir"):
        process.check_workdir(tmp_path / os.fsdecode(b"\x8e"))
    process.check_workdir(pathlib.Path(tmp_path / "写 \n"))

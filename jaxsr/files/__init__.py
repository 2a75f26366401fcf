"""Paths of output files, and atomic writing of files."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterable

from jaxsr import terminal


@contextlib.contextmanager
def written_whole(path: str | os.PathLike):
    """A binary file that replaces `path` if no error occurs."""
    path = pathlib.Path(path).expanduser()
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file atomically."""
    with written_whole(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def writable(path: str | os.PathLike) -> pathlib.Path:
    """The path of a file to write, with ~ expanded.

    Creates its folder, so that errors show before the work begins.

    Raises:
        OSError: if no file can be written there.
    """
    path = pathlib.Path(path).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise OSError(f"{path} cannot be written: {error.strerror}{where}.") from error


def short_names(paths: Iterable[str | os.PathLike], taken=()) -> dict:
    """Path -> its shortest ending that is unique and not in `taken`.

    Two paths with the same last name are distinguished by their folders.
    """
    full = {
        path: pathlib.Path(os.path.abspath(pathlib.Path(path).expanduser())).parts
        for path in paths
    }
    names = {}
    for path, parts in full.items():
        others = [p for p in full.values() if p != parts] + [(name,) for name in taken]
        lengths = range(1, len(parts))
        length = next(
            (n for n in lengths if all(p[-n:] != parts[-n:] for p in others)),
            len(parts),
        )
        names[path] = terminal.shown(pathlib.Path(*parts[-length:]))
    return names


def to_write(target: pathlib.Path, existing: str, *inputs: str | os.PathLike) -> bool:
    """Whether to write a file; False if an existing one is kept.

    Raises:
        ValueError: if the file exists and `existing` is "error", or is among the files
            it is made from.
    """
    if not os.path.lexists(target):
        return True
    real = os.path.realpath(target)
    if real in map(os.path.realpath, inputs):
        raise ValueError(f"{terminal.shown(target)} would be written over the input.")
    if existing == "error":
        raise ValueError(
            f"{terminal.shown(target)} already exists: --overwrite replaces it, "
            "--skip-existing skips its input."
        )
    return existing == "overwrite"


def check_existing(existing: str) -> None:
    """Raises a ValueError for an unknown treatment of existing files."""
    if existing not in EXISTING:
        raise ValueError(f"existing must be one of {EXISTING}; got {existing!r}.")


EXISTING = ("error", "overwrite", "skip")

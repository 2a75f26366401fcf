"""Safe printing: file names may hold anything."""

import argparse
import logging
import os
import sys


def shown(path: str | os.PathLike) -> str:
    """The path on one line: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(path))


def printable(text: str) -> str:
    """The text with each line made printable by `shown`."""
    return "\n".join(shown(line) for line in text.split("\n"))


class Parser(argparse.ArgumentParser):
    """A parser that escapes unprintable arguments in its errors."""

    def error(self, message):
        super().error(shown(message))


def make_safe() -> None:
    """Makes stdout, stderr and the log escape what a terminal cannot print.

    Every command calls it first, once logging is set up.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_escape)  # the same function is added once


def _escape(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True

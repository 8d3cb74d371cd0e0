"""Command lines: split like a POSIX argv, without a shell; the program found through PATH."""

from __future__ import annotations

import os

# What tasks get as PATH unless they set their own.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SPECIAL = frozenset("'\"\\#")


def split_command_line(line: str) -> list[str]:
    """The words of a command line; quotes and backslashes as in a POSIX shell, nothing expanded.

    Refuses (``ValueError``): a quote that is not closed, a line without words.
    """
    if _SPECIAL.isdisjoint(line):
        words = line.split()
    else:
        import shlex  # most lines are plain words, and spawners stay small without it

        words = shlex.split(line, comments=False, posix=True)
    if not words:
        raise ValueError("the command line is empty")
    return words


def find_program(word: str, path: str, directory: bytes) -> bytes:
    """The file that a command's first word names; ``directory`` is where the task works.

    A word with a slash is a path, relative to the directory; others are looked up in ``path``.
    Raises FileNotFoundError, or PermissionError when only files that can't be executed were found.
    """
    name = os.fsencode(word)
    if b"/" in name:
        return os.path.join(directory, name)
    denied = False
    for folder in os.fsencode(path).split(b":"):
        candidate = os.path.join(directory, folder, name)
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            denied = True
    if denied:
        raise PermissionError(13, os.strerror(13), word)
    raise FileNotFoundError(2, os.strerror(2), word)

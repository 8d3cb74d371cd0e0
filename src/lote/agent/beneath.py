"""Opening paths that tasks and clients name, without ever leaving a folder.

Links are followed only where they stay inside; whoever swaps a folder for a link while we walk
gets a refusal, because the walk itself follows none.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Escapes(OSError):
    """A path that would leave its folder."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EPERM, "the path leaves its folder", path)


def path_parts(path: str) -> list[str]:
    """The parts of a relative path, ``.`` and doubled slashes dropped.

    Raises Escapes for absolute paths, ``..`` and NUL.
    """
    if path.startswith("/") or "\0" in path:
        raise Escapes(path)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Escapes(path)
    return parts


def real_parts(folder: str, path: str) -> list[str]:
    """The parts of what a relative path leads to, links resolved. Raises Escapes.

    ``folder`` itself must hold no links.
    """
    real = os.path.realpath("/".join([folder, *path_parts(path)]))
    if real != folder and not real.startswith(folder + "/"):
        raise Escapes(path)
    return [part for part in real[len(folder) :].split("/") if part]


@contextmanager
def opened_folder(folder: str, parts: list[str]) -> Iterator[int]:
    """A descriptor of the folder these parts lead to; no part may be a link."""
    descriptor = os.open(folder, _FOLDER)
    try:
        for part in parts:
            below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_beneath(folder: str, path: str, flags: int, mode: int = 0o600) -> int:
    """Open what a relative path names beneath a folder; never blocks on a pipe.

    Raises Escapes, or what ``os.open`` raises.
    """
    parts = real_parts(folder, path)
    if not parts:
        return os.open(folder, _FOLDER)
    with opened_folder(folder, parts[:-1]) as parent:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(parts[-1], flags, mode, dir_fd=parent)


def create_beneath(folder: str, path: str, mode: int, owner: tuple[int, int] | None) -> int:
    """Make a new file for writing, with the folders it needs; what had its name is unlinked.

    Follows no link at all: earlier attempts of a task may have left some. New folders and the
    file belong to ``owner`` (uid, gid). Raises Escapes or OSError.
    """
    *folders, name = path_parts(path) or [""]
    if not name:
        raise Escapes(path)
    descriptor = os.open(folder, _FOLDER)
    try:
        for part in folders:
            below = _enter(descriptor, part, owner)
            os.close(descriptor)
            descriptor = below
        if _exists(descriptor, name):
            os.unlink(name, dir_fd=descriptor)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        created = os.open(name, flags, 0o600, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    if owner is not None:
        os.fchown(created, *owner)
    os.fchmod(created, mode)
    return created


def _enter(parent: int, name: str, owner: tuple[int, int] | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        with suppress(FileExistsError):  # several downloads make the same folder
            os.mkdir(name, 0o755, dir_fd=parent)
    below = os.open(name, _FOLDER, dir_fd=parent)
    if owner is not None:
        os.fchown(below, *owner)
    return below


def _exists(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True

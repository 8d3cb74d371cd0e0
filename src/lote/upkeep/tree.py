"""Files that are copied so that they are whole, private and on the disk, with their sums."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CHUNK_BYTES = 1 << 20

Moved = Callable[[int], None]
"""Told of bytes as they are copied."""


class Copied(NamedTuple):
    """What was copied."""

    size_bytes: int
    sha256: str


def copy_file(source: str | Path, target: Path, moved: Moved = lambda size: None) -> Copied:
    """Copy a plain file to a new one of mode 0600 with the same modification time.

    It is on the disk when this returns, but its name only after `sync_tree`. Raises OSError,
    FileExistsError and what a link or a device in place of the source raises among them.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    reading = os.open(source, flags)
    try:
        status = os.fstat(reading)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{source} is not a plain file")
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            copied = _copy(reading, writing, moved)
            os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(writing)
        finally:
            os.close(writing)
        return copied
    finally:
        os.close(reading)


def sum_file(path: Path) -> Copied:
    """Size and sum of a file, which is put on the disk too."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        size = file.seek(0, os.SEEK_END)
        os.fsync(file.fileno())
    return Copied(size, digest.hexdigest())


def claim_folder(folder: Path) -> int | None:
    """Make a folder of mode 0700 for this process alone, emptied of what a killed one left.

    The descriptor returned holds the claim until it is closed; None when another process has it.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat())
    except BlockingIOError:
        is_there = False
    if not is_there:  # another's, or gone and renamed while we opened it
        os.close(descriptor)
        return None
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return descriptor


def make_folders(root: Path, parent: Path) -> None:
    """Make the folders between these two, mode 0700."""
    missing = []
    while parent != root and not parent.exists():
        missing.append(parent)
        parent = parent.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700)


def sync_tree(root: Path) -> None:
    """Put the names of all files below a folder on the disk."""
    for folder, _, _ in os.walk(root, topdown=False):
        sync_folder(Path(folder))


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(reading: int, writing: int, moved: Moved) -> Copied:
    digest = hashlib.sha256()
    size = 0
    buffer = memoryview(bytearray(CHUNK_BYTES))
    while count := os.readv(reading, [buffer]):
        chunk = buffer[:count]
        digest.update(chunk)
        while chunk:
            chunk = chunk[os.write(writing, chunk) :]
        size += count
        moved(count)
    return Copied(size, digest.hexdigest())

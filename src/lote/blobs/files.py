"""The local end of a download."""

from __future__ import annotations

import errno
import os


def ensure_room(descriptor: int, size_bytes: int) -> None:
    """Refuses (``OSError``, ENOSPC) at once what cannot fit onto the disk."""
    disk = os.fstatvfs(descriptor)
    if size_bytes > disk.f_bfree * disk.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_all(descriptor: int, piece: memoryview, offset: int) -> None:
    """Write all of it at an offset; a write to a file may be cut short."""
    while piece:
        written = os.pwrite(descriptor, piece, offset)
        piece, offset = piece[written:], offset + written

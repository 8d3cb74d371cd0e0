"""Giving a task a file that the node has: shared blocks where the file system can, else a copy."""

from __future__ import annotations

import errno
import fcntl
import os
import threading

from lote.agent.disk import open_nameless
from lote.blobs.failure import BlobStopped

FICLONE = 0x40049409  # linux/fs.h
STEP_BYTES = 64 * 1024 * 1024  # between two looks at the stop event
NOT_BY_RANGE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


def can_share(folder: str) -> bool:
    """Whether files of this folder can share their blocks until one of them is changed."""
    source, target = open_nameless(folder), open_nameless(folder)
    try:
        os.write(source, b"block")
        return share(source, target)
    finally:
        os.close(source)
        os.close(target)


def share(source: int, target: int) -> bool:
    """Make ``target`` the same content as ``source`` without copying it; whether that went."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:
        return False  # not here, or not between these two: it is copied instead
    return True


def copy_file(source: int, target: int, stop: threading.Event | None = None) -> None:
    """Copy a whole file between descriptors, inside the kernel. Raises OSError, BlobStopped."""
    if share(source, target):
        return
    left = os.fstat(source).st_size
    offset = 0
    by_range = True
    while left > 0:
        if stop is not None and stop.is_set():
            raise BlobStopped
        step = min(left, STEP_BYTES)
        try:
            if by_range:
                copied = os.copy_file_range(source, target, step, offset)
            else:
                copied = os.sendfile(target, source, offset, step)
        except OSError as error:
            if by_range and error.errno in NOT_BY_RANGE:
                by_range = False
                continue
            raise
        if not copied:
            return
        offset += copied
        left -= copied

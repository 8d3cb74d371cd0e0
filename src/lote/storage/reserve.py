"""Room on the disk that is kept for deletes: without it a disk that is full could not be emptied
through the endpoint, as a delete needs some room in the database's log."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from pathlib import Path

RESERVE_BYTES = 8 * 1024 * 1024  # twice what the log grows to before it is written back
SPARE_BYTES = 1024 * 1024
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
log = logging.getLogger(__name__)


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk has no room left."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return isinstance(error, sqlite3.Error) and "full" in str(error)


class Reserve:
    """A file of ``RESERVE_BYTES``. It is given up when a delete finds the disk full; until there
    is room for it again, nothing but deletes may take room. May be used from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._is_whole = False

    def fill(self) -> bool:
        """Take the room, unless it was; whether others may take some too."""
        with self._lock:
            if not self._is_whole:
                self._is_whole = self._take()
            return self._is_whole

    def demand(self) -> None:
        """Refuses (``OSError``, ENOSPC) as long as there is no room but for deletes."""
        if not self._is_whole and not self.fill():
            raise OSError(errno.ENOSPC, "The disk has no room but for deletes")

    def give_up(self) -> bool:
        """Let deletes have the room; False if there is none to be had here."""
        with self._lock:
            self._is_whole = False
            try:
                had = self._path.stat().st_blocks > 0
                os.truncate(self._path, 0)
            except OSError:
                return False
        if had:
            log.error("the disk of the storage folder is full: only deletes until it has room")
        return had

    def _take(self) -> bool:
        stats = os.statvfs(self._path.parent)
        if stats.f_bavail * stats.f_frsize < RESERVE_BYTES + SPARE_BYTES:
            return False  # not even tried: a delete may need what is there at this moment
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            return not is_full(error)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError as error:
            os.ftruncate(descriptor, 0)
            return not is_full(error)  # a file system that cannot: then as if there were none
        finally:
            os.close(descriptor)
        return True

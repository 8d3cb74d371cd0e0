"""Small cached contents, one behind the other in a few files: a file each would cost more than
the content. The files have no names, so none is left behind."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import NamedTuple

from lote.agent.disk import open_nameless

PACK_BYTES = 32 * 1024 * 1024


class Spot(NamedTuple):
    """Where a content is: the number of its pack, and where in it."""

    pack: int
    offset: int
    size: int


class Packs:
    """Keeps the latest ``bytes_max`` bytes, or a pack more. Safe for several threads."""

    def __init__(self, folder: str, bytes_max: int) -> None:
        self._folder = folder
        self._packs_max = max(1, bytes_max // PACK_BYTES)
        self._descriptors: deque[int] = deque()
        self._first = 0  # number of the oldest pack
        self._size_bytes = 0  # of the newest
        self._lock = threading.Lock()

    def add(self, content: bytes) -> Spot:
        """Keep a content. Raises OSError, for instance for a full disk."""
        with self._lock:
            if not self._descriptors or self._size_bytes + len(content) > PACK_BYTES:
                self._descriptors.append(open_nameless(self._folder))
                self._size_bytes = 0
                if len(self._descriptors) > self._packs_max:
                    self._drop_first()
            descriptor, offset = self._descriptors[-1], self._size_bytes
            if os.pwrite(descriptor, content, offset) != len(content):
                raise OSError("a short write")
            self._size_bytes += len(content)
            return Spot(self._first + len(self._descriptors) - 1, offset, len(content))

    def read(self, spot: Spot) -> bytes | None:
        """A content, if it is still kept."""
        with self._lock:
            index = spot.pack - self._first
            if index < 0:
                return None
            return os.pread(self._descriptors[index], spot.size, spot.offset)

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            while self._descriptors:
                self._drop_first()

    def _drop_first(self) -> None:
        os.close(self._descriptors.popleft())
        self._first += 1

"""When a server's commits reached the disk, seen from outside by a preloaded library."""

from __future__ import annotations

import mmap
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from reference import built
from service import Server, running_server

PAIR = struct.Struct("qq")
COUNT = struct.Struct("Q")


class Commit(NamedTuple):
    """Begin and end of a commit's sync; microseconds since 1970."""

    began_us: int
    ended_us: int


class Commits:
    """The log that the library writes."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._log = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return int(COUNT.unpack_from(self._log, 0)[0])

    def __getitem__(self, index: int) -> Commit:
        return Commit(*PAIR.unpack_from(self._log, COUNT.size + index * PAIR.size))

    def since(self, first: int) -> list[Commit]:
        """Those behind the first so many."""
        return [self[index] for index in range(first, len(self))]


@contextmanager
def watched_server(delay_us: int = 0) -> Iterator[tuple[Server, Commits]]:
    """A fresh service whose commits are noted, and each made slower by ``delay_us``."""
    library = built("sync_watch.c", "-shared", "-fPIC")
    with tempfile.TemporaryDirectory(prefix="lote-commits-") as folder:
        log = Path(folder) / "commits"
        environment = {
            "LD_PRELOAD": str(library),
            "LOTE_SYNC_LOG": str(log),
            "LOTE_SYNC_DELAY_US": str(delay_us),
        }
        with running_server(environment=environment) as server:
            yield server, Commits(log)

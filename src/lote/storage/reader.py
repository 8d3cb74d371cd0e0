"""Queries, in a few threads with a read-only connection each, so that the event loop never waits
for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lote.storage.database import open_reader

READERS = 4

T = TypeVar("T")
Query = Callable[[sqlite3.Connection], T]


class Reader:
    """Runs queries. Each sees the last commit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="storage-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def read(self, query: Query[T]) -> T:
        """Run a query in a thread. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)

    def close(self) -> None:
        """End the threads and close their connections."""
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()

    def _run(self, query: Query[T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_reader(self._path)
            self._connections.append(connection)
        return query(connection)

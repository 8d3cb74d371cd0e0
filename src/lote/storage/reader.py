"""Queries, in a few threads with a read-only connection each, so that the event loop does not wait
for the disk. Queries of a few rows are made in the loop's own thread while the disk is not needed:
to wake another costs more than they do."""

from __future__ import annotations

import asyncio
import queue
import resource
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lote.storage.database import open_reader
from lote.world import World

READERS = 4
WAITED_S = 0.001  # a query of a few rows that are in memory takes a twentieth of it
CAREFUL_S = 1.0  # so long small queries go to the threads, too, after one had to wait

T = TypeVar("T")
Query = Callable[[sqlite3.Connection], T]


class Asked(NamedTuple):
    """A query that waits for a thread, and where its answer goes."""

    query: Query[Any]
    future: asyncio.Future[Any]
    postbox: Postbox


class Reply(NamedTuple):
    """What became of a query: its value, or why it failed."""

    future: asyncio.Future[Any]
    value: Any
    error: Exception | None


class Reader:
    """Runs queries. Each sees the last commit.

    A pool of ``concurrent.futures`` would do, at twice the price: a small query costs less than
    its locks and wake-ups (measured, 10 KiB: 6.9 against 5.0 thousand downloads a second).
    """

    def __init__(self, path: Path, world: World) -> None:
        self._path = path
        self._world = world
        self._own: sqlite3.Connection | None = None
        self._careful_until_s = 0.0
        self._blocks_read = 0
        self._queue: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._postbox: Postbox | None = None

    async def read(self, query: Query[T]) -> T:
        """Run a query in a thread. Raises what it raises."""
        loop = asyncio.get_running_loop()
        if self._postbox is None or self._postbox.loop is not loop:
            self._postbox = Postbox(loop)
        if not self._threads:
            self._start()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(Asked(query, future, self._postbox))
        return await future

    async def glance(self, query: Query[T]) -> T:
        """Run a query of a few rows, at once unless such had to wait for the disk lately."""
        begun_s = self._world.monotonic()
        if begun_s < self._careful_until_s:
            return await self.read(query)
        if self._own is None:
            self._own = open_reader(self._path)
            self._has_read_disk()  # what came before is not this query's
        try:
            return query(self._own)
        finally:
            ended_s = self._world.monotonic()
            if ended_s - begun_s > WAITED_S and self._has_read_disk():
                self._careful_until_s = ended_s + CAREFUL_S

    def _has_read_disk(self) -> bool:
        """Whether this thread read from the disk since it was last asked: it may have been slow
        for want of a processor."""
        before = self._blocks_read
        self._blocks_read = resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
        return self._blocks_read > before

    def close(self) -> None:
        """Answer what waits, end the threads and close the connections."""
        if self._own is not None:
            self._own.close()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        for number in range(READERS):
            name = f"storage-reader-{number}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _run(self) -> None:
        mine: list[sqlite3.Connection] = []
        while self._answer_next(mine):
            continue
        for connection in mine:
            connection.close()

    def _answer_next(self, mine: list[sqlite3.Connection]) -> bool:
        """One query; False at the end. A function of its own so that an idle thread holds no
        answer, which may be a page of a list, until the next query."""
        asked = self._queue.get()
        if asked is None:
            return False
        value: Any = None
        error: Exception | None = None
        try:
            if not mine:
                mine.append(open_reader(self._path))
            value = asked.query(mine[0])
        except Exception as problem:  # the caller's to judge, whatever it is
            error = problem
        asked.postbox.post(Reply(asked.future, value, error))
        return True


class Postbox:
    """Answers of threads on their way to an event loop, which is woken once for all that wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[Reply] = deque()
        self._is_called = False

    def post(self, reply: Reply) -> None:
        """Answer from any thread."""
        self._waiting.append(reply)
        # Looked at after the answer was put in, and taken back before they are taken out: so an
        # answer that finds the loop called is seen by that call.
        if not self._is_called and not self.loop.is_closed():
            self._is_called = True
            self.loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._is_called = False
        while self._waiting:
            future, value, error = self._waiting.popleft()
            if future.done():  # its request was cancelled meanwhile
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

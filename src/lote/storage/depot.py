"""All that is kept on the disk, in one hand: rows, content files, the threads that work them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lote.storage.buffers import Buffers
from lote.storage.chores import Chores, Pins, is_known, known_files
from lote.storage.contents import Contents
from lote.storage.database import Transaction, open_database
from lote.storage.pending_copy import fail_interrupted
from lote.storage.reader import Query, Reader
from lote.storage.reserve import Reserve, is_full
from lote.storage.snapshot import CONTENTS_NAME, DATABASE_NAME
from lote.storage.waiting import Change
from lote.storage.writer import Writer
from lote.world import World

FILE_THREADS = 8
PUSH_THREADS = 4  # none of them ever waits for a slow client
BUFFERS_KEPT = 8
TRANSFERS_MAX = 64  # large bodies at once; each holds up to two buffers

RESERVE_NAME = "reserve"

T = TypeVar("T")


class Depot:
    """Rows and contents of a folder, which one process has at a time.

    Refuses (``RuntimeError``) a folder that another process has.
    """

    def __init__(self, folder: Path, world: World) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.world = world
        self._lock = lock_folder(folder)
        self._database = folder / DATABASE_NAME
        self.reserve = Reserve(folder / RESERVE_NAME)
        connection, start = self._open()
        self.reserve.fill()
        self.contents = Contents(folder / CONTENTS_NAME, world)
        self.contents.prepare(start)
        self.pins = Pins()
        self.buffers = Buffers(BUFFERS_KEPT)
        self.transfers = asyncio.Semaphore(TRANSFERS_MAX)
        self.writer = Writer(
            connection, world, Chores(self.pins), self._unlink, self.run, self.reserve
        )
        self._reader = Reader(self._database, world)
        self._files = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="storage-file")
        self._pushes = ThreadPoolExecutor(PUSH_THREADS, thread_name_prefix="storage-push")
        self._sweeper = threading.Thread(target=self._sweep, name="storage-sweep", daemon=True)
        self._closing = False

    def start(self) -> None:
        """Begin to write, and sweep what a crash left behind."""
        self.writer.start()
        self._sweeper.start()

    def close(self) -> None:
        """Finish what waits and let the folder go."""
        self._closing = True
        self._sweeper.join()
        self._files.shutdown()
        self._pushes.shutdown()
        self.writer.close()
        self._reader.close()
        os.close(self._lock)

    async def read(self, query: Query[T]) -> T:
        """Run a query on the last commit."""
        return await self._reader.read(query)

    async def glance(self, query: Query[T]) -> T:
        """The same for a query of a few rows that opens no file."""
        return await self._reader.glance(query)

    async def write(self, change: Change[T], *, frees: bool = False, prompt: bool = False) -> T:
        """Apply a change; it is on the disk when this returns. One that ``frees`` room, a delete,
        is made on a full disk too; ``prompt``: see ``Writer.apply``."""
        return await self.writer.apply(change, frees=frees, prompt=prompt)

    async def is_named(self, file: str) -> bool:
        """Whether a row names this content file."""
        return await self.read(lambda connection: is_known(connection, file))

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do file work in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._files, work)

    def run_push(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Send from a file in a thread: beside the others, so that many readers hold up nobody who
        writes."""
        return asyncio.get_running_loop().run_in_executor(self._pushes, work)

    def unpin(self, contents: Sequence[int]) -> None:
        """A download is over: what it held may be removed."""
        self.pins.remove(contents)
        self.writer.tidy()

    def _open(self) -> tuple[sqlite3.Connection, str]:
        """The database, and the name of this start, which no other start had."""
        try:
            return self._open_once()
        except sqlite3.OperationalError:  # on a full disk, what is there shall be served
            if not self.reserve.give_up():
                raise
            return self._open_once()

    def _open_once(self) -> tuple[sqlite3.Connection, str]:
        connection = open_database(self._database)
        try:
            with Transaction(connection, self.world.now_us()) as tx:
                tx.execute("UPDATE state SET starts = starts + 1")
                fail_interrupted(tx)
        except sqlite3.OperationalError as error:
            if not is_full(error):
                connection.close()
                raise
            return connection, self.world.new_secret(8).hex()
        return connection, f"{connection.execute('SELECT starts FROM state').fetchone()[0]:x}"

    def _unlink(self, names: Sequence[str]) -> None:
        self.contents.unlink(names)

    def _sweep(self) -> None:
        self.contents.sweep(lambda names: known_files(self._database, names))


def lock_folder(folder: Path) -> int:
    """Take the folder for this process; the kernel lets it go when the process ends."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RuntimeError(f"another process serves the storage folder {folder}") from None
    return descriptor

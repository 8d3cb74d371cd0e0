"""Contents on their way to a client: found in one look at the rows, then streamed.

A blob that is replaced or deleted meanwhile is still sent whole: small ones are values already,
a file is held open, and the parts of a blob made of blocks are pinned.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from lote.storage.blob import BASE, COLUMNS, Blob, blob_of_row, find_blob
from lote.storage.block import Part, find_parts
from lote.storage.buffers import ALIGNMENT_BYTES, BUFFER_BYTES
from lote.storage.container import get_container_id
from lote.storage.depot import Depot
from lote.storage.errors import Refused
from lote.storage.pushing import Push, Stretch, shut, writable

RETRIES_MAX = 5  # a blob can be replaced between the look at its row and at its content
POPULAR_MAX = 512
RUN_PARTS_MAX = 1000  # placeholders in one query

WHOLE = (
    f"SELECT {', '.join(f'blob.{column.strip()}' for column in COLUMNS.split(','))}, content.bytes"
    " FROM container JOIN blob ON blob.container = container.id"
    " JOIN content ON content.id = blob.content"
    " WHERE container.account = ? AND container.name = ? AND blob.name = ? AND blob.snapshot = ?"
    " AND content.file IS NULL"
)

ContainerName = tuple[str, str]  # its account's and its own
Range = Callable[[Blob | None], tuple[int, int]]


class Outgoing(NamedTuple):
    """A blob's row, the range asked for (``end`` exclusive), and where its bytes are."""

    blob: Blob
    start: int
    end: int
    inline: bytes | None
    descriptor: int | None
    parts: tuple[Part, ...]


class Popular:
    """Contents that were read lately. The first read goes past the page cache, as most uploads
    are read once; from the second on it goes through it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def was_read(self, name: str) -> bool:
        """Whether the content was read before; notes that it is now."""
        with self._lock:
            known = name in self._seen
            self._seen[name] = None
            self._seen.move_to_end(name)
            if len(self._seen) > POPULAR_MAX:
                self._seen.popitem(last=False)
            return known


class Sender:
    """Finds and streams contents."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._popular = Popular()

    async def find(
        self, container: ContainerName, name: bytes, wanted: Range, snapshot: int = BASE
    ) -> Outgoing:
        """Look a blob or a snapshot up and hold the bytes of a range of it.

        ``wanted`` refuses a blob that is not there. Refuses: ContainerNotFound, what it refuses.
        """

        def look(connection: sqlite3.Connection) -> Outgoing | None:
            blob = find_blob(connection, get_container_id(connection, *container), name, snapshot)
            start, end = wanted(blob)
            if blob is None:
                raise Refused("BlobNotFound")
            if start >= end:
                return Outgoing(blob, start, end, b"", None, ())
            if blob.content is None:
                return self._hold_parts(connection, blob, start, end)
            return self._hold_whole(connection, blob, start, end)

        found = await self._depot.glance(
            lambda connection: glance(connection, container, name, wanted, snapshot)
        )
        if found is not None:
            return found
        for _ in range(RETRIES_MAX):
            found = await self._depot.read(look)
            if found is not None:
                return found
        raise Refused("ServerBusy", "The blob is being replaced again and again.")

    def _hold_whole(
        self, connection: sqlite3.Connection, blob: Blob, start: int, end: int
    ) -> Outgoing | None:
        row = connection.execute(
            "SELECT file, substr(bytes, ?, ?) FROM content WHERE id = ?",
            (start + 1, end - start, blob.content),
        ).fetchone()
        if row is None:
            return None
        file, inline = row
        if file is None:
            return Outgoing(blob, start, end, inline, None, ())
        try:
            return Outgoing(blob, start, end, None, self._open(file), ())
        except FileNotFoundError:
            return None

    def _hold_parts(
        self, connection: sqlite3.Connection, blob: Blob, start: int, end: int
    ) -> Outgoing | None:
        parts = _parts_of_version(connection, blob, start, end)
        if parts is None:
            return None
        self._depot.pins.add(part.content for part in parts)
        if not _still_made_of(connection, blob, parts):  # pinned too late to be sure
            self._depot.unpin([part.content for part in parts])
            return None
        return Outgoing(blob, start, end, None, None, tuple(parts))

    def _open(self, name: str) -> int:
        flags = os.O_RDONLY | os.O_CLOEXEC
        path = self._depot.contents.path(name)
        if self._popular.was_read(name):
            return os.open(path, flags)
        try:
            return os.open(path, flags | os.O_DIRECT)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without direct I/O
            return os.open(path, flags)

    async def stream(self, outgoing: Outgoing) -> AsyncGenerator[bytes, None]:
        """The bytes, a chunk at a time; lets go of them at the end.

        Every generator within is closed before what it reads from: else a client that leaves would
        close a file under the thread that reads it.
        """
        try:
            if outgoing.inline is not None:
                yield outgoing.inline
            elif outgoing.descriptor is not None:
                whole = self._file(outgoing.descriptor, outgoing.start, outgoing.end)
                async with aclosing(whole) as chunks:
                    async for chunk in chunks:
                        yield chunk
            for run in runs_of(outgoing.parts):
                async with aclosing(self._run(run, outgoing.start, outgoing.end)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        finally:
            self.release(outgoing)

    async def push(self, outgoing: Outgoing, sock: socket.socket) -> None:
        """Write the bytes into a client's socket; lets go of them at the end. Raises ClientGone,
        OSError."""
        try:
            async for stretch in self._stretches(outgoing):
                await self._push(Push(self._depot.buffers, sock, stretch), sock)
        finally:
            self.release(outgoing)

    async def _stretches(self, outgoing: Outgoing) -> AsyncIterator[Stretch]:
        start, end = outgoing.start, outgoing.end
        if (whole := outgoing.descriptor) is not None:
            yield Stretch(open_file=lambda: os.dup(whole), start=start, end=end)
        for run in runs_of(outgoing.parts):
            if (name := run[0].file) is None:
                yield Stretch(
                    await self._depot.read(partial(read_rows, run=run, start=start, end=end))
                )
                continue
            first, last = max(start - run[0].start, 0), min(end - run[0].start, run[0].size)
            yield Stretch(open_file=partial(self._open, name), start=first, end=last)

    async def _push(self, push: Push, sock: socket.socket) -> None:
        """Send a stretch, in a thread as long as the client is quick."""
        working: asyncio.Future[bool] | None = None
        try:
            while True:
                working = self._depot.run_push(push.work)
                if await asyncio.shield(working):
                    return
                await writable(sock)
        finally:
            if working is not None and not working.done():  # the server is being stopped
                shut(sock)
                await asyncio.wait([working])
            push.close()

    def release(self, outgoing: Outgoing) -> None:
        """Let go of what ``find`` held."""
        if outgoing.descriptor is not None:
            os.close(outgoing.descriptor)
        if outgoing.parts:
            self._depot.unpin([part.content for part in outgoing.parts])

    async def _run(self, run: Sequence[Part], start: int, end: int) -> AsyncGenerator[bytes, None]:
        name = run[0].file
        if name is None:
            yield await self._depot.read(lambda connection: read_rows(connection, run, start, end))
            return
        first, last = max(start - run[0].start, 0), min(end - run[0].start, run[0].size)
        descriptor = await self._depot.run(lambda: self._open(name))
        try:
            async with aclosing(self._file(descriptor, first, last)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            os.close(descriptor)

    async def _file(self, descriptor: int, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """A stretch of a file; the next chunk is read while the last one is sent."""
        reading = self._depot.run(self._read(descriptor, start, end))
        try:
            while True:
                chunk = await reading
                start += len(chunk)
                if not chunk:
                    raise OSError(f"a content file ended {end - start} bytes early")
                if start < end:
                    reading = self._depot.run(self._read(descriptor, start, end))
                yield chunk
                if start >= end:
                    return
        finally:
            if not reading.done():
                await asyncio.wait([reading])  # the thread still uses the descriptor

    def _read(self, descriptor: int, start: int, end: int) -> Callable[[], bytes]:
        return lambda: read_stretch(self._depot, descriptor, start, end)


def glance(
    connection: sqlite3.Connection,
    container: ContainerName,
    name: bytes,
    wanted: Range,
    snapshot: int,
) -> Outgoing | None:
    """A blob whose bytes are in one row, in one query; None for bytes elsewhere, which take
    longer. Refuses: ContainerNotFound, what ``wanted`` does."""
    row = connection.execute(WHOLE, (*container, name, snapshot)).fetchone()
    if row is not None:
        blob, inline = blob_of_row(row[:-1]), row[-1]
        start, end = wanted(blob)
        return Outgoing(blob, start, end, inline[start:end], None, ())
    found = find_blob(connection, get_container_id(connection, *container), name, snapshot)
    start, end = wanted(found)
    return Outgoing(found, start, end, b"", None, ()) if found and start >= end else None


def read_stretch(depot: Depot, descriptor: int, start: int, end: int) -> bytes:
    """Bytes from ``start``, at most a buffer of them; offset and memory aligned for direct I/O."""
    aligned = start // ALIGNMENT_BYTES * ALIGNMENT_BYTES
    buffer = depot.buffers.take()
    try:
        size = os.preadv(descriptor, [buffer], aligned)
        return bytes(buffer[start - aligned : min(size, end - aligned, BUFFER_BYTES)])
    finally:
        depot.buffers.give_back(buffer)


def runs_of(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """Parts in files one by one, those in rows as many together as fill a chunk: a log of small
    appends would be slow to read if each were asked for alone."""
    run: list[Part] = []
    size = 0
    for part in parts:
        full = size >= BUFFER_BYTES or len(run) >= RUN_PARTS_MAX
        if run and (full or part.file is not None or run[0].file is not None):
            yield run
            run, size = [], 0
        run.append(part)
        size += part.size
    if run:
        yield run


def read_rows(connection: sqlite3.Connection, run: Sequence[Part], start: int, end: int) -> bytes:
    """The bytes from ``start`` up to ``end`` of parts that follow one another in rows."""
    places = ",".join("?" * len(run))
    rows = connection.execute(
        f"SELECT id, bytes FROM content WHERE id IN ({places})", [part.content for part in run]
    )
    found = dict(rows.fetchall())
    whole = b"".join([found[part.content] for part in run])
    return whole[max(start - run[0].start, 0) : end - run[0].start]


def _parts_of_version(
    connection: sqlite3.Connection, blob: Blob, start: int, end: int
) -> list[Part] | None:
    """The parts of a stretch of the very version whose row was read; None if there is another.

    Both are looked at in one snapshot of the database: else the size of one version would go with
    the parts of the next.
    """
    connection.execute("BEGIN")
    try:
        row = connection.execute("SELECT etag FROM blob WHERE id = ?", (blob.id,)).fetchone()
        if row is None or row[0] != blob.etag:
            return None
        return find_parts(connection, blob.id, start, end)
    finally:
        connection.execute("ROLLBACK")


def _still_made_of(connection: sqlite3.Connection, blob: Blob, parts: Sequence[Part]) -> bool:
    """Whether a blob was not replaced. Appending changes its ETag, but none of its parts."""
    values: tuple[int, ...] = (blob.id, blob.etag or 0)
    query = "SELECT 1 FROM blob WHERE id = ? AND etag = ?"
    if blob.kind == "AppendBlob" and parts:
        query = "SELECT 1 FROM part WHERE blob = ? AND start = ? AND content = ?"
        values = (blob.id, parts[-1].start, parts[-1].content)
    return connection.execute(query, values).fetchone() is not None

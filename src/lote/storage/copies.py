"""Copies from elsewhere under way: they go on after their request was answered."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

from lote.storage.depot import Depot
from lote.storage.digests import Digests, Wanted, text_of
from lote.storage.errors import Refused
from lote.storage.incoming import received_chunks
from lote.storage.pending_copy import Copy, describe_copy, end_copy, finish_copy

if TYPE_CHECKING:
    from lote.storage.fetching import Fetcher

COPIES_MAX = 256  # the connections of one process are counted, and clients need theirs
PROGRESS_BYTES = 32 * 1024 * 1024  # how far a copy comes before its progress is written down
log = logging.getLogger(__name__)


class Copies:
    """The copies under way, and what fetches for them."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fetcher: Fetcher | None = None

    def fetcher(self) -> Fetcher:
        """What reads URLs; made when it is first wanted."""
        if self._fetcher is None:
            from lote.storage.fetching import Fetcher  # an HTTP client that most never need

            self._fetcher = Fetcher()
        return self._fetcher

    def check_room(self) -> None:
        """Refuses: ServerBusy when too many copies are under way, each with a connection."""
        if len(self._tasks) >= COPIES_MAX:
            raise Refused("ServerBusy", f"{COPIES_MAX} copies are under way.")

    def start(self, copy: Copy, chunks: AsyncGenerator[bytes, None], held: AsyncExitStack) -> None:
        """Receive a copy's bytes in the background; ``held`` is let go at the end."""
        task = asyncio.create_task(self._run(copy, chunks, held), name=f"copy {copy.id}")
        self._tasks[copy.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(copy.id, None))

    def cancel(self, copy_id: str) -> None:
        """Stop receiving; what the blob says of it is the caller's to change."""
        if task := self._tasks.get(copy_id):
            task.cancel()

    async def stop(self) -> None:
        """Give up all copies; the next start declares them failed."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._fetcher is not None:
            self._fetcher.close()

    async def _run(
        self, copy: Copy, chunks: AsyncGenerator[bytes, None], held: AsyncExitStack
    ) -> None:
        try:
            async with held, aclosing(self._counted(copy, chunks)) as counted:
                await self._receive(copy, counted)
        except Refused as refused:
            await self._fail(copy, f"{refused.status} {refused.code} {refused.message}")
        except Exception as error:
            log.warning("copy %s failed: %s", copy.id, type(error).__name__)
            await self._fail(copy, "500 InternalError Copy failed when reading the source")

    async def _receive(self, copy: Copy, chunks: AsyncIterator[bytes]) -> None:
        digests = Digests(md5=True)
        async with received_chunks(chunks, self._depot, copy.size, Wanted(), digests) as received:
            md5 = text_of(digests.md5)
            await self._depot.write(lambda tx: finish_copy(tx, copy, received.content, md5))

    async def _counted(
        self, copy: Copy, chunks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        done, told = 0, 0
        async for chunk in chunks:
            done += len(chunk)
            if done - told >= PROGRESS_BYTES:
                told = done
                await self._tell(copy, done)
            yield chunk

    async def _tell(self, copy: Copy, done: int) -> None:
        progress = {"copy_progress": f"{done}/{copy.size}"}
        await self._depot.write(lambda tx: describe_copy(tx, copy, progress))

    async def _fail(self, copy: Copy, reason: str) -> None:
        try:
            await self._depot.write(lambda tx: end_copy(tx, copy, "failed", reason))
        except (OSError, sqlite3.Error) as error:  # most likely a full disk; the next start tells
            log.error("copy %s failed, which could not be written: %s", copy.id, error)

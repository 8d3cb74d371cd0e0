"""Request bodies on their way to the disk: small ones into a row, large ones streamed to a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import NamedTuple

from lote.storage.blob import NewContent
from lote.storage.buffers import BUFFER_BYTES
from lote.storage.call import Call
from lote.storage.contents import INLINE_MAX_BYTES, ContentFile
from lote.storage.database import UnsureCommit
from lote.storage.depot import Depot
from lote.storage.digests import Digests, Wanted
from lote.storage.errors import Refused, unsupported_header

OTHER_LENGTH = "The body is not as long as its header says."


class Received(NamedTuple):
    """A body that is kept, and what was computed of its bytes."""

    content: NewContent
    digests: Digests


def received_body(
    call: Call, depot: Depot, size_max: int, wanted: Wanted, digests: Digests
) -> AbstractAsyncContextManager[Received]:
    """The body of an upload, on the disk but not yet named by a row.

    Within the block a row is committed that names it; if the block fails, its file is removed.
    Refuses: MissingContentLengthHeader, RequestBodyTooLarge, what ``received_chunks`` does.
    """
    return _Body(call, depot, size_max, wanted, digests)


class _Body(AbstractAsyncContextManager[Received]):
    """``received_body``; a generator would take as long as receiving a small one."""

    __slots__ = ("_call", "_depot", "_digests", "_large", "_size_max", "_wanted")

    def __init__(
        self, call: Call, depot: Depot, size_max: int, wanted: Wanted, digests: Digests
    ) -> None:
        self._call = call
        self._depot = depot
        self._size_max = size_max
        self._wanted = wanted
        self._digests = digests
        self._large: AbstractAsyncContextManager[Received] | None = None

    async def __aenter__(self) -> Received:
        call, wanted, digests = self._call, self._wanted, self._digests
        if "x-ms-structured-body" in call.headers:
            raise unsupported_header("x-ms-structured-body")
        size = call.content_length()
        if size > self._size_max:
            raise Refused("RequestBodyTooLarge", values={"MaxLimit": str(self._size_max)})
        if size <= INLINE_MAX_BYTES:
            return _received_row(await call.whole_body(), size, wanted, digests)
        self._large = received_chunks(call.chunks(), self._depot, size, wanted, digests)
        return await self._large.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._large is not None:
            await self._large.__aexit__(kind, error, traceback)


@asynccontextmanager
async def received_chunks(
    chunks: AsyncIterator[bytes], depot: Depot, size: int, wanted: Wanted, digests: Digests
) -> AsyncIterator[Received]:
    """The same for bytes from anywhere, of which ``size`` are to come.

    ``digests`` are those of no bytes yet, and have at least what is ``wanted``. Refuses:
    InvalidInput for another length, what ``Wanted.check`` does.
    """
    if size <= INLINE_MAX_BYTES:
        inline = b"".join([chunk async for chunk in chunks])
        yield _received_row(inline, size, wanted, digests)
        return
    depot.reserve.demand()
    async with depot.transfers:
        file = await _receive_file(chunks, depot, size, wanted, digests)
    try:
        yield Received(NewContent(size, file.name, None), digests)
    except UnsureCommit:
        raise
    except Exception:
        # Not for a cancelled request or an unsure commit: the row may be there, or come true.
        # Should it not, the sweep of the next start removes the file.
        if not await depot.is_named(file.name):  # something else failed, after the commit
            await depot.run(file.discard)
        raise


def _received_row(inline: bytes, size: int, wanted: Wanted, digests: Digests) -> Received:
    """A small body, which comes with its row."""
    if len(inline) != size:
        raise Refused("InvalidInput", OTHER_LENGTH)
    digests.update(inline)
    wanted.check(digests)
    return Received(NewContent(size, None, inline), digests)


async def _receive_file(
    chunks: AsyncIterator[bytes], depot: Depot, size: int, wanted: Wanted, digests: Digests
) -> ContentFile:
    file = await depot.run(lambda: depot.contents.create(digests))
    try:
        await _stream(chunks, depot, file)
        if file.size_bytes != size:
            raise Refused("InvalidInput", OTHER_LENGTH)
        wanted.check(digests)
        await depot.run(file.finish)
    except BaseException:
        await asyncio.shield(depot.run(file.discard))
        raise
    return file


async def _stream(chunks: AsyncIterator[bytes], depot: Depot, file: ContentFile) -> None:
    """Fill one buffer while the other is written."""
    buffer, spare = depot.buffers.take(), depot.buffers.take()
    writing: asyncio.Future[None] | None = None
    filled = 0
    try:
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                step = min(len(rest), BUFFER_BYTES - filled)
                buffer[filled : filled + step] = rest[:step]
                rest, filled = rest[step:], filled + step
                if filled == BUFFER_BYTES:
                    if writing is not None:
                        await writing
                    writing = depot.run(_write(file, buffer, filled))
                    buffer, spare, filled = spare, buffer, 0
        if writing is not None:
            await writing
        if filled:
            writing = depot.run(_write(file, buffer, filled))
            await writing
    finally:
        if writing is not None and not writing.done():
            await asyncio.wait([writing])  # the thread still reads the buffer
        depot.buffers.give_back(buffer)
        depot.buffers.give_back(spare)


def _write(file: ContentFile, buffer: memoryview, size_bytes: int) -> Callable[[], None]:
    return lambda: file.write(buffer, size_bytes)

"""Request bodies on their way to the disk: small ones into a row, large ones streamed to a file."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from lote.storage.blob import NewContent
from lote.storage.call import Call
from lote.storage.contents import BUFFER_BYTES, INLINE_MAX_BYTES, ContentFile
from lote.storage.depot import Depot
from lote.storage.errors import Refused, invalid_header, unsupported_header
from lote.storage.writer import UnsureCommit

MD5_BYTES = 16
OTHER_LENGTH = "The body is not as long as its header says."


class Received(NamedTuple):
    """A body that is kept; ``md5`` in base64, "" if nobody wanted it."""

    content: NewContent
    md5: str


@asynccontextmanager
async def received_body(
    call: Call, depot: Depot, size_max: int, *, with_md5: bool
) -> AsyncIterator[Received]:
    """The body of an upload, on the disk but not yet named by a row.

    Within the block a row is committed that names it; if the block fails, its file is removed.
    Refuses: MissingContentLengthHeader, RequestBodyTooLarge, InvalidMd5, Md5Mismatch.
    """
    if "x-ms-content-crc64" in call.headers:
        raise unsupported_header("x-ms-content-crc64")
    if "x-ms-structured-body" in call.headers:
        raise unsupported_header("x-ms-structured-body")
    wanted_md5 = parse_md5(call.headers.get("content-md5"), "content-md5")
    size = call.content_length()
    if size > size_max:
        raise Refused("RequestBodyTooLarge", values={"MaxLimit": str(size_max)})
    async with received_chunks(
        call.chunks(), depot, size, wanted_md5, with_md5=with_md5
    ) as received:
        yield received


@asynccontextmanager
async def received_chunks(
    chunks: AsyncIterator[bytes],
    depot: Depot,
    size: int,
    wanted_md5: bytes | None,
    *,
    with_md5: bool,
) -> AsyncIterator[Received]:
    """The same for bytes from anywhere, of which ``size`` are to come.

    Refuses: InvalidInput for another length, Md5Mismatch.
    """
    with_md5 = with_md5 or wanted_md5 is not None
    if size <= INLINE_MAX_BYTES:
        inline = b"".join([chunk async for chunk in chunks])
        if len(inline) != size:
            raise Refused("InvalidInput", OTHER_LENGTH)
        md5 = hash_of(inline) if with_md5 else None
        check_md5(wanted_md5, md5)
        yield Received(NewContent(len(inline), None, inline), text_of(md5))
        return
    depot.reserve.demand()
    async with depot.transfers:
        file, md5_found = await _receive_file(chunks, depot, size, wanted_md5, with_md5=with_md5)
    try:
        yield Received(NewContent(size, file.name, None), text_of(md5_found))
    except UnsureCommit:
        raise
    except Exception:
        # Not for a cancelled request or an unsure commit: the row may be there, or come true.
        # Should it not, the sweep of the next start removes the file.
        if not await depot.is_named(file.name):  # something else failed, after the commit
            await depot.run(file.discard)
        raise


async def _receive_file(
    chunks: AsyncIterator[bytes],
    depot: Depot,
    size: int,
    wanted_md5: bytes | None,
    *,
    with_md5: bool,
) -> tuple[ContentFile, bytes | None]:
    file = await depot.run(lambda: depot.contents.create(with_md5=with_md5))
    try:
        await _stream(chunks, depot, file)
        if file.size_bytes != size:
            raise Refused("InvalidInput", OTHER_LENGTH)
        check_md5(wanted_md5, file.md5)
        await depot.run(file.finish)
    except BaseException:
        await asyncio.shield(depot.run(file.discard))
        raise
    return file, file.md5


def parse_md5(text: str | None, header: str) -> bytes | None:
    """A digest from its header. Refuses: InvalidMd5."""
    if text is None:
        return None
    try:
        digest = b64decode(text, validate=True)
    except ValueError:
        raise Refused("InvalidMd5") from None
    if len(digest) != MD5_BYTES:
        raise invalid_header(header, text) if header != "content-md5" else Refused("InvalidMd5")
    return digest


def check_md5(wanted: bytes | None, found: bytes | None) -> None:
    """Refuses: Md5Mismatch."""
    if wanted is not None and wanted != found:
        values = {"UserSpecifiedMd5": text_of(wanted), "ServerCalculatedMd5": text_of(found)}
        raise Refused("Md5Mismatch", values=values)


def hash_of(body: bytes) -> bytes:
    """The MD5 of a body."""
    return hashlib.md5(body, usedforsecurity=False).digest()


def text_of(digest: bytes | None) -> str:
    """A digest in base64."""
    return b64encode(digest).decode() if digest is not None else ""


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


def _write(file: ContentFile, buffer: mmap.mmap, size_bytes: int) -> Callable[[], None]:
    return lambda: file.write(buffer, size_bytes)

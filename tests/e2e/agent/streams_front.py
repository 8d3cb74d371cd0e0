"""The one port an agent under test dials: file streams are kept here, the channel is passed on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Answer:
    """What an agent sent to ``/node/streams/<stream>``."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Front:
    """Accepts everything; ``answers`` by the stream's name."""

    channel_port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    port: int = 0

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[Front]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Break all connections, without a word."""
        for writer in self.writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST "):
                await self._keep(head, reader, writer)
            else:
                await self._pass_on(head, reader, writer)
        self.writers.discard(writer)
        writer.close()

    async def _keep(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        stream = first.split(" ")[1].rpartition("/")[2]
        names = {name.lower(): value for name, value in headers.items()}
        self.answers[stream] = Answer(names, body)

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        near, far = await asyncio.open_connection("127.0.0.1", self.channel_port)
        self.writers.add(far)
        far.write(head)
        await asyncio.gather(_pump(reader, far), _pump(near, writer))
        self.writers.discard(far)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(1 << 16):
            target.write(chunk)
            await target.drain()
    target.close()

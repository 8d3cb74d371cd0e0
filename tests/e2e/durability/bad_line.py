"""A bad line between agents and server: a TCP proxy that delays, splits, hangs and breaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

CHUNK_BYTES = 65536
HANG_S = 13.0  # both ends ping every 5 s and wait as long for the answer: they know by then
RESET = struct.pack("ii", 1, 0)  # SO_LINGER that makes of a close a reset

KINDS = ("late", "splinters", "reset", "close", "hang one way", "hang")
WEIGHTS = (40, 40, 8, 8, 1, 1)


class End(NamedTuple):
    """One side of a carried connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """Close so that the other side gets an error, whatever was under way."""
        with contextlib.suppress(OSError):
            plug = self.writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()


class Carried:
    """A connection from an agent and the one that goes on to the server."""

    def __init__(self, near: End, far: End) -> None:
        self.ends = (near, far)
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.silent = {near: False, far: False}

    def strike(self, kind: str, end: End) -> None:
        """Break it (``reset``, ``close``), or let it hang, all or what this end sends."""
        if kind in ("reset", "close"):
            self.end(kind)
        else:
            for one in self.ends if kind == "hang" else (end,):
                self.silent[one] = True
            asyncio.get_running_loop().call_later(HANG_S, self.end, "reset")

    def end(self, kind: str) -> None:
        """It is over."""
        if not self.broken.done():
            self.broken.set_result(kind)


class BadLine:
    """Carries connections to ``upstream_port``; a seeded chance decides what becomes of them.

    Most pieces pass as they are. Some are late or come in splinters; now and then a connection is
    closed, reset in the middle of a piece, or left half open: one or both directions go silent,
    and nobody is told.
    """

    def __init__(self, seed: int, faulty: float) -> None:
        self._chance = random.Random(seed)
        self._faulty = faulty
        self._loop = asyncio.new_event_loop()
        self._carried: set[Carried] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)
        self.upstream_port = 0
        self.faults: Counter[str] = Counter()
        self.is_calm = False
        """Be a good line from now on."""

    @property
    def url(self) -> str:
        """What agents are given as the server's."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[BadLine]:
        """Carry, until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def strike(self, kind: str) -> None:
        """Do this to every connection that there is."""
        self._loop.call_soon_threadsafe(self._strike, kind)

    def _run(self) -> None:
        loop = self._loop
        server = loop.run_until_complete(self._listen())
        loop.run_forever()
        server.close()
        loop.run_until_complete(self._hang_up())
        loop.close()

    async def _hang_up(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._carry, sock=self._listener)

    def _strike(self, kind: str) -> None:
        for one in list(self._carried):
            self.faults[kind] += 1
            one.strike(kind, self._chance.choice(one.ends))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = End(reader, writer)
        self.faults["connections"] += 1
        try:
            far = End(*await asyncio.open_connection("127.0.0.1", self.upstream_port))
        except OSError:  # the server is away
            near.reset()
            return
        carried = Carried(near, far)
        self._carried.add(carried)
        pumps = [
            asyncio.create_task(self._pump(carried, near, far)),
            asyncio.create_task(self._pump(carried, far, near)),
        ]
        how = "reset"
        try:
            how = await carried.broken
        finally:
            self._carried.discard(carried)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in carried.ends:
                if how == "reset":
                    end.reset()
                else:
                    end.writer.close()

    async def _pump(self, carried: Carried, source: End, target: End) -> None:
        try:
            while piece := await source.reader.read(CHUNK_BYTES):
                await self._pass_on(carried, source, target, piece)
            if not carried.silent[source]:
                carried.end("close")
        except ConnectionError:
            if not carried.silent[source]:
                carried.end("reset")

    async def _pass_on(self, carried: Carried, source: End, target: End, piece: bytes) -> None:
        kind = "pass"
        if not self.is_calm and self._chance.random() < self._faulty:
            (kind,) = self._chance.choices(KINDS, WEIGHTS)
            self.faults[kind] += 1
        if kind == "late":
            await asyncio.sleep(self._chance.random() / 5)
        elif kind == "splinters":
            while len(piece) > 1 and not carried.silent[source]:
                cut = self._chance.randrange(1, min(len(piece), 400))
                target.writer.write(piece[:cut])
                await target.writer.drain()
                await asyncio.sleep(0)
                piece = piece[cut:]
        elif kind != "pass":
            if not carried.silent[source]:
                target.writer.write(piece[: len(piece) // 2])
                await target.writer.drain()
            carried.strike(kind, source)
            return
        if not carried.silent[source]:
            target.writer.write(piece)
            await target.writer.drain()

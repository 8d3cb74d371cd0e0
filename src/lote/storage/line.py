"""A client's connection, lent out for the body of one answer.

Large bodies do not pass the event loop: a thread writes them from where they are straight into the
socket. Measured beside the loop's way: half the processor time for a gigabyte.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Protocol

EXTENSION = "lote.line"  # of the ASGI scope


class Cycle(Protocol):
    """What is used of uvicorn's request and its answer."""

    transport: asyncio.Transport
    expected_content_length: int


class Line:
    """The connection below one answer."""

    __slots__ = ("_cycle", "_transport")

    def __init__(self, cycle: Cycle, transport: asyncio.Transport) -> None:
        self._cycle = cycle
        self._transport = transport

    async def lend(self) -> socket.socket | None:
        """A socket for the body of the answer whose head was given to be sent; the caller closes
        it. None if it cannot be had: over TLS, or while older bytes still wait for the client."""
        transport = self._transport
        found = transport.get_extra_info("socket")
        if found is None or transport.get_extra_info("sslcontext") is not None:
            return None
        self._cycle.transport.write(b"")  # the head waits no longer for its body
        await asyncio.sleep(0)  # uvloop writes at the end of a turn
        if transport.is_closing() or transport.get_write_buffer_size():
            return None
        lent = socket.socket(fileno=os.dup(found.fileno()))  # outlives the transport's own
        lent.setblocking(False)
        return lent

    def note(self, size_bytes: int) -> None:
        """So many bytes of the body were written into the socket."""
        self._cycle.expected_content_length -= size_bytes

    def abort(self) -> None:
        """Give the connection up."""
        self._transport.abort()

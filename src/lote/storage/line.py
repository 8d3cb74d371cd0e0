"""A client's connection, lent out for one answer.

Small answers are written in one piece, without the checks and messages of ASGI, which take as long
as finding the blob. Large bodies do not pass the event loop: a thread writes them from where they
are straight into the socket. Measured beside the loop's way: half the processor time for a
gigabyte.
"""

from __future__ import annotations

import asyncio
import os
import socket

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

EXTENSION = "lote.line"  # of the ASGI scope
JOINED_MAX_BYTES = 128 * 1024  # to copy a body behind its head is cheaper than to write two pieces


class Line:
    """The connection below one answer."""

    __slots__ = ("_cycle", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        self._cycle = cycle
        self._transport = transport

    @property
    def is_free(self) -> bool:
        """Whether a whole answer may be written now: not while older bytes wait for the client."""
        return not self._cycle.flow.write_paused

    def answer(self, status: int, fields: bytes, body: bytes) -> None:
        """Write a whole answer: its header fields, each with its line's end, Content-Length among
        them, and the body, empty for HEAD."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        head = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            head += (name, b": ", value, b"\r\n")
        head.append(fields)
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(b"\r\n")
        if len(body) <= JOINED_MAX_BYTES:
            head.append(body)
            self._transport.write(b"".join(head))
        else:
            self._transport.writelines((b"".join(head), body))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._transport.close()
        cycle.on_response()

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

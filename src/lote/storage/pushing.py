"""Stretches of files on their way into clients' sockets, in threads."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from lote.storage.buffers import ALIGNMENT_BYTES, BUFFER_BYTES, Buffers
from lote.storage.call import ClientGone

TURN_BYTES = 16 * 1024 * 1024  # then others have the thread
PATIENCE_MS = 5  # a reader as fast as this machine takes what is written in less
NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class Stretch(NamedTuple):
    """Bytes that follow one another: ``held`` ones, or those of a file from ``start`` up to
    ``end``, whose descriptor ``open_file`` makes."""

    held: bytes = b""
    open_file: Callable[[], int] = lambda: -1
    start: int = 0
    end: int = 0


class Push:
    """One stretch. ``work`` in a thread until it says that all is out, then ``close``."""

    def __init__(self, buffers: Buffers, sock: socket.socket, stretch: Stretch) -> None:
        self._buffers = buffers
        self._sock = sock
        self._open_file = stretch.open_file
        self._start = stretch.start
        self._end = stretch.end
        self._descriptor = -1
        self._is_direct = False
        self._buffer: memoryview | None = None
        self._rest = memoryview(stretch.held)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLOUT)

    def work(self) -> bool:
        """Send as long as the client takes it, up to a turn; whether all is out.

        Raises ClientGone, OSError for the file.
        """
        if self._descriptor < 0 and self._start < self._end:
            self._descriptor = self._open_file()
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            self._is_direct = bool(flags & os.O_DIRECT)
        left = TURN_BYTES
        while (self._rest or self._start < self._end) and left > 0:
            sent = self._step()
            if not sent and not self._poll.poll(PATIENCE_MS):
                break
            left -= sent
        return not self._rest and self._start >= self._end

    def close(self) -> None:
        """Let go of file and buffer."""
        self._rest = memoryview(b"")
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _step(self) -> int:
        """Send some; gives how many bytes the socket took."""
        if not self._rest:
            if not self._is_direct:
                return self._send_cached()
            self._read()
        try:
            sent = self._sock.send(self._rest)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientGone from error
        self._rest = self._rest[sent:]
        return sent

    def _send_cached(self) -> int:
        """From the page cache, without copying."""
        try:
            wanted = min(self._end - self._start, BUFFER_BYTES)
            sent = os.sendfile(self._sock.fileno(), self._descriptor, self._start, wanted)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in NO_SENDFILE:
                self._is_direct = True  # as good as: it has to be read
                return 0
            if error.errno == errno.EIO:
                raise
            raise ClientGone from error
        if not sent:
            raise self._ended_early()
        self._start += sent
        return sent

    def _read(self) -> None:
        """The next bytes, at an offset and into memory as direct I/O wants them."""
        if self._buffer is None:
            self._buffer = self._buffers.take()
        aligned = self._start // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        size = os.preadv(self._descriptor, [self._buffer], aligned)
        end = min(size, self._end - aligned)
        first = self._start - aligned
        if end <= first:
            raise self._ended_early()
        self._rest = self._buffer[first:end]
        self._start = aligned + end

    def _ended_early(self) -> OSError:
        return OSError(f"a content file ended {self._end - self._start} bytes early")


async def writable(sock: socket.socket) -> None:
    """Wait until the socket takes bytes again, or is broken."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def shut(sock: socket.socket) -> None:
    """Wake whoever writes into it."""
    with suppress(OSError):  # it is broken or closed already
        sock.shutdown(socket.SHUT_RDWR)

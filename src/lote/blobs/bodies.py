"""What requests carry: bytes, or a stretch of a file that the kernel sends."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import NamedTuple

from lote.blobs.permit import Check, no_check

PIECE_BYTES = 1 << 20  # between two looks at a permit; the socket's buffer holds less
TLS_PIECE_BYTES = 64 * 1024
NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS})  # not for this file system

SendBody = Callable[[socket.socket], None]


class Body(NamedTuple):
    """What a request carries: its length in bytes, and what writes it to the socket.

    ``check`` is asked before anything is sent; it may raise and so break the request off.
    """

    size_bytes: int
    send: SendBody
    check: Check = no_check


class FileShrank(Exception):
    """The file that was being sent ended early."""


def bytes_body(content: bytes, check: Check = no_check) -> Body:
    """A body held in memory; ``check`` is asked before it is sent."""

    def send(sock: socket.socket) -> None:
        check()
        sock.sendall(content)

    return Body(len(content), send, check)


def file_body(descriptor: int, offset_bytes: int, size_bytes: int, check: Check = no_check) -> Body:
    """A body that is a stretch of an open file; sent by the kernel where TLS is not in the way.

    ``check`` is asked before each piece that is handed to the kernel: a process that was stopped
    meanwhile sends nothing more of a body that nobody wants any longer.
    """

    def send(sock: socket.socket) -> None:
        # A socket with TLS is a socket of another class, which the kernel can't send to.
        sent = _send_file(sock, descriptor, offset_bytes, size_bytes, check)
        if sent != size_bytes:
            raise FileShrank(f"the file became shorter while it was sent ({sent} bytes)")

    return Body(size_bytes, send, check)


def _send_file(sock: socket.socket, descriptor: int, offset: int, size: int, check: Check) -> int:
    """Send up to ``size`` bytes; gives how many there were."""
    if type(sock) is not socket.socket:
        return _send_pieces(sock, descriptor, offset, size, check)
    sent = 0
    while sent < size:
        check()
        try:
            step = min(size - sent, PIECE_BYTES)
            count = os.sendfile(sock.fileno(), descriptor, offset + sent, step)
        except BlockingIOError:
            _await_room(sock)
            continue
        except OSError as error:
            if error.errno not in NO_SENDFILE or sent:
                raise
            return _send_pieces(sock, descriptor, offset, size, check)
        if not count:
            break
        sent += count
    return sent


def _send_pieces(sock: socket.socket, descriptor: int, offset: int, size: int, check: Check) -> int:
    sent = 0
    while sent < size:
        piece = os.pread(descriptor, min(size - sent, TLS_PIECE_BYTES), offset + sent)
        if not piece:
            break
        check()
        sock.sendall(piece)
        sent += len(piece)
    return sent


def _await_room(sock: socket.socket) -> None:
    """Wait until the other end takes more. Raises TimeoutError after the socket's time limit."""
    limit_s = sock.gettimeout()
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    if not poll.poll(None if limit_s is None else limit_s * 1000):
        raise TimeoutError("timed out")

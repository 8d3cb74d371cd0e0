"""Kept-alive HTTP connections, one per thread that is busy, and one exchange over them.

Nothing here retries; ``client`` does. A connection that the server closed while it was idle is
noticed before it is used again, so that a request never fails for that alone.
"""

from __future__ import annotations

import errno
import http.client
import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit

from lote.blobs.permit import Check, no_check

if TYPE_CHECKING:
    import ssl

IDLE_CONNECTIONS_MAX = 8  # a host; more threads than this at once is not our use
BROKEN = (OSError, http.client.HTTPException)  # everything a socket or a torn answer can raise

PIECE_BYTES = 1 << 20  # between two looks at a permit; the socket's buffer holds less
TLS_PIECE_BYTES = 64 * 1024
NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS})  # not for this file system

SendBody = Callable[[socket.socket], None]
Key = tuple[str, str]


class Body(NamedTuple):
    """What a request carries: its length in bytes, and what writes it to the socket.

    ``check`` is asked before anything is sent; it may raise and so break the request off.
    """

    size_bytes: int
    send: SendBody
    check: Check = no_check


def bytes_body(content: bytes, check: Check = no_check) -> Body:
    """A body held in memory; ``check`` is asked before it is sent."""

    def send(sock: socket.socket) -> None:
        check()
        sock.sendall(content)

    return Body(len(content), send, check)


class Exchange:
    """One request that was sent and its answer, whose body is still to be read."""

    def __init__(self, pool: Connections, key: Key, connection: http.client.HTTPConnection) -> None:
        self._pool = pool
        self._key = key
        self._connection = connection
        self.response = connection.getresponse()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        return self.response.getheader(name)

    def read(self, size_max: int) -> bytes:
        """At most ``size_max`` bytes of what is left of the body."""
        return self.response.read(size_max)

    def close(self) -> None:
        """Keep the connection if the answer was read to its end, else drop it."""
        if self.response.isclosed() and not self.response.will_close:
            self._pool.give_back(self._key, self._connection)
        else:
            self._connection.close()


class Connections:
    """Connections by scheme and host. Safe for several threads: each busy one has its own."""

    def __init__(
        self, ca_file: str | None, connect_timeout_s: float, stall_timeout_s: float
    ) -> None:
        self._ca_file = ca_file
        self._connect_timeout_s = connect_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._idle: dict[Key, list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None
    ) -> Exchange:
        """Send one request and wait for the answer's headers.

        Raises what sockets and ``http.client`` raise; the caller closes the exchange.
        """
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        connection = self._take(key) or self._connect(parts)
        try:
            self._send(connection, method, parts, headers, body)
            return Exchange(self, key, connection)
        except BaseException:
            connection.close()
            raise

    def give_back(self, key: Key, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next request to its host."""
        with self._lock:
            idle = self._idle.setdefault(key, [])
            if len(idle) < IDLE_CONNECTIONS_MAX:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            connections = [one for idle in self._idle.values() for one in idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def _take(self, key: Key) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                idle = self._idle.get(key)
                if not idle:
                    return None
                connection = idle.pop()
            if not is_dropped(connection):
                return connection
            connection.close()

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname
        if not host:
            raise http.client.InvalidURL("no host in the URL")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, parts.port, timeout=self._connect_timeout_s, context=self._tls_context()
            )
        elif parts.scheme == "http":
            connection = http.client.HTTPConnection(
                host, parts.port, timeout=self._connect_timeout_s
            )
        else:
            raise http.client.InvalidURL(f"not an http(s) URL: {parts.scheme}")
        connection.connect()
        connection.sock.settimeout(self._stall_timeout_s)
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        """The system's authorities (or ``SSL_CERT_FILE``), and the given one besides."""
        with self._lock:
            if self._tls is None:
                import ssl  # with its context: the authorities cost an agent some megabytes

                self._tls = ssl.create_default_context()
                if self._ca_file:
                    self._tls.load_verify_locations(self._ca_file)
            return self._tls

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        parts: SplitResult,
        headers: Mapping[str, str],
        body: Body | None,
    ) -> None:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(body.size_bytes))
        if body is not None:
            body.check()  # an empty body is whole with its headers
        connection.endheaders()
        if body is not None:
            # A server may refuse before it has read everything: then its answer is what counts,
            # not the broken pipe. If there is no answer, reading it raises.
            with suppress(BrokenPipeError, ConnectionResetError):
                body.send(connection.sock)


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


class FileShrank(Exception):
    """The file that was being sent ended early."""


def is_dropped(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection was closed by the other side (or says what nobody asked)."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))

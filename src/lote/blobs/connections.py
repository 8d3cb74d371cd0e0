"""Kept-alive HTTP connections, one per thread that is busy, and one exchange over them.

Nothing here retries; ``client`` does. A connection that the server closed while it was idle is
noticed before it is used again, so that a request never fails for that alone.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

from lote.blobs.answers import Answer, BadAnswer
from lote.blobs.bodies import Body

if TYPE_CHECKING:
    import ssl

IDLE_CONNECTIONS_MAX = 32  # a host; more threads than this at once is not our use
DEFAULT_PORTS = {"http": 80, "https": 443}
UNSAFE = re.compile(r"[^\x21-\x7e]")  # nothing else may stand in a request's target
SAFE = "%/:=&?~+!$,;'@()*[]"
LINE_END = re.compile(r"[\r\n\0]")

Key = tuple[str, str]


class BadRequest(Exception):
    """A request that cannot be put into words: no address, or a line's end in a header."""


BROKEN = (OSError, BadAnswer)  # everything a socket or a torn answer can raise


class Exchange:
    """One request that was sent and its answer, whose body is still to be read."""

    def __init__(self, pool: Connections, key: Key, sock: socket.socket) -> None:
        self._pool = pool
        self._key = key
        self._sock = sock
        self.answer = Answer(sock)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.answer.status

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        return self.answer.header(name)

    def read(self, size_max: int) -> bytes:
        """At most ``size_max`` bytes of the body."""
        return self.answer.read(size_max)

    def abort(self) -> None:
        """Wake whoever reads; for another thread than that one."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Keep the connection if the answer was read to its end, else drop it."""
        if self.answer.is_whole and self.answer.keeps_alive:
            self._pool.give_back(self._key, self._sock)
        else:
            self._sock.close()
        self.answer.let_go()


class Connections:
    """Connections by scheme and host. Safe for several threads: each busy one has its own."""

    def __init__(
        self, ca_file: str | None, connect_timeout_s: float, stall_timeout_s: float
    ) -> None:
        self._ca_file = ca_file
        self._connect_timeout_s = connect_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._idle: dict[Key, list[socket.socket]] = {}
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None
    ) -> Exchange:
        """Send one request and wait for the answer's headers.

        Raises BadRequest, what sockets raise, BadAnswer; the caller closes the exchange.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise BadRequest(f"not an address: {error}") from error
        head = request_head(method, parts, headers, body)
        key = (parts.scheme, parts.netloc)
        sock = self._take(key) or self._connect(parts)
        try:
            send(sock, head, body)
            return Exchange(self, key, sock)
        except BaseException:
            sock.close()
            raise

    def give_back(self, key: Key, sock: socket.socket) -> None:
        """Keep a connection for the next request to its host."""
        with self._lock:
            idle = self._idle.setdefault(key, [])
            if len(idle) < IDLE_CONNECTIONS_MAX:
                idle.append(sock)
                return
        sock.close()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            socks = [one for idle in self._idle.values() for one in idle]
            self._idle.clear()
        for sock in socks:
            sock.close()

    def _take(self, key: Key) -> socket.socket | None:
        while True:
            with self._lock:
                idle = self._idle.get(key)
                if not idle:
                    return None
                sock = idle.pop()
            if not is_dropped(sock):
                return sock
            sock.close()

    def _connect(self, parts: SplitResult) -> socket.socket:
        assert parts.hostname is not None  # request_head looked
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        sock = socket.create_connection((parts.hostname, port), self._connect_timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if parts.scheme == "https":
                sock = self._tls_context().wrap_socket(sock, server_hostname=parts.hostname)
            sock.settimeout(self._stall_timeout_s)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tls_context(self) -> ssl.SSLContext:
        """The system's authorities (or ``SSL_CERT_FILE``), and the given one besides."""
        with self._lock:
            if self._tls is None:
                import ssl  # with its context: the authorities cost an agent some megabytes

                self._tls = ssl.create_default_context()
                if self._ca_file:
                    self._tls.load_verify_locations(self._ca_file)
            return self._tls


def request_head(
    method: str, parts: SplitResult, headers: Mapping[str, str], body: Body | None
) -> bytes:
    """The lines of a request up to the empty one. Raises BadRequest."""
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise BadRequest(f"not an http(s) address: {parts.scheme}://{parts.hostname or ''}")
    try:
        parts.port  # noqa: B018 - looks whether it is a number
        host = parts.netloc.rpartition("@")[2]
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError as error:
        raise BadRequest(f"not an address: {error}") from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if UNSAFE.search(target):
        target = quote(target, safe=SAFE)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {body.size_bytes}")
    if any(map(LINE_END.search, lines)):
        raise BadRequest("a header with a line's end in it")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def send(sock: socket.socket, head: bytes, body: Body | None) -> None:
    """Send a request, its body last."""
    if body is None:
        sock.sendall(head)
        return
    body.check()  # an empty body is whole with its headers
    # A server may refuse before it has read everything: then its answer is what counts, not the
    # broken pipe. If there is no answer, reading it raises.
    with suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(head, socket.MSG_MORE if body.size_bytes and can_wait(sock) else 0)
        body.send(sock)


def can_wait(sock: socket.socket) -> bool:
    """Whether the kernel may hold the head back until the body comes (TLS takes no flags)."""
    return type(sock) is socket.socket


def is_dropped(sock: socket.socket) -> bool:
    """Whether an idle connection was closed by the other side (or says what nobody asked)."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))

"""A TCP proxy that holds its traffic at a chosen point, until it is told to go on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import NamedTuple

CHUNK_BYTES = 16 * 1024
POLL_S = 0.05


class Hold(NamedTuple):
    """Where to hold: after so many bytes from the client on one connection, or before a request.

    Requests of one upload may come over several connections, so one is known by its head.
    """

    sent_bytes: int | None = None
    request_with: bytes | None = None  # what the head of the request has in it


class HoldingProxy:
    """Forwards to one port. Holds once, on the connection that comes first to the point."""

    def __init__(self, port: int, hold: Hold) -> None:
        self.held = threading.Event()
        """Set when the point is reached."""
        self.go_on = threading.Event()
        """Set by the test; what was held goes on."""
        self._port = port
        self._hold = hold
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(POLL_S)
        self.port = int(self._listener.getsockname()[1])

    @contextlib.contextmanager
    def listening(self) -> Iterator[HoldingProxy]:
        """Forward while the block lasts."""
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self
        finally:
            self._over.set()
            self.go_on.set()
            accepting.join()
            for one in self._sockets:
                _hang_up(one)
            for thread in self._threads:
                thread.join()
            for one in (self._listener, *self._sockets):
                one.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            nothing = Hold()
            for source, target, hold in (
                (client, server, self._hold),
                (server, client, nothing),
            ):
                thread = threading.Thread(target=self._pump, args=(source, target, hold))
                thread.start()
                self._threads.append(thread)

    def _pump(self, source: socket.socket, target: socket.socket, hold: Hold) -> None:
        sent_bytes, last = 0, b""
        try:
            while chunk := source.recv(CHUNK_BYTES):
                sent_bytes += len(chunk)
                last = last[-len(hold.request_with or b"") :] + chunk
                if hold.sent_bytes is not None and sent_bytes >= hold.sent_bytes:
                    self._wait_once()
                if hold.request_with is not None and hold.request_with in last:
                    self._wait_once()
                target.sendall(chunk)
        except OSError:
            pass  # one end is gone; the other one learns of it below
        finally:
            _hang_up(source)
            _hang_up(target)

    def _wait_once(self) -> None:
        with self._lock:
            is_first = not self.held.is_set()
            self.held.set()
        if is_first:
            self.go_on.wait()


def _hang_up(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed by the other side
        one.shutdown(socket.SHUT_RDWR)

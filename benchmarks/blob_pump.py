"""The leanest Blob client there is: kept connections in one thread, requests put together and
signed before the clock starts, so that what is measured is the server."""

from __future__ import annotations

import selectors
import socket
import time
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit

from blob_accounts import Served

from lote.storage.signatures import shared_key_texts, sign
from lote.storage.times import http_date

VERSION = "2021-12-02"
RECEIVE_BYTES = 1 << 20
SILENCE_S_MAX = 120.0
HEAD_END = b"\r\n\r\n"


class Request(tuple[bytes, bytes]):
    """Head and body, ready to be sent."""

    __slots__ = ()


class Signer:
    """Makes signed requests for one account."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._key = b64decode(served.key)
        self._base = urlsplit(served.endpoint).path
        self._host = ":".join(map(str, served.address))

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        """A request that is valid for 15 minutes."""
        raw_path = self._base + quote(path)
        sent = {
            "host": self._host,
            "x-ms-date": http_date(time.time_ns() // 1000),
            "x-ms-version": VERSION,
            **(headers or {}),
        }
        if body or method == "PUT":
            sent["content-length"] = str(len(body))
        text = shared_key_texts(method, self._served.account, raw_path, query or {}, sent)[0]
        sent["authorization"] = f"SharedKey {self._served.account}:{sign(self._key, text)}"
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in (query or {}).items())
        target = f"{raw_path}?{pairs}" if pairs else raw_path
        lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items()), "", ""]
        return Request(("\r\n".join(lines).encode("latin-1"), body))

    def put(self, path: str, body: bytes) -> Request:
        """Put Blob."""
        return self.request("PUT", path, None, body, {"x-ms-blob-type": "BlockBlob"})

    def get(self, path: str, first: int | None = None, last: int = 0) -> Request:
        """Get Blob, whole or from ``first`` to ``last``."""
        headers = {} if first is None else {"x-ms-range": f"bytes={first}-{last}"}
        return self.request("GET", path, None, b"", headers)


class Done(tuple[float, int]):
    """How long an answer took, in seconds, and how many bytes its body had."""

    __slots__ = ()


class _Line:
    """A connection with one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._unsent: list[memoryview] = []
        self._head = bytearray()
        self._wanted = -1
        self._began = 0.0
        self.body_bytes = 0

    def ask(self, request: Request) -> bool:
        """Begin; whether there is more to send."""
        self._head.clear()
        self._wanted, self.body_bytes = -1, 0
        self._began = time.monotonic()
        self._unsent = [memoryview(part) for part in request if part]
        return self.send()

    def send(self) -> bool:
        """Send on; whether there is more."""
        try:
            while self._unsent:
                sent = self.socket.sendmsg(self._unsent)
                while self._unsent and sent >= len(self._unsent[0]):
                    sent -= len(self._unsent.pop(0))
                if sent:
                    self._unsent[0] = self._unsent[0][sent:]
        except BlockingIOError:
            return True
        return False

    def receive(self, buffer: bytearray) -> Done | None:
        """Take what is there; the end of the answer, if it is. Refuses anything but success."""
        size = self.socket.recv_into(buffer)
        if not size:
            raise ConnectionError("the server closed the connection")
        if self._wanted < 0:
            self._head += memoryview(buffer)[:size]
            end = self._head.find(HEAD_END)
            if end < 0:
                return None
            head = bytes(self._head[:end]).lower()
            if not head.startswith(b"http/1.1 2"):
                raise RuntimeError(f"refused: {bytes(self._head[:1000])!r}")
            length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
            self._wanted = int(length or b"0")
            size = len(self._head) - end - len(HEAD_END)
        self.body_bytes += size
        if self.body_bytes < self._wanted:
            return None
        return Done((time.monotonic() - self._began, self.body_bytes))


def pump(served: Served, requests: Iterable[Request], connections: int) -> list[Done]:
    """Send all requests over so many connections, each when the one before it is answered."""
    waiting: Iterator[Request] = iter(requests)
    buffer = bytearray(RECEIVE_BYTES)
    done: list[Done] = []
    lines = [_Line(served.address) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        busy = sum(_begin(selector, line, waiting, new=True) for line in lines)
        while busy:
            events = selector.select(SILENCE_S_MAX)
            if not events:
                raise TimeoutError(f"no answer in {SILENCE_S_MAX} s")
            for key, mask in events:
                line: _Line = key.data
                if mask & selectors.EVENT_WRITE and not line.send():
                    selector.modify(line.socket, selectors.EVENT_READ, line)
                if mask & selectors.EVENT_READ and (end := line.receive(buffer)) is not None:
                    done.append(end)
                    busy -= not _begin(selector, line, waiting, new=False)
    for line in lines:
        line.socket.close()
    return done


def _begin(
    selector: selectors.BaseSelector, line: _Line, waiting: Iterator[Request], *, new: bool
) -> bool:
    request = next(waiting, None)
    if request is None:
        if not new:
            selector.unregister(line.socket)
        return False
    more = line.ask(request)
    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if more else 0)
    (selector.register if new else selector.modify)(line.socket, events, line)
    return True


def ask_once(served: Served, request: Request) -> tuple[float, bytes]:
    """One request on a connection of its own: seconds, and the body of its answer."""
    with socket.create_connection(served.address) as connection:
        connection.settimeout(SILENCE_S_MAX)
        began = time.monotonic()
        connection.sendall(b"".join(request))
        received = bytearray()
        while (end := received.find(HEAD_END)) < 0:
            received += connection.recv(RECEIVE_BYTES)
        head = bytes(received[:end]).lower()
        if not head.startswith(b"http/1.1 2"):
            raise RuntimeError(f"refused: {bytes(received[:1000])!r}")
        wanted = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or b"0")
        while len(received) < end + len(HEAD_END) + wanted:
            received += connection.recv(RECEIVE_BYTES)
        return time.monotonic() - began, bytes(received[end + len(HEAD_END) :])

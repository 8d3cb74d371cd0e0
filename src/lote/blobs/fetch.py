"""One download across its attempts: how far it came, and of which content that was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from lote.blobs.attempts import REDIRECT_STATUSES, Attempts, Transient, broken
from lote.blobs.connections import BROKEN, Exchange
from lote.blobs.failure import BlobError, BlobStopped

CHUNK_BYTES = 256 * 1024
REDIRECTS_MAX = 5

Progress = Callable[[int, int | None], None]


class Downloaded(NamedTuple):
    """A finished download: ``etag`` without quotes ("" if the server gave none), size in bytes."""

    etag: str
    size: int
    content_type: str


class Fetch:
    """Writes a URL's content into an open file. ``known_etag``: content that need not come."""

    def __init__(
        self,
        attempts: Attempts,
        url: str,
        descriptor: int,
        known_etag: str,
        headers: Mapping[str, str],
        on_progress: Progress | None,
        stop: threading.Event | None,
    ) -> None:
        self._attempts = attempts
        self._url = url
        self._descriptor = descriptor
        self._known_etag = known_etag
        self._headers = headers
        self._on_progress = on_progress
        self._stop = stop
        self._received_bytes = 0
        self._etag = ""  # as the server spelled it

    def attempt(self) -> Downloaded | None:
        """Ask for what is missing and write it; None when the known content is still right."""
        offset = self._received_bytes if self._can_resume() else 0
        exchange = self._request(offset)
        try:
            if exchange.status == 304:
                return None
            total = self._begin(exchange, offset)
            self._receive(exchange, offset, total)
            content_type = exchange.header("Content-Type") or ""
            return Downloaded(plain_etag(self._etag), self._received_bytes, content_type)
        finally:
            exchange.close()

    def _can_resume(self) -> bool:
        """Only a strong ETag proves that two answers are pieces of one content."""
        return self._received_bytes > 0 and self._etag.startswith('"')

    def _request(self, offset: int) -> Exchange:
        headers = {"Accept-Encoding": "identity", **self._headers}
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Match": self._etag}
        elif self._known_etag:
            headers["If-None-Match"] = f'"{self._known_etag}"'
        try:
            return self._follow(headers)
        except BlobError as failure:
            if not offset or failure.status not in (412, 416):
                raise
            self._received_bytes = 0  # the content changed under us: from the beginning
            raise Transient(failure) from failure

    def _follow(self, headers: dict[str, str]) -> Exchange:
        url = self._url
        for _ in range(REDIRECTS_MAX):
            exchange = self._attempts.open("GET", url, headers)
            if exchange.status not in REDIRECT_STATUSES:
                return exchange
            moved = urljoin(url, exchange.header("Location") or "")
            exchange.close()
            if urlsplit(moved).netloc != urlsplit(url).netloc:  # credentials stay with their host
                headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
            url = moved
        raise BlobError("misc", self._url, f"more than {REDIRECTS_MAX} redirects")

    def _begin(self, exchange: Exchange, offset: int) -> int | None:
        """Note which content comes and set the file's end; gives the whole size if known."""
        etag = exchange.header("ETag") or ""
        resumed = bool(offset) and exchange.status == 206
        if resumed and (etag != self._etag or range_start(exchange) != offset):
            self._received_bytes = 0
            reason = "the content changed while it was downloaded"
            raise Transient(BlobError("misc", self._url, reason))
        self._etag = etag
        self._received_bytes = offset if resumed else 0
        os.ftruncate(self._descriptor, self._received_bytes)
        os.lseek(self._descriptor, self._received_bytes, os.SEEK_SET)
        length = exchange.header("Content-Length") or ""
        return self._received_bytes + int(length) if length.isdigit() else None

    def _receive(self, exchange: Exchange, offset: int, total: int | None) -> None:
        while chunk := self._read(exchange, offset, total):
            write_all(self._descriptor, chunk)
            self._received_bytes += len(chunk)
            if self._on_progress is not None:
                self._on_progress(self._received_bytes, total)
            if self._stop is not None and self._stop.is_set():
                raise BlobStopped

    def _read(self, exchange: Exchange, offset: int, total: int | None) -> bytes:
        """The next bytes; only the network's failures are transient, not the local file's."""
        try:
            chunk = exchange.read(CHUNK_BYTES)
            if not chunk and total is not None and self._received_bytes < total:
                raise ConnectionResetError(f"ended after {self._received_bytes} of {total} bytes")
            return chunk
        except BROKEN as error:
            progressed = self._can_resume() and self._received_bytes > offset
            raise Transient(broken(self._url, error), progressed=progressed) from error


def write_all(descriptor: int, chunk: bytes) -> None:
    """Write all of it; a write to a file may be cut short."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def range_start(exchange: Exchange) -> int:
    """Where a partial answer begins, in bytes; -1 if it does not say."""
    unit, _, rest = (exchange.header("Content-Range") or "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else -1


def plain_etag(etag: str | None) -> str:
    """An ETag without its quotes, as lists spell it."""
    return (etag or "").strip('"')

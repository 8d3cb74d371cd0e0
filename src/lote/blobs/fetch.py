"""One download across its attempts: what is missing, and of which content the rest is."""

from __future__ import annotations

import hashlib
import os
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from lote.blobs.attempts import REDIRECT_STATUSES, Attempts, Transient, broken
from lote.blobs.connections import BROKEN, Exchange
from lote.blobs.crew import Crew
from lote.blobs.failure import BlobError, BlobStopped
from lote.blobs.files import ensure_room, write_all
from lote.blobs.pieces import Pieces

BUFFER_BYTES = 256 * 1024  # measured: 1 MiB is no faster, nor is splice(2)
DIGEST_BYTES = 1024 * 1024
PARALLEL_MIN_BYTES = 64 * 1024 * 1024
REDIRECTS_MAX = 5

Progress = Callable[[int, int | None], None]
OpenFile = Callable[[], int]


class Downloaded(NamedTuple):
    """A finished download: ``etag`` without quotes ("" if the server gave none), size in bytes."""

    etag: str
    size: int
    content_type: str


class Fetched(NamedTuple):
    """A finished download, and its content when that was small; else the file has it."""

    downloaded: Downloaded
    content: bytes | None


class Fetch:
    """Brings a URL's content into memory when it is no longer than ``small_bytes``, else into the
    file that ``open_file`` gives a descriptor of; it is called once at most.

    ``known_etag``: content that need not come. ``connections``: at once for a large file.
    """

    def __init__(
        self,
        attempts: Attempts,
        url: str,
        open_file: OpenFile,
        *,
        small_bytes: int = -1,
        known_etag: str = "",
        headers: Mapping[str, str],
        connections: int = 1,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._attempts = attempts
        self._url = url
        self._open_file = open_file
        self._small_bytes = small_bytes
        self._known_etag = known_etag
        self._headers = {"Accept-Encoding": "identity", **headers}
        self._on_progress = on_progress
        self._stop = stop
        self._crew = Crew(connections - 1, stop)
        self._descriptor = -1
        self._pieces: Pieces | None = None  # once the length is known
        self._etag = ""  # as the server spelled it
        self._md5 = ""
        self._was_damaged = False
        self._gives_ranges = True  # until the server shows that it does not
        self._content_type = ""

    def run(self) -> Fetched | None:
        """The content; None when the known one is still right. Raises BlobError, BlobStopped,
        OSError for the file."""
        try:
            return self._attempts.retry(self._attempt, self._stop)
        finally:
            self._crew.cancel()

    # -- attempts ---------------------------------------------------------------------------

    def _attempt(self) -> Fetched | None:
        if self._pieces is None:
            exchange = self._request({})
            try:
                if exchange.status == 304:
                    return None
                self._note(exchange)
                length = exchange.answer.length
                if length is None:
                    return self._done(self._receive_unmeasured(exchange))
                if length <= self._small_bytes:
                    return self._in_memory(exchange, length)
                self._receive(exchange, 0)
            finally:
                exchange.close()
        while (wanted := self._next()) is not None:
            exchange, start = self._request_range(*wanted)
            try:
                self._receive(exchange, start)
            finally:
                exchange.close()
        assert self._pieces is not None
        total = self._pieces.total_bytes
        self._look_up(total, total)
        return self._done(total)

    def _next(self) -> tuple[int, int] | None:
        """The first missing range; what the crew could not bring is missing again."""
        assert self._pieces is not None
        wanted = self._pieces.front()
        if wanted is None:
            self._crew.join()
            wanted = self._pieces.front()
        return wanted

    def _restart(self) -> None:
        """From the beginning: what came belongs to nothing that can be had any more."""
        self._crew.cancel()
        self._pieces = None
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)

    @property
    def _can_resume(self) -> bool:
        """Only a strong ETag proves that two answers are pieces of one content."""
        return self._pieces is not None and self._gives_ranges and self._etag.startswith('"')

    # -- requests ---------------------------------------------------------------------------

    def _request(self, more: Mapping[str, str]) -> Exchange:
        headers = {**self._headers, **more}
        if self._known_etag and not more:
            headers["If-None-Match"] = f'"{self._known_etag}"'
        url = self._url
        for _ in range(REDIRECTS_MAX):
            exchange = self._attempts.open("GET", url, headers)
            if exchange.status not in REDIRECT_STATUSES:
                return exchange
            location = exchange.header("Location") or ""
            exchange.close()
            try:
                moved = urljoin(url, location)
                is_elsewhere = urlsplit(moved).netloc != urlsplit(url).netloc
            except ValueError as error:
                raise BlobError("misc", self._url, f"moved to no address: {error}") from error
            if is_elsewhere:  # credentials stay with their host
                headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
            url = moved
        raise BlobError("misc", self._url, f"more than {REDIRECTS_MAX} redirects")

    def _request_range(self, start: int, end: int) -> tuple[Exchange, int]:
        """An answer, and where in the content its body begins."""
        try:
            exchange = self._ask_range(start, end)
        except BlobError as failure:
            if failure.status not in (412, 416):
                raise
            self._restart()  # the content changed under us
            raise Transient(failure) from failure
        if exchange.status == 200:  # a server that knows no ranges: what came is no progress
            self._gives_ranges = False
            self._restart()
            self._note(exchange)
            return exchange, 0
        if exchange.header("ETag") != self._etag or range_start(exchange) != start:
            exchange.close()
            self._restart()
            reason = "the content changed while it was downloaded"
            raise Transient(BlobError("misc", self._url, reason))
        return exchange, start

    def _ask_range(self, start: int, end: int) -> Exchange:
        assert self._pieces is not None
        last = "" if end == self._pieces.total_bytes else str(end - 1)
        return self._request({"Range": f"bytes={start}-{last}", "If-Match": self._etag})

    def _note(self, exchange: Exchange) -> None:
        """Which content comes."""
        self._etag = exchange.header("ETag") or ""
        self._content_type = exchange.header("Content-Type") or ""
        self._md5 = exchange.header("Content-MD5") or ""
        length = exchange.answer.length
        self._pieces = None if length is None else Pieces(length)

    # -- receiving --------------------------------------------------------------------------

    def _in_memory(self, exchange: Exchange, length: int) -> Fetched:
        try:
            content = exchange.read(length)
        except BROKEN as error:
            raise self._interrupted(error, progressed=False) from error
        self._check_md5(hashlib.md5(content, usedforsecurity=False) if self._md5 else None)
        return self._fetched(length, content)

    def _receive_unmeasured(self, exchange: Exchange) -> int:
        """A body whose length nobody said; gives it."""
        buffer = memoryview(bytearray(BUFFER_BYTES))
        received = 0
        while size := self._read(exchange, buffer):
            self._write(buffer[:size], received)
            received += size
            self._look_up(received, None)
        return received

    def _receive(self, exchange: Exchange, start: int) -> None:
        """Write what the answer brings, until it ends or somebody else brings the rest."""
        pieces = self._pieces
        assert pieces is not None
        self._hire(pieces)
        buffer = memoryview(bytearray(min(BUFFER_BYTES, pieces.total_bytes)))
        begin = start
        while claimed := pieces.claim(start, len(buffer)):
            size = 0
            try:
                size = self._read(exchange, buffer[:claimed], progressed=start > begin)
            finally:
                pieces.put_back(start + size, start + claimed)
            self._write(buffer[:size], start)
            start += size
            pieces.note(size)
            self._look_up(pieces.written_bytes, pieces.total_bytes)

    def _hire(self, pieces: Pieces) -> None:
        """Have others bring pieces of a large content too."""
        if pieces.total_bytes >= PARALLEL_MIN_BYTES and self._can_resume:
            etag, descriptor = self._etag, self._file()
            self._crew.start(pieces, descriptor, self._ask_range, etag)

    def _read(self, exchange: Exchange, buffer: memoryview, *, progressed: bool = False) -> int:
        try:
            return exchange.answer.read_into(buffer)
        except BROKEN as error:
            raise self._interrupted(error, progressed=progressed) from error

    def _interrupted(self, error: BaseException, *, progressed: bool) -> Transient:
        resumes = self._can_resume
        if not resumes:
            self._restart()
        return Transient(broken(self._url, error), progressed=progressed and resumes)

    def _file(self) -> int:
        if self._descriptor < 0:
            self._descriptor = self._open_file()
            if self._pieces is not None:
                ensure_room(self._descriptor, self._pieces.total_bytes)
        return self._descriptor

    def _write(self, piece: memoryview, offset: int) -> None:
        write_all(self._file(), piece, offset)

    def _look_up(self, received: int, total: int | None) -> None:
        if self._on_progress is not None:
            self._on_progress(received, total)
        if self._stop is not None and self._stop.is_set():
            raise BlobStopped

    # -- the end ----------------------------------------------------------------------------

    def _done(self, size_bytes: int) -> Fetched:
        descriptor = self._file()  # an empty content has a file too
        if self._md5:
            digest = hashlib.md5(usedforsecurity=False)
            for offset in range(0, size_bytes, DIGEST_BYTES):
                digest.update(os.pread(descriptor, DIGEST_BYTES, offset))
                self._look_up(size_bytes, size_bytes)
            self._check_md5(digest)
        return self._fetched(size_bytes, None)

    def _check_md5(self, digest: hashlib._Hash | None) -> None:
        """Refuses other bytes than the server says they are. Once they are brought anew: they may
        have been damaged on their way."""
        if digest is None or b64encode(digest.digest()).decode() == self._md5:
            return
        failure = BlobError("misc", self._url, "the bytes do not have their Content-MD5")
        if self._was_damaged:
            raise failure
        self._was_damaged = True
        self._restart()
        raise Transient(failure)

    def _fetched(self, size_bytes: int, content: bytes | None) -> Fetched:
        done = Downloaded(plain_etag(self._etag), size_bytes, self._content_type)
        return Fetched(done, content)


def range_start(exchange: Exchange) -> int:
    """Where a partial answer begins, in bytes; -1 if it does not say."""
    unit, _, rest = (exchange.header("Content-Range") or "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else -1


def plain_etag(etag: str | None) -> str:
    """An ETag without its quotes, as lists spell it."""
    return (etag or "").strip('"')

"""The small HTTP client by which agents read and write blobs: download, upload, list.

A signed URL says where and by what right, so there are no accounts here. Any http(s) URL is a
source, not only blobs. Transient failures (5xx, 429, broken connections, time-outs) are tried
again with back-off; a download goes on where it broke when the server can prove that the content
is still the same. Failures are ``BlobError``; trouble with local files stays ``OSError``.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from lote.blobs.attempts import Attempts, Transient, broken, refuse
from lote.blobs.bodies import Body, bytes_body, file_body
from lote.blobs.connections import BROKEN, Connections
from lote.blobs.failure import BlobError
from lote.blobs.fetch import Downloaded, Fetch, Fetched, OpenFile, Progress, plain_etag
from lote.blobs.listing import BlobItem, block_list_xml, parse_page
from lote.blobs.parts import block_id, block_size
from lote.blobs.permit import Permit, check_of
from lote.blobs.urls import with_query

API_VERSION = "2021-12-02"  # has all we send; the provider and Azurite take it
SINGLE_PUT_MAX_BYTES = 16 * 1024 * 1024  # larger files go up in blocks, each retried alone
PAGE_NAMES = 1000  # a page of the 5,000 allowed takes 20 MiB to read
SMALL_ANSWER_BYTES_MAX = 64 * 1024 * 1024  # pages of lists have 5,000 names at most
ATTEMPTS_MAX = 5
CONNECTIONS_A_FILE = 4
CONNECTIONS_TO_SELF = 3  # to this machine: more cost processor time and bring nothing
BACK_OFF_FIRST_S = 0.2
THIS_MACHINE = re.compile(r"(?i)https?://(127\.|localhost[:/]|\[::1\])")
NO_HEADERS: Mapping[str, str] = {}


class BlobClient:
    """Downloads, uploads and lists. Safe to share by threads; each busy one has a connection.

    ``ca_file``: authorities trusted besides the system's (or ``SSL_CERT_FILE``'s).
    ``stall_timeout_s``: how long a connection may be silent. ``back_off_s``: the first pause,
    doubled each time. ``connections_a_file``: at once, for a large file; 0 leaves it to the host.
    A ``stop`` event given to a call ends it soon with ``BlobStopped``.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        connect_timeout_s: float = 10.0,
        stall_timeout_s: float = 30.0,
        attempts_max: int = ATTEMPTS_MAX,
        back_off_s: float = BACK_OFF_FIRST_S,
        single_put_max_bytes: int = SINGLE_PUT_MAX_BYTES,
        connections_a_file: int = 0,
    ) -> None:
        connections = Connections(ca_file, connect_timeout_s, stall_timeout_s)
        self._attempts = Attempts(connections, attempts_max, back_off_s)
        self._single_put_max_bytes = single_put_max_bytes
        self._connections_a_file = connections_a_file

    def close(self) -> None:
        """Close idle connections."""
        self._attempts.connections.close()

    def download(
        self,
        url: str,
        path: str | os.PathLike[str],
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Downloaded:
        """Fetch a URL into a file, which appears under its name only when it is whole.

        ``on_progress(received, total or None)`` in bytes, after each chunk.
        Refuses: ``BlobError``; ``OSError`` for the local file, whose folder must exist.
        """
        done = self.download_if_changed(
            url, path, "", headers=headers, on_progress=on_progress, stop=stop
        )
        if done is None:
            raise BlobError("misc", url, "answered 'not modified' to a plain request", status=304)
        return done

    def download_if_changed(
        self,
        url: str,
        path: str | os.PathLike[str],
        etag: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Downloaded | None:
        """``download``, but None (and no file written) when the content still has this ETag."""
        target = os.fspath(path)
        name = f".lote-{os.getpid()}-{threading.get_ident()}.part"
        part = os.path.join(os.path.dirname(target), name)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            done = self.fetch(
                url,
                lambda: descriptor,
                known_etag=etag,
                headers=headers,
                on_progress=on_progress,
                stop=stop,
            )
            if done is None:
                return None
            os.replace(part, target)
            part = ""
            return done.downloaded
        finally:
            os.close(descriptor)
            if part:
                os.unlink(part)

    def fetch(
        self,
        url: str,
        open_file: OpenFile,
        *,
        small_bytes: int = -1,
        known_etag: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Fetched | None:
        """Fetch a URL, up to ``small_bytes`` into memory, more into the file that ``open_file``
        makes when it is needed. None when the content still has the ``known_etag``.

        What is in the file counts only when this returns. Refuses as ``download`` does.
        """
        return Fetch(
            self._attempts,
            url,
            open_file,
            small_bytes=small_bytes,
            known_etag=known_etag,
            headers=headers,
            connections=self._connections_a_file or connections_to(url),
            on_progress=on_progress,
            stop=stop,
        ).run()

    def upload(
        self,
        path: str | os.PathLike[str],
        blob_url: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
        permit: Permit | None = None,
    ) -> str:
        """Write a file as a block blob, replacing what is there; gives the new ETag.

        ``headers``: ``x-ms-blob-content-type``, ``x-ms-meta-*`` … A file that grows meanwhile is
        sent as long as it was at the start; one that shrinks is a ``BlobError``. ``permit`` is
        asked about the one request that makes the blob visible, right before and while it is sent.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self.upload_open(
                descriptor, blob_url, headers, on_progress=on_progress, stop=stop, permit=permit
            )
        finally:
            os.close(descriptor)

    def upload_open(
        self,
        descriptor: int,
        blob_url: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
        permit: Permit | None = None,
    ) -> str:
        """``upload`` of an open file, from its beginning."""
        size = os.fstat(descriptor).st_size
        if size > self._single_put_max_bytes:
            return self._put_blocks(descriptor, size, blob_url, headers, on_progress, stop, permit)
        body = file_body(descriptor, 0, size, check_of(permit))
        etag = self._put_blob(blob_url, body, headers, stop, permit)
        if on_progress is not None:
            on_progress(size, size)
        return etag

    def upload_bytes(
        self,
        content: bytes,
        blob_url: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        stop: threading.Event | None = None,
    ) -> str:
        """Write a blob from memory; gives the new ETag."""
        return self._put_blob(blob_url, bytes_body(content), headers, stop)

    def list_blobs(
        self, container_url: str, prefix: str = "", *, stop: threading.Event | None = None
    ) -> Iterator[BlobItem]:
        """All blobs of a container whose names begin with ``prefix``, page by page, by name."""
        query = f"restype=container&comp=list&maxresults={PAGE_NAMES}&prefix="
        query += quote(prefix, safe="")
        url = with_query(container_url, query)
        marker = ""
        while True:
            page_url = with_query(url, f"marker={quote(marker, safe='')}") if marker else url
            body = self._send("GET", page_url, NO_HEADERS, None, stop)[1]
            try:
                page, marker = parse_page(body)
            except ValueError as error:
                raise BlobError("misc", container_url, str(error)) from error
            yield from page
            if not marker:
                return

    def _put_blob(
        self,
        url: str,
        body: Body,
        headers: Mapping[str, str],
        stop: threading.Event | None,
        permit: Permit | None = None,
    ) -> str:
        sent = {"x-ms-blob-type": "BlockBlob", **headers}
        return self._send("PUT", url, sent, body, stop, permit)[0]

    def _put_blocks(
        self,
        descriptor: int,
        size_bytes: int,
        url: str,
        headers: Mapping[str, str],
        on_progress: Progress | None,
        stop: threading.Event | None,
        permit: Permit | None,
    ) -> str:
        step = block_size(size_bytes)
        ids = [block_id(index) for index in range(-(-size_bytes // step))]
        sent_bytes = 0
        lock, over = threading.Lock(), threading.Event()

        def put_block(index: int) -> None:
            nonlocal sent_bytes
            if over.is_set():
                return  # another block failed for good
            offset = index * step
            body = file_body(descriptor, offset, min(step, size_bytes - offset))
            part_url = with_query(url, f"comp=block&blockid={quote(ids[index], safe='')}")
            self._send("PUT", part_url, NO_HEADERS, body, stop)
            with lock:
                sent_bytes += body.size_bytes
                if on_progress is not None:
                    on_progress(sent_bytes, size_bytes)

        self._each(put_block, len(ids), over, self._connections_a_file or connections_to(url))
        body = bytes_body(block_list_xml(ids), check_of(permit))
        list_url = with_query(url, "comp=blocklist")
        return self._send("PUT", list_url, headers, body, stop, permit)[0]

    def _each(
        self, work: Callable[[int], None], count: int, over: threading.Event, at_once: int
    ) -> None:
        """Do numbered work in a few threads. Raises what the first to fail raised."""
        from concurrent.futures import ThreadPoolExecutor  # most agents send no large files

        with ThreadPoolExecutor(min(count, at_once), "block") as threads:
            futures = [threads.submit(work, index) for index in range(count)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                over.set()
                raise

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        stop: threading.Event | None,
        permit: Permit | None = None,
    ) -> tuple[str, bytes]:
        """A request of the Blob protocol with a small answer, with retries: (ETag, body)."""
        sent = {"x-ms-version": API_VERSION, **headers}

        def attempt() -> tuple[str, bytes]:
            if permit is not None:
                permit.ensure()
            exchange = self._attempts.open(method, url, sent, body)
            if exchange.status >= 300:
                refuse(url, exchange)
            try:
                return plain_etag(exchange.header("ETag")), exchange.read(SMALL_ANSWER_BYTES_MAX)
            except BROKEN as error:
                raise Transient(broken(url, error)) from error
            finally:
                exchange.close()

        return self._attempts.retry(attempt, stop)


def connections_to(url: str) -> int:
    """How many connections bring a large file soonest."""
    return CONNECTIONS_TO_SELF if THIS_MACHINE.match(url) else CONNECTIONS_A_FILE

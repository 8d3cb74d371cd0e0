"""Downloaded inputs of a node: each is fetched once for all tasks that want it.

An entry is named by its URL without the signature and holds the ETag. The very same URL is trusted
for a few seconds; any other use asks the server whether the content still has that ETag, which
also proves that this task's signature gives access. Tasks get copies: they own their files.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from lote.agent.disk import is_disk_full
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobStopped

FRESH_S = 5.0  # a task's inputs are as of its start, give or take this
CACHE_BYTES_MAX = 10 * 1024**3
DISK_SHARE = 0.1  # of the disk, if that is less
LOCK_WAIT_S = 0.2

# REST: service and account SAS, user delegation SAS
SAS_PARAMETERS = frozenset(
    ("sv", "ss", "srt", "sp", "se", "st", "spr", "sig", "sr", "sdd", "sip", "si", "ses",
     "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid",
     "rscc", "rscd", "rsce", "rscl", "rsct")
)  # fmt: skip


class Entry:
    """One cached file. ``lock`` is held while it is fetched or checked."""

    __slots__ = ("checked_s", "etag", "lock", "path", "size_bytes", "url_hash")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.path: str | None = None
        self.etag = ""
        self.size_bytes = 0
        self.checked_s = 0.0
        self.url_hash = b""


class Cache:
    """The cached files of one folder, which is emptied first; safe for several threads."""

    def __init__(self, folder: str, client: BlobClient, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._client = client
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        disk = os.statvfs(folder)
        self._bytes_max = min(CACHE_BYTES_MAX, int(disk.f_blocks * disk.f_frsize * DISK_SHARE))
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")

    def open(self, url: str, stop: threading.Event) -> int:
        """A descriptor, for reading, of what the URL holds.

        Raises BlobError, BlobStopped, OSError.
        """
        try:
            return self._open(url, stop)
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._shrink(0)  # tasks need the space more
            return self._open(url, stop)

    def _open(self, url: str, stop: threading.Event) -> int:
        entry = self._entry(without_signature(url))
        while not entry.lock.acquire(timeout=LOCK_WAIT_S):
            if stop.is_set():
                raise BlobStopped
        try:
            self._refresh(entry, url, stop)
            assert entry.path is not None
            return os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            entry.lock.release()
            self._shrink(self._bytes_max)

    def _entry(self, key: str) -> Entry:
        with self._lock:
            entry = self._entries.setdefault(key, Entry())
            self._entries.move_to_end(key)
            return entry

    def _refresh(self, entry: Entry, url: str, stop: threading.Event) -> None:
        url_hash = hashlib.sha256(url.encode()).digest()
        is_fresh = self._clock() - entry.checked_s < FRESH_S
        if entry.path is not None and entry.url_hash == url_hash and is_fresh:
            return
        path = f"{self._folder}/{next(self._numbers)}"
        etag = entry.etag if entry.path is not None else ""
        done = self._client.download_if_changed(url, path, etag, stop=stop)
        if done is not None:
            old, entry.path = entry.path, path
            entry.etag, entry.size_bytes = done.etag, done.size
            if old is not None:
                os.unlink(old)
        entry.url_hash = url_hash
        entry.checked_s = self._clock()

    def _shrink(self, bytes_max: int) -> None:
        """Drop the least recently used that nobody is fetching, until the rest fits."""
        with self._lock:
            excess = sum(entry.size_bytes for entry in self._entries.values()) - bytes_max
            for key, entry in list(self._entries.items()):
                if excess <= 0:
                    return
                if not entry.size_bytes or not entry.lock.acquire(blocking=False):
                    continue
                try:
                    if entry.path is not None:
                        os.unlink(entry.path)
                        entry.path = None
                    excess -= entry.size_bytes
                    entry.size_bytes = 0
                    # It stays in the table while somebody may be waiting for its lock.
                    self._entries.move_to_end(key, last=False)
                finally:
                    entry.lock.release()


def without_signature(url: str) -> str:
    """The URL by which a content is known: a SAS is taken out, any other query stays."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if any(name == "sig" for name, _ in pairs):
        pairs = [pair for pair in pairs if pair[0] not in SAS_PARAMETERS]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(pairs), ""))


def copy_file(source: int, target: int) -> None:
    """Copy a whole file between descriptors, inside the kernel; shared extents where it can."""
    left = os.fstat(source).st_size
    offset = 0
    by_range = True
    while left > 0:
        try:
            if by_range:
                copied = os.copy_file_range(source, target, left, offset)
            else:
                copied = os.sendfile(target, source, offset, left)
        except OSError as error:
            if by_range and error.errno in (
                errno.EXDEV,
                errno.EINVAL,
                errno.ENOSYS,
                errno.EOPNOTSUPP,
            ):
                by_range = False
                continue
            raise
        if not copied:
            return
        offset += copied
        left -= copied

"""Downloaded inputs of a node: each is fetched once for all tasks that want it.

An entry is named by its URL without the signature and holds the ETag. The very same URL is trusted
for a few seconds, and so is a content whose ETag a list has just shown to somebody who may read
it; any other use asks the server whether the content still has that ETag, which also proves that
this task's signature gives access. Tasks get copies: they own their files.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from lote.agent.copying import can_share
from lote.agent.disk import is_disk_full
from lote.agent.packs import Packs, Spot
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobStopped
from lote.blobs.fetch import Fetched

FRESH_S = 5.0  # a task's inputs are as of its start, give or take this
CACHE_BYTES_MAX = 10 * 1024**3
DISK_SHARE = 0.1  # of the disk, if that is less
SMALL_BYTES = 64 * 1024  # go from the network into the task's file without a file of their own
PACKS_SHARE = 0.1  # of the cache, for small contents
# Somebody's first large file is not kept: keeping would double what is written to the disk, and
# most are wanted once. The second time it is wanted it is.
HAND_OVER_MIN_BYTES = 256 * 1024 * 1024
ENTRIES_MAX = 20_000  # each costs the agent about 500 bytes of memory
GRANTS_MAX = 64
LOCK_WAIT_S = 0.2

# REST: service and account SAS, user delegation SAS
SAS_PARAMETERS = frozenset(
    ("sv", "ss", "srt", "sp", "se", "st", "spr", "sig", "sr", "sdd", "sip", "si", "ses",
     "skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid",
     "rscc", "rscd", "rsce", "rscl", "rsct")
)  # fmt: skip


class Wanted(NamedTuple):
    """A content: its URL; when a list has just shown it, its ETag and the list's URL."""

    url: str
    etag: str = ""
    listed_by: str = ""


class Content(NamedTuple):
    """What the cache gives: bytes, or a descriptor that the caller closes.

    ``path`` names the descriptor's file; it is the caller's to take away if ``is_own``.
    """

    small: bytes | None
    descriptor: int = -1
    path: str = ""
    is_own: bool = False


class Entry:
    """One cached content, in a pack or in a file. ``lock`` is held while it is brought."""

    __slots__ = (
        "checked_s", "etag", "lock", "path", "size_bytes", "spot", "url_hash", "users", "wishes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.path: str | None = None
        self.spot: Spot | None = None
        self.etag = ""
        self.size_bytes = 0  # of the file
        self.checked_s = 0.0
        self.url_hash = b""
        self.users = 0  # who have it in hand
        self.wishes = 0  # how often somebody asked for it


class Cache:
    """The cached contents of one folder, which is emptied first; safe for several threads."""

    def __init__(self, folder: str, client: BlobClient, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._client = client
        self._clock = clock
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()  # least recently used first
        self._grants: OrderedDict[bytes, float] = OrderedDict()  # lists whose SAS reads, since when
        self._file_bytes = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        disk = os.statvfs(folder)
        self._bytes_max = min(CACHE_BYTES_MAX, int(disk.f_blocks * disk.f_frsize * DISK_SHARE))
        self._packs = Packs(folder, int(self._bytes_max * PACKS_SHARE))
        self._shares = can_share(folder)

    def get(self, wanted: Wanted, stop: threading.Event, *, may_link: bool = False) -> Content:
        """What the URL holds. ``may_link``: the caller wants a name for the cached file itself.

        Raises BlobError, BlobStopped, OSError.
        """
        try:
            return self._get(wanted, stop, may_link=may_link)
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._packs.clear()
            with self._lock:
                self._shrink(0)  # tasks need the space more
            return self._get(wanted, stop, may_link=may_link)

    def _get(self, wanted: Wanted, stop: threading.Event, *, may_link: bool) -> Content:
        entry = self._enter(hash_of(without_signature(wanted.url)))
        try:
            while not entry.lock.acquire(timeout=LOCK_WAIT_S):
                if stop.is_set():
                    raise BlobStopped
            try:
                found = self._kept(entry) if self._is_right(entry, wanted) else None
                return found or self._bring(entry, wanted, stop, may_link=may_link)
            finally:
                entry.lock.release()
        finally:
            self._leave(entry)

    def _enter(self, key: bytes) -> Entry:
        with self._lock:
            entry = self._entries.setdefault(key, Entry())
            self._entries.move_to_end(key)
            entry.users += 1
            entry.wishes += 1
            return entry

    def _leave(self, entry: Entry) -> None:
        with self._lock:
            entry.users -= 1
            self._shrink(self._bytes_max)

    def _is_right(self, entry: Entry, wanted: Wanted) -> bool:
        """Whether what is kept may be given without asking the server."""
        now_s = self._clock()
        if entry.url_hash == hash_of(wanted.url) and now_s - entry.checked_s < FRESH_S:
            return True
        if not wanted.etag or wanted.etag != entry.etag:
            return False
        with self._lock:
            granted_s = self._grants.get(hash_of(wanted.listed_by))
        return granted_s is not None and now_s - granted_s < FRESH_S

    def _kept(self, entry: Entry) -> Content | None:
        if entry.spot is not None:
            small = self._packs.read(entry.spot)
            return Content(small) if small is not None else None
        if entry.path is None:
            return None
        return Content(None, os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC), entry.path)

    def _bring(
        self, entry: Entry, wanted: Wanted, stop: threading.Event, *, may_link: bool
    ) -> Content:
        kept = self._kept(entry)
        part = Part(f"{self._folder}/{next(self._numbers)}")
        try:
            etag = entry.etag if kept is not None else ""
            fetched = self._client.fetch(
                wanted.url, part.open, small_bytes=SMALL_BYTES, known_etag=etag, stop=stop
            )
            if fetched is not None:
                let_go(kept)
                kept = self._take(entry, fetched, part, may_link=may_link)
            self._note(entry, wanted)
            assert kept is not None
            return kept
        except BaseException:
            let_go(kept)
            raise
        finally:
            part.close()

    def _take(self, entry: Entry, fetched: Fetched, part: Part, *, may_link: bool) -> Content:
        """Keep what came, as far as that is worth it."""
        with self._lock:
            self._forget_file(entry)
        entry.spot, entry.etag = None, fetched.downloaded.etag
        if fetched.content is not None:
            try:
                entry.spot = self._packs.add(fetched.content)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                self._packs.clear()
            return Content(fetched.content)
        size_bytes = fetched.downloaded.size
        is_first = entry.wishes == 1 and not may_link and not self._shares
        if is_first and size_bytes >= HAND_OVER_MIN_BYTES:
            return Content(None, part.take(), part.path, is_own=True)
        with self._lock:
            entry.path, entry.size_bytes = part.path, size_bytes
            self._file_bytes += size_bytes
        return Content(None, part.take(), part.path)

    def _note(self, entry: Entry, wanted: Wanted) -> None:
        """The server has just given it, or said that it is the same."""
        entry.url_hash = hash_of(wanted.url)
        entry.checked_s = self._clock()
        if wanted.listed_by:
            key = hash_of(wanted.listed_by)
            with self._lock:
                self._grants[key] = entry.checked_s
                self._grants.move_to_end(key)
                if len(self._grants) > GRANTS_MAX:
                    self._grants.popitem(last=False)

    def _shrink(self, bytes_max: int) -> None:
        """Drop the least recently used that nobody has in hand, until the rest fits. Locked."""
        dropped: list[bytes] = []
        for key, entry in self._entries.items():
            count = len(self._entries) - len(dropped)
            if self._file_bytes <= bytes_max and count <= ENTRIES_MAX:
                break
            if entry.users == 0 and (entry.path is not None or count > ENTRIES_MAX):
                dropped.append(key)
                self._forget_file(entry)
        for key in dropped:
            del self._entries[key]

    def _forget_file(self, entry: Entry) -> None:
        if entry.path is not None:
            os.unlink(entry.path)
            self._file_bytes -= entry.size_bytes
        entry.path, entry.size_bytes = None, 0


class Part:
    """A file that is being downloaded; removed unless it is kept."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_kept = False
        self._descriptor = -1

    def open(self) -> int:
        """Make it. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        return self._descriptor

    def take(self) -> int:
        """The descriptor, which the caller closes."""
        taken, self._descriptor = self._descriptor, -1
        self.is_kept = True
        return taken

    def close(self) -> None:
        """Done with it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            os.unlink(self.path)


def let_go(content: Content | None) -> None:
    """The caller is done with what the cache gave; what was its own and is still here goes."""
    if content is None or content.descriptor < 0:
        return
    if content.is_own:
        with suppress(FileNotFoundError):  # it was taken away, as it should be
            os.unlink(content.path)
    os.close(content.descriptor)


def hash_of(text: str) -> bytes:
    """A short name for a URL, which may hold a secret."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def without_signature(url: str) -> str:
    """The URL by which a content is known: a SAS is taken out, any other query stays."""
    address, _, query = url.partition("#")[0].partition("?")
    rest = _unsigned(query)
    return f"{address}?{rest}" if rest else address


@lru_cache(maxsize=64)  # the files of a container have one signature
def _unsigned(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(name == "sig" for name, _ in pairs):
        pairs = [pair for pair in pairs if pair[0] not in SAS_PARAMETERS]
    return urlencode(pairs)

"""One file or blob from here to there. Each gives whether it was copied; failures are exceptions.

Runs in several threads; ``Watch`` is what they share.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import BinaryIO, NamedTuple

from lote.blobs.carry import (
    AlreadyThere,
    BlobPlace,
    Kind,
    copy_blob,
    download_chunks,
    download_file,
    upload_file,
)
from lote.blobs.remote import BlobEntry
from lote.cli.storage.sources import LocalFile, RemoteBlob

PIECE_BYTES = 1 << 20
DEFAULT_TYPE = "application/octet-stream"
# The tables of the standard library alone: a type must not depend on the machine it is guessed on.
TYPES = mimetypes.MimeTypes()
COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
NAME_BYTES_MAX = 100  # of the target's name in the name of its unfinished file

_unfinished = count()


class Stopped(Exception):
    """The command is being interrupted."""


class Changed(Exception):
    """The file changed while it was being copied."""


class Damaged(Exception):
    """What arrived has another MD5 than what was stored."""


class Watch(NamedTuple):
    """What the threads of one command share: who wants to know of bytes, when to stop, and the
    unfinished files there are."""

    on_bytes: Callable[[int], None]
    stop: threading.Event
    parts: set[str]

    def moved(self, size_bytes: int) -> None:
        """Count bytes; raises ``Stopped`` once the command is interrupted."""
        self.check()
        self.on_bytes(size_bytes)

    def drop_parts(self) -> None:
        """Remove unfinished files, also those of threads that hang."""
        for path in list(self.parts):
            with suppress(FileNotFoundError):
                os.unlink(path)

    def check(self) -> None:
        """Raises ``Stopped`` once the command is interrupted."""
        if self.stop.is_set():
            raise Stopped


class Wishes(NamedTuple):
    """How to copy: leave alone what is there, or what is the same; a type for uploads."""

    clobber: bool = True
    update: bool = False
    content_type: str | None = None


def upload(source: LocalFile, target: BlobPlace, wishes: Wishes, watch: Watch) -> bool:
    """A file into storage, with its MD5, so that it can be checked and compared later."""
    with open(source.path, "rb") as file:
        before = os.fstat(file.fileno())
        md5 = digest(file, watch)
        if is_settled(
            wishes, lambda: find(target), before.st_size, before.st_mtime_ns, lambda: md5
        ):
            return False
        file.seek(0)
        kind = Kind(wishes.content_type or guess_type(target.name), md5)
        try:
            upload_file(file, before.st_size, target, kind, watch.moved, replace=wishes.clobber)
        except AlreadyThere:
            return False
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Changed("it changed while it was being copied; copy it again")
    return True


def download(source: RemoteBlob, path: str, wishes: Wishes, watch: Watch) -> bool:
    """A blob into a file, which appears under its name when it is whole and right."""
    if is_folder_mark(source):
        os.makedirs(path, exist_ok=True)
        return True
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        write_whole(source.place, path, None, watch)
        return True
    if not wishes.clobber or (wishes.update and is_same_file(source.entry, path, facts, watch)):
        return False
    if not stat.S_ISREG(facts.st_mode):
        with open(path, "wb") as sink:  # a device or a pipe; a folder refuses
            for chunk in download_chunks(source.place):
                sink.write(chunk)
                watch.moved(len(chunk))
        return True
    write_whole(source.place, os.path.realpath(path), stat.S_IMODE(facts.st_mode), watch)
    return True


def is_folder_mark(source: RemoteBlob) -> bool:
    """Whether a blob is only there to show a folder: other tools write such."""
    return source.entry.name.endswith("/") and not source.entry.size


def write_whole(source: BlobPlace, path: str, mode: int | None, watch: Watch) -> None:
    """Download beside the target, check, and move over it."""
    folder, name = os.path.split(path)
    short = os.fsdecode(os.fsencode(name)[:NAME_BYTES_MAX])
    part = os.path.join(folder, f".{short}.{os.getpid()}-{next(_unfinished)}.part")
    watch.parts.add(part)
    try:
        with open(part, "x+b") as sink:
            if mode is not None:
                os.fchmod(sink.fileno(), mode)
            md5 = download_file(source, sink, watch.moved)
            sink.seek(0)
            if md5 is not None and digest(sink, watch) != md5:
                raise Damaged("what arrived has another MD5 than the blob says; try again")
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
        watch.parts.discard(part)


def copy(source: RemoteBlob, target: BlobPlace, wishes: Wishes, watch: Watch) -> bool:
    """A blob to another place."""
    entry = source.entry
    modified_ns = int(entry.modified.timestamp() * 1e9) if entry.modified else 0
    if is_settled(wishes, lambda: find(target), entry.size, modified_ns, lambda: entry.md5):
        return False
    try:
        copy_blob(source.place, target, watch.moved, watch.stop, replace=wishes.clobber)
    except AlreadyThere:
        return False
    return True


def find(place: BlobPlace) -> BlobEntry | None:
    """What is at a place now."""
    return place.account.find(place.container, place.name)


def is_settled(
    wishes: Wishes,
    find_there: Callable[[], BlobEntry | None],
    size: int,
    modified_ns: int,
    md5_of: Callable[[], bytes | None],
) -> bool:
    """Whether the target may stay as it is. Asked before anything is sent."""
    if wishes.clobber and not wishes.update:
        return False
    there = find_there()
    if there is None:
        return False
    return not wishes.clobber or is_same(there, size, modified_ns, md5_of())


def is_same(there: BlobEntry, size: int, modified_ns: int, md5: bytes | None) -> bool:
    """Whether a blob has a source's content: the same size, and the same MD5.

    Where either has no MD5, one that was written after the source was last changed counts.
    """
    if there.size != size:
        return False
    if there.md5 is not None and md5 is not None:
        return there.md5 == md5
    # The service tells whole seconds.
    return there.modified is not None and there.modified.timestamp() * 1e9 >= modified_ns


def is_same_file(entry: BlobEntry, path: str, facts: os.stat_result, watch: Watch) -> bool:
    """Whether a file has a blob's content, by the same rule."""
    if facts.st_size != entry.size or not stat.S_ISREG(facts.st_mode):
        return False
    if entry.md5 is not None:
        with open(path, "rb") as file:
            return digest(file, watch) == entry.md5
    written = datetime.fromtimestamp(facts.st_mtime, UTC)
    return entry.modified is not None and written >= entry.modified


def digest(file: BinaryIO, watch: Watch) -> bytes:
    """The MD5 of what is left of a file."""
    found = hashlib.md5(usedforsecurity=False)
    while piece := file.read(PIECE_BYTES):
        watch.check()
        found.update(piece)
    return found.digest()


def guess_type(name: str) -> str:
    """A content type by the name's ending.

    A compressed file is what it is: a reader must not be told to unpack it on the way.
    """
    kind, encoding = TYPES.guess_type(f"x:/{name.rsplit('/', 1)[-1]}", strict=False)
    if encoding:
        return COMPRESSED.get(encoding, DEFAULT_TYPE)
    return kind or DEFAULT_TYPE

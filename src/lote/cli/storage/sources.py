"""What the sources of a copy stand for: files and blobs, each with its name below its source."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from lote.blobs.carry import BlobPlace
from lote.blobs.remote import BlobEntry, RemoteAccount
from lote.cli.storage.accounts import Accounts
from lote.cli.storage.names import Local, Remote, printable
from lote.cli.storage.patterns import base_of, fixed_prefix, has_pattern, matches
from lote.cli.storage.targets import SourceKind, Unclear


class NoSource(Exception):
    """A source that is not there, or not to be copied like that; the text names it."""


class LocalFile(NamedTuple):
    """A regular file of this machine."""

    path: str
    size: int

    @property
    def shown(self) -> str:
        """For messages."""
        return printable(self.path)


class RemoteBlob(NamedTuple):
    """A blob as a list described it."""

    place: BlobPlace
    entry: BlobEntry
    shown_name: str

    @property
    def size(self) -> int:
        """In bytes."""
        return self.entry.size

    @property
    def shown(self) -> str:
        """For messages."""
        return printable(self.shown_name)


Source = TypeVar("Source", bound=LocalFile | RemoteBlob)


class Found(NamedTuple, Generic[Source]):
    """One file or blob to copy, or why not (``problem``)."""

    source: Source
    kind: SourceKind
    own_name: str
    relative: str
    problem: str = ""


def find_local(place: Local, *, deep: bool) -> Iterator[Found[LocalFile]]:
    """Files of this machine. A path that does not exist may be a pattern. Refuses: ``NoSource``."""
    path = place.path
    if not os.path.lexists(path) and has_pattern(path):
        base = base_of(path)
        found = 0
        for one in sorted(glob.glob(path, recursive=True, include_hidden=True)):
            if os.path.isdir(one) and not deep:
                continue  # as in a shell, but there nothing could be said about it
            for file in _local(one, deep=deep):
                found += 1
                below = os.path.relpath(file.source.path, base or ".")
                yield file._replace(kind="match", relative=below)
        if not found:
            raise NoSource(f"{printable(path)}: no file matches")
        return
    yield from _local(path, deep=deep)


def _local(path: str, *, deep: bool) -> Iterator[Found[LocalFile]]:
    try:
        facts = os.stat(path)
    except OSError as error:
        raise NoSource(f"{printable(path)}: {error.strerror}") from None
    own_name = os.path.basename(path.rstrip("/"))
    if not stat.S_ISDIR(facts.st_mode):
        if path.endswith("/"):
            raise NoSource(f"{printable(path)}: is no folder")
        yield _file(path, facts, "one", own_name, own_name)
        return
    if not deep:
        raise NoSource(f"{printable(path)}: is a folder; -r copies it with all in it")
    is_contents = path.endswith("/") or own_name in ("", ".", "..")
    kind: SourceKind = "contents" if is_contents else "folder"
    for inner in _walk(path):
        relative = os.path.relpath(inner, path)
        try:
            yield _file(inner, os.stat(inner), kind, own_name, relative)
        except OSError as error:
            source = LocalFile(inner, 0)
            yield Found(source, kind, own_name, relative, error.strerror or str(error))


def _walk(path: str) -> Iterator[str]:
    """All that is no folder below a folder, by name. Links to folders are not followed: a link
    upwards would never end."""
    for folder, folders, files in os.walk(path, onerror=_unreadable):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*files, *links]):
            yield os.path.join(folder, name)


def _unreadable(error: OSError) -> None:
    raise NoSource(f"{printable(str(error.filename))}: {error.strerror}")


def _file(
    path: str, facts: os.stat_result, kind: SourceKind, own_name: str, relative: str
) -> Found[LocalFile]:
    problem = ""
    if stat.S_ISDIR(facts.st_mode):
        problem = "is a link to a folder, which is not followed"
    elif not stat.S_ISREG(facts.st_mode):
        problem = "is no regular file"
    return Found(LocalFile(path, facts.st_size), kind, own_name, relative, problem)


def find_remote(accounts: Accounts, place: Remote, *, deep: bool) -> Iterator[Found[RemoteBlob]]:
    """Blobs. Refuses: ``NoSource``, ``Unclear`` when a blob and a folder have the same name."""
    account = accounts.of(place)
    if not place.container:
        raise NoSource(f"{place.shown}: name a container, as in az://CONTAINER")
    if place.is_pattern:
        yield from _matching(account, place, deep=deep)
    elif place.name and not place.name.endswith("/"):
        yield from _named(account, place, deep=deep)
    elif not deep:
        raise NoSource(f"{printable(place.shown)}: is a folder; -r means it with all in it")
    else:
        yield from _below(account, place, place.name, "contents")


def _matching(account: RemoteAccount, place: Remote, *, deep: bool) -> Iterator[Found[RemoteBlob]]:
    base, found = base_of(place.name), 0
    for entry in account.blobs(place.container, fixed_prefix(place.name)):
        if matches(place.name, entry.name, or_above=deep):
            found += 1
            yield _blob(account, place, entry, "match", "", entry.name[len(base) :])
    if not found:
        raise NoSource(f"{printable(place.shown)}: no blob matches")


def _named(account: RemoteAccount, place: Remote, *, deep: bool) -> Iterator[Found[RemoteBlob]]:
    own_name = place.name.rsplit("/", 1)[-1]
    entry = account.find(place.container, place.name)
    inside = next(account.blobs(place.container, f"{place.name}/"), None) if deep else None
    if entry is not None and inside is not None:
        raise Unclear(
            f"{printable(place.shown)} is a blob, and a folder: write {printable(place.shown)}/"
            " for what is in the folder, or leave out -r for the blob"
        )
    if entry is not None:
        yield _blob(account, place, entry, "one", own_name, own_name)
    elif inside is not None:
        yield from _below(account, place, f"{place.name}/", "folder", own_name)
    else:
        hint = "" if deep else "; a folder needs -r"
        raise NoSource(f"{printable(place.shown)}: there is no such blob{hint}")


def _below(
    account: RemoteAccount, place: Remote, prefix: str, kind: SourceKind, own_name: str = ""
) -> Iterator[Found[RemoteBlob]]:
    found = 0
    for entry in account.blobs(place.container, prefix):
        found += 1
        yield _blob(account, place, entry, kind, own_name, entry.name[len(prefix) :])
    if not found and prefix:
        raise NoSource(f"{printable(place.shown)}: there is nothing in it")


def _blob(
    account: RemoteAccount,
    place: Remote,
    entry: BlobEntry,
    kind: SourceKind,
    own_name: str,
    relative: str,
) -> Found[RemoteBlob]:
    at = BlobPlace(account, place.container, entry.name)
    return Found(
        RemoteBlob(at, entry, place._replace(name=entry.name).shown), kind, own_name, relative
    )

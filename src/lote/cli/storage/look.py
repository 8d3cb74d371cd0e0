"""`lote storage ls`: containers, blobs and folders, printed as their pages come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

from lote.blobs.remote import BlobEntry, ContainerEntry, FolderEntry
from lote.cli.app import ListFormat
from lote.cli.storage.accounts import Accounts
from lote.cli.storage.names import Remote, az_name, printable
from lote.cli.storage.patterns import fixed_prefix, matches
from lote.cli.storage.spans import human_size, shown_time

Entry = ContainerEntry | BlobEntry | FolderEntry
SIZE_WIDTH = 9  # "1023 KiB" and a little air
TIME_WIDTH = 20
TYPE_WIDTH = 11  # "AppendBlob", "container"


class NothingThere(Exception):
    """No blob, folder or container of this name; the text names it."""


def list_entries(accounts: Accounts, place: Remote, *, deep: bool) -> Iterator[Entry]:
    """What is in the account, the container or the folder, or the one blob, by name.

    A name without a slash at its end is the blob of that name, and the folder. Refuses:
    ``NothingThere`` when there is nothing, except in a container that exists.
    """
    account = accounts.of(place)
    if not place.container:
        containers = account.containers()
        if not deep:
            yield from containers
            return
        for container in containers:
            yield from account.blobs(container.name)
        return
    found = 0
    for entry in _in_container(accounts, place, deep=deep):
        found += 1
        yield entry
    if not found and place.name:
        raise NothingThere(f"{printable(place.shown)}: there is nothing of that name")


def _in_container(accounts: Accounts, place: Remote, *, deep: bool) -> Iterator[Entry]:
    account, container, name = accounts.of(place), place.container, place.name
    if place.is_pattern:
        for blob in account.blobs(container, fixed_prefix(name)):
            if matches(name, blob.name, or_above=deep):
                yield blob
        return
    if name and not name.endswith("/"):
        one = account.find(container, name)
        if one is not None:
            yield one
        name += "/"
    yield from account.blobs(container, name) if deep else account.runs(container, name)


class Printer(Protocol):
    """Prints entries, one after the other."""

    def entry(self, entry: Entry, shown: str) -> None:
        """One line, or one element."""

    def close(self) -> None:
        """What closes the list."""


def printer_for(form: ListFormat, sink: TextIO, *, long: bool, in_bytes: bool) -> Printer:
    """The printer of a format."""
    if form is ListFormat.JSON:
        return JsonPrinter(sink)
    if form is ListFormat.TSV:
        return TsvPrinter(sink)
    return TablePrinter(sink, long=long, in_bytes=in_bytes)


class TablePrinter:
    """A name a line; with ``long`` size, time and type before it, in columns of fixed width."""

    def __init__(self, sink: TextIO, *, long: bool, in_bytes: bool) -> None:
        self._sink = sink
        self._long = long
        self._in_bytes = in_bytes
        self._blobs = self._bytes = 0

    def entry(self, entry: Entry, shown: str) -> None:
        """One line."""
        if not self._long:
            print(printable(shown), file=self._sink)
            return
        size, kind = "", "container" if isinstance(entry, ContainerEntry) else "folder"
        if isinstance(entry, BlobEntry):
            self._blobs, self._bytes = self._blobs + 1, self._bytes + entry.size
            size, kind = self._size(entry.size), entry.kind
        time = "" if isinstance(entry, FolderEntry) else shown_time(entry.modified)
        line = f"{size:>{SIZE_WIDTH}}  {time:<{TIME_WIDTH}}  {kind:<{TYPE_WIDTH}}"
        print(f"{line}  {printable(shown)}", file=self._sink)

    def close(self) -> None:
        """How much it was, in the long form."""
        if self._long and self._blobs:
            count = f"{self._blobs} blob{'' if self._blobs == 1 else 's'}"
            print(f"{self._size(self._bytes):>{SIZE_WIDTH}}  {count}", file=self._sink)

    def _size(self, size_bytes: int) -> str:
        return str(size_bytes) if self._in_bytes else human_size(size_bytes)


class TsvPrinter:
    """Type, size in bytes, time, content type and name of each, between tabs."""

    def __init__(self, sink: TextIO) -> None:
        self._sink = sink

    def entry(self, entry: Entry, shown: str) -> None:
        """One line; control characters in names are spelled out, so it is always one line."""
        members = members_of(entry)
        cells = [members["type"], members.get("size", ""), members.get("modified", "")]
        cells += [members.get("contentType", ""), printable(shown)]
        print(*cells, sep="\t", file=self._sink)

    def close(self) -> None:
        """Nothing closes it."""


class JsonPrinter:
    """One JSON array, written element by element."""

    def __init__(self, sink: TextIO) -> None:
        self._sink = sink
        self._before = "[\n"

    def entry(self, entry: Entry, shown: str) -> None:
        """One element."""
        self._sink.write(f"{self._before}  {json.dumps({**members_of(entry), 'address': shown})}")
        self._before = ",\n"

    def close(self) -> None:
        """The end of the array."""
        self._sink.write("[]\n" if self._before == "[\n" else "\n]\n")


def members_of(entry: Entry) -> dict[str, Any]:
    """What there is to say about an entry, sizes in bytes."""
    if isinstance(entry, ContainerEntry):
        modified = shown_time(entry.modified)
        return {"type": "container", "container": entry.name, "modified": modified}
    if isinstance(entry, FolderEntry):
        return {"type": "folder", "container": entry.container, "name": entry.name}
    return {
        "type": entry.kind,
        "container": entry.container,
        "name": entry.name,
        "size": entry.size,
        "modified": shown_time(entry.modified),
        "contentType": entry.content_type,
        "md5": entry.md5.hex() if entry.md5 else None,
        "etag": entry.etag,
        "tier": entry.tier or None,
    }


def shown_name(accounts: Accounts, place: Remote, entry: Entry) -> str:
    """The entry's name as it may be given to another command."""
    container = entry.name if isinstance(entry, ContainerEntry) else entry.container
    name = "" if isinstance(entry, ContainerEntry) else entry.name
    if place.reach is None:
        return az_name(container, name)
    reach = accounts.of(place).reach
    return reach.blob_url(container, name) if name else reach.container_url(container)

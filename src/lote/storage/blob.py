"""Blobs: their rows, and the contents those link to. Changes take a ``Tx``."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import Any, Literal, NamedTuple

import msgspec

from lote.storage.conditions import Conditions
from lote.storage.database import NotPrompt, Tx
from lote.storage.errors import Refused
from lote.storage.lease import Lease, after_write, check_read, check_write, lease_text, parse_lease
from lote.storage.tag import NO_TAGS, drop_tags, keep_tags, tags_text

read_texts = msgspec.json.Decoder(dict[str, str]).decode
write_texts = msgspec.json.Encoder().encode
COLUMNS = (
    "id, name, snapshot, kind, etag, created_us, modified_us, size, content, properties, metadata,"
    " tags, lease"
)
BASE = 2**63 - 1  # in place of a snapshot's time: the blob itself, listed after its snapshots
Kind = Literal["BlockBlob", "AppendBlob"]
Snapshots = Literal["refuse", "include", "only"]  # REST: Delete Blob, x-ms-delete-snapshots
LISTED_STATE = {False: " AND etag IS NOT NULL", True: ""}


class Blob(NamedTuple):
    """A blob's row. ``etag`` None: only staged blocks yet; ``content`` None: made of parts."""

    id: int
    name: bytes
    etag: int | None
    created_us: int
    modified_us: int
    size: int
    content: int | None
    properties: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str] = NO_TAGS
    lease: Lease | None = None
    kind: Kind = "BlockBlob"
    snapshot: int = BASE

    def check_readable(self) -> None:
        """Refuses: BlobArchived, for what reads or changes a blob's bytes or description."""
        if self.properties.get("tier") == "Archive":
            raise Refused("BlobArchived")

    def check_settled(self) -> None:
        """Refuses: PendingCopyOperation, for what changes a blob that is still being copied."""
        if self.properties.get("copy_status") == "pending":
            raise Refused("PendingCopyOperation")


class Place(NamedTuple):
    """Where in a list a blob or a snapshot stands."""

    name: bytes
    snapshot: int = 0


class NewContent(NamedTuple):
    """Bytes that are on the disk (``file``) or come with the row (``inline``)."""

    size: int
    file: str | None
    inline: bytes | None


class Target(NamedTuple):
    """The blob a request is about: key of its container, name, what it may find there."""

    container: int
    name: bytes
    conditions: Conditions
    may_replace: bool = True
    snapshot: int = BASE
    lease_id: str | None = None

    def check(self, old: Blob | None, now_us: int) -> None:
        """Whether a blob may be written over what is there.

        Refuses: BlobAlreadyExists, a replacement without the right, what ``check_change`` does.
        """
        if old is not None and old.etag is not None and self.conditions.creates_only:
            raise Refused("BlobAlreadyExists")
        self.check_change(old, now_us)
        self.check_right(old)

    def check_change(self, old: Blob | None, now_us: int) -> None:
        """Whether what is there may be changed.

        Refuses: ConditionNotMet, the codes of leases, PendingCopyOperation.
        """
        if old is None or old.etag is None:
            self.conditions.check(None, 0, {})
        else:
            self.conditions.check(old.etag, old.modified_us, old.tags)
        self.check_lease(old, now_us)
        if old is not None:
            old.check_settled()

    def check_lease(self, old: Blob | None, now_us: int) -> None:
        """Refuses: what ``lease.check_write`` does."""
        check_write(old.lease if old is not None else None, now_us, self.lease_id, "Blob")

    def check_right(self, old: Blob | None) -> None:
        """Refuses: AuthorizationPermissionMismatch for a replacement without the right."""
        if old is not None and old.etag is not None and not self.may_replace:
            raise Refused("AuthorizationPermissionMismatch")


def find_blob(
    connection: sqlite3.Connection, container: int, name: bytes, snapshot: int = BASE
) -> Blob | None:
    """The row of a blob or a snapshot, also when it has nothing but staged blocks."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM blob WHERE container = ? AND name = ? AND snapshot = ?",
        (container, name, snapshot),
    ).fetchone()
    return blob_of_row(row) if row is not None else None


def find_by_id(connection: sqlite3.Connection, key: int) -> Blob | None:
    """The row with this key."""
    row = connection.execute(f"SELECT {COLUMNS} FROM blob WHERE id = ?", (key,)).fetchone()
    return blob_of_row(row) if row is not None else None


def get_blob(
    connection: sqlite3.Connection, container: int, name: bytes, snapshot: int = BASE
) -> Blob:
    """A committed blob or a snapshot. Refuses: BlobNotFound."""
    found = find_blob(connection, container, name, snapshot)
    if found is None or found.etag is None:
        raise Refused("BlobNotFound")
    return found


def get_target(tx: Tx, target: Target, *, taking: bool = False) -> Blob:
    """The committed blob or snapshot that a request changes; ``taking``: of which it makes
    something else, for which nobody needs its lease.

    Refuses: BlobNotFound, what ``Target.check_change`` does.
    """
    found = find_blob(tx.connection, target.container, target.name, target.snapshot)
    if found is None or found.etag is None:
        target.conditions.check(None, 0)
        raise Refused("BlobNotFound")
    if not taking:
        target.check_change(found, tx.now_us)
        return found
    found.check_settled()
    target.conditions.check(found.etag, found.modified_us, found.tags)
    check_read(found.lease, tx.now_us, target.lease_id, "Blob")
    return found


def list_blobs(
    connection: sqlite3.Connection,
    container: int,
    start: Place,
    end: bytes | None,
    *,
    uncommitted: bool,
    snapshots: bool = False,
) -> Generator[Blob, None, None]:
    """Blobs by name, from ``start`` on and before ``end`` (None: to the last); with ``snapshots``
    each after its snapshots, of which the oldest is first. A row is looked up when it is asked
    for; to be closed by those who do not want all."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM blob WHERE container = ? AND (name, snapshot) >= (?, ?)"
        f"{'' if end is None else ' AND name < ?'}{LISTED_STATE[uncommitted]}"
        f"{'' if snapshots else f' AND snapshot = {BASE}'} ORDER BY name, snapshot",
        (container, *start, *(() if end is None else (end,))),
    )
    with closing(rows):
        for row in rows:
            yield blob_of_row(row)


def put_blob(
    tx: Tx,
    target: Target,
    new: NewContent,
    properties: dict[str, str],
    metadata: dict[str, str],
    tags: dict[str, str] = NO_TAGS,
) -> Blob:
    """Write a whole blob over what is there; staged blocks of that name are dropped.

    Refuses: what ``Target.check`` does.
    """
    old = find_blob(tx.connection, target.container, target.name)
    target.check(old, tx.now_us)
    content = add_content(tx, new)
    return save_blob(tx, target, old, new.size, content, properties, metadata, tags=tags)


def save_blob(
    tx: Tx,
    target: Target,
    old: Blob | None,
    size: int,
    content: int | None,
    properties: dict[str, str],
    metadata: dict[str, str],
    *,
    kind: Kind = "BlockBlob",
    tags: dict[str, str] = NO_TAGS,
) -> Blob:
    """Write the row of new content; what the old row linked to is released, its tags go."""
    new = Blob(
        old.id if old is not None else 0,
        target.name,
        tx.new_etag(),
        old.created_us if old is not None and old.etag is not None else tx.now_us,
        tx.now_us,
        size,
        content,
        properties,
        metadata,
        tags,
        lease=after_write(old.lease, tx.now_us) if old is not None else None,
        kind=kind,
    )
    if old is None:
        new = new._replace(id=insert_blob(tx, target.container, new))
        keep_tags(tx, new.id, tags)
        return new
    release_contents(tx, old)
    if old.tags:
        drop_tags(tx, old.id)
    keep_tags(tx, old.id, tags)
    tx.execute(
        "UPDATE blob SET kind = ?, etag = ?, created_us = ?, modified_us = ?, size = ?,"
        " content = ?, properties = ?, metadata = ?, tags = ?, lease = ? WHERE id = ?",
        (kind, new.etag, new.created_us, new.modified_us, size, content, json_text(properties),
         json_text(metadata), tags_text(tags), lease_text(new.lease), old.id),
    )  # fmt: skip
    return new


def insert_blob(tx: Tx, container: int, new: Blob) -> int:
    """Add a row; returns its key. The tags' own rows are not written."""
    key = tx.execute(
        "INSERT INTO blob (container, name, snapshot, kind, etag, created_us, modified_us, size,"
        " content, properties, metadata, tags, lease)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (container, new.name, new.snapshot, new.kind, new.etag, new.created_us, new.modified_us,
         new.size, new.content, json_text(new.properties), json_text(new.metadata),
         tags_text(new.tags), lease_text(new.lease)),
    ).lastrowid  # fmt: skip
    return int(key or 0)


def change_blob(
    tx: Tx,
    target: Target,
    *,
    properties: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Blob:
    """Replace properties or metadata of a blob.

    Refuses: BlobArchived, what ``get_target`` does.
    """
    old = get_target(tx, target)
    old.check_readable()
    new = old._replace(
        etag=tx.new_etag(),
        modified_us=tx.now_us,
        properties=old.properties if properties is None else properties,
        metadata=old.metadata if metadata is None else metadata,
        lease=after_write(old.lease, tx.now_us),
    )
    tx.execute(
        "UPDATE blob SET etag = ?, modified_us = ?, properties = ?, metadata = ?, lease = ?"
        " WHERE id = ?",
        (new.etag, new.modified_us, json_text(new.properties), json_text(new.metadata),
         lease_text(new.lease), new.id),
    )  # fmt: skip
    return new


def set_tags(tx: Tx, target: Target, tags: dict[str, str]) -> None:
    """Replace the tags of a blob or a snapshot. Refuses: what ``get_target`` does."""
    write_tags(tx, get_target(tx, target), tags)


def write_tags(tx: Tx, old: Blob, tags: dict[str, str]) -> None:
    """Write down a blob's tags, and those of no snapshot to be searched; its ETag stays."""
    if old.snapshot == BASE:
        drop_tags(tx, old.id)
        keep_tags(tx, old.id, tags)
    tx.execute("UPDATE blob SET tags = ? WHERE id = ?", (tags_text(tags), old.id))


def set_tier(tx: Tx, target: Target, tier: str) -> str:
    """Give a blob or a snapshot a tier; returns the one it had, "" for none of its own.

    Refuses: InvalidBlobType for other than block blobs, what ``get_target`` does.
    """
    old = get_target(tx, target)
    if old.kind != "BlockBlob":
        raise Refused("InvalidBlobType")
    properties = old.properties | {"tier": tier, "tier_us": str(tx.now_us)}
    tx.execute("UPDATE blob SET properties = ? WHERE id = ?", (json_text(properties), old.id))
    return old.properties.get("tier", "")


def set_lease(tx: Tx, blob: int, lease: Lease | None) -> None:
    """Write down a blob's lease; its ETag stays."""
    tx.execute("UPDATE blob SET lease = ? WHERE id = ?", (lease_text(lease), blob))


def delete_blob(tx: Tx, target: Target, snapshots: Snapshots = "refuse") -> None:
    """Delete a blob and its staged blocks, with its snapshots or those alone, or one snapshot.

    Refuses: SnapshotsPresent, what ``get_target`` does.
    """
    if target.conditions.creates_only:  # there is nothing to create: the service takes no notice
        conditions = target.conditions._replace(if_none_match=None)
        target = target._replace(conditions=conditions)
    old = get_target(tx, target)
    if target.snapshot == BASE:
        if snapshots == "refuse" and has_snapshots(tx, target):
            raise Refused("SnapshotsPresent")
        remove_snapshots(tx, target)
    if snapshots != "only":
        remove_blob(tx, old)


def has_snapshots(tx: Tx, target: Target) -> bool:
    """Whether there are snapshots of a blob."""
    row = tx.execute(
        "SELECT 1 FROM blob WHERE container = ? AND name = ? AND snapshot < ? LIMIT 1",
        (target.container, target.name, BASE),
    ).fetchone()
    return row is not None


def remove_snapshots(tx: Tx, target: Target) -> None:
    """Drop all snapshots of a blob."""
    rows = tx.execute(
        f"SELECT {COLUMNS} FROM blob WHERE container = ? AND name = ? AND snapshot < ?",
        (target.container, target.name, BASE),
    )
    for row in rows.fetchall():
        remove_blob(tx, blob_of_row(row))


def remove_blob(tx: Tx, old: Blob) -> None:
    """Drop a blob's row and release all it links to."""
    release_contents(tx, old)
    if old.tags:
        drop_tags(tx, old.id)
    tx.execute("DELETE FROM blob WHERE id = ?", (old.id,))


def add_content(tx: Tx, new: NewContent) -> int:
    """The row of new bytes, linked once."""
    tx.note_bytes(new.size, new.file)
    key = tx.execute(
        "INSERT INTO content (size, file, bytes, links) VALUES (?, ?, ?, 1)",
        (new.size, new.file, new.inline),
    ).lastrowid
    return int(key or 0)


def release_contents(tx: Tx, old: Blob) -> None:
    """Unlink a blob's content, parts and staged blocks. Raises ``NotPrompt`` for any of these."""
    if old.content is not None:
        release_whole(tx, old.content)
    for table in ("part", "staged"):
        found = tx.execute(f"SELECT 1 FROM {table} WHERE blob = ? LIMIT 1", (old.id,)).fetchone()
        if found is None:
            continue
        if tx.is_prompt:
            raise NotPrompt
        rows = tx.execute(f"SELECT content FROM {table} WHERE blob = ?", (old.id,)).fetchall()
        tx.execute(f"DELETE FROM {table} WHERE blob = ?", (old.id,))
        tx.pages += len(rows)
        for (content,) in rows:
            release_part(tx, content)


def release_whole(tx: Tx, content: int) -> None:
    """Unlink bytes that are a whole blob. They go at once: whoever reads them holds them already,
    as a value or an open file."""
    tx.execute("UPDATE content SET links = links - 1 WHERE id = ?", (content,))
    gone = tx.execute(
        "DELETE FROM content WHERE id = ? AND links = 0 RETURNING size, file", (content,)
    ).fetchone()
    if gone is not None:
        tx.note_bytes(*gone)
        if gone[1] is not None:
            tx.unlink.append(gone[1])


def release_part(tx: Tx, content: int) -> None:
    """Unlink bytes that are a block. A download may be on its way to them, so chores remove them
    when nobody reads the blob they were of."""
    tx.execute("UPDATE content SET links = links - 1 WHERE id = ?", (content,))
    tx.unused = True


def json_text(texts: dict[str, str]) -> str:
    """Properties or metadata as a row has them."""
    return write_texts(texts).decode()


def blob_of_row(row: tuple[Any, ...]) -> Blob:
    """A blob from ``COLUMNS``."""
    key, name, snapshot, kind, etag, created_us, modified_us, size, content, *texts = row
    properties, metadata, tags, lease = texts
    return Blob(
        key,
        name,
        etag,
        created_us,
        modified_us,
        size,
        content,
        read_texts(properties),
        read_texts(metadata),
        read_texts(tags) if tags else {},
        parse_lease(lease),
        kind,
        snapshot,
    )

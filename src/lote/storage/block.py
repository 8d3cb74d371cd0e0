"""Blocks: staged ones that wait for a block list, and parts, of which committed blobs are made."""

from __future__ import annotations

import sqlite3
from base64 import b64decode
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lote.storage.blob import (
    Blob,
    NewContent,
    Target,
    add_content,
    find_blob,
    insert_blob,
    release_part,
    save_blob,
    set_lease,
)
from lote.storage.database import Tx
from lote.storage.errors import Refused
from lote.storage.lease import after_write
from lote.storage.tag import NO_TAGS

STAGED_MAX = 100_000  # REST: Put Block
LISTED_MAX = 50_000  # REST: Put Block List

Where = Literal["Committed", "Uncommitted", "Latest"]


class Block(NamedTuple):
    """A block by its id as the client spelled it; size in bytes."""

    id: str
    size: int


class Part(NamedTuple):
    """A stretch of a blob and the content that holds it."""

    start: int
    size: int
    content: int
    file: str | None


class Wanted(NamedTuple):
    """An entry of a block list: where to look for the block, and its id."""

    where: Where
    id: str


def stage_block(tx: Tx, target: Target, block_id: str, new: NewContent) -> None:
    """Keep a block for a later block list; one of the same id is replaced.

    Refuses: InvalidBlobType, the codes of leases, InvalidBlobOrBlock for an id whose length
    differs from the others', BlockCountExceedsLimit.
    """
    old = find_blob(tx.connection, target.container, target.name)
    target.check_lease(old, tx.now_us)
    target.check_right(old)
    check_kind(old)
    key = old.id if old is not None else _add_uncommitted(tx, target)
    if old is not None and old.lease != after_write(old.lease, tx.now_us):
        set_lease(tx, key, None)
    other = tx.execute("SELECT block FROM staged WHERE blob = ? LIMIT 1", (key,)).fetchone()
    if other is not None and len(b64decode(other[0])) != len(b64decode(block_id)):
        raise Refused("InvalidBlobOrBlock")
    replaced = tx.execute(
        "DELETE FROM staged WHERE blob = ? AND block = ? RETURNING content", (key, block_id)
    ).fetchone()
    if replaced is not None:
        release_part(tx, replaced[0])
    (count,) = tx.execute("SELECT count(*) FROM staged WHERE blob = ?", (key,)).fetchone()
    if count >= STAGED_MAX:  # counted each time: 0.02 ms among 1000, 1.5 ms among 50,000
        raise Refused("BlockCountExceedsLimit")
    tx.execute(
        "INSERT INTO staged (blob, block, size, content, staged_us) VALUES (?, ?, ?, ?, ?)",
        (key, block_id, new.size, add_content(tx, new), tx.now_us),
    )


def commit_blocks(
    tx: Tx,
    target: Target,
    wanted: Sequence[Wanted],
    properties: dict[str, str],
    metadata: dict[str, str],
    tags: dict[str, str] = NO_TAGS,
) -> Blob:
    """Make the blob of these blocks, in this order; all other blocks of it are dropped.

    Refuses: InvalidBlobType, InvalidBlockList for a block that is not there, what
    ``Target.check`` does.
    """
    old = find_blob(tx.connection, target.container, target.name)
    target.check(old, tx.now_us)
    check_kind(old)
    parts = _choose(tx.connection, old.id if old is not None else -1, wanted)
    tx.pages += len(parts)
    for _, _, content in parts:
        tx.execute("UPDATE content SET links = links + 1 WHERE id = ?", (content,))
    size = sum(part[1] for part in parts)
    saved = save_blob(tx, target, old, size, None, properties, metadata, tags=tags)
    rows, start = [], 0
    for block_id, part_size, content in parts:
        rows.append((saved.id, start, part_size, block_id, content))
        start += part_size
    tx.connection.executemany(
        "INSERT INTO part (blob, start, size, block, content) VALUES (?, ?, ?, ?, ?)", rows
    )
    return saved


def check_kind(old: Blob | None) -> None:
    """Refuses: InvalidBlobType for a blob that is not made of blocks by id."""
    if old is not None and old.kind != "BlockBlob":
        raise Refused("InvalidBlobType")


def list_staged(connection: sqlite3.Connection, blob: int) -> list[Block]:
    """Uncommitted blocks, by id."""
    rows = connection.execute("SELECT block, size FROM staged WHERE blob = ?", (blob,))
    return [Block(*row) for row in rows]


def list_committed(connection: sqlite3.Connection, blob: int) -> list[Block]:
    """Committed blocks, in the blob's order."""
    rows = connection.execute("SELECT block, size FROM part WHERE blob = ? ORDER BY start", (blob,))
    return [Block(*row) for row in rows]


def find_parts(connection: sqlite3.Connection, blob: int, start: int, end: int) -> list[Part]:
    """The parts that hold the bytes from ``start`` up to ``end``."""
    rows = connection.execute(
        "SELECT part.start, part.size, part.content, content.file FROM part"
        " JOIN content ON content.id = part.content WHERE part.blob = ? AND part.start < ?"
        " AND part.start >="
        " coalesce((SELECT max(start) FROM part WHERE blob = ? AND start <= ?), 0)"
        " ORDER BY part.start",
        (blob, end, blob, start),
    )
    return [Part(*row) for row in rows]


def copy_parts(tx: Tx, source: int, target: int) -> None:
    """Give a blob the parts of another; the contents are shared, not copied."""
    tx.execute(
        "UPDATE content SET links = links + (SELECT count(*) FROM part WHERE blob = ?"
        " AND part.content = content.id) WHERE id IN (SELECT content FROM part WHERE blob = ?)",
        (source, source),
    )
    tx.execute(
        "INSERT INTO part (blob, start, size, block, content)"
        " SELECT ?, start, size, block, content FROM part WHERE blob = ?",
        (target, source),
    )


def _choose(
    connection: sqlite3.Connection, blob: int, wanted: Sequence[Wanted]
) -> list[tuple[str, int, int]]:
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for where, table in (("Uncommitted", "staged"), ("Committed", "part")):
        rows = connection.execute(
            f"SELECT block, size, content FROM {table} WHERE blob = ?", (blob,)
        )
        found[where] = {block: (size, content) for block, size, content in rows}
    chosen = []
    for where, block_id in wanted:
        places = ("Uncommitted", "Committed") if where == "Latest" else (where,)
        place = next((found[one][block_id] for one in places if block_id in found[one]), None)
        if place is None:
            raise Refused("InvalidBlockList")
        chosen.append((block_id, *place))
    return chosen


def _add_uncommitted(tx: Tx, target: Target) -> int:
    nothing = Blob(0, target.name, None, tx.now_us, tx.now_us, 0, None, {}, {})
    return insert_blob(tx, target.container, nothing)

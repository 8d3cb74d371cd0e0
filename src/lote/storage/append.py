"""Append blobs: made of parts without ids, each behind the last one, until the blob is sealed."""

from __future__ import annotations

import json
from typing import NamedTuple

from lote.storage.blob import (
    Blob,
    NewContent,
    Target,
    add_content,
    find_blob,
    get_target,
    save_blob,
)
from lote.storage.database import Tx
from lote.storage.errors import Refused
from lote.storage.lease import after_write, lease_text
from lote.storage.tag import NO_TAGS

BLOCKS_MAX = 50_000  # REST: Append Block
COUNT, SEALED = "append_blocks", "append_sealed"  # properties of append blobs


class Position(NamedTuple):
    """Where an appended block is to go: the size that the blob must have, and the size it may
    have afterwards; None: any. REST: Append Block, x-ms-blob-condition-appendpos and -maxsize."""

    offset: int | None = None
    size_max: int | None = None

    def check(self, blob: Blob, more_bytes: int) -> None:
        """Refuses: AppendPositionConditionNotMet, MaxBlobSizeConditionNotMet."""
        if self.offset is not None and self.offset != blob.size:
            raise Refused("AppendPositionConditionNotMet")
        if self.size_max is not None and blob.size + more_bytes > self.size_max:
            raise Refused("MaxBlobSizeConditionNotMet")


def create_append_blob(
    tx: Tx,
    target: Target,
    properties: dict[str, str],
    metadata: dict[str, str],
    tags: dict[str, str] = NO_TAGS,
) -> Blob:
    """Write an empty append blob over what is there. Refuses: what ``Target.check`` does."""
    old = find_blob(tx.connection, target.container, target.name)
    target.check(old, tx.now_us)
    described = properties | {COUNT: "0"}
    return save_blob(tx, target, old, 0, None, described, metadata, kind="AppendBlob", tags=tags)


def append_block(tx: Tx, target: Target, new: NewContent, position: Position) -> Blob:
    """Put bytes behind a blob's last ones.

    Refuses: what ``get_appendable`` and ``Position.check`` do, BlockCountExceedsLimit.
    """
    old = get_appendable(tx, target)
    position.check(old, new.size)
    count = block_count(old)
    if count == BLOCKS_MAX:
        raise Refused("BlockCountExceedsLimit", "The committed block count cannot exceed the"
                      f" maximum limit of {BLOCKS_MAX:,} blocks.")  # fmt: skip
    content = add_content(tx, new)
    tx.execute(
        "INSERT INTO part (blob, start, size, block, content) VALUES (?, ?, ?, '', ?)",
        (old.id, old.size, new.size, content),
    )
    described = old.properties | {COUNT: str(count + 1)}
    return _rewrite(tx, old, old.size + new.size, described)


def seal(tx: Tx, target: Target, position: Position) -> Blob:
    """Let nothing be appended any more. To repeat it changes nothing.

    Refuses: what ``get_target`` and ``Position.check`` do, InvalidBlobType.
    """
    old = get_target(tx, target)
    _check_kind(old)
    position.check(old, 0)
    if SEALED in old.properties:
        return old
    return _rewrite(tx, old, old.size, old.properties | {SEALED: "true"})


def get_appendable(tx: Tx, target: Target) -> Blob:
    """The blob that a block goes to. Refuses: what ``get_target`` does, InvalidBlobType,
    BlobIsSealed."""
    found = get_target(tx, target)
    _check_kind(found)
    if SEALED in found.properties:
        raise Refused("BlobIsSealed")
    return found


def block_count(blob: Blob) -> int:
    """How many blocks an append blob has."""
    return int(blob.properties.get(COUNT, "0"))


def _check_kind(blob: Blob) -> None:
    if blob.kind != "AppendBlob":
        raise Refused("InvalidBlobType")


def _rewrite(tx: Tx, old: Blob, size: int, properties: dict[str, str]) -> Blob:
    new = old._replace(
        etag=tx.new_etag(),
        modified_us=tx.now_us,
        size=size,
        properties=properties,
        lease=after_write(old.lease, tx.now_us),
    )
    tx.execute(
        "UPDATE blob SET etag = ?, modified_us = ?, size = ?, properties = ?, lease = ?"
        " WHERE id = ?",
        (new.etag, new.modified_us, size, json.dumps(properties), lease_text(new.lease), new.id),
    )
    return new

"""Blobs whose contents are still being fetched from elsewhere.

Such a blob is empty, and its properties say what it waits for, until the bytes are on the disk. A
copy does not outlive the process: the next start declares it failed, since the credentials for its
source were never written down.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from lote.storage import blob
from lote.storage.append import COUNT
from lote.storage.database import Tx
from lote.storage.errors import Refused
from lote.storage.lease import check_endless
from lote.storage.times import http_date

INTERRUPTED = "500 InternalError The copy ended with the process that made it"


class Copy(NamedTuple):
    """A copy under way: the blob's key, the copy's id, how many bytes there are to come."""

    blob: int
    id: str
    size: int


class NewCopy(NamedTuple):
    """What a copy will be; ``size`` in bytes. Its ``properties`` say where it comes from."""

    kind: blob.Kind
    size: int
    properties: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str]


def begin_copy(tx: Tx, target: blob.Target, new: NewCopy) -> tuple[blob.Blob, Copy]:
    """Write an empty blob that waits for its contents.

    Refuses: InvalidBlobType over a blob of another kind, what ``Target.check`` and
    ``lease.check_endless`` do.
    """
    old = blob.find_blob(tx.connection, target.container, target.name)
    target.check(old, tx.now_us)
    check_endless(old.lease if old is not None else None, tx.now_us)
    if old is not None and old.etag is not None and old.kind != new.kind:
        raise Refused("InvalidBlobType")
    pending = {"copy_status": "pending", "copy_progress": f"0/{new.size}"}
    saved = blob.save_blob(
        tx, target, old, 0, None, new.properties | pending, new.metadata,
        kind=new.kind, tags=new.tags,
    )  # fmt: skip
    tx.execute("INSERT OR REPLACE INTO pending_copy (blob) VALUES (?)", (saved.id,))
    return saved, Copy(saved.id, new.properties["copy_id"], new.size)


def finish_copy(tx: Tx, copy: Copy, content: blob.NewContent, md5: str) -> None:
    """Give the blob its contents. Refuses: NoPendingCopyOperation if it does not wait for them."""
    found = _waiting(tx, copy)
    if found is None:
        raise Refused("NoPendingCopyOperation")
    properties = {"content_md5": md5} | found.properties | _ended(tx, "success")
    properties["copy_progress"] = f"{copy.size}/{copy.size}"
    whole = blob.add_content(tx, content) if copy.size else None
    if found.kind == "AppendBlob":  # whose contents are parts, so that more can be appended
        properties[COUNT] = "0" if whole is None else "1"
        if whole is not None:
            tx.execute(
                "INSERT INTO part (blob, start, size, block, content) VALUES (?, 0, ?, '', ?)",
                (copy.blob, copy.size, whole),
            )
        whole = None
    tx.execute(
        "UPDATE blob SET etag = ?, modified_us = ?, size = ?, content = ?, properties = ?"
        " WHERE id = ?",
        (tx.new_etag(), tx.now_us, copy.size, whole, json.dumps(properties), copy.blob),
    )
    tx.execute("DELETE FROM pending_copy WHERE blob = ?", (copy.blob,))


def end_copy(tx: Tx, copy: Copy, status: str, reason: str = "") -> None:
    """Say that a copy failed or was aborted; its blob stays, empty."""
    changes = _ended(tx, status) | ({"copy_status_description": reason} if reason else {})
    describe_copy(tx, copy, changes)
    tx.execute("DELETE FROM pending_copy WHERE blob = ?", (copy.blob,))


def abort_copy(tx: Tx, target: blob.Target, copy_id: str) -> None:
    """End a blob's copy. Refuses: NoPendingCopyOperation, CopyIdMismatch, what a change of the
    blob would. Source: REST "Abort Copy Blob".
    """
    found = blob.get_blob(tx.connection, target.container, target.name)
    target.conditions.check(found.etag, found.modified_us, found.tags)
    target.check_lease(found, tx.now_us)
    if found.properties.get("copy_status") != "pending":
        raise Refused("NoPendingCopyOperation")
    if found.properties["copy_id"] != copy_id:
        raise Refused("CopyIdMismatch")
    end_copy(tx, Copy(found.id, copy_id, 0), "aborted")


def fail_interrupted(tx: Tx) -> None:
    """Declare copies failed that an earlier process had begun."""
    for (key,) in tx.execute("SELECT blob FROM pending_copy").fetchall():
        found = blob.find_by_id(tx.connection, key)
        copy_id = found.properties.get("copy_id", "") if found is not None else ""
        end_copy(tx, Copy(key, copy_id, 0), "failed", INTERRUPTED)


def _waiting(tx: Tx, copy: Copy) -> blob.Blob | None:
    """The blob, if it still waits for this copy."""
    found = blob.find_by_id(tx.connection, copy.blob)
    if found is None or found.properties.get("copy_status") != "pending":
        return None
    return found if found.properties.get("copy_id") == copy.id else None


def describe_copy(tx: Tx, copy: Copy, changes: dict[str, str]) -> None:
    """Change what a pending copy's blob says of it; its ETag stays."""
    found = _waiting(tx, copy)
    if found is not None:
        properties = json.dumps(found.properties | changes)
        tx.execute("UPDATE blob SET properties = ? WHERE id = ?", (properties, copy.blob))


def _ended(tx: Tx, status: str) -> dict[str, str]:
    return {"copy_status": status, "copy_completion_time": http_date(tx.now_us)}

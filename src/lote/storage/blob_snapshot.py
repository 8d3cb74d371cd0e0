"""Snapshots of blobs: rows of their own that share the blob's contents. They are only read,
given tags or a tier, and deleted."""

from __future__ import annotations

from lote.storage.blob import Blob, Target, get_target, insert_blob
from lote.storage.block import copy_parts
from lote.storage.database import Tx


def take_snapshot(tx: Tx, target: Target, metadata: dict[str, str]) -> Blob:
    """Keep a blob as it is now; ``metadata``, unless empty, replaces the blob's.

    The snapshot's name is a time that was never given before, so that two of the same moment
    differ. Refuses: BlobArchived, what ``get_target`` does. Source: REST "Snapshot Blob".
    """
    old = get_target(tx, target, taking=True)
    old.check_readable()
    new = old._replace(snapshot=tx.new_etag(), lease=None)
    if metadata:
        new = new._replace(metadata=metadata, etag=tx.new_etag(), modified_us=tx.now_us)
    if old.content is not None:
        tx.execute("UPDATE content SET links = links + 1 WHERE id = ?", (old.content,))
    new = new._replace(id=insert_blob(tx, target.container, new))
    copy_parts(tx, old.id, new.id)
    return new

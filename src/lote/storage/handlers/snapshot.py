"""Snapshot Blob."""

from __future__ import annotations

from lote.storage.blob_snapshot import take_snapshot
from lote.storage.call import Answer, Call
from lote.storage.endpoint import Endpoint
from lote.storage.handlers.target import target_of
from lote.storage.headers import parse_metadata, written_headers
from lote.storage.times import snapshot_text


async def snapshot_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Snapshot Blob."""
    metadata, target = parse_metadata(call), target_of(call)
    taken = await endpoint.depot.write(
        lambda tx: take_snapshot(tx, target(tx.connection), metadata)
    )
    return Answer(201, written_headers(taken) | {"x-ms-snapshot": snapshot_text(taken.snapshot)})

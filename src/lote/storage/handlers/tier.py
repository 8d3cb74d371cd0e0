"""Access tiers. They are recorded; all bytes are on the same disk. Only Archive has an effect, as
its blobs cannot be read. Rehydration is complete when its request is answered."""

from __future__ import annotations

from lote.storage.blob import set_tier
from lote.storage.call import Answer, Call
from lote.storage.endpoint import Endpoint
from lote.storage.errors import missing_header
from lote.storage.handlers.target import target_of
from lote.storage.headers import check_rehydrate_priority, parse_tier


async def set_blob_tier(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Set Blob Tier. 202 for what would take the provider hours, as there."""
    tier = parse_tier(call)
    if not tier:
        raise missing_header("x-ms-access-tier")
    check_rehydrate_priority(call)
    target = target_of(call)
    was = await endpoint.depot.write(lambda tx: set_tier(tx, target(tx.connection), tier))
    return Answer(202 if was == "Archive" and tier != "Archive" else 200)

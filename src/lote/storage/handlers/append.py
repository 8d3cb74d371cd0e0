"""Operations on append blobs."""

from __future__ import annotations

from lote.storage import append, blob
from lote.storage.call import Answer, Call
from lote.storage.database import Tx
from lote.storage.digests import parse_wanted
from lote.storage.endpoint import Endpoint
from lote.storage.errors import invalid_header
from lote.storage.handlers.copying import received_source
from lote.storage.handlers.target import target_of
from lote.storage.headers import (
    append_headers,
    parse_metadata,
    parse_properties,
    parse_tags,
    version_headers,
    written_headers,
)
from lote.storage.incoming import received_body


async def create_append_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Put Blob, for append blobs, which begin empty."""
    if call.content_length() != 0:
        raise invalid_header("Content-Length", call.headers["content-length"])
    if "x-ms-access-tier" in call.headers:  # only block blobs have one
        raise invalid_header("x-ms-access-tier", call.headers["x-ms-access-tier"])
    properties, metadata = parse_properties(call, plain=True), parse_metadata(call)
    tags, target = parse_tags(call), target_of(call)
    saved = await endpoint.depot.write(
        lambda tx: append.create_append_blob(tx, target(tx.connection), properties, metadata, tags)
    )
    return Answer(201, written_headers(saved))


async def append_block(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Append Block, Append Block From URL."""
    from_url = "x-ms-copy-source" in call.headers
    if call.content_length() == 0 and not from_url:
        raise invalid_header("Content-Length", "0")
    position, target = parse_position(call), target_of(call)
    limit = endpoint.limits.append_block_bytes_max
    wanted = parse_wanted(call.headers)
    bytes_of = (
        received_source(call, endpoint, limit)
        if from_url
        else received_body(call, endpoint.depot, limit, wanted, wanted.one())
    )
    async with bytes_of as received:

        def change(tx: Tx) -> blob.Blob:
            return append.append_block(tx, target(tx.connection), received.content, position)

        saved = await endpoint.depot.write(change, prompt=received.content.file is None)
    headers = written_headers(saved) | append_headers(saved)
    headers["x-ms-blob-append-offset"] = str(saved.size - received.content.size)
    return Answer(201, headers | received.digests.headers())


async def seal_append_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Append Blob Seal."""
    position, target = parse_position(call), target_of(call)
    saved = await endpoint.depot.write(lambda tx: append.seal(tx, target(tx.connection), position))
    headers = version_headers(saved.etag, saved.modified_us)
    return Answer(200, headers | {"x-ms-blob-sealed": "true"})


def parse_position(call: Call) -> append.Position:
    """Refuses: InvalidHeaderValue for what is no number of bytes."""
    return append.Position(
        _parse_bytes(call, "x-ms-blob-condition-appendpos"),
        _parse_bytes(call, "x-ms-blob-condition-maxsize"),
    )


def _parse_bytes(call: Call, header: str) -> int | None:
    text = call.headers.get(header)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19:  # as a signed 64-bit number
        raise invalid_header(header, text)
    return int(text)

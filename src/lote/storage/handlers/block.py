"""Operations on blocks."""

from __future__ import annotations

import sqlite3
from base64 import b64decode
from typing import get_args

from lote.storage import blob, block
from lote.storage.call import Answer, Call
from lote.storage.database import Tx
from lote.storage.digests import checked, parse_wanted
from lote.storage.documents import DOCUMENT_MAX_BYTES, parse_xml
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_query
from lote.storage.handlers.copying import received_source
from lote.storage.handlers.target import container_of, read_check_of, snapshot_of, target_of
from lote.storage.headers import (
    parse_metadata,
    parse_properties,
    parse_tags,
    version_headers,
    written_headers,
)
from lote.storage.incoming import received_body
from lote.storage.names import check_blob_name
from lote.storage.xml import DECLARATION, element

BLOCK_ID_MAX_BYTES = 64  # REST: Put Block, before it is encoded
LIST_TYPES = ("committed", "uncommitted", "all")


async def put_block(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Put Block."""
    check_blob_name(call.blob.decode())
    block_id = parse_block_id(call)
    if "x-ms-copy-source" in call.headers:
        return await _put_block_from_url(call, endpoint, block_id)
    if call.content_length() == 0:
        raise Refused("InvalidHeaderValue", values={"HeaderName": "Content-Length"})
    target, limit = target_of(call), endpoint.limits.put_block_bytes_max
    wanted = parse_wanted(call.headers)
    digests = wanted.one()
    async with received_body(call, endpoint.depot, limit, wanted, digests) as received:
        await endpoint.depot.write(
            lambda tx: block.stage_block(tx, target(tx.connection), block_id, received.content)
        )
    return Answer(201, {"x-ms-request-server-encrypted": "true"} | digests.headers())


async def _put_block_from_url(call: Call, endpoint: Endpoint, block_id: str) -> Answer:
    """REST: Put Block From URL."""
    target, limit = target_of(call), endpoint.limits.put_block_bytes_max
    async with received_source(call, endpoint, limit) as received:
        await endpoint.depot.write(
            lambda tx: block.stage_block(tx, target(tx.connection), block_id, received.content)
        )
    headers = {"x-ms-request-server-encrypted": "true"} | received.digests.headers()
    return Answer(201, headers)


async def put_block_list(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Put Block List."""
    check_blob_name(call.blob.decode())
    body = await call.small_body(DOCUMENT_MAX_BYTES)
    digests = checked(body, parse_wanted(call.headers))
    wanted = parse_block_list(body)
    properties, metadata, target = parse_properties(call), parse_metadata(call), target_of(call)
    tags = parse_tags(call)

    def change(tx: Tx) -> blob.Blob:
        return block.commit_blocks(tx, target(tx.connection), wanted, properties, metadata, tags)

    saved = await endpoint.depot.write(change)
    return Answer(201, written_headers(saved) | digests.headers())


async def get_block_list(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Block List."""
    kind = call.query.get("blocklisttype", "committed").lower()
    if kind not in LIST_TYPES:
        raise invalid_query("blocklisttype", kind)
    check_readable, container = read_check_of(call, uncommitted=True), container_of(call)
    snapshot = snapshot_of(call)

    def query(connection: sqlite3.Connection) -> Answer:
        found = check_readable(
            blob.find_blob(connection, container(connection), call.blob, snapshot)
        )
        block.check_kind(found)
        body = DECLARATION + "<BlockList>"
        if kind != "uncommitted":
            body += blocks_xml("CommittedBlocks", block.list_committed(connection, found.id))
        if kind != "committed":
            body += blocks_xml("UncommittedBlocks", block.list_staged(connection, found.id))
        headers = {"Content-Type": "application/xml", "x-ms-blob-content-length": str(found.size)}
        if found.etag is not None:
            headers |= version_headers(found.etag, found.modified_us)
        return Answer(200, headers, f"{body}</BlockList>".encode())

    return await endpoint.depot.read(query)


def parse_block_id(call: Call) -> str:
    """Refuses: MissingRequiredQueryParameter, InvalidQueryParameterValue."""
    text = call.query.get("blockid")
    if text is None:
        raise Refused("MissingRequiredQueryParameter", values={"QueryParameterName": "blockid"})
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        raise invalid_query("blockid", text, "Not a valid base64 string.") from None
    if not 1 <= len(decoded) <= BLOCK_ID_MAX_BYTES:
        raise invalid_query("blockid", text, f"Not between 1 and {BLOCK_ID_MAX_BYTES} bytes.")
    return text


def parse_block_list(body: bytes) -> list[block.Wanted]:
    """The blocks a blob is to be made of, in order.

    Refuses: InvalidXmlDocument, BlockListTooLong.
    """
    root = parse_xml(body)
    if root.tag != "BlockList":
        raise Refused("InvalidXmlDocument")
    wanted = []
    for entry in root:
        if entry.tag not in get_args(block.Where):
            raise Refused("InvalidXmlDocument")
        wanted.append(block.Wanted(entry.tag, (entry.text or "").strip()))  # type: ignore[arg-type]
    if len(wanted) > block.LISTED_MAX:
        raise Refused("BlockListTooLong")
    return wanted


def blocks_xml(tag: str, blocks: list[block.Block]) -> str:
    """Blocks in a block list."""
    rows = "".join(
        f"<Block>{element('Name', one.id)}<Size>{one.size}</Size></Block>" for one in blocks
    )
    return f"<{tag}>{rows}</{tag}>"

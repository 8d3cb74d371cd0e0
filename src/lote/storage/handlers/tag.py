"""Tags of blobs, and the search for them."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode, b64encode

from lote.storage import tag
from lote.storage.blob import set_tags
from lote.storage.call import Answer, Call
from lote.storage.container import get_container_id
from lote.storage.digests import checked, parse_wanted
from lote.storage.documents import DOCUMENT_MAX_BYTES
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_query
from lote.storage.handlers.target import read_blob, target_of
from lote.storage.headers import tags_xml
from lote.storage.paging import page_size
from lote.storage.tag_expression import Search, parse_search
from lote.storage.xml import DECLARATION, element, escape, name_element

FIRST = ("", 0)


async def get_blob_tags(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Blob Tags."""
    found = await read_blob(call, endpoint)
    body = f"{DECLARATION}{tags_xml(found.tags, empty=True)}"
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


async def set_blob_tags(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Set Blob Tags. The blob's ETag and time of change stay."""
    body = await call.small_body(DOCUMENT_MAX_BYTES)
    checked(body, parse_wanted(call.headers))
    tags, target = tag.parse_tags_document(body), target_of(call)
    await endpoint.depot.write(lambda tx: set_tags(tx, target(tx.connection), tags))
    return Answer(204)


async def find_blobs(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Find Blobs by Tags."""
    return await _find(call, endpoint, _parse_where(call))


async def find_blobs_in_container(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Find Blobs by Tags in Container."""
    search = _parse_where(call)
    await endpoint.depot.read(
        lambda connection: get_container_id(connection, call.account, call.container)
    )
    if search.container not in (None, call.container):
        return Answer(200, {"Content-Type": "application/xml"}, found_xml(call, [], ""))
    return await _find(call, endpoint, search._replace(container=call.container))


async def _find(call: Call, endpoint: Endpoint, search: Search) -> Answer:
    count, after = page_size(call), decode_place(call)

    def query(connection: sqlite3.Connection) -> list[tag.Found]:
        return tag.find_by_tags(connection, call.account, search, after, count + 1)

    found = await endpoint.depot.read(query)
    marker = encode_place(found[count - 1].place) if len(found) > count else ""
    body = found_xml(call, found[:count], marker)
    return Answer(200, {"Content-Type": "application/xml"}, body)


def found_xml(call: Call, found: list[tag.Found], marker: str) -> bytes:
    """The document of a page of a search."""
    rows = "".join(
        f"<Blob>{name_element(one.name.decode())}{element('ContainerName', one.container)}"
        f"{tags_xml(one.tags)}</Blob>"
        for one in found
    )
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(call.endpoint)}">'
        f"{element('Where', call.query.get('where', ''))}<Blobs>{rows}</Blobs>"
        f"{element('NextMarker', marker)}</EnumerationResults>"
    ).encode()


def encode_place(place: tuple[str, int]) -> str:
    """The marker of the page after this place."""
    return b64encode(json.dumps(place).encode()).decode()


def decode_place(call: Call) -> tuple[str, int]:
    """Where a page begins. Refuses: InvalidQueryParameterValue for another's marker."""
    text = call.query.get("marker", "")
    if not text:
        return FIRST
    try:
        value, blob = json.loads(b64decode(text, validate=True))
    except (ValueError, TypeError):
        raise invalid_query("marker", text) from None
    if not isinstance(value, str) or not isinstance(blob, int):
        raise invalid_query("marker", text)
    return value, blob


def _parse_where(call: Call) -> Search:
    text = call.query.get("where")
    if text is None:
        raise Refused("MissingRequiredQueryParameter", values={"QueryParameterName": "where"})
    return parse_search(text)

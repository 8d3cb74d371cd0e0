"""Copy Blob within an account: the copy shares its contents with the source, so it is at once
complete, whatever the size."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from lote.storage import blob, block
from lote.storage.authentication import Authenticator
from lote.storage.call import Answer, Call, parse_query
from lote.storage.conditions import Conditions, parse_conditions
from lote.storage.container import get_container_id
from lote.storage.database import Tx
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_header
from lote.storage.headers import parse_metadata, parse_properties, written_headers
from lote.storage.operations import BY_REQUEST
from lote.storage.times import http_date, parse_snapshot

GET_BLOB = BY_REQUEST["GET", "blob", "", ""]


class Source(NamedTuple):
    """Where a copy comes from; ``url`` without its signature."""

    container: str
    name: bytes
    snapshot: int
    conditions: Conditions
    url: str


async def copy_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Copy Blob, Copy Blob From URL. Sources outside the account are not implemented."""
    source = await parse_source(call, endpoint.authenticator)
    sent_metadata, sent_properties = parse_metadata(call), parse_properties(call)
    conditions, may_replace = parse_conditions(call.headers), call.grant.allows("w")
    lease_id = call.headers.get("x-ms-lease-id")

    def change(tx: Tx) -> blob.Blob:
        found = get_source(tx.connection, call.account, source)
        container = get_container_id(tx.connection, call.account, call.container)
        target = blob.Target(container, call.blob, conditions, may_replace, lease_id=lease_id)
        properties = {k: v for k, v in found.properties.items() if k != "tier"} | sent_properties
        properties |= {
            "copy_id": call.request_id,
            "copy_source": source.url,
            "copy_status": "success",
            "copy_progress": f"{found.size}/{found.size}",
            "copy_completion_time": http_date(tx.now_us),
        }
        return share(tx, target, found, properties, sent_metadata or found.metadata)

    saved = await endpoint.depot.write(change)
    headers = written_headers(saved)
    headers |= {"x-ms-copy-id": call.request_id, "x-ms-copy-status": "success"}
    return Answer(202, headers)


async def parse_source(call: Call, authenticator: Authenticator) -> Source:
    """The source of a copy, if the caller may read it.

    Refuses: NotImplemented for another account or host, InvalidHeaderValue for no URL,
    CannotVerifyCopySource without a right to read it.
    """
    url = call.headers["x-ms-copy-source"]
    parts = urlsplit(url)
    account, _, rest = parts.path.lstrip("/").partition("/")
    container, _, name = rest.partition("/")
    if parts.scheme not in ("http", "https") or not name:
        raise invalid_header("x-ms-copy-source", url.partition("?")[0])
    if unquote(account) != call.account or parts.netloc != call.headers.get("host"):
        raise Refused("NotImplemented", "Copies from other accounts are not implemented.")
    source = Source(
        unquote(container),
        unquote_to_bytes(name),
        parse_source_snapshot(parts.query),
        parse_conditions(call.headers, "x-ms-source-"),
        url.partition("?")[0],
    )
    query = parse_query(parts.query)
    if "sig" in query:
        await authenticator.check_source(call, query, GET_BLOB, source.container, source.name)
    elif call.grant.letters is not None:
        raise Refused("CannotVerifyCopySource")
    return source


def parse_source_snapshot(query: str) -> int:
    """The snapshot that a source names, ``blob.BASE`` for none. Refuses: InvalidHeaderValue."""
    text = parse_query(query).get("snapshot", "")
    try:
        return parse_snapshot(text) if text else blob.BASE
    except ValueError:
        raise invalid_header("x-ms-copy-source", "") from None


def get_source(connection: sqlite3.Connection, account: str, source: Source) -> blob.Blob:
    """The source's row. Refuses: ContainerNotFound, BlobNotFound, ConditionNotMet."""
    container = get_container_id(connection, account, source.container)
    found = blob.get_blob(connection, container, source.name, source.snapshot)
    source.conditions.check(found.etag, found.modified_us, found.tags)
    return found


def share(
    tx: Tx,
    target: blob.Target,
    source: blob.Blob,
    properties: dict[str, str],
    metadata: dict[str, str],
) -> blob.Blob:
    """Write a blob that has the contents of another."""
    old = blob.find_blob(tx.connection, target.container, target.name)
    target.check(old, tx.now_us)
    if old is not None and old.id == source.id:  # onto itself: only the description changes
        return blob.change_blob(tx, target, properties=properties, metadata=metadata)
    if source.content is not None:
        tx.execute("UPDATE content SET links = links + 1 WHERE id = ?", (source.content,))
    saved = blob.save_blob(
        tx, target, old, source.size, source.content, properties, metadata, kind=source.kind
    )
    block.copy_parts(tx, source.id, saved.id)
    return saved

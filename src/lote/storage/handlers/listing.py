"""List Blobs: names from the index, jumping over what a delimiter folds together."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

from lote.storage import blob
from lote.storage.call import Answer, Call
from lote.storage.container import get_container_id
from lote.storage.endpoint import Endpoint
from lote.storage.errors import invalid_query
from lote.storage.headers import CONTENT_PROPERTIES, COPY_PROPERTIES, DEFAULT_CONTENT_TYPE
from lote.storage.paging import decode_marker, encode_marker, page_size
from lote.storage.times import etag_text, http_date
from lote.storage.xml import DECLARATION, element, escape, name_element

INCLUDES = frozenset(
    [
        "copy",
        "metadata",
        "uncommittedblobs",
        # There are none of these here, so they add nothing to a list.
        "deleted",
        "deletedwithversions",
        "immutabilitypolicy",
        "legalhold",
        "permissions",
        "snapshots",
        "tags",
        "versions",
    ]
)


class Wish(NamedTuple):
    """What a list is to show; names are UTF-8 bytes."""

    prefix: bytes
    delimiter: bytes
    start: bytes
    count_max: int
    uncommitted: bool


class Page(NamedTuple):
    """Blobs, and the prefixes that stand for folded ones, in order; where the next page begins."""

    entries: list[blob.Blob | bytes]
    next_start: bytes | None


async def list_blobs(call: Call, endpoint: Endpoint) -> Answer:
    """REST: List Blobs."""
    includes = set(filter(None, call.query.get("include", "").split(",")))
    if not includes <= INCLUDES:
        raise invalid_query("include", call.query["include"])
    wish = Wish(
        call.query.get("prefix", "").encode(),
        call.query.get("delimiter", "").encode(),
        decode_marker(call),
        page_size(call),
        "uncommittedblobs" in includes,
    )

    def query(connection: sqlite3.Connection) -> bytes:
        container = get_container_id(connection, call.account, call.container)
        page = find_page(connection, container, wish)
        return page_xml(
            call, page, with_metadata="metadata" in includes, with_copy="copy" in includes
        )

    return Answer(200, {"Content-Type": "application/xml"}, await endpoint.depot.read(query))


def find_page(connection: sqlite3.Connection, container: int, wish: Wish) -> Page:
    """One page of a list."""
    entries: list[blob.Blob | bytes] = []
    with closing(_entries(connection, container, wish)) as found:
        for entry in found:
            if len(entries) == wish.count_max:
                return Page(entries, entry if isinstance(entry, bytes) else entry.name)
            entries.append(entry)
    return Page(entries, None)


def _entries(
    connection: sqlite3.Connection, container: int, wish: Wish
) -> Generator[blob.Blob | bytes, None, None]:
    start: bytes | None = max(wish.prefix, wish.start)
    end = after_prefix(wish.prefix)
    while start is not None:
        rows = blob.list_blobs(connection, container, start, end, uncommitted=wish.uncommitted)
        start = None
        with closing(rows):
            for row in rows:
                folded = fold(row.name, wish)
                if folded is None:
                    yield row
                else:
                    yield folded
                    start = after_prefix(folded)
                    break


def fold(name: bytes, wish: Wish) -> bytes | None:
    """The prefix that stands for a name: up to the delimiter after the wished prefix."""
    if not wish.delimiter:
        return None
    at = name.find(wish.delimiter, len(wish.prefix))
    return None if at < 0 else name[: at + len(wish.delimiter)]


def after_prefix(prefix: bytes) -> bytes | None:
    """The first name after all that begin with a prefix; None if there can be none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def page_xml(call: Call, page: Page, *, with_metadata: bool, with_copy: bool) -> bytes:
    """The document of a page."""
    rows = [
        f"<BlobPrefix>{name_element(entry.decode())}</BlobPrefix>"
        if isinstance(entry, bytes)
        else blob_element(entry, with_metadata=with_metadata, with_copy=with_copy)
        for entry in page.entries
    ]
    marker = encode_marker(page.next_start) if page.next_start is not None else ""
    asked = (("Prefix", "prefix"), ("Marker", "marker"), ("MaxResults", "maxresults"))
    echo = "".join(element(tag, call.query[name]) for tag, name in asked if name in call.query)
    delimiter = call.query.get("delimiter")
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(call.endpoint)}"'
        f' ContainerName="{escape(call.container)}">{echo}'
        f"{element('Delimiter', delimiter) if delimiter else ''}"
        f"<Blobs>{''.join(rows)}</Blobs>{element('NextMarker', marker)}</EnumerationResults>"
    ).encode()


def blob_element(row: blob.Blob, *, with_metadata: bool, with_copy: bool) -> str:
    """A blob in a list."""
    properties = {"content_type": DEFAULT_CONTENT_TYPE, **row.properties}
    contents = "".join(
        element(header, properties.get(name, "")) for name, header, _ in CONTENT_PROPERTIES
    )
    copied = ""
    if with_copy:
        copied = "".join(
            element(tag_of(header), properties[name])
            for name, header in COPY_PROPERTIES
            if name in properties
        )
    metadata = ""
    if with_metadata and row.metadata:
        pairs = "".join(element(name, value) for name, value in row.metadata.items())
        metadata = f"<Metadata>{pairs}</Metadata>"
    inferred = "" if "tier" in properties else "<AccessTierInferred>true</AccessTierInferred>"
    return (
        f"<Blob>{name_element(row.name.decode())}<Properties>"
        f"<Creation-Time>{http_date(row.created_us)}</Creation-Time>"
        f"<Last-Modified>{http_date(row.modified_us)}</Last-Modified>"
        f"<Etag>{etag_text(row.etag or 0)}</Etag><Content-Length>{row.size}</Content-Length>"
        f"{contents}<BlobType>BlockBlob</BlobType>"
        f"<AccessTier>{properties.get('tier', 'Hot')}</AccessTier>{inferred}"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        f"<ServerEncrypted>true</ServerEncrypted>{copied}</Properties>{metadata}</Blob>"
    )


def tag_of(header: str) -> str:
    """``x-ms-copy-completion-time`` as ``CopyCompletionTime``."""
    return header.removeprefix("x-ms-").title().replace("-", "")

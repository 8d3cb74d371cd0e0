"""List Blobs: names from the index, jumping over what a delimiter folds together."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

from lote.storage import blob
from lote.storage.append import SEALED
from lote.storage.call import Answer, Call
from lote.storage.container import get_container_id
from lote.storage.endpoint import Endpoint
from lote.storage.errors import invalid_query
from lote.storage.headers import (
    CONTENT_PROPERTIES,
    COPY_PROPERTIES,
    DEFAULT_CONTENT_TYPE,
    lease_headers,
    tags_xml,
)
from lote.storage.lease import Lease
from lote.storage.paging import ENCODED, decode_marker, encode_marker, is_plain, page_size
from lote.storage.times import etag_text, http_date, snapshot_text
from lote.storage.xml import DECLARATION, element, escape, name_element

INCLUDES = frozenset(
    [
        "copy",
        "metadata",
        "snapshots",
        "tags",
        "uncommittedblobs",
        # There are none of these here, so they add nothing to a list.
        "deleted",
        "deletedwithversions",
        "immutabilitypolicy",
        "legalhold",
        "permissions",
        "versions",
    ]
)
LISTED = [(name, header, element(header, "")) for name, header, _ in CONTENT_PROPERTIES]
ONLY_DELETED = "deleted"  # of which there are none here
ECHOED = (
    ("Prefix", "prefix"),
    ("Marker", "marker"),
    ("StartFrom", "startfrom"),
    ("MaxResults", "maxresults"),
)
UNLEASED = "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"


class Wish(NamedTuple):
    """What a list is to show; names are UTF-8 bytes."""

    prefix: bytes
    delimiter: bytes
    start: blob.Place
    count_max: int
    includes: frozenset[str]


class Page(NamedTuple):
    """Blobs, and the prefixes that stand for folded ones, in order; where the next page begins."""

    entries: list[blob.Blob | bytes]
    next_start: blob.Place | None


async def list_blobs(call: Call, endpoint: Endpoint) -> Answer:
    """REST: List Blobs."""
    wish = parse_wish(call)
    only = call.query.get("showonly", "")
    if only not in ("", ONLY_DELETED):
        raise invalid_query("showonly", only)

    def query(connection: sqlite3.Connection) -> bytes:
        container = get_container_id(connection, call.account, call.container)
        page = Page([], None) if only else find_page(connection, container, wish)
        return page_xml(call, page, wish.includes)

    return Answer(200, {"Content-Type": "application/xml"}, await endpoint.depot.read(query))


def parse_wish(call: Call) -> Wish:
    """What a request asks for. Refuses: InvalidQueryParameterValue."""
    includes = frozenset(filter(None, call.query.get("include", "").lower().split(",")))
    if not includes <= INCLUDES:
        raise invalid_query("include", call.query["include"])
    wish = Wish(
        call.query.get("prefix", "").encode(),
        call.query.get("delimiter", "").encode(),
        blob.Place(call.query.get("startfrom", "").encode()),
        page_size(call),
        includes,
    )
    marker = call.query.get("marker")
    return wish._replace(start=place_behind(marker, wish)) if marker else wish


def place_behind(marker: str, wish: Wish) -> blob.Place:
    """Where the page after this marker begins."""
    if marker.startswith(ENCODED):
        return blob.Place(*decode_marker(marker))
    last = marker.encode()
    folded = fold(last, wish)
    behind = after_prefix(folded) if folded is not None else None
    return blob.Place(behind if behind is not None else last + b"\0")


def marker_of(page: Page, includes: frozenset[str]) -> str:
    """The last name of a page, or where the next one begins if that says it better; "" at the
    end of the list."""
    if page.next_start is None:
        return ""
    last = page.entries[-1]
    name = (last if isinstance(last, bytes) else last.name).decode()
    if is_plain(name) and "snapshots" not in includes:
        return name
    return encode_marker(*page.next_start)


def find_page(connection: sqlite3.Connection, container: int, wish: Wish) -> Page:
    """One page of a list."""
    entries: list[blob.Blob | bytes] = []
    with closing(_entries(connection, container, wish)) as found:
        for entry in found:
            if len(entries) == wish.count_max:
                return Page(entries, place_of(entry))
            entries.append(entry)
    return Page(entries, None)


def _entries(
    connection: sqlite3.Connection, container: int, wish: Wish
) -> Generator[blob.Blob | bytes, None, None]:
    start: blob.Place | None = max(blob.Place(wish.prefix), wish.start)
    end = after_prefix(wish.prefix)
    while start is not None:
        rows = blob.list_blobs(
            connection,
            container,
            start,
            end,
            uncommitted="uncommittedblobs" in wish.includes,
            snapshots="snapshots" in wish.includes,
        )
        start = None
        with closing(rows):
            for row in rows:
                folded = fold(row.name, wish)
                if folded is None:
                    yield row
                else:
                    yield folded
                    behind = after_prefix(folded)
                    start = blob.Place(behind) if behind is not None else None
                    break


def place_of(entry: blob.Blob | bytes) -> blob.Place:
    """Where an entry stands in the list."""
    if isinstance(entry, bytes):
        return blob.Place(entry)
    return blob.Place(entry.name, entry.snapshot)


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


def page_xml(call: Call, page: Page, includes: frozenset[str]) -> bytes:
    """The document of a page."""
    rows = [
        f"<BlobPrefix>{name_element(entry.decode())}</BlobPrefix>"
        if isinstance(entry, bytes)
        else blob_element(entry, includes, call.now_us)
        for entry in page.entries
    ]
    marker = marker_of(page, includes)
    echo = "".join(element(tag, call.query[name]) for tag, name in ECHOED if name in call.query)
    delimiter = call.query.get("delimiter")
    return (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(call.endpoint)}"'
        f' ContainerName="{escape(call.container)}">{echo}'
        f"{element('Delimiter', delimiter) if delimiter else ''}"
        f"<Blobs>{''.join(rows)}</Blobs>{element('NextMarker', marker)}</EnumerationResults>"
    ).encode()


def blob_element(row: blob.Blob, includes: frozenset[str], now_us: int) -> str:
    """A blob or a snapshot in a list."""
    properties = {"content_type": DEFAULT_CONTENT_TYPE, **row.properties}
    contents = "".join(
        [
            element(header, properties[name]) if name in properties else empty
            for name, header, empty in LISTED
        ]
    )
    copied = ""
    if "copy" in includes:
        copied = "".join(
            element(tag_of(header), properties[name])
            for name, header in COPY_PROPERTIES
            if name in properties
        )
    metadata = ""
    if "metadata" in includes and row.metadata:
        pairs = "".join(element(name, value) for name, value in row.metadata.items())
        metadata = f"<Metadata>{pairs}</Metadata>"
    tags, count = "", ""
    if row.tags:
        count = f"<TagCount>{len(row.tags)}</TagCount>"
        tags = tags_xml(row.tags) if "tags" in includes else ""
    snapshot = ""
    if row.snapshot != blob.BASE:
        snapshot = element("Snapshot", snapshot_text(row.snapshot))
    return (
        f"<Blob>{name_element(row.name.decode())}{snapshot}<Properties>"
        f"<Creation-Time>{http_date(row.created_us)}</Creation-Time>"
        f"<Last-Modified>{http_date(row.modified_us)}</Last-Modified>"
        f"<Etag>{etag_text(row.etag or 0)}</Etag><Content-Length>{row.size}</Content-Length>"
        f"{contents}<BlobType>{row.kind}</BlobType>"
        f"{append_elements(row) if row.kind == 'AppendBlob' else tier_elements(row)}"
        f"{lease_elements(row.lease, now_us)}"
        f"<ServerEncrypted>true</ServerEncrypted>{copied}{count}</Properties>"
        f"{metadata}{tags}</Blob>"
    )


def tier_elements(row: blob.Blob) -> str:
    """The tier, which only block blobs have."""
    properties = row.properties
    inferred = "" if "tier" in properties else "<AccessTierInferred>true</AccessTierInferred>"
    if "tier_us" in properties:
        inferred = element("AccessTierChangeTime", http_date(int(properties["tier_us"])))
    return f"<AccessTier>{properties.get('tier', 'Hot')}</AccessTier>{inferred}"


def append_elements(row: blob.Blob) -> str:
    """Whether an append blob takes no more."""
    return element("Sealed", row.properties.get(SEALED, "false"))


def lease_elements(lease: Lease | None, now_us: int) -> str:
    """What a list shows of a lease."""
    if lease is None:  # nearly every row of a list
        return UNLEASED
    headers = lease_headers(lease, now_us)
    return "".join(element(tag_of(header), value) for header, value in headers.items())


def tag_of(header: str) -> str:
    """``x-ms-copy-completion-time`` as ``CopyCompletionTime``."""
    return header.removeprefix("x-ms-").title().replace("-", "")

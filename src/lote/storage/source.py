"""Where a copy comes from: a blob of this server, whose bytes are at hand, or any URL that answers
as blob storage does."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple, get_args
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from lote.storage import blob
from lote.storage.authentication import Authenticator
from lote.storage.call import METADATA_PREFIX, Call, parse_blob_name, parse_query
from lote.storage.conditions import Conditions, parse_conditions
from lote.storage.container import get_container_id
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_header
from lote.storage.headers import CONTENT_PROPERTIES
from lote.storage.operations import BY_REQUEST
from lote.storage.tag import parse_tags_document
from lote.storage.times import parse_snapshot

GET_BLOB = BY_REQUEST["GET", "blob", "", ""]
SOURCE_PREFIX = "x-ms-source-"
SOURCE_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
URL_MAX = 2048  # REST: Copy Blob
TAGS_MAX_BYTES = 64 * 1024  # ten tags are far less


class Local(NamedTuple):
    """A blob of this server, or a snapshot of it."""

    account: str
    container: str
    name: bytes
    snapshot: int


class Source(NamedTuple):
    """What a request names as its source. ``url`` is for the record: without credentials.

    ``local`` None: it is elsewhere, at ``full_url``, to be asked with ``headers``.
    """

    url: str
    full_url: str
    local: Local | None
    conditions: Conditions
    headers: dict[str, str]


class Opened(NamedTuple):
    """A source whose bytes are on their way: ``size`` of them. ``row``: of a local one."""

    kind: blob.Kind
    size: int
    chunks: AsyncGenerator[bytes, None]
    properties: dict[str, str]
    metadata: dict[str, str]
    row: blob.Blob | None
    close: Callable[[], Awaitable[None]]


async def parse_source(call: Call, endpoint: Endpoint) -> Source:
    """The source of a copy, if the caller may read it.

    Refuses: InvalidHeaderValue for what is no http or https URL, CannotVerifyCopySource without a
    right to read it. Source: REST "Copy Blob", "Put Block From URL".
    """
    text = call.headers["x-ms-copy-source"]
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    plain = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    if not plain or parts.username is not None or len(text) > URL_MAX:
        told = "" if "@" in text else text.partition("?")[0][:URL_MAX]  # never a password
        raise invalid_header("x-ms-copy-source", told)
    query = parse_query(parts.query)
    local = parse_local(call, parts, query, endpoint)
    if local is not None:
        await _check_right(call, local, query, endpoint.authenticator)
    return Source(
        shown_url(parts, query),
        text,
        local,
        parse_conditions(call.headers, SOURCE_PREFIX),
        _asked_headers(call),
    )


def parse_local(
    call: Call, parts: SplitResult, query: Mapping[str, str], endpoint: Endpoint
) -> Local | None:
    """The blob of this server that a URL names, if it names one.

    With credentials besides the URL it is asked over HTTP, which knows how to judge them.
    """
    if not _is_here(call, parts.netloc) or "x-ms-copy-source-authorization" in call.headers:
        return None
    address = endpoint.addresses.parse(parts.netloc, parts.path)
    container, _, name = address.rest.partition("/")
    if not endpoint.authenticator.has_account(address.account):
        return None
    if not name:
        container, name = "$root", container
    text = query.get("snapshot", "")
    try:
        snapshot = parse_snapshot(text) if text else blob.BASE
    except ValueError:
        raise invalid_header("x-ms-copy-source", shown_url(parts, query)) from None
    return Local(address.account, unquote(container), parse_blob_name(name), snapshot)


def _is_here(call: Call, netloc: str) -> bool:
    """Whether a host is the one that was asked, or another account's beside it."""
    asked = call.headers.get("host", "").lower()
    if netloc.lower() == asked:
        return True
    return not call.root and netloc.lower().partition(".")[2] == asked.partition(".")[2]


def shown_url(parts: SplitResult, query: Mapping[str, str]) -> str:
    """A source's URL without what signs it."""
    kept = "&".join(f"{key}={quote(query[key])}" for key in ("snapshot",) if query.get(key))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, kept, ""))


def find_row(connection: sqlite3.Connection, source: Source) -> blob.Blob:
    """A local source's row. Refuses: ContainerNotFound, BlobNotFound, SourceConditionNotMet."""
    local = source.local
    if local is None:
        raise LookupError("a source elsewhere has no row")
    container = get_container_id(connection, local.account, local.container)
    found = blob.get_blob(connection, container, local.name, local.snapshot)
    check_row(source, found)
    return found


def check_row(source: Source, found: blob.Blob) -> None:
    """Refuses: SourceConditionNotMet."""
    try:
        source.conditions.check(found.etag, found.modified_us, found.tags)
    except Refused:
        raise Refused("SourceConditionNotMet") from None


def parse_source_range(call: Call) -> tuple[int, int | None] | None:
    """First and last byte of ``x-ms-source-range``. Refuses: InvalidHeaderValue."""
    text = call.headers.get("x-ms-source-range")
    if text is None:
        return None
    match = SOURCE_RANGE.fullmatch(text)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise invalid_header("x-ms-source-range", text)
    return int(match[1]), int(match[2]) if match[2] else None


@asynccontextmanager
async def opened(
    source: Source, endpoint: Endpoint, stretch: tuple[int, int | None] | None = None
) -> AsyncIterator[Opened]:
    """The bytes of a source, or of a stretch of it; let go of at the end of the block.

    Refuses: CannotVerifyCopySource, SourceConditionNotMet, BlobArchived, InvalidRange,
    InvalidSourceBlobType for page blobs; for a local source what ``find_row`` does.
    """
    found = await (
        _open_local(source, source.local, endpoint, stretch)
        if source.local is not None
        else _open_remote(source, endpoint, stretch)
    )
    try:
        yield found
    finally:
        await found.close()


async def _open_local(
    source: Source, local: Local, endpoint: Endpoint, stretch: tuple[int, int | None] | None
) -> Opened:
    def choose(found: blob.Blob | None) -> tuple[int, int]:
        if found is None or found.etag is None:
            raise Refused("BlobNotFound")
        check_row(source, found)
        found.check_readable()
        found.check_settled()
        if stretch is None:
            return 0, found.size
        first, last = stretch
        if first >= found.size:
            raise Refused("InvalidRange")
        return first, found.size if last is None else min(last + 1, found.size)

    outgoing = await endpoint.sender.find(
        (local.account, local.container), local.name, choose, local.snapshot
    )
    row, is_begun = outgoing.blob, False

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal is_begun
        is_begun = True
        async with aclosing(endpoint.sender.stream(outgoing)) as stream:
            async for chunk in stream:
                yield chunk

    stream = chunks()

    async def close() -> None:
        await stream.aclose()
        if not is_begun:  # a generator that nobody began cleans nothing up
            endpoint.sender.release(outgoing)

    size = outgoing.end - outgoing.start
    return Opened(row.kind, size, stream, row.properties, row.metadata, row, close)


async def _open_remote(
    source: Source, endpoint: Endpoint, stretch: tuple[int, int | None] | None
) -> Opened:
    fetch = await endpoint.copies.fetcher().open(source.full_url, source.headers, stretch)
    kind = fetch.headers.get("x-ms-blob-type", "BlockBlob")
    if kind not in get_args(blob.Kind):
        await fetch.close()
        raise Refused("InvalidSourceBlobType")
    metadata = {
        name[len(METADATA_PREFIX) :]: value
        for name, value in fetch.headers.items()
        if name.lower().startswith(METADATA_PREFIX)
    }
    properties = {
        name: fetch.headers[header]
        for name, header, _ in CONTENT_PROPERTIES
        if fetch.headers.get(header)
    }
    found: blob.Kind = "AppendBlob" if kind == "AppendBlob" else "BlockBlob"
    return Opened(found, fetch.size, fetch.chunks(), properties, metadata, None, fetch.close)


async def fetch_tags(source: Source, endpoint: Endpoint) -> dict[str, str]:
    """The tags of a source elsewhere. Refuses: CannotVerifyCopySource."""
    url = f"{source.full_url}{'&' if '?' in source.full_url else '?'}comp=tags"
    fetch = await endpoint.copies.fetcher().open(url, source.headers)
    try:
        if fetch.size > TAGS_MAX_BYTES:
            raise Refused("CannotVerifyCopySource")
        body = b"".join([chunk async for chunk in fetch.chunks()])
    finally:
        await fetch.close()
    return parse_tags_document(body)


async def _check_right(
    call: Call, local: Local, query: Mapping[str, str], authenticator: Authenticator
) -> None:
    """Refuses: CannotVerifyCopySource."""
    if query.get("sig") in (None, call.query.get("sig")) and _is_covered(call, local):
        return
    if await authenticator.is_public(local.account, local.container, GET_BLOB):
        return
    if "sig" not in query:
        raise Refused("CannotVerifyCopySource", status=403)
    try:
        await authenticator.check_source(
            call, query, GET_BLOB, local.container, local.name, local.account
        )
    except Refused as refused:
        reason = refused.values.get("AuthenticationErrorDetail", refused.message)
        raise Refused("CannotVerifyCopySource", reason, status=403) from None


def _is_covered(call: Call, local: Local) -> bool:
    """Whether the source is within what the request's own credentials are for.

    A signature without the letter to read is enough, as its holder may read the copy no more than
    the source.
    """
    if local.account != call.account:
        return False
    if call.grant.letters is None or "ss" in call.query:
        return True
    if call.query.get("sr") == "c":
        return local.container == call.container
    return (local.container, local.name) == (call.container, call.blob)


def _asked_headers(call: Call) -> dict[str, str]:
    """The headers with which a source elsewhere is asked: conditions, and who asks."""
    headers = {
        name.removeprefix(SOURCE_PREFIX): value
        for name, value in call.headers.items()
        if name.startswith(f"{SOURCE_PREFIX}if-")
    }
    if "if-tags" in headers:
        headers["x-ms-if-tags"] = headers.pop("if-tags")
    if "x-ms-copy-source-authorization" in call.headers:
        headers["authorization"] = call.headers["x-ms-copy-source-authorization"]
    return headers

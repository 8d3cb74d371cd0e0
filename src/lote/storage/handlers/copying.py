"""Copies of whole blobs. Within this server a copy shares its contents with the source, so it is
complete at once, whatever the size; from elsewhere the bytes are fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from lote.storage import blob, block, pending_copy
from lote.storage.append import SEALED
from lote.storage.call import Answer, Call
from lote.storage.database import Tx
from lote.storage.digests import Digests, Wanted, parse_wanted_source, text_of
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_header, invalid_query
from lote.storage.handlers.target import target_of
from lote.storage.headers import (
    check_rehydrate_priority,
    parse_metadata,
    parse_properties,
    parse_tags,
    parse_tier,
    written_headers,
)
from lote.storage.incoming import Received, received_chunks
from lote.storage.lease import check_endless
from lote.storage.source import (
    Opened,
    Source,
    fetch_tags,
    find_row,
    opened,
    parse_source,
    parse_source_range,
)
from lote.storage.times import http_date

TAG_OPTIONS = ("REPLACE", "COPY")
COPIED_NOT = ("tier", "copy_")  # beginnings of properties that are each blob's own


async def copy_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Copy Blob; with ``x-ms-requires-sync`` Copy Blob From URL."""
    source = await parse_source(call, endpoint)
    check_rehydrate_priority(call)
    is_sync = call.headers.get("x-ms-requires-sync", "").lower() == "true"
    if not is_sync and source.local is None:
        return await _copy_in_background(call, endpoint, source)
    wanted = parse_wanted_source(call.headers) if is_sync else Wanted()
    if source.local is not None and not any(wanted):
        saved = await _link(call, endpoint, source, is_sync=is_sync, is_copy=True)
    else:
        limit = endpoint.limits.sync_copy_bytes_max
        saved, _ = await _fetch(call, endpoint, source, limit, is_copy=True)
    headers = written_headers(saved)
    headers |= {"x-ms-copy-id": call.request_id, "x-ms-copy-status": "success"}
    if wanted.md5 is not None:
        headers["Content-MD5"] = text_of(wanted.md5)
    return Answer(202, headers)


async def put_blob_from_url(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Put Blob From URL. Metadata comes with the request, not from the source."""
    source = await parse_source(call, endpoint)
    if source.local is not None and not any(parse_wanted_source(call.headers)):
        saved = await _link(call, endpoint, source, is_sync=True, is_copy=False)
        md5 = saved.properties.get("content_md5", "")
    else:
        limit = endpoint.limits.put_blob_bytes_max
        saved, md5 = await _fetch(call, endpoint, source, limit, is_copy=False)
    return Answer(201, written_headers(saved) | ({"Content-MD5": md5} if md5 else {}))


async def abort_copy(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Abort Copy Blob. The blob stays, empty, with its metadata."""
    action = call.headers.get("x-ms-copy-action", "")
    if action.lower() != "abort":
        raise invalid_header("x-ms-copy-action", action)
    copy_id = call.query.get("copyid", "")
    if not copy_id:
        raise invalid_query("copyid", copy_id)
    target = target_of(call)
    await endpoint.depot.write(
        lambda tx: pending_copy.abort_copy(tx, target(tx.connection), copy_id)
    )
    endpoint.copies.cancel(copy_id)
    return Answer(204)


@asynccontextmanager
async def received_source(call: Call, endpoint: Endpoint, limit: int) -> AsyncIterator[Received]:
    """The bytes that a request names by URL and range, received as ``received_body`` would.

    Refuses: RequestBodyTooLarge, Md5Mismatch, Crc64Mismatch, what ``opened`` does. Source:
    REST "Put Block From URL", "Append Block From URL".
    """
    source = await parse_source(call, endpoint)
    wanted, stretch = parse_wanted_source(call.headers), parse_source_range(call)
    async with opened(source, endpoint, stretch) as found:
        if found.size > limit:
            raise Refused("RequestBodyTooLarge", values={"MaxLimit": str(limit)})
        async with received_chunks(
            found.chunks, endpoint.depot, found.size, wanted, wanted.one()
        ) as received:
            yield received


def _check_awake(call: Call, source: Source, found: blob.Blob) -> None:
    """Refuses: BlobArchived; CannotVerifyCopySource for an archived blob of another account."""
    try:
        found.check_readable()
    except Refused:
        if source.local is None or source.local.account == call.account:
            raise
        raise Refused(
            "CannotVerifyCopySource", "The copy source is archived.", status=409
        ) from None


async def _link(
    call: Call, endpoint: Endpoint, source: Source, *, is_sync: bool, is_copy: bool
) -> blob.Blob:
    """Share the contents of a blob of this server. Only a copy that may take its time is given a
    tier that an archived source lacks. Refuses: BlobArchived, InvalidSourceBlobType."""
    rehydrates = not is_sync and bool(parse_tier(call))
    sent, target, tag_option = _Sent(call, is_copy=is_copy), target_of(call), parse_tag_option(call)

    def change(tx: Tx) -> blob.Blob:
        found = find_row(tx.connection, source)
        if not rehydrates:
            _check_awake(call, source, found)
        found.check_settled()
        if not is_copy and found.kind != "BlockBlob":
            raise Refused("InvalidSourceBlobType")
        tags = found.tags if tag_option == "COPY" else sent.tags
        properties = with_seal(call, found.kind, sent.described(found.properties))
        if is_copy:
            properties |= _success(tx, call, source, found.size)
        metadata = sent.metadata_over(found.metadata)
        saved = share(tx, target(tx.connection), found, properties, metadata, tags)
        if not is_sync:
            check_endless(saved.lease, tx.now_us)
        return saved

    return await endpoint.depot.write(change)


async def _fetch(
    call: Call, endpoint: Endpoint, source: Source, limit: int, *, is_copy: bool
) -> tuple[blob.Blob, str]:
    """Receive a source's bytes while the client waits; gives their MD5 as well.

    Refuses: RequestBodyTooLarge, Md5Mismatch, Crc64Mismatch.
    """
    sent, target = _Sent(call, is_copy=is_copy), target_of(call)
    wanted, digests = parse_wanted_source(call.headers), Digests(md5=True)
    if wanted.crc64 is not None:
        digests = Digests(md5=True, crc64=True)
    async with opened(source, endpoint) as found:
        if found.kind != "BlockBlob":
            raise Refused("InvalidSourceBlobType")
        if found.size > limit:
            raise Refused("RequestBodyTooLarge", values={"MaxLimit": str(limit)})
        tags = await _tags(call, endpoint, source, found, sent)
        async with received_chunks(
            found.chunks, endpoint.depot, found.size, wanted, digests
        ) as received:

            def change(tx: Tx) -> blob.Blob:
                properties = sent.described(found.properties)
                properties.setdefault("content_md5", text_of(digests.md5))
                if is_copy:
                    properties |= _success(tx, call, source, found.size)
                metadata = sent.metadata_over(found.metadata)
                return blob.put_blob(
                    tx, target(tx.connection), received.content, properties, metadata, tags
                )

            return await endpoint.depot.write(change), text_of(digests.md5)


async def _copy_in_background(call: Call, endpoint: Endpoint, source: Source) -> Answer:
    """Look at the source, write an empty blob, and fetch after the answer."""
    endpoint.copies.check_room()
    sent, target = _Sent(call, is_copy=True), target_of(call)
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(opened(source, endpoint))
        tags = await _tags(call, endpoint, source, found, sent)
        properties = sent.described(found.properties) | _origin(call, source)
        properties = with_seal(call, found.kind, properties)
        metadata = sent.metadata_over(found.metadata)
        new = pending_copy.NewCopy(found.kind, found.size, properties, metadata, tags)
        saved, copy = await endpoint.depot.write(
            lambda tx: pending_copy.begin_copy(tx, target(tx.connection), new)
        )
        endpoint.copies.start(copy, found.chunks, stack.pop_all())
    headers = {"x-ms-copy-id": copy.id, "x-ms-copy-status": "pending"}
    return Answer(202, written_headers(saved) | headers)


class _Sent:
    """What a request says of the copy itself."""

    def __init__(self, call: Call, *, is_copy: bool) -> None:
        given = parse_properties(call)
        self.tags = parse_tags(call)
        self._metadata = parse_metadata(call)
        self._is_copy = is_copy
        # Copies are described by their source, but for the tier.
        self._properties = {
            name: value for name, value in given.items() if not is_copy or name.startswith("tier")
        }
        keeps = call.headers.get("x-ms-copy-source-blob-properties", "true")
        self._keeps_properties = is_copy or keeps.lower() != "false"

    def described(self, source: dict[str, str]) -> dict[str, str]:
        """The properties of the copy."""
        kept = {}
        if self._keeps_properties:
            kept = {k: v for k, v in source.items() if not k.startswith(COPIED_NOT)}
        return kept | self._properties

    def metadata_over(self, source: dict[str, str]) -> dict[str, str]:
        """The metadata of the copy."""
        return (self._metadata or source) if self._is_copy else self._metadata


def share(
    tx: Tx,
    target: blob.Target,
    source: blob.Blob,
    properties: dict[str, str],
    metadata: dict[str, str],
    tags: dict[str, str],
) -> blob.Blob:
    """Write a blob that has the contents of another.

    Refuses: InvalidBlobType over a blob of another kind, what ``Target.check`` does.
    """
    old = blob.find_blob(tx.connection, target.container, target.name)
    target.check(old, tx.now_us)
    if old is not None and old.etag is not None and old.kind != source.kind:
        raise Refused("InvalidBlobType")
    if old is not None and old.id == source.id:  # onto itself: only the description changes
        saved = blob.change_blob(tx, target, properties=properties, metadata=metadata)
        blob.write_tags(tx, saved, tags)
        return saved
    if source.content is not None:
        tx.execute("UPDATE content SET links = links + 1 WHERE id = ?", (source.content,))
    saved = blob.save_blob(
        tx, target, old, source.size, source.content, properties, metadata,
        kind=source.kind, tags=tags,
    )  # fmt: skip
    block.copy_parts(tx, source.id, saved.id)
    return saved


def with_seal(call: Call, kind: blob.Kind, properties: dict[str, str]) -> dict[str, str]:
    """The properties of a copied append blob, sealed as the request says; else as its source.

    Refuses: InvalidHeaderValue, also for a block blob.
    """
    text = call.headers.get("x-ms-seal-blob", "").lower()
    if not text:
        return properties
    if kind != "AppendBlob" or text not in ("true", "false"):
        raise invalid_header("x-ms-seal-blob", text)
    opened = {name: value for name, value in properties.items() if name != SEALED}
    return opened | {SEALED: text} if text == "true" else opened


def parse_tag_option(call: Call) -> str:
    """Whose tags a copy has. Refuses: InvalidHeaderValue, also for both sources' and own tags."""
    option = call.headers.get("x-ms-copy-source-tag-option", TAG_OPTIONS[0]).upper()
    if option not in TAG_OPTIONS or (option == "COPY" and "x-ms-tags" in call.headers):
        raise invalid_header("x-ms-copy-source-tag-option", option)
    return option


async def _tags(
    call: Call, endpoint: Endpoint, source: Source, found: Opened, sent: _Sent
) -> dict[str, str]:
    if parse_tag_option(call) == "REPLACE":
        return sent.tags
    if found.row is not None:
        return found.row.tags
    return await fetch_tags(source, endpoint)


def _origin(call: Call, source: Source) -> dict[str, str]:
    return {"copy_id": call.request_id, "copy_source": source.url}


def _success(tx: Tx, call: Call, source: Source, size: int) -> dict[str, str]:
    return _origin(call, source) | {
        "copy_status": "success",
        "copy_progress": f"{size}/{size}",
        "copy_completion_time": http_date(tx.now_us),
    }

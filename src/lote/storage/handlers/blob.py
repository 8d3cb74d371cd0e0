"""Operations on whole blobs."""

from __future__ import annotations

import re
from functools import partial

from lote.storage import blob
from lote.storage.call import Answer, Call
from lote.storage.database import Tx
from lote.storage.digests import Digests, parse_md5, parse_wanted, text_of
from lote.storage.endpoint import MIB, Endpoint
from lote.storage.errors import Refused, invalid_header, missing_header
from lote.storage.handlers.append import create_append_blob
from lote.storage.handlers.copying import copy_blob, put_blob_from_url
from lote.storage.handlers.target import (
    read_blob,
    read_check_of,
    snapshot_of,
    target_of,
)
from lote.storage.headers import (
    blob_headers,
    parse_metadata,
    parse_properties,
    parse_tags,
    version_headers,
    written_headers,
)
from lote.storage.incoming import received_body
from lote.storage.names import check_blob_name
from lote.storage.operations import NO_PAGES
from lote.storage.outgoing import Outgoing

# Beginnings of properties that Set Blob Properties does not touch.
KEPT = ("tier", "copy_", "append_")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
PUSH_MIN_BYTES = 1 * MIB  # one more wake-up of the client is nothing beside it
RANGE_DIGEST_MAX_BYTES = 4 * MIB  # REST: Get Blob, x-ms-range-get-content-md5 and -crc64


async def put_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Put Blob; Copy Blob and Put Blob From URL look the same but for headers."""
    check_blob_name(call.blob.decode())
    kind = call.headers.get("x-ms-blob-type")
    if kind is None and "x-ms-copy-source" in call.headers:
        return await copy_blob(call, endpoint)
    if kind is None:
        raise missing_header("x-ms-blob-type")
    if kind == "PageBlob":
        raise Refused("NotImplemented", f"This endpoint makes no page blobs: {NO_PAGES}.")
    if kind == "AppendBlob":
        return await create_append_blob(call, endpoint)
    if kind != "BlockBlob":
        raise invalid_header("x-ms-blob-type", kind)
    if "x-ms-copy-source" in call.headers:
        return await put_blob_from_url(call, endpoint)
    properties, metadata = parse_properties(call, plain=True), parse_metadata(call)
    tags, target = parse_tags(call), target_of(call)
    wanted = parse_wanted(call.headers)
    digests = Digests(md5=True, crc64=wanted.crc64 is not None)
    if "content_md5" in properties:  # it outweighs that of the request
        wanted = wanted._replace(md5=parse_md5(properties["content_md5"]))
    limit = endpoint.limits.put_blob_bytes_max
    async with received_body(call, endpoint.depot, limit, wanted, digests) as received:
        properties["content_md5"] = text_of(digests.md5)

        def change(tx: Tx) -> blob.Blob:
            found = target(tx.connection)
            return blob.put_blob(tx, found, received.content, properties, metadata, tags)

        saved = await endpoint.depot.write(change, prompt=received.content.file is None)
    return Answer(201, written_headers(saved) | digests.headers())


async def get_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Blob."""
    wanted = parse_range(call.headers.get("x-ms-range") or call.headers.get("range"))
    digests = parse_range_digests(call)
    if digests is not None and wanted is None:
        raise missing_header("x-ms-range")
    check_readable = read_check_of(call)

    def choose(found: blob.Blob | None) -> tuple[int, int]:
        found = check_readable(found)
        found.check_readable()
        start, end = clip(wanted, found.size)
        if digests is not None and end - start > RANGE_DIGEST_MAX_BYTES:
            raise Refused("OutOfRangeInput")
        return start, end

    snapshot = snapshot_of(call)
    container = call.account, call.container
    outgoing = await endpoint.sender.find(container, call.blob, choose, snapshot)
    headers = blob_headers(outgoing.blob, call)
    if md5 := headers.get("Content-MD5", ""):
        headers["x-ms-blob-content-md5"] = md5
    if wanted is not None:
        size = outgoing.blob.size
        headers["Content-Range"] = f"bytes {outgoing.start}-{outgoing.end - 1}/{size}"
        headers.pop("Content-MD5", "")
    status = 200 if wanted is None else 206
    if digests is not None:
        return await _with_digests(endpoint, outgoing, status, headers, digests)
    length = outgoing.end - outgoing.start
    if outgoing.inline is not None:
        return Answer(status, headers, outgoing.inline)
    answer = Answer(status, headers, chunks=endpoint.sender.stream(outgoing), length=length)
    if length >= PUSH_MIN_BYTES:
        answer.push = partial(endpoint.sender.push, outgoing)
    return answer


async def get_blob_properties(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Blob Properties."""
    found = await read_blob(call, endpoint)
    return Answer(200, blob_headers(found, call), length=found.size)


async def get_blob_metadata(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Blob Metadata."""
    found = await read_blob(call, endpoint)
    headers = {f"x-ms-meta-{name}": value for name, value in found.metadata.items()}
    return Answer(200, headers | version_headers(found.etag, found.modified_us))


async def set_blob_metadata(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Set Blob Metadata."""
    metadata, target = parse_metadata(call), target_of(call)
    changed = await endpoint.depot.write(
        lambda tx: blob.change_blob(tx, target(tx.connection), metadata=metadata)
    )
    return Answer(200, written_headers(changed))


async def set_blob_properties(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Set Blob Properties: those not given are cleared."""
    properties, target = {"content_type": ""} | parse_properties(call), target_of(call)

    def change(tx: Tx) -> blob.Blob:
        found = target(tx.connection)
        old = blob.get_target(tx, found).properties
        kept = {name: old[name] for name in old if name.startswith(KEPT)}
        return blob.change_blob(tx, found, properties=kept | properties)

    changed = await endpoint.depot.write(change)
    return Answer(200, version_headers(changed.etag, changed.modified_us))


async def delete_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Delete Blob."""
    snapshots, target = parse_delete_snapshots(call), target_of(call)
    await endpoint.depot.write(
        lambda tx: blob.delete_blob(tx, target(tx.connection), snapshots), frees=True
    )
    return Answer(202, {"x-ms-delete-type-permanent": "true"})


def parse_delete_snapshots(call: Call) -> blob.Snapshots:
    """What becomes of a blob's snapshots. Refuses: InvalidHeaderValue, also together with the name
    of one snapshot."""
    text = call.headers.get("x-ms-delete-snapshots")
    if text is None:
        return "refuse"
    found: blob.Snapshots = "only" if text.lower() == "only" else "include"
    if found != text.lower() or call.query.get("snapshot"):
        raise invalid_header("x-ms-delete-snapshots", text)
    return found


def parse_range(text: str | None) -> tuple[int, int | None] | None:
    """First and last byte; None for no range, also for one in a form that the protocol lacks,
    which is answered with the whole blob."""
    match = RANGE.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    first, last = int(match[1]), int(match[2]) if match[2] else None
    return None if last is not None and last < first else (first, last)


def clip(wanted: tuple[int, int | None] | None, size: int) -> tuple[int, int]:
    """Start and end (exclusive) of a range in a blob. Refuses: InvalidRange behind its end."""
    if wanted is None:
        return 0, size
    first, last = wanted
    if first >= size:
        raise Refused("InvalidRange", headers={"Content-Range": f"bytes */{size}"})
    return first, size if last is None else min(last + 1, size)


def parse_range_digests(call: Call) -> Digests | None:
    """The digest of the range that a request wants to be told.

    Refuses: BothCrc64AndMd5HeaderPresent.
    """
    md5, crc64 = (
        call.headers.get(f"x-ms-range-get-content-{name}", "").lower() == "true"
        for name in ("md5", "crc64")
    )
    if md5 and crc64:
        raise Refused("BothCrc64AndMd5HeaderPresent")
    return Digests(md5=md5, crc64=crc64) if md5 or crc64 else None


async def _with_digests(
    endpoint: Endpoint, outgoing: Outgoing, status: int, headers: dict[str, str], digests: Digests
) -> Answer:
    body = b"".join([chunk async for chunk in endpoint.sender.stream(outgoing)])
    digests.update(body)
    return Answer(status, headers | digests.headers(), body)

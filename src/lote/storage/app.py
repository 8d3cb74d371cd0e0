"""The ASGI application: takes a request apart, finds its row, checks its right, runs it."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

from lote.storage.authentication import AccountKeys, Authenticator
from lote.storage.call import (
    METADATA_PREFIX,
    Answer,
    Call,
    ClientGone,
    Receive,
    Scope,
    Send,
    parse_call,
)
from lote.storage.depot import Depot
from lote.storage.endpoint import Endpoint, Limits, find_policies
from lote.storage.errors import Refused, error_body, invalid_header
from lote.storage.handlers import (
    blob,
    block,
    container,
    leasing,
    listing,
    service,
    snapshot,
    tag,
    tier,
)
from lote.storage.headers import check_supported
from lote.storage.operations import match_operation
from lote.storage.outgoing import Sender
from lote.storage.times import iso_time
from lote.world import World

DEFAULT_VERSION = "2021-12-02"  # answered to requests that name none
VERSION = re.compile(r"\d{4}-\d\d-\d\d")
CLIENT_ID_MAX = 1024
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Handler = Callable[[Call, Endpoint], Awaitable[Answer]]
HANDLERS: dict[str, Handler] = {
    "list_containers": service.list_containers,
    "get_service_properties": service.get_service_properties,
    "get_account_information": service.get_account_information,
    "create_container": container.create_container,
    "get_container_properties": container.get_container_properties,
    "delete_container": container.delete_container,
    "get_container_metadata": container.get_container_metadata,
    "set_container_metadata": container.set_container_metadata,
    "get_container_acl": container.get_container_acl,
    "set_container_acl": container.set_container_acl,
    "lease_container": leasing.lease_container,
    "list_blobs": listing.list_blobs,
    "put_blob": blob.put_blob,
    "get_blob": blob.get_blob,
    "get_blob_properties": blob.get_blob_properties,
    "delete_blob": blob.delete_blob,
    "set_blob_properties": blob.set_blob_properties,
    "get_blob_metadata": blob.get_blob_metadata,
    "set_blob_metadata": blob.set_blob_metadata,
    "lease_blob": leasing.lease_blob,
    "put_block": block.put_block,
    "put_block_list": block.put_block_list,
    "get_block_list": block.get_block_list,
    "snapshot_blob": snapshot.snapshot_blob,
    "set_blob_tier": tier.set_blob_tier,
    "get_blob_tags": tag.get_blob_tags,
    "set_blob_tags": tag.set_blob_tags,
    "find_blobs": tag.find_blobs,
    "find_blobs_in_container": tag.find_blobs_in_container,
}
log = logging.getLogger(__name__)


class StorageApp:
    """Serves storage accounts from a folder. ``close`` it when no request is under way."""

    def __init__(
        self,
        folder: Path,
        accounts: Mapping[str, AccountKeys],
        world: World,
        limits: Limits | None = None,
    ) -> None:
        depot = Depot(folder, world)
        authenticator = Authenticator(accounts, lambda *names: find_policies(depot, *names))
        self._world = world
        self._depot = depot
        self._endpoint = Endpoint(depot, Sender(depot), authenticator, limits or Limits())
        depot.start()

    def close(self) -> None:
        """Finish writing and let the folder go."""
        self._depot.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only http is served here, not {scope['type']}")
        now_us, request_id = self._world.now_us(), self._world.new_guid()
        try:
            answer = await self._answer(scope, receive, now_us, request_id)
        except ClientGone:
            return
        except Refused as refused:
            answer = _refusal(refused, request_id, now_us)
        except (OSError, sqlite3.Error) as error:
            log.error("request %s: the disk failed: %s", request_id, error)
            answer = _refusal(_disk_refusal(error), request_id, now_us)
        except Exception:
            log.exception("request %s failed", request_id)
            answer = _refusal(Refused("InternalError"), request_id, now_us)
        _add_headers(answer, scope, request_id)
        await _send_answer(answer, scope["method"], receive, send)

    async def _answer(self, scope: Scope, receive: Receive, now_us: int, request_id: str) -> Answer:
        call = parse_call(scope, receive, now_us, request_id)
        version = call.headers.get("x-ms-version")
        if version is not None and VERSION.fullmatch(version) is None:
            raise invalid_header("x-ms-version", version)
        operation = match_operation(
            call.method, call.level, call.query.get("restype", ""), call.query.get("comp", "")
        )
        call.grant = await self._endpoint.authenticator.authenticate(call, operation)
        check_supported(call, operation)
        return await HANDLERS[operation.name](call, self._endpoint)


class RawName(bytes):
    """A header name that the HTTP server cannot put into lower case. Names of metadata go out as
    they came in: clients make dictionaries of them."""

    def lower(self) -> bytes:
        """The name as it is."""
        return self


def _raw_name(name: str) -> bytes:
    encoded = name.encode("latin-1")
    return RawName(encoded) if name.startswith(METADATA_PREFIX) else encoded


def _refusal(refused: Refused, request_id: str, now_us: int) -> Answer:
    headers = {"x-ms-error-code": refused.code, **refused.headers}
    if refused.status == 304:
        return Answer(304, headers)
    headers["Content-Type"] = "application/xml"
    return Answer(refused.status, headers, error_body(refused, request_id, iso_time(now_us)))


def _disk_refusal(error: OSError | sqlite3.Error) -> Refused:
    full = isinstance(error, OSError) and error.errno in FULL
    if full or "full" in str(error):
        return Refused("InternalError", "The disk of this storage account is full.", status=507)
    return Refused("InternalError")


def _add_headers(answer: Answer, scope: Scope, request_id: str) -> None:
    sent = dict(scope["headers"])
    version = sent.get(b"x-ms-version", b"").decode("latin-1")
    answer.headers["x-ms-version"] = version if VERSION.fullmatch(version) else DEFAULT_VERSION
    answer.headers["x-ms-request-id"] = request_id
    client_id = sent.get(b"x-ms-client-request-id", b"")
    if client_id and len(client_id) <= CLIENT_ID_MAX:
        answer.headers["x-ms-client-request-id"] = client_id.decode("latin-1")


async def _send_answer(answer: Answer, method: str, receive: Receive, send: Send) -> None:
    if method == "HEAD" and answer.status >= 400:
        answer.body, answer.length = b"", 0
        answer.headers.pop("Content-Type", None)
    if answer.status != 304:
        length = answer.length if answer.length is not None else len(answer.body)
        answer.headers["Content-Length"] = str(length)
    headers = [
        (_raw_name(name), value.encode("latin-1", "replace"))
        for name, value in answer.headers.items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.chunks is None or method == "HEAD":
        await send({"type": "http.response.body", "body": answer.body})
        return
    async with aclosing(answer.chunks) as chunks:
        await _send_chunks(chunks, receive, send)


async def _send_chunks(chunks: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
    """Stream until the end, or until the client has gone."""
    gone = asyncio.ensure_future(_wait_until_gone(receive))
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if gone.done():
                return
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue

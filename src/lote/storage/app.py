"""The ASGI application: takes a request apart, finds its row, checks its right, runs it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from pathlib import Path

from lote.storage.addresses import Addresses
from lote.storage.authentication import Access, AccountKeys, Authenticator
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
from lote.storage.copies import Copies
from lote.storage.cors import answer_headers, preflight_headers
from lote.storage.depot import Depot
from lote.storage.endpoint import Endpoint, Limits, read_container
from lote.storage.errors import Refused, error_body, invalid_header
from lote.storage.handlers import (
    append,
    batch,
    blob,
    block,
    container,
    copying,
    leasing,
    listing,
    service,
    snapshot,
    tag,
    tier,
)
from lote.storage.headers import check_supported
from lote.storage.line import EXTENSION, Line
from lote.storage.operations import match_operation
from lote.storage.outgoing import Sender
from lote.storage.properties import AccountProperties
from lote.storage.pushing import shut
from lote.storage.reserve import is_full
from lote.storage.times import iso_time
from lote.world import World

DEFAULT_VERSION = "2021-12-02"  # answered to requests that name none
VERSION = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
CLIENT_ID_MAX = 1024
NAMES_KEPT = 512  # of headers, most of which are metadata's

Handler = Callable[[Call, Endpoint], Awaitable[Answer]]
HANDLERS: dict[str, Handler] = {
    "list_containers": service.list_containers,
    "get_service_properties": service.get_service_properties,
    "set_service_properties": service.set_service_properties,
    "get_service_stats": service.get_service_stats,
    "get_user_delegation_key": service.get_user_delegation_key,
    "submit_batch": batch.submit_batch,
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
    "append_block": append.append_block,
    "seal_append_blob": append.seal_append_blob,
    "put_block": block.put_block,
    "put_block_list": block.put_block_list,
    "get_block_list": block.get_block_list,
    "abort_copy": copying.abort_copy,
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
        access: Access | None = None,
    ) -> None:
        depot = Depot(folder, world)
        access = access or Access()
        self._world = world
        self._depot = depot
        self._addresses = Addresses(accounts, access.suffix)
        self._endpoint = Endpoint(
            depot,
            Sender(depot),
            Authenticator(accounts, lambda *names: read_container(depot, *names), access),
            limits or Limits(),
            AccountProperties(depot),
            self._addresses,
            self._answer,
            _refusal,
            Copies(depot),
        )
        depot.start()

    async def stop_copies(self) -> None:
        """Give up the copies that are under way, while the event loop still runs."""
        await self._endpoint.copies.stop()

    def close(self) -> None:
        """Finish writing and let the folder go."""
        self._depot.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only http is served here, not {scope['type']}")
        now_us, request_id = self._world.now_us(), self._world.new_guid()
        try:
            call = parse_call(scope, receive, now_us, request_id, self._addresses)
        except Refused as refused:
            answer = _refusal_of(refused, request_id, now_us)
        else:
            try:
                answer = await self._answer(call)
            except ClientGone:
                return
            if "origin" in call.headers and call.method != "OPTIONS":
                await self._add_cors(call, answer)
        _add_headers(answer, scope, request_id)
        line = scope.get("extensions", {}).get(EXTENSION)
        await _send_answer(answer, scope["method"], receive, send, line)

    async def _answer(self, call: Call) -> Answer:
        """Carry out a request, or say why not. Raises ``ClientGone``."""
        try:
            return await self._carry_out(call)
        except Refused as refused:
            return _refusal(refused, call)
        except (OSError, sqlite3.Error) as error:
            log.error("request %s: the disk failed: %s", call.request_id, error)
            return _refusal(_disk_refusal(error), call)
        except ClientGone:
            raise
        except Exception:
            log.exception("request %s failed", call.request_id)
            return _refusal(Refused("InternalError"), call)

    async def _carry_out(self, call: Call) -> Answer:
        version = call.headers.get("x-ms-version")
        if version is not None and not is_version(version):
            raise invalid_header("x-ms-version", version)
        if call.method == "OPTIONS":
            return await self._preflight(call)
        operation = match_operation(
            call.method, call.level, call.query.get("restype", ""), call.query.get("comp", "")
        )
        call.grant = await self._endpoint.authenticator.authenticate(call, operation)
        if call.is_secondary and operation.method not in ("GET", "HEAD"):
            raise Refused("InsufficientAccountPermissions", "Write operations are not allowed.")
        check_supported(call, operation)
        return await HANDLERS[operation.name](call, self._endpoint)

    async def _preflight(self, call: Call) -> Answer:
        """REST: Preflight Blob Request. Browsers send no credentials with it."""
        if not self._endpoint.authenticator.has_account(call.account):
            raise Refused("ResourceNotFound", "There is no such account here.")
        rules = await self._endpoint.properties.rules(call.account)
        return Answer(200, preflight_headers(rules, call.headers))

    async def _add_cors(self, call: Call, answer: Answer) -> None:
        """Tell a browser which of its pages may see the answer."""
        if self._endpoint.authenticator.has_account(call.account):
            rules = await self._endpoint.properties.rules(call.account)
            origin = call.headers["origin"]
            given = (*answer.headers, "x-ms-request-id", "x-ms-version", "Content-Length", "Date")
            answer.headers |= answer_headers(rules, origin, call.method, given)


def is_version(text: str) -> bool:
    """Whether it is a date; versions newer than this program count as the newest it knows."""
    return VERSION.fullmatch(text) is not None


class RawName(bytes):
    """A header name that the HTTP server cannot put into lower case. Names of metadata go out as
    they came in: clients make dictionaries of them."""

    def lower(self) -> bytes:
        """The name as it is."""
        return self


@lru_cache(NAMES_KEPT)
def _wire_name(name: str) -> str:
    """A header's name as it goes out."""
    return name if name.startswith(METADATA_PREFIX) else name.lower()


def _refusal(refused: Refused, call: Call) -> Answer:
    return _refusal_of(refused, call.request_id, call.now_us)


def _refusal_of(refused: Refused, request_id: str, now_us: int) -> Answer:
    headers = {"x-ms-error-code": refused.code, **refused.headers}
    if refused.status == 304:
        return Answer(304, headers)
    headers["Content-Type"] = "application/xml"
    return Answer(refused.status, headers, error_body(refused, request_id, iso_time(now_us)))


def _disk_refusal(error: OSError | sqlite3.Error) -> Refused:
    if is_full(error):
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


async def _send_answer(
    answer: Answer, method: str, receive: Receive, send: Send, line: Line | None
) -> None:
    if method == "HEAD" and answer.status >= 400:
        answer.body, answer.length = b"", 0
        answer.headers.pop("Content-Type", None)
    if answer.status != 304:
        length = answer.length if answer.length is not None else len(answer.body)
        answer.headers["Content-Length"] = str(length)
    is_whole = answer.chunks is None or method == "HEAD"
    if is_whole and line is not None and line.is_free:
        line.answer(
            answer.status, _fields(answer.headers), answer.body if method != "HEAD" else b""
        )
        return
    headers = [
        (RawName(_wire_name(name).encode("latin-1")), value.encode("latin-1", "replace"))
        for name, value in answer.headers.items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.chunks is None or is_whole:
        await send({"type": "http.response.body", "body": answer.body})
        return
    lent = await line.lend() if answer.push is not None and line is not None else None
    if lent is not None:
        assert answer.push is not None
        assert line is not None
        await _push(answer, lent, line, receive, send)
        return
    async with aclosing(answer.chunks) as chunks:
        await _send_chunks(chunks, receive, send)


def _fields(headers: Mapping[str, str]) -> bytes:
    """Header fields as they go out. Raises ``ValueError`` for one that would be more than one."""
    lines = [f"{_wire_name(name)}: {value}" for name, value in headers.items()]
    fields = "\r\n".join([*lines, ""]).encode("latin-1", "replace")
    if fields.count(b"\n") != len(lines) or fields.count(b"\r") != len(lines) or b"\0" in fields:
        raise ValueError("a header field has the end of a line in it")
    return fields


async def _push(
    answer: Answer, lent: socket.socket, line: Line, receive: Receive, send: Send
) -> None:
    """Write the body into the client's socket, until the end or until the client has gone."""
    assert answer.push is not None
    gone = asyncio.ensure_future(_wait_until_gone(receive))

    def stop(_: asyncio.Future[None]) -> None:
        shut(lent)

    gone.add_done_callback(stop)
    try:
        await answer.push(lent)
        gone.remove_done_callback(stop)
        line.note(answer.length or 0)
        await send({"type": "http.response.body", "body": b""})
    except ClientGone:
        line.abort()
        await gone
    finally:
        gone.remove_done_callback(stop)
        gone.cancel()
        lent.close()


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

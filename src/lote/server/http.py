"""The data plane over HTTP: authenticate, match a row, decode, call, encode.

The raw request target is kept, because ``%2F`` in file paths and the signature need it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from types import ModuleType
from typing import Any, cast
from urllib.parse import unquote_plus

import msgspec

from lote import __version__
from lote.server import shared_key
from lote.server.asgi import (
    BodyTooLarge,
    ClientGone,
    Receive,
    Scope,
    Send,
    headers_of,
    read_body,
    send_answer,
)
from lote.server.bearer import Bearer, check_grant
from lote.server.channel import Callers, serve_channel
from lote.server.conditions import check_read, parse_conditions
from lote.server.folder import AccountFile
from lote.server.handlers import account as account_handlers
from lote.server.handlers import certificates as certificate_handlers
from lote.server.handlers import file as file_handlers
from lote.server.handlers import job as job_handlers
from lote.server.handlers import job_schedule as job_schedule_handlers
from lote.server.handlers import job_special_tasks as job_special_task_handlers
from lote.server.handlers import node as node_handlers
from lote.server.handlers import node_access as node_access_handlers
from lote.server.handlers import node_logs as node_log_handlers
from lote.server.handlers import pool as pool_handlers
from lote.server.handlers import pool_scaling as pool_scaling_handlers
from lote.server.handlers import task as task_handlers
from lote.server.handlers import task_waiting as task_waiting_handlers
from lote.server.handlers import usage as usage_handlers
from lote.server.options import check_options
from lote.server.owner import Owner
from lote.server.recent import FROM_THE_RECORD, RecentAnswers
from lote.server.rehearsal_pages import PATH as REHEARSALS
from lote.server.rehearsal_pages import answer_rehearsal, is_rehearsal
from lote.server.rehearsed import count_throttled
from lote.server.request import Answer, Request
from lote.server.statistics import wants_stats
from lote.server.streams import Streams
from lote.server.throttling import Throttle
from lote.settings import Settings
from lote.store.database import Connection, DatabaseError
from lote.tokens.task_tokens import TaskGrant
from lote.wire.decode import decode
from lote.wire.errors import Refused, error_body
from lote.wire.formats import etag_of, format_http_date
from lote.wire.modern import modernize
from lote.wire.openapi import openapi_document
from lote.wire.operations import OPERATIONS, match
from lote.wire.versions import check_api_version
from lote.world import World

log = logging.getLogger("lote.http")

BODY_BYTES_MAX = 1 << 20  # REST: a request's body stays below 1 MB
JSON_TYPE = b"application/json;odata=minimalmetadata"
ALIASES = frozenset({"127", "localhost", "0"})  # what clients make of the host of a URL
READERS = 2
PATIENT = 4  # threads for answers that take a while; one of a formula takes 0.3 s at most

Headers = list[tuple[bytes, bytes]]
_MODULES: tuple[ModuleType, ...] = (
    account_handlers,
    certificate_handlers,
    file_handlers,
    job_handlers,
    job_special_task_handlers,
    job_schedule_handlers,
    node_access_handlers,
    node_log_handlers,
    node_handlers,
    pool_handlers,
    pool_scaling_handlers,
    task_handlers,
    task_waiting_handlers,
    usage_handlers,
)


def find_handler(name: str) -> tuple[Callable[..., Any], str] | None:
    """The handler of an operation, and where it runs, by its first parameter: ``tx`` in the owner
    thread, ``db`` on a read-only connection, ``files`` on the event loop."""
    for module in _MODULES:
        function = getattr(module, name, None)
        if function is not None and function.__module__ == module.__name__:
            return function, next(iter(inspect.signature(function).parameters))
    return None


_HANDLERS = {row.name: find_handler(row.name) for row in OPERATIONS if row.real}


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi_document(__version__))


class Service:
    """The ASGI application of both listeners."""

    def __init__(
        self,
        settings: Settings,
        account: AccountFile,
        owner: Owner,
        streams: Streams,
        callers: Callers,
        open_reader: Callable[[], Connection],
        world: World,
        bearer: Bearer,
    ) -> None:
        self._bearer = bearer
        self._settings = settings
        self._account = account
        self._prefix = f"/{account.name.lower()}/"
        self._owner = owner
        self._streams = streams
        self._files = file_handlers.Files(owner, streams)
        self._callers = callers
        self._world = world
        self._quick_reader = open_reader()
        self._throttle = Throttle()
        self._throttle.note = lambda key: owner.tell(count_throttled, key)
        owner.memory.throttle = self._throttle
        self._recent = RecentAnswers(lambda: owner.commits)
        self._readers: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            self._readers.put(open_reader())
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._patient = ThreadPoolExecutor(PATIENT, thread_name_prefix="patient")

    def close(self) -> None:
        """Close the read-only connections; no request may come after."""
        self._patient.shutdown(wait=True)
        self._threads.shutdown(wait=True)
        self._quick_reader.close()
        while not self._readers.empty():
            self._readers.get_nowait().close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection or request."""
        if scope["type"] == "websocket":
            await serve_channel(self._callers, scope, receive, send)
        elif scope["path"].startswith("/node/streams/") and scope["method"] == "POST":
            await self._streams.serve(scope, receive, send)
        elif scope["path"] == "/openapi.json":
            await send_answer(send, 200, [(b"content-type", b"application/json")], _document())
        elif scope["path"] == "/healthz":
            await send_answer(send, 200, [(b"content-type", b"text/plain")], b"ok\n")
        else:
            await self._data_plane(scope, receive, send)

    async def _data_plane(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._world.new_guid()
        headers = headers_of(scope)
        common: Headers = [
            (b"request-id", request_id.encode()),
            (b"dataserviceversion", b"3.0"),
        ]
        echoed = headers.get("client-request-id")
        if echoed and headers.get("return-client-request-id", "").lower() == "true":
            common.append((b"client-request-id", echoed.encode("latin-1")))
        base_url = f"{scope['scheme']}://{headers.get('host', '')}"
        try:
            grant = None
            if headers.get("authorization", "")[:7].lower() == "bearer ":
                token = headers["authorization"][7:].strip()
                grant = await self._bearer.check(token, scope["scheme"])
            else:
                self._authenticate(scope, headers)
            path = scope["raw_path"].decode("latin-1").partition("?")[0]
            if self._is_prefixed(path):
                prefix = "/" + path.split("/", 2)[1]
                path, base_url = path[len(prefix) :] or "/", base_url + prefix
            if path.startswith(REHEARSALS) and is_rehearsal(path):
                await self._rehearse(scope["method"], path, grant, receive, send, common)
                return
            request = await self._read(scope, path, grant, receive, headers, base_url)
            if self._throttle.rules:
                self._throttle.check(request.now_us)
            await self._answer(request, send, common)
        except Refused as refused:
            await self._refuse(send, scope["method"], refused, base_url, request_id, common)
        except ClientGone:
            log.info("client_gone", extra={"request_id": request_id})
        except DatabaseError as error:
            log.error("read_failed", extra={"request_id": request_id, "error": str(error)})
            busy = Refused("ServerBusy", headers={"Retry-After": "2"})
            await self._refuse(send, scope["method"], busy, base_url, request_id, common)
        except Exception:
            log.exception("request_failed", extra={"request_id": request_id})
            broken = Refused("InternalError")
            await self._refuse(send, scope["method"], broken, base_url, request_id, common)

    async def _rehearse(
        self,
        method: str,
        path: str,
        grant: TaskGrant | None,
        receive: Receive,
        send: Send,
        common: Headers,
    ) -> None:
        """One of the pages about failures that are asked for."""
        if grant is not None:
            raise Refused("InsufficientAccountPermissions")
        try:
            content = await read_body(receive, BODY_BYTES_MAX)
        except BodyTooLarge:
            raise Refused("RequestBodyTooLarge") from None
        status, body = await answer_rehearsal(self._owner, method, path, content)
        await send_answer(send, status, [*common, (b"content-type", b"application/json")], body)

    async def _read(
        self,
        scope: Scope,
        path: str,
        grant: TaskGrant | None,
        receive: Receive,
        headers: Mapping[str, str],
        base_url: str,
    ) -> Request:
        """Match and decode a request that was authenticated."""
        query = parse_query(scope["query_string"].decode("latin-1"))
        api_version = check_api_version(query.get("api-version"))
        operation, params = match(scope["method"], path)
        if grant is not None:
            check_grant(self._quick_reader, grant, params)
        check_options(query, operation)
        if not operation.real:
            raise Refused(
                "NotImplemented", f"This release does not carry out {operation.name} yet."
            )
        request = Request(
            operation=operation,
            params=params,
            query=query,
            base_url=base_url,
            path=path,
            api_version=api_version,
            account=self._account.name,
            conditions=parse_conditions(headers, operation.conditions),
            headers=headers,
            now_us=self._world.now_us(),
        )
        if scope["method"] in ("POST", "PUT", "PATCH"):
            await self._read_body(request, receive, headers)
        return request

    async def _read_body(
        self, request: Request, receive: Receive, headers: Mapping[str, str]
    ) -> None:
        operation = request.operation
        try:
            request.raw_body = await read_body(receive, BODY_BYTES_MAX)
        except BodyTooLarge:
            raise Refused("RequestBodyTooLarge") from None
        if operation.takes is None:
            return
        if not request.raw_body.strip() and operation.takes_optional:
            return
        check_content_type(headers.get("content-type"))
        if operation.name == "create_task_collection":
            request.body = task_handlers.decode_collection(request)
        else:
            request.body = decode(request.raw_body, operation.takes)
            modernize(request.body, request.api_version)

    def _authenticate(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Check the signature. Refuses: AuthenticationFailed …"""
        name, signature = shared_key.parse_authorization(headers.get("authorization"))
        own = self._account.name.lower()
        if name.lower() != own and name.lower() not in ALIASES:
            detail = "The account of the request is not known here."
            raise Refused("AuthenticationFailed", values=[("AuthenticationErrorDetail", detail)])
        shared_key.check_date(headers, self._world.now_us(), self._settings.clock_skew_s)
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        keys = self._account.keys
        shared_key.verify(scope["method"], path, query, headers, name, signature, keys)

    def _is_prefixed(self, raw_path: str) -> bool:
        prefix = self._prefix
        return raw_path[: len(prefix)].lower() == prefix

    # -- calling ----------------------------------------------------------------------------

    async def _answer(self, request: Request, send: Send, common: Headers) -> None:
        answer = await self._call(request)
        if answer.modified_us is not None and request.operation.method in ("GET", "HEAD"):
            try:
                check_read(request.conditions, answer.modified_us)
            except Refused:
                if answer.stream is not None:
                    await answer.stream.aclose()
                raise
        await self._send(request, answer, send, common)

    async def _call(self, request: Request) -> Answer:
        found = _HANDLERS.get(request.operation.name)
        if found is None:
            raise Refused("NotImplemented")
        handler, place = found
        if place == "tx":
            ask = self._owner.ask_much if request.operation.is_bulk else self._owner.ask
            answer: Answer = await ask(handler, request)
            if answer.later is None:
                return answer
            return await asyncio.get_running_loop().run_in_executor(self._patient, answer.later)
        if place == "files":
            return cast(Answer, await handler(self._files, request))
        if "maxresults" in request.operation.query:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._read_apart, handler, request)
        # A point read in the page cache costs less than handing it to a thread.
        if request.operation.name in FROM_THE_RECORD and not wants_stats(request):
            return self._recent.get(request, partial(handler, self._quick_reader, request))
        return cast(Answer, handler(self._quick_reader, request))

    def _read_apart(self, handler: Callable[..., Answer], request: Request) -> Answer:
        reader = self._readers.get()
        try:
            return handler(reader, request)
        finally:
            self._readers.put(reader)

    async def _send(self, request: Request, answer: Answer, send: Send, common: Headers) -> None:
        operation = request.operation
        headers = common
        for name, value in answer.headers:
            headers.append((name.lower().encode(), value.encode("latin-1")))
        if answer.modified_us is not None and "etag" in operation.headers:
            headers.append((b"etag", etag_of(answer.modified_us).encode()))
            headers.append((b"last-modified", format_http_date(answer.modified_us).encode()))
        if "dataserviceid" in operation.headers:
            url = request.base_url + (answer.location or request.path)
            headers.append((b"dataserviceid", url.encode("latin-1")))
        if answer.location is not None and "location" in operation.headers:
            headers.append((b"location", (request.base_url + answer.location).encode()))
        has_type = bool(answer.headers) and any(name == b"content-type" for name, _ in headers)
        if answer.body is not None and not has_type:
            headers.append((b"content-type", JSON_TYPE))
        status = answer.status or operation.status
        if answer.length is None:
            await send_answer(send, status, headers, answer.body or b"")
            return
        headers.append((b"content-length", str(answer.length).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if answer.stream is not None:
            async with contextlib.aclosing(answer.stream):
                async for piece in answer.stream:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(
        self,
        send: Send,
        method: str,
        refused: Refused,
        base_url: str,
        request_id: str,
        common: Headers,
    ) -> None:
        headers = common + _encoded(list(refused.headers.items()))
        body = b""
        if method != "HEAD" and refused.status != 304:
            headers.append((b"content-type", JSON_TYPE))
            body = error_body(refused, base_url, request_id, self._world.now_us())
        if refused.status != 304:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _encoded(headers: list[tuple[str, str]]) -> Headers:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


def parse_query(raw_query: str) -> dict[str, str]:
    """Options by lower-case name without ``$``; the first of a repeated one."""
    if len(raw_query) <= shared_key.CACHED_QUERY_CHARS_MAX:
        return _parse_short_query(raw_query).copy()
    return _parse_query(raw_query)


def _parse_query(raw_query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        if name:
            found.setdefault(unquote_plus(name).lower().lstrip("$"), unquote_plus(value))
    return found


_parse_short_query = lru_cache(maxsize=256)(_parse_query)


def check_content_type(value: str | None) -> None:
    """Refuses: InvalidHeaderValue for a body that says it is not JSON."""
    if value is not None and "json" not in value.lower():
        raise Refused(
            "InvalidHeaderValue", values=[("HeaderName", "Content-Type"), ("HeaderValue", value)]
        )

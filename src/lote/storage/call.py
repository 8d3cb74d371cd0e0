"""One request, taken apart, and its answer."""

from __future__ import annotations

import socket
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    MutableMapping,
)
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from lote.storage.addresses import Addresses
from lote.storage.errors import Refused
from lote.storage.operations import Level
from lote.tokens.verify import Identity

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
METADATA_PREFIX = "x-ms-meta-"
KEPT_NAMES = 512  # of headers, in lower case: most requests have the same
KEPT_NAME_BYTES = 64


class Grant(NamedTuple):
    """What a request's credentials allow: letters of a SAS, or everything (None).

    ``overrides`` are answer headers that a SAS sets (rscc, rscd …); ``identity`` is the bearer
    token's, if there was one.
    """

    letters: frozenset[str] | None
    overrides: Mapping[str, str]
    identity: Identity | None = None

    def allows(self, letters: str) -> bool:
        """Whether one of the letters is granted."""
        return self.letters is None or not self.letters.isdisjoint(letters)


EVERYTHING = Grant(None, {})


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


@dataclass(slots=True)
class Call:
    """A request. Header and query names are in lower case, values as sent (decoded).

    ``metadata`` keeps the case of its names. ``blob`` is the name as UTF-8 bytes. ``root`` is the
    part of the path that names the account, "" if the host does; ``is_secondary``: it was named as
    its copy in the second region, which can only be read.
    """

    method: str
    scheme: str
    client_host: str
    raw_path: str
    root: str
    account: str
    is_secondary: bool
    container: str
    blob: bytes
    query: dict[str, str]
    headers: dict[str, str]
    metadata: dict[str, str]
    receive: Receive
    now_us: int
    request_id: str
    grant: Grant = EVERYTHING

    @property
    def level(self) -> Level:
        """What the path names."""
        if not self.container:
            return "service"
        return "blob" if self.blob else "container"

    @property
    def endpoint(self) -> str:
        """The account's URL as the client sees it, with a slash at the end."""
        return f"{self.scheme}://{self.headers.get('host', '')}{self.root}/"

    def content_length(self) -> int:
        """The body's length in bytes. Refuses: MissingContentLengthHeader."""
        text = self.headers.get("content-length")
        if text is None or not text.isdigit():
            raise Refused("MissingContentLengthHeader")
        return int(text)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ``ClientGone``."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = message.get("more_body", False)
            if body := message.get("body", b""):
                yield body

    async def whole_body(self) -> bytes:
        """The body, whatever its length. Raises ``ClientGone``."""
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            return bytes(message.get("body", b""))  # as most small ones: it came in one piece
        if message["type"] == "http.disconnect":
            raise ClientGone
        return b"".join([message.get("body", b""), *[chunk async for chunk in self.chunks()]])

    async def small_body(self, size_max: int) -> bytes:
        """The whole body. Refuses: RequestBodyTooLarge."""
        parts, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > size_max:
                raise Refused("RequestBodyTooLarge")
            parts.append(chunk)
        return b"".join(parts)


@dataclass(slots=True)
class Answer:
    """A status, headers and a body: bytes, or chunks of ``length`` bytes together, which ``push``
    writes into the client's socket where that can be had."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: AsyncGenerator[bytes, None] | None = None
    length: int | None = None
    push: Callable[[socket.socket], Awaitable[None]] | None = None


def parse_call(
    scope: Scope, receive: Receive, now_us: int, request_id: str, addresses: Addresses
) -> Call:
    """Take an ASGI request apart. Refuses: InvalidUri for a path that is not UTF-8."""
    raw_path = scope["raw_path"].decode("latin-1")
    headers, metadata = _split_headers(scope["headers"])
    address = addresses.parse(headers.get("host", ""), raw_path)
    container, _, blob = address.rest.partition("/")
    query = parse_query(scope["query_string"].decode("latin-1"))
    if container and not blob and query.get("restype", "") not in ("container", "account"):
        container, blob = "$root", container  # a blob of the root container is named without it
    blob_name = parse_blob_name(blob)
    client = scope.get("client") or ("", 0)
    return Call(
        method=scope["method"],
        scheme=scope["scheme"],
        client_host=client[0],
        raw_path=raw_path,
        root=address.root,
        account=address.account,
        is_secondary=address.is_secondary,
        container=unquote(container),
        blob=blob_name,
        query=query,
        headers=headers,
        metadata=metadata,
        receive=receive,
        now_us=now_us,
        request_id=request_id,
    )


def part_call(
    outer: Call,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: dict[str, str],
    request_id: str,
) -> Call:
    """A request that came within another's body. Its path may leave out the account.

    Refuses: InvalidUri for a path that is not UTF-8.
    """
    path = raw_path
    if outer.root and (path + "/").startswith(f"{outer.root}/"):
        path = path[len(outer.root) :]
    container, _, blob = path.lstrip("/").partition("/")
    blob_name = parse_blob_name(blob)
    return replace(
        outer,
        method=method,
        raw_path=raw_path,
        container=unquote(container),
        blob=blob_name,
        query=parse_query(raw_query),
        headers={"host": outer.headers.get("host", ""), **headers},
        metadata={},
        receive=_receive_nothing,
        request_id=request_id,
        grant=EVERYTHING,
    )


async def _receive_nothing() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _split_headers(pairs: list[tuple[bytes, bytes]]) -> tuple[dict[str, str], dict[str, str]]:
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        low = _low_name(raw_name) if len(raw_name) <= KEPT_NAME_BYTES else _low(raw_name)
        value = raw_value.decode("latin-1").strip()
        headers[low] = f"{headers[low]},{value}" if low in headers else value
        if low.startswith(METADATA_PREFIX):
            metadata[raw_name[len(METADATA_PREFIX) :].decode("latin-1")] = headers[low]
    return headers, metadata


def _low(raw_name: bytes) -> str:
    return raw_name.decode("latin-1").lower()


_low_name = lru_cache(KEPT_NAMES)(_low)


def parse_blob_name(raw: str) -> bytes:
    """A blob's name as UTF-8, from the end of a path. The service knows no backslash: it counts
    as a slash. Refuses: InvalidUri for what is not UTF-8."""
    name = unquote_to_bytes(raw).replace(b"\\", b"/")
    if not _is_utf8(name):
        raise Refused("InvalidUri")
    return name


def parse_query(text: str) -> dict[str, str]:
    """Query parameters, names in lower case, values decoded (``+`` is a plus)."""
    query: dict[str, str] = {}
    for pair in text.split("&") if text else ():
        raw_name, _, raw_value = pair.partition("=")
        name, value = unquote(raw_name).lower(), unquote(raw_value)
        query[name] = f"{query[name]},{value}" if name in query else value
    return query


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True

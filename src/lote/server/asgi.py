"""The shapes of ASGI that we use, and small things every listener needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyTooLarge(Exception):
    """The request's body is longer than allowed."""


class ClientGone(Exception):
    """The client closed its connection before its request was read."""


def headers_of(scope: Scope) -> dict[str, str]:
    """Header values by lower-case name; the first of a repeated one."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in reversed(scope["headers"])
    }


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge once it has been read to its end, or to 16 times the
    limit, so that a client which is still sending gets to see the answer."""
    first = await receive()
    if first["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = first.get("body", b"")
    if not first.get("more_body"):
        if len(body) > limit:
            raise BodyTooLarge
        return body
    parts = [body]
    size = len(body)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        if not message.get("more_body") or size > 16 * limit:
            break
    if size > limit:
        raise BodyTooLarge
    return b"".join(parts)


async def send_answer(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b""
) -> None:
    """A whole answer with its length."""
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""The node channel: agents' WebSockets, and the switchboard for agents that live in process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from lote.server import node_calls
from lote.server.asgi import Receive, Scope, Send, headers_of
from lote.server.memory import Link
from lote.server.owner import Owner, Tx
from lote.server.rehearsed import holds_node
from lote.server.reports import apply_report
from lote.server.sampling import note_use
from lote.wire.errors import Refused
from lote.wire.frames import (
    AgentFrame,
    AutoStorage,
    Report,
    Samples,
    ServerFrame,
    decode_agent_frames,
    encode_frames,
)

log = logging.getLogger("lote.channel")


class Callers:
    """What both ways in share: frames from an agent become calls of the owner."""

    def __init__(
        self,
        owner: Owner,
        account: Callable[[], tuple[str, str]],
        auto_storage: Callable[[], AutoStorage | None],
    ) -> None:
        self.owner = owner
        self._account = account
        self._auto_storage = auto_storage

    def take(self, node_key: int, link: Link, frames: list[AgentFrame]) -> None:
        """Frames of one message, in order."""
        for frame in frames:
            if isinstance(frame, Report):
                self.owner.tell(apply_report, node_key, link, frame)
            elif isinstance(frame, Samples):
                self.owner.tell(note_use, node_key, link, frame)
            else:
                self.owner.tell(
                    node_calls.connect_node,
                    node_key,
                    link,
                    frame,
                    self._account(),
                    self._auto_storage(),
                )

    def gone(self, node_key: int, link: Link) -> None:
        """The connection broke."""
        self.owner.tell(node_calls.disconnect_node, node_key, link)


class WebSocketLink:
    """An agent's WebSocket, as the owner thread sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()

    def deliver(self, frames: list[ServerFrame]) -> None:
        """Send these frames in one message."""
        self._put(encode_frames(frames))

    def close(self) -> None:
        """Break the connection."""
        self._put(None)

    def _put(self, message: bytes | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.outgoing.put_nowait, message)


async def serve_channel(callers: Callers, scope: Scope, receive: Receive, send: Send) -> None:
    """One agent's connection, from its handshake to its end."""
    await receive()  # websocket.connect
    try:
        node_id, secret = parse_node_authorization(headers_of(scope).get("authorization", ""))
        node_key = await callers.owner.ask(_admit, node_id, secret)
    except Refused as refused:
        await _refuse(send, refused.status)
        return
    if node_key is None:
        await _refuse(send, 403)
        return
    link = WebSocketLink(asyncio.get_running_loop())
    await send({"type": "websocket.accept"})
    sender = asyncio.create_task(_send_all(link, send))
    try:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                break
            callers.take(node_key, link, decode_agent_frames(message.get("bytes") or b""))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        log.error("bad_frames", extra={"node_id": node_id, "error": str(error)})
    finally:
        callers.gone(node_key, link)
        sender.cancel()


def parse_node_authorization(value: str) -> tuple[str, str]:
    """(node id, secret). Refuses: InvalidAuthenticationInfo."""
    scheme, _, rest = value.partition(" ")
    node_id, _, secret = rest.partition(" ")
    if scheme.lower() != "lote" or not node_id or not secret:
        raise Refused("InvalidAuthenticationInfo", status=401)
    return node_id, secret


def _admit(tx: Tx, node_id: str, secret: str) -> int | None:
    try:
        node_key = node_calls.admit_node(tx, node_id, secret)
    except PermissionError:
        return None
    if holds_node(tx.memory, tx.memory.nodes[node_key].id, "lost"):
        raise Refused("OperationTimedOut", status=503)  # for a while; it calls again
    return node_key


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "websocket.http.response.start", "status": status, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})


async def _send_all(link: WebSocketLink, send: Send) -> None:
    while True:
        message = await link.outgoing.get()
        if message is None:
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "websocket.send", "bytes": message})


class LocalSwitchboard:
    """Where agents that live in this process connect; see ``engines.seam.Switchboard``."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def connect(
        self, node_id: str, secret: str, send: Callable[[list[ServerFrame]], None]
    ) -> LocalConnection:
        """Open a channel. Raises PermissionError when the node may not, ConnectionRefusedError
        when it can't now."""
        try:
            node_key = self._callers.owner.call(_admit, node_id, secret)
        except Refused as refused:
            if refused.code == "OperationTimedOut":
                raise ConnectionRefusedError(refused.message) from None
            raise
        if node_key is None:
            raise PermissionError("unknown node, or its secret is no longer good")
        return LocalConnection(self._callers, node_key, send)


class LocalConnection:
    """The server's end of the connection of an agent in this process."""

    def __init__(
        self, callers: Callers, node_key: int, send: Callable[[list[ServerFrame]], None]
    ) -> None:
        self._callers = callers
        self._node_key = node_key
        self._send = send

    def receive(self, frames: list[AgentFrame]) -> None:
        """Frames from the agent."""
        self._callers.take(self._node_key, self, frames)

    def close(self) -> None:
        """The agent is gone or the connection broke."""
        self._callers.gone(self._node_key, self)

    def deliver(self, frames: list[ServerFrame]) -> None:
        """Send these frames to the agent."""
        self._send(frames)

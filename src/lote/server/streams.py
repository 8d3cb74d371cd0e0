"""Transfers of node files: asked over the channel, answered by the agent on a second connection.

The answer's body flows from the agent's POST straight into the client's response, so that a slow
client holds the agent and not our memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from lote.server.asgi import Receive, Scope, Send, headers_of, send_answer
from lote.server.channel import parse_node_authorization
from lote.server.node_calls import admit_node
from lote.server.node_files import FileFacts
from lote.server.owner import Owner, Tx
from lote.wire.errors import ERRORS, Refused
from lote.wire.frames import Open
from lote.world import World

ANSWER_S_MAX = 30.0  # REST: a request's timeout


class Transfer:
    """An answer on its way: what the agent said first, then the body piece by piece."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.began: asyncio.Future[tuple[int, str, FileFacts]] = (
            asyncio.get_running_loop().create_future()
        )
        self._receive: Receive | None = None
        self._over = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        """The pieces of the body. Raises ConnectionError when the agent breaks off."""
        if self._receive is None:
            return
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the node broke off the transfer")
            piece = message.get("body", b"")
            if piece:
                yield piece
            if not message.get("more_body"):
                return

    def finish(self) -> None:
        """The client has what it wanted, or has gone: let the agent go on."""
        self._over.set()

    async def serve(self, receive: Receive, status: int, code: str, facts: FileFacts) -> None:
        """The agent's side: hold its request until the client has the body."""
        self._receive = receive
        if not self.began.done():
            self.began.set_result((status, code, facts))
            await self._over.wait()


class Streams:
    """The transfers that are under way."""

    def __init__(self, owner: Owner, world: World) -> None:
        self._owner = owner
        self._world = world
        self._open: dict[str, Transfer] = {}

    async def ask(self, node_key: int, node_id: str, frame: Open) -> Transfer:
        """Ask a node; returns once its answer begins. The caller must ``finish`` it.

        Refuses: the agent's own refusal (FileNotFound …), TaskFilesUnavailable, ServerBusy.
        """
        transfer = self._open[frame.stream] = Transfer(node_id)
        try:
            if not await self._owner.ask(_send_open, node_key, frame):
                raise Refused("TaskFilesUnavailable")
            async with asyncio.timeout(ANSWER_S_MAX):
                status, code, _ = await transfer.began
        except TimeoutError:
            raise Refused(
                "OperationTimedOut", "The node did not answer in time.", status=503
            ) from None
        finally:
            del self._open[frame.stream]
        if status >= 400:
            transfer.finish()
            raise Refused(code if code in ERRORS else "FileNotFound", status=status)
        return transfer

    def new_id(self) -> str:
        """A name for a transfer."""
        return self._world.new_guid()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``POST /node/streams/<stream>``: an agent answers."""
        headers = headers_of(scope)
        stream = scope["path"].rsplit("/", 1)[-1]
        try:
            node_id, secret = parse_node_authorization(headers.get("authorization", ""))
            await self._owner.ask(_check, node_id, secret)
        except Refused as refused:
            await send_answer(send, refused.status, [])
            return
        transfer = self._open.get(stream)
        if transfer is None or transfer.node_id.lower() != node_id.lower():
            await send_answer(send, 410, [])
            return
        facts = FileFacts()
        if "x-lote-file" in headers:
            facts = msgspec.json.decode(headers["x-lote-file"], type=FileFacts)
        status = int(headers.get("x-lote-status", "200"))
        await transfer.serve(receive, status, headers.get("x-lote-code", ""), facts)
        await send_answer(send, 204, [])


def _check(tx: Tx, node_id: str, secret: str) -> None:
    try:
        admit_node(tx, node_id, secret)
    except PermissionError:
        raise Refused("AuthenticationFailed") from None


def _send_open(tx: Tx, node_key: int, frame: Open) -> bool:
    if node_key not in tx.memory.links:
        return False
    tx.send(node_key, frame)
    return True

"""The seam of the engines: where nodes come from.

An engine starts agents and ends them; it never sees a task. Every node it starts calls the server
by itself over the node channel. All verbs may block (the owner thread never calls them; a thread of
its own does) and raise ``EngineError``, which keeps the command, exit code and stderr it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from lote.wire.frames import AgentFrame, ServerFrame


class EngineError(Exception):
    """The engine could not do it; the text says what it ran and what came back."""


class NodeOrder(msgspec.Struct, frozen=True):
    """One node that is wanted. ``secret`` opens the node channel for this node alone."""

    node_id: str
    pool_id: str
    secret: str
    slots: int
    vm_size: str
    is_dedicated: bool


class EngineNode(msgspec.Struct, frozen=True):
    """A node as the engine sees it now. ``alive`` is false once its agent is gone for good."""

    node_id: str
    alive: bool
    detail: str = ""


class Connection(Protocol):
    """The server's end of one agent's connection, for engines whose agents live in process."""

    def receive(self, frames: list[AgentFrame]) -> None:
        """Frames from the agent."""

    def close(self) -> None:
        """The agent is gone or the connection broke."""


class Switchboard(Protocol):
    """Where agents connect. WebSocket agents come in by HTTP, scripted ones through this."""

    def connect(
        self, node_id: str, secret: str, send: Callable[[list[ServerFrame]], None]
    ) -> Connection:
        """Open a channel; ``send`` is called with the server's frames, from any thread.

        Raises PermissionError when the node is unknown, gone or the secret wrong, and
        ConnectionRefusedError when it is out of contact for a while.
        """


class Engine(Protocol):
    """What a pool needs of the machines beneath it."""

    name: str
    watch: Callable[[str, str], None]
    """Called with (node id, why) as soon as the engine sees that a node's agent has ended."""

    def start_nodes(self, orders: list[NodeOrder]) -> None:
        """Start an agent for each order. A node already started is left as it is."""

    def list_nodes(self) -> list[EngineNode]:
        """All nodes the engine has, in one call; after a restart of the server too."""

    def stop_nodes(self, node_ids: list[str]) -> None:
        """End these nodes and all that runs on them; unknown ones are passed over. Raises
        EngineError when some can't be ended: those are still listed, the others are gone."""

    def halt_nodes(self, node_ids: list[str], *, wipes: bool) -> None:
        """End these nodes' agents and all that runs on them, like machines switched off; they can
        be started again. Their files stay, unless ``wipes``. Unknown ones are passed over."""

    def folder_of(self, node_id: str) -> Path | None:
        """The root directory of a node's files, if this process can read it; else None."""

    def close(self, *, leave_nodes: bool) -> None:
        """Let go. Nodes are ended unless they are to be left; idempotent. A node that was ended
        this way may be started again under its name."""

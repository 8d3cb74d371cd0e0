"""How the engine suite drives an engine: the same few verbs over processes and over a script."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from conformance.board import Board
from lote.engines.agent_process import AGENT_COMMAND
from lote.engines.agent_record import read_record
from lote.engines.fake import FakeEngine
from lote.engines.local import LocalEngine
from lote.engines.script import Script
from lote.engines.seam import Engine, NodeOrder
from lote.engines.survivor import Remains, find_survivors
from lote.world import SteppedWorld, World

DEADLINE_S = 20.0
LOOK_S = 0.02
REAL_COMMAND = tuple(AGENT_COMMAND)
STUB_COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("stub_agent.py")))


class Rig(Protocol):
    """An engine under test with the board its agents call."""

    board: Board
    engine: Engine
    told: list[tuple[str, str]]

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Let things go on until ``holds``; fail with ``what`` if they never come to that."""

    def kill_agent(self, node_id: str) -> None:
        """The agent dies on the spot."""

    def break_channel(self, node_id: str) -> None:
        """The agent's connection breaks; it may connect again."""

    def hold(self, node_id: str) -> None:
        """The node cannot be removed, until ``release``."""

    def release(self, node_id: str) -> None:
        """It can."""

    def running(self, node_id: str) -> int:
        """How many things run on the node, beside its agent."""

    def restart(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """The engine is closed, its nodes left; ``meanwhile``; another service takes over."""


def order(node_id: str, slots: int = 2) -> NodeOrder:
    return NodeOrder(node_id, "pool", f"secret-of-{node_id}", slots, "standard", True)


class LocalRig:
    """Agents that are processes of this machine."""

    def __init__(
        self,
        board: Board,
        url: str,
        node_root: Path,
        command: tuple[str, ...],
        engine: LocalEngine | None = None,
    ) -> None:
        self.board = board
        self.told: list[tuple[str, str]] = []
        self.node_root = node_root
        self._url = url
        self._command = command
        self.engine = engine or self._make_engine()

    def _make_engine(self) -> LocalEngine:
        engine = LocalEngine(
            self.node_root, lambda: self._url, World(), command=self._command, grace_s=30
        )
        engine.watch = self._tell
        return engine

    def _tell(self, node_id: str, why: str) -> None:
        with self.board.changed:
            self.told.append((node_id, why))
            self.board.changed.notify_all()

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        with self.board.changed:
            while not holds():
                assert time.monotonic() < deadline_s, f"never: {what}"
                self.board.changed.wait(LOOK_S)  # what is read from /proc sends no word

    def pid(self, node_id: str) -> int:
        record = read_record(self.node_root / node_id)
        assert record is not None
        return record.pid

    def kill_agent(self, node_id: str) -> None:
        descriptor = os.pidfd_open(self.pid(node_id))
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        dead, _, _ = select.select([descriptor], [], [], 10)  # readable once it has ended
        os.close(descriptor)
        assert dead, "a killed agent ends"

    def break_channel(self, node_id: str) -> None:
        self.board.channels[node_id].drop()

    def hold(self, node_id: str) -> None:
        # A folder behind a link is not removed: what is there might be anybody's.
        folder = self.node_root / node_id
        folder.rename(self._aside(node_id))
        folder.symlink_to(self._aside(node_id))

    def release(self, node_id: str) -> None:
        (self.node_root / node_id).unlink()
        self._aside(node_id).rename(self.node_root / node_id)

    def _aside(self, node_id: str) -> Path:
        return self.node_root.parent / f"aside-{node_id}"

    def running(self, node_id: str) -> int:
        folder = self.node_root / node_id
        record = read_record(folder)
        if record is None:
            return 0
        return len(find_survivors([Remains(node_id, str(folder), record)])[node_id].tasks)

    def restart(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.engine.close(leave_nodes=True)
        meanwhile()
        self.engine = self._make_engine()


class FakeRig:
    """Scripted agents; the clock moves from one due moment to the next."""

    def __init__(self, board: Board, world: SteppedWorld) -> None:
        self.board = board
        self.told: list[tuple[str, str]] = []
        self._held: set[str] = set()
        script = Script(removal=lambda node_id: "held" if node_id in self._held else None)
        self.engine = FakeEngine(board, world, script)
        self.engine.watch = lambda node_id, why: self.told.append((node_id, why))

    def until(self, holds: Callable[[], object], what: str) -> None:
        while not holds():
            due_us = self.engine.next_due_us
            assert due_us is not None, f"never: {what}"
            self.engine.advance_to(due_us)

    def kill_agent(self, node_id: str) -> None:
        self.engine.kill_node(node_id)

    def break_channel(self, node_id: str) -> None:
        self.engine.cut(node_id)
        self.engine.mend(node_id)

    def hold(self, node_id: str) -> None:
        self._held.add(node_id)

    def release(self, node_id: str) -> None:
        self._held.remove(node_id)

    def running(self, node_id: str) -> int:
        return self.engine.count_running(node_id)

    def restart(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.engine.close(leave_nodes=True)
        meanwhile()
        self.engine.attach(self.board)

"""Scripted nodes on a scripted clock: a thousand nodes in one process, with the real protocol.

Nothing here has a thread. Work is done by whoever calls: a verb, the server's ``send``, or
``advance_to``. Frames that arrive are put into an inbox and taken out by one caller at a time, so
that a server that answers from inside ``receive`` does not pile up calls on the stack.
"""

from __future__ import annotations

import contextlib
import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from lote.engines.fake_node import FakeNode
from lote.engines.script import Script
from lote.engines.seam import EngineError, EngineNode, NodeOrder, Switchboard
from lote.wire.frames import Open, ServerFrame
from lote.world import SteppedWorld


class FakeEngine:
    """An engine whose nodes follow a `Script`, for tests, rehearsals and what-if runs.

    Things happen at moments of ``world``'s clock. ``advance_to`` moves that clock from one due
    moment to the next, so that the server's answers are dated rightly; what is due at the present
    moment happens at once. Requests for node files are refused through ``on_open`` (called with
    the node's id and the request), or unanswered without it: scripted nodes have no files.
    """

    name = "fake"

    def __init__(
        self,
        switchboard: Switchboard,
        world: SteppedWorld,
        script: Script | None = None,
        *,
        on_open: Callable[[str, Open], None] | None = None,
    ) -> None:
        self.watch: Callable[[str, str], None] = lambda node_id, why: None
        self._switchboard = switchboard
        self._world = world
        self._script = script or Script()
        self._on_open = on_open
        self._nodes: dict[str, FakeNode] = {}
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._due_count = 0
        self._inbox: deque[tuple[FakeNode, int, list[ServerFrame]]] = deque()
        self._lock = threading.RLock()
        self._draining = False
        self._closed = False

    # -- verbs of the seam ------------------------------------------------------------------

    def start_nodes(self, orders: list[NodeOrder]) -> None:
        """Order nodes; the script decides when, and whether, each says Hello."""
        with self._turn():
            if self._closed:
                raise EngineError("the fake engine is closed")
            for order in orders:
                known = self._nodes.get(order.node_id)
                if known is None or not known.alive:
                    self._start_node(order)

    def list_nodes(self) -> list[EngineNode]:
        """All nodes ordered and not stopped; dead ones too, with the reason."""
        with self._turn():
            return [EngineNode(i, n.alive, n.why) for i, n in self._nodes.items()]

    def stop_nodes(self, node_ids: list[str]) -> None:
        """End these nodes and what they run, at once; ``watch`` is not told.

        Raises EngineError for those that the script keeps: they are listed as ended.
        """
        refused = []
        with self._turn():
            for node_id in dict.fromkeys(node_ids):
                node = self._nodes.get(node_id)
                if node is None:
                    continue
                node.end("stopped")
                why = self._script.removal(node_id)
                if why is None:
                    del self._nodes[node_id]
                else:
                    refused.append(f"node {node_id}: {why}")
        if refused:
            raise EngineError("; ".join(refused))

    def halt_nodes(self, node_ids: list[str], *, wipes: bool) -> None:
        """End these nodes and what they run, at once; scripted nodes have no files."""
        with self._turn():
            for node_id in node_ids:
                node = self._nodes.get(node_id)
                if node is not None:
                    node.end("halted")

    def folder_of(self, node_id: str) -> Path | None:
        """None: scripted nodes have no files."""
        return None

    def close(self, *, leave_nodes: bool) -> None:
        """End all nodes, or let them run on without a server until ``attach``."""
        with self._turn():
            self._closed = True
            for node in self._nodes.values():
                node.disconnect()
            if not leave_nodes:
                for node in self._nodes.values():
                    node.end("stopped")
                self._nodes.clear()

    # -- the script's clock -----------------------------------------------------------------

    @property
    def next_due_us(self) -> int | None:
        """The moment of the next thing that happens by itself; None when nothing will."""
        with self._lock:
            return self._due[0][0] if self._due else None

    def advance_to(self, now_us: int) -> None:
        """Let everything happen that is due until ``now_us``, in order, and set the clock to it.

        A moment already past is no error: then what is overdue happens now.
        """
        while True:
            with self._turn():
                next_us = self._due[0][0] if self._due else None
                self._step_clock(now_us if next_us is None else min(next_us, now_us))
                if next_us is None or next_us > now_us:
                    return

    def now_us(self) -> int:
        """The scripted time."""
        return self._world.now_us()

    def at(self, due_us: int, act: Callable[[], None]) -> None:
        """Have ``act`` called when the clock reaches ``due_us``; equal moments keep their order."""
        with self._lock:
            self._due_count += 1
            heapq.heappush(self._due, (due_us, self._due_count, act))

    def count_running(self, node_id: str) -> int:
        """How many runs are at work on a node; 0 for one that is not known."""
        with self._lock:
            node = self._nodes.get(node_id)
            return 0 if node is None else node.count_running()

    # -- interventions ----------------------------------------------------------------------

    def kill_node(self, node_id: str, why: str = "killed by the script") -> None:
        """The node's agent dies now, unasked: the channel breaks and ``watch`` is called."""
        with self._turn():
            self.leave(self._nodes[node_id], why)

    def cut(self, node_id: str) -> None:
        """The node loses contact; it runs on and keeps its reports until ``mend``."""
        with self._turn():
            self._nodes[node_id].disconnect()

    def mend(self, node_id: str) -> None:
        """The node calls home again."""
        with self._turn():
            self._connect(self._nodes[node_id])

    def attach(self, switchboard: Switchboard) -> None:
        """The server was restarted: all nodes that had called home call it again, here."""
        with self._turn():
            self._switchboard = switchboard
            self._closed = False
            for node in list(self._nodes.values()):
                node.disconnect()
                if node.calls_home:
                    self._connect(node)

    # -- what nodes need --------------------------------------------------------------------

    def leave(self, node: FakeNode, why: str) -> None:
        """The node's agent has ended by itself; told once."""
        if node.alive:
            node.end(why)
            self.watch(node.order.node_id, why)

    def refuse_open(self, node_id: str, request: Open) -> None:
        """Pass on that a file was asked for."""
        if self._on_open is not None:
            self._on_open(node_id, request)

    # -- within -----------------------------------------------------------------------------

    def _start_node(self, order: NodeOrder) -> None:
        known = self._nodes.get(order.node_id)
        number = 1 if known is None else known.start + 1
        node = self._nodes[order.node_id] = FakeNode(order, self._script, self, number)
        fate = self._script.fate(order)
        now_us = self.now_us()
        if fate.start_s is not None:
            self.at(now_us + int(fate.start_s * 1e6), partial(self._connect, node))
        if fate.dies_after_s is not None:
            why = f"died after {fate.dies_after_s:g} s, as scripted"
            self.at(now_us + int(fate.dies_after_s * 1e6), partial(self.leave, node, why))

    def _connect(self, node: FakeNode) -> None:
        node.calls_home = True
        if not node.alive or node.connected or self._closed:
            return
        order = node.order
        channel = node.new_channel()

        def send(frames: list[ServerFrame]) -> None:
            self._inbox.append((node, channel, frames))
            self._drain()

        try:
            connection = self._switchboard.connect(order.node_id, order.secret, send)
        except ConnectionRefusedError:
            return  # it does not call again by itself
        except PermissionError:
            self.leave(node, "the server does not know the node")
            return
        node.greet(connection)

    def _step_clock(self, to_us: int) -> None:
        behind_us = to_us - self._world.now_us()
        if behind_us > 0:
            # The half keeps the float from ending one microsecond short.
            self._world.advance((behind_us + 0.5) / 1_000_000)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the engine; on letting go, do what is due by then."""
        with self._lock:
            yield
        self._drain()

    def _drain(self) -> None:
        """Take frames and due moments until there are none.

        When another thread holds the engine, it looks again after letting go, and finds them.
        """
        while self._inbox or self._is_due():
            if not self._lock.acquire(blocking=False):
                return
            try:
                if self._draining:
                    return  # called from within: the drain further down the stack goes on
                self._draining = True
                try:
                    self._drain_held()
                finally:
                    self._draining = False
            finally:
                self._lock.release()

    def _drain_held(self) -> None:
        while True:
            if self._inbox:
                node, channel, frames = self._inbox.popleft()
                node.receive(channel, frames)
            elif self._is_due():
                heapq.heappop(self._due)[2]()
            else:
                return

    def _is_due(self) -> bool:
        due = self._due
        return bool(due) and due[0][0] <= self._world.now_us()

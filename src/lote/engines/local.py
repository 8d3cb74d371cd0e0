"""Nodes as processes of this machine: each is one agent with a folder of its own."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lote.engines.agent_process import (
    AGENT_COMMAND,
    AGENT_ENVIRONMENT,
    AgentStart,
    close_start,
    send_start,
    spawn_agent,
)
from lote.engines.agent_record import (
    AgentRecord,
    open_agent,
    read_record,
    record_of,
    write_record,
)
from lote.engines.deathwatch import KILL_S_MAX, Deathwatch
from lote.engines.local_node import LocalNode
from lote.engines.node_folder import bound_output, make_folder, remove_folder
from lote.engines.node_root import SYSTEM_ROOT, make_node_root
from lote.engines.seam import EngineError, EngineNode, NodeOrder
from lote.world import World

log = logging.getLogger(__name__)

NODE_ROOT = "tasks"  # where an agent keeps what its tasks and clients see
STOP_GRACE_S = 10.0  # from SIGTERM to SIGKILL; an agent only has to kill its tasks in it


class LocalEngine:
    """Starts agents on this machine, finds them again after a restart, sees them end.

    ``server_url`` is asked at each start. ``grace_s`` is how long an agent goes on without the
    server. ``task_uid_base`` lets tasks run as users of their own when the service is root.
    ``containers``: the command that nodes run containers with, and its options for each of them.
    ``environment`` and ``command`` are what the agents are started with. Where nodes live is told
    in `make_node_root`.

    A node's secret goes to its agent through a pipe: it is on no command line, in no environment
    and on no disk. Nodes left by an earlier service are adopted by the first verb that is called,
    so ``watch`` can be set before. ``watch`` tells of ends that nobody asked this engine for, as
    soon as nothing of the node runs any more; what ``stop_nodes`` ends is not told.
    """

    name = "local"

    def __init__(
        self,
        node_root: Path,
        server_url: Callable[[], str],
        world: World,
        *,
        ca_file: Path | None = None,
        grace_s: float = 60.0,
        task_uid_base: int | None = None,
        environment: Mapping[str, str] = AGENT_ENVIRONMENT,
        command: Sequence[str] = AGENT_COMMAND,
        stop_grace_s: float = STOP_GRACE_S,
        containers: tuple[str, str] = ("", ""),
        system_root: Path = SYSTEM_ROOT,
    ) -> None:
        self.watch: Callable[[str, str], None] = lambda node_id, why: None
        self._server_url = server_url
        self._world = world
        self._ca_file = None if ca_file is None else str(Path(ca_file).absolute())
        self._grace_s = grace_s
        self._task_uid_base = task_uid_base if os.geteuid() == 0 else None
        self._containers = containers
        self._environment = dict(environment)
        self._command = tuple(command)
        self._stop_grace_s = stop_grace_s
        self._root = make_node_root(
            node_root, shared=self._task_uid_base is not None, system_root=system_root
        )
        self._nodes: dict[str, LocalNode] = {}
        self._lock = threading.Lock()  # guards _nodes, _adopted, _closed and `asked` of nodes
        self._adopted = False
        self._closed = False
        self._deathwatch = Deathwatch(world, self._tell)

    def start_nodes(self, orders: list[NodeOrder]) -> None:
        """Start an agent for each order, without waiting for its Hello.

        A node whose agent lives is left as it is; one whose agent has ended is started again.
        Raises EngineError when the machine refuses; the orders before that one are started.
        """
        self._adopt_nodes()
        for order in orders:
            with self._lock:
                self._refuse_closed()
                known = self._nodes.get(order.node_id)
                if known is None or known.gone.is_set():
                    self._nodes[order.node_id] = self._start_node(order)

    def list_nodes(self) -> list[EngineNode]:
        """All nodes with a folder; one is alive until its agent and all its tasks are gone."""
        self._adopt_nodes()
        with self._lock:
            nodes = list(self._nodes.values())
        for node in nodes:
            bound_output(node.folder)
        return [
            EngineNode(n.node_id, not n.gone.is_set(), n.why or f"agent pid {n.record.pid}")
            for n in nodes
        ]

    def stop_nodes(self, node_ids: list[str]) -> None:
        """End agents and tasks of these nodes and remove their folders; returns when it is done.

        Unknown ids are passed over. Raises EngineError when something can't be ended or removed;
        those nodes are still listed.
        """
        with self._lock:
            self._refuse_closed()
        self._adopt_nodes()
        self._end_nodes(node_ids, removes=True, forgets=True)

    def halt_nodes(self, node_ids: list[str], *, wipes: bool) -> None:
        """End agents and tasks of these nodes; their folders stay, emptied when ``wipes``.

        Raises EngineError when something can't be ended or removed.
        """
        with self._lock:
            self._refuse_closed()
        self._adopt_nodes()
        self._end_nodes(node_ids, removes=wipes, forgets=False)

    def folder_of(self, node_id: str) -> Path | None:
        """The root directory of a node's files, if it has one."""
        with self._lock:
            node = self._nodes.get(node_id)
        return None if node is None else node.folder / NODE_ROOT

    def close(self, *, leave_nodes: bool) -> None:
        """Let go of all nodes. Unless left to live they are ended, like machines switched off:
        their folders stay, and a node of the same name comes back with its files."""
        if not leave_nodes:
            self._adopt_nodes()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            node_ids = list(self._nodes)
        try:
            if not leave_nodes:
                self._end_nodes(node_ids, removes=False, forgets=True)
        finally:
            self._deathwatch.close()

    # -- starting and adopting --------------------------------------------------------------

    def _start_node(self, order: NodeOrder) -> LocalNode:
        folder = make_folder(self._root, order.node_id)
        try:
            # If we die before the next record, the folder is known to be a node's.
            write_record(folder, AgentRecord(order.pool_id))
            process = spawn_agent(self._command, self._environment, folder)
        except OSError as error:
            remove_folder(folder)
            raise EngineError(f"{' '.join(self._command)} did not start: {error}") from error
        record = record_of(order.pool_id, process.pid, self._command)
        node = LocalNode(order.node_id, folder, record, os.pidfd_open(process.pid))
        try:
            # Written before the agent gets its line and begins, so that it is never unknown.
            write_record(folder, record)
            read = send_start(process, self._start_of(order, folder))
        except Exception as error:
            node.asked = True
            node.signal_agent(signal.SIGKILL)
            raise EngineError(f"node {order.node_id} did not start: {error}") from error
        finally:
            close_start(process)
            self._deathwatch.add(node)
        log.info("event=agent_started node_id=%s pid=%d read=%s", node.node_id, process.pid, read)
        return node

    def _start_of(self, order: NodeOrder, folder: Path) -> AgentStart:
        return AgentStart(
            node_id=order.node_id,
            secret=order.secret,
            server_url=self._server_url(),
            ca_file=self._ca_file,
            node_dir=str(folder),
            grace_s=self._grace_s,
            task_uid_base=self._task_uid_base,
            container_command=self._containers[0],
            container_options=self._containers[1],
        )

    def _adopt_nodes(self) -> None:
        """Take over the nodes that an earlier service left, once.

        Those whose agents are gone are swept first, so that a list of nodes can be believed.
        """
        dead = []
        with self._lock:
            if self._adopted or self._closed:
                return
            self._adopted = True
            for folder in sorted(self._root.iterdir()):
                record = read_record(folder)
                if record is None:
                    continue
                node = LocalNode(folder.name, folder, record, open_agent(record))
                self._nodes[node.node_id] = node
                alive = node.descriptor is not None
                if not alive:
                    node.asked = True  # list_nodes tells of it
                    dead.append(node)
                self._deathwatch.add(node)
                log.info("event=node_adopted node_id=%s alive=%s", folder.name, alive)
        for node in self._await_gone(dead, KILL_S_MAX):
            with self._lock:
                node.asked = node.gone.is_set()

    # -- ending -----------------------------------------------------------------------------

    def _end_nodes(self, node_ids: list[str], *, removes: bool, forgets: bool) -> None:
        with self._lock:
            nodes = [self._nodes[n] for n in dict.fromkeys(node_ids) if n in self._nodes]
            for node in nodes:
                node.asked = True
        for node in nodes:
            node.signal_agent(signal.SIGTERM)
        stuck = self._await_gone(nodes, self._stop_grace_s)
        for node in stuck:
            node.signal_agent(signal.SIGKILL)
        stuck = self._await_gone(stuck, KILL_S_MAX + self._stop_grace_s)
        failures = ["nodes do not end: " + ", ".join(n.node_id for n in stuck)] if stuck else []
        for node in nodes:
            if node in stuck:
                continue
            try:
                if removes:
                    remove_folder(node.folder)
            except EngineError as error:
                failures.append(str(error))
                continue
            with self._lock:
                if forgets and self._nodes.get(node.node_id) is node:
                    del self._nodes[node.node_id]
        if failures:
            raise EngineError("; ".join(failures))

    def _await_gone(self, nodes: list[LocalNode], limit_s: float) -> list[LocalNode]:
        """Wait until these nodes are gone, ``limit_s`` in all; returns those that are not."""
        deadline_s = self._world.monotonic() + limit_s
        return [n for n in nodes if not n.gone.wait(max(0.0, deadline_s - self._world.monotonic()))]

    def _refuse_closed(self) -> None:
        if self._closed:
            raise EngineError("the local engine is closed")

    def _tell(self, node: LocalNode) -> None:
        with self._lock:
            if node.asked:
                return
        self.watch(node.node_id, node.why)

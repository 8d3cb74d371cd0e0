"""The engines' desk: what the owner asks of engines is done here, in threads that may block."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from lote.engines.seam import Engine, EngineError, NodeOrder
from lote.server import fleet, node_actions, node_calls, removals
from lote.server.kept import KeptFiles
from lote.server.owner import Owner

log = logging.getLogger("lote.desk")

ENDERS_MAX = 8  # nodes that are ended at a time; each may take an engine's whole patience


class EngineDesk:
    """One thread an engine; what the engine answers is told to the owner.

    Ends of nodes are begun in their order and waited for apart: a node that hangs takes its time,
    and what was asked after it must not.
    """

    def __init__(self, engines: Mapping[str, Engine], owner: Owner, kept: KeptFiles) -> None:
        self._engines = engines
        self._kept = kept
        self._owner = owner
        self._queues: dict[str, queue.SimpleQueue[Callable[[], None] | None]] = {}
        self._threads: list[threading.Thread] = []
        self._enders = ThreadPoolExecutor(ENDERS_MAX, thread_name_prefix="desk-end")
        for name, engine in engines.items():
            engine.watch = self._agent_gone
            jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
            self._queues[name] = jobs
            thread = threading.Thread(target=_work, args=(jobs,), name=f"desk-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def start(self, engine: str, orders: list[NodeOrder]) -> None:
        """Start these nodes; a failure is told to the owner."""
        self._queues[engine].put(lambda: self._start(engine, orders))

    def stop(self, engine: str, node_ids: list[str]) -> None:
        """End these nodes; the owner is told when they have gone."""
        self._queues[engine].put(lambda: self._stop(engine, node_ids))

    def halt(self, engine: str, node_id: str, *, wipes: bool) -> None:
        """Switch a node off; the owner is told when nothing of it runs any more."""
        self._queues[engine].put(lambda: self._halt(engine, node_id, wipes))

    def forget_files(self, directories: list[str]) -> None:
        """Remove what was kept of these directories."""
        for jobs in list(self._queues.values())[:1]:
            jobs.put(lambda: self._kept.forget(directories))

    def resume(self) -> None:
        """After a start of the server: see which nodes still live, have the others started."""
        for name in self._engines:
            self._queues[name].put(lambda name=name: self._resume(name))  # type: ignore[misc]

    def close(self, *, leave_nodes: bool) -> None:
        """Let the engines go, after what waits at the desk."""
        for jobs in self._queues.values():
            jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=30)
        self._enders.shutdown(wait=True)
        for engine in self._engines.values():
            engine.close(leave_nodes=leave_nodes)

    def _start(self, name: str, orders: list[NodeOrder]) -> None:
        try:
            self._engines[name].start_nodes(orders)
        except EngineError as error:
            log.error("nodes_not_started", extra={"engine": name, "error": str(error)})
            self._owner.tell(fleet.order_failed, [one.node_id for one in orders], str(error))

    def _stop(self, name: str, node_ids: list[str]) -> None:
        engine = self._engines[name]
        for node_id in node_ids:
            folder = engine.folder_of(node_id)
            if folder is not None:
                self._kept.keep(node_id, folder)
        self._enders.submit(self._end, name, node_ids)

    def _halt(self, name: str, node_id: str, wipes: bool) -> None:
        self._enders.submit(self._switch_off, name, node_id, wipes)

    def _switch_off(self, name: str, node_id: str, wipes: bool) -> None:
        try:
            self._engines[name].halt_nodes([node_id], wipes=wipes)
        except EngineError as error:
            log.error("node_not_halted", extra={"engine": name, "error": str(error)})
            self._owner.tell(node_actions.halt_failed, node_id, str(error))
            return
        self._owner.tell(node_actions.node_halted, node_id)

    def _end(self, name: str, node_ids: list[str]) -> None:
        engine = self._engines[name]
        left: set[str] = set()
        why = ""
        try:
            engine.stop_nodes(node_ids)
        except EngineError as error:
            why = str(error)
            log.error("nodes_not_stopped", extra={"engine": name, "error": why})
            left = _left_of(engine, node_ids)
        except Exception:
            log.exception("desk_failed")
            left, why = set(node_ids), "The service failed at it; its log says more."
        for node_id in node_ids:
            if node_id in left:
                self._owner.tell(removals.removal_failed, node_id, why)
            else:
                self._owner.tell(fleet.node_gone, node_id)

    def _resume(self, name: str) -> None:
        listed = {node.node_id: node.alive for node in self._engines[name].list_nodes()}
        self._owner.tell(node_calls.resume_nodes, name, listed)

    def _agent_gone(self, node_id: str, why: str) -> None:
        self._owner.tell(fleet.agent_gone, node_id, why)


def _left_of(engine: Engine, node_ids: list[str]) -> set[str]:
    """Which nodes the engine still has; all of these if it does not say, so that they are tried
    again: nobody would ask any more for one that was told as gone."""
    try:
        return {node.node_id for node in engine.list_nodes()}
    except Exception:
        log.exception("desk_failed")
        return set(node_ids)


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while True:
        job = jobs.get()
        if job is None:
            return
        try:
            job()
        except Exception:
            log.exception("desk_failed")

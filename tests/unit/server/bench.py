"""A whole server core in one thread, on a stepped clock: owner, desk and scripted nodes.

Operations go through the operations table and the wire's decoders to the real handlers; nodes are
those of the fake engine and speak the real frames. Nothing sleeps and nothing is mocked: the owner
is not started, so that its transactions run in the calling thread, and the desk does its work when
``settle`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from brittle import BrittleConnection
from compared import differences

from lote.engines.fake import FakeEngine
from lote.engines.script import Script
from lote.engines.seam import EngineError, NodeOrder
from lote.server import fleet, node_actions, node_calls, removals
from lote.server.channel import Callers, LocalConnection, LocalSwitchboard
from lote.server.handlers import task as task_handlers
from lote.server.http import find_handler
from lote.server.load import load_memory
from lote.server.memory import ScaleOrder, first_due
from lote.server.options import check_options
from lote.server.owner import Owner, Tx
from lote.server.request import NO_CONDITIONS, Answer, Conditions, Request
from lote.server.scaling import apply_evaluation, carry_out
from lote.server.settle import settle, take_alarms
from lote.settings import Settings
from lote.store.database import open_reader
from lote.store.invariants import check_invariants
from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.frames import ServerFrame
from lote.wire.operations import OPERATIONS
from lote.world import SteppedWorld

BASE_URL = "http://lote.test"
MOMENT_S = 0.03  # agents that are busy report after 20 ms
STEPS_MAX = 10_000  # things that happen in one advance; beyond it the bench goes round in circles
_BY_NAME = {operation.name: operation for operation in OPERATIONS}
Shown = dict[str, Any]


class BenchWorld(SteppedWorld):
    """A stepped world whose monotonic clock is stepped along, as nothing here is a real process.

    Secrets come in a fixed order, so that a run can be repeated.
    """

    def __init__(self) -> None:
        super().__init__()
        self._secrets = 0

    def new_secret(self, size_bytes: int = 32) -> bytes:
        self._secrets += 1
        return self._secrets.to_bytes(size_bytes, "big")

    def monotonic(self) -> float:
        return self.now_us() / 1_000_000


class BenchDesk:
    """The engines' desk without threads: what it is asked waits until ``work``."""

    def __init__(self, engine: FakeEngine, owner: Owner) -> None:
        self._engine = engine
        self._owner = owner
        self._asked: list[Callable[[], None]] = []
        self.refuses: str | None = None
        """Why the engine can't start nodes, if it can't."""
        self.holds: str | None = None
        """Why the engine can't switch nodes off, if it can't."""
        self.forgotten: list[str] = []
        engine.watch = lambda node_id, why: owner.tell(fleet.agent_gone, node_id, why)

    def start(self, engine: str, orders: list[NodeOrder]) -> None:
        self._asked.append(lambda: self._start(orders))

    def stop(self, engine: str, node_ids: list[str]) -> None:
        self._asked.append(lambda: self._stop(node_ids))

    def halt(self, engine: str, node_id: str, *, wipes: bool) -> None:
        self._asked.append(lambda: self._halt(node_id, wipes))

    def forget_files(self, directories: list[str]) -> None:
        self.forgotten += directories

    def work(self) -> bool:
        """Do what was asked; false when nothing was."""
        asked, self._asked = self._asked, []
        for one in asked:
            one()
        return bool(asked)

    def resume(self) -> None:
        """As after a start of the server."""
        listed = {node.node_id: node.alive for node in self._engine.list_nodes()}
        self._owner.tell(node_calls.resume_nodes, "fake", listed)

    def _start(self, orders: list[NodeOrder]) -> None:
        try:
            if self.refuses:
                raise EngineError(self.refuses)
            self._engine.start_nodes(orders)
        except EngineError as error:
            self._owner.tell(fleet.order_failed, [one.node_id for one in orders], str(error))

    def _halt(self, node_id: str, wipes: bool) -> None:
        if self.holds:
            self._owner.tell(node_actions.halt_failed, node_id, self.holds)
            return
        self._engine.halt_nodes([node_id], wipes=wipes)
        self._owner.tell(node_actions.node_halted, node_id)

    def _stop(self, node_ids: list[str]) -> None:
        left: set[str] = set()
        why = ""
        try:
            self._engine.stop_nodes(node_ids)
        except EngineError as error:
            why = str(error)
            left = {node.node_id for node in self._engine.list_nodes()}
        for node_id in node_ids:
            if node_id in left:
                self._owner.tell(removals.removal_failed, node_id, why)
            else:
                self._owner.tell(fleet.node_gone, node_id)


class BenchEvaluator:
    """Formulas without a thread: what is ordered waits until ``work``."""

    def __init__(self, owner: Owner, world: BenchWorld) -> None:
        self._owner = owner
        self._world = world
        self._orders: list[ScaleOrder] = []

    def evaluate(self, order: ScaleOrder) -> None:
        self._orders.append(order)

    def work(self) -> bool:
        """Evaluate what was ordered; false when nothing was."""
        orders, self._orders = self._orders, []
        for order in orders:
            self._owner.tell(apply_evaluation, order, carry_out(order, self._world.chance))
        return bool(orders)


class PatientSwitchboard(LocalSwitchboard):
    """Agents call again when the server is busy."""

    def connect(
        self, node_id: str, secret: str, send: Callable[[list[ServerFrame]], None]
    ) -> LocalConnection:
        while True:
            try:
                return super().connect(node_id, secret, send)
            except Refused as refused:
                if refused.code != "ServerBusy":
                    raise


class Bench:
    """The server core over one database file, and its scripted nodes."""

    def __init__(self, folder: Path, script: Script | None = None, **settings: object) -> None:
        self.world = BenchWorld()
        self.settings = Settings(folder=folder, **settings)  # type: ignore[arg-type]
        self.path = folder / "account.db"
        self.trail: dict[str, list[str]] = {}
        """States that were committed, in order, by "job <id>", "pool <id>" …, "node <id>"."""
        self.owner = self._new_owner()
        self.engine = FakeEngine(self._switchboard(), self.world, script)
        self._furnish()
        self.reader = open_reader(self.path)
        self.owner.load()

    def _new_owner(self) -> Owner:
        def settle_and_note(tx: Tx) -> None:
            settle(tx)
            self._note(tx)

        owner = Owner(
            self.settings,
            self.world,
            self.path,
            load=load_memory,
            settle=settle_and_note,
            alarm=take_alarms,
        )
        self.database = BrittleConnection(owner._db)
        owner._db = self.database  # type: ignore[assignment]
        return owner

    def _furnish(self) -> None:
        self.desk = BenchDesk(self.engine, self.owner)
        self.owner.memory.desk = self.desk
        self.evaluator = BenchEvaluator(self.owner, self.world)
        self.owner.memory.evaluator = self.evaluator
        self.owner.memory.default_engine = "fake"

    def _switchboard(self) -> PatientSwitchboard:
        callers = Callers(self.owner, lambda: ("lote", f"{BASE_URL}/"), lambda: None)
        return PatientSwitchboard(callers)

    def _note(self, tx: Tx) -> None:
        memory = tx.memory
        states = [(f"job {job.id}", job.state) for job in memory.jobs.values()]
        for pool in memory.pools.values():
            states.append((f"pool {pool.id}", pool.state))
            states.append((f"allocation {pool.id}", pool.allocation_state))
        states += [(f"node {node.id}", node.state) for node in memory.nodes.values()]
        for subject, state in states:
            seen = self.trail.setdefault(subject, [])
            if not seen or seen[-1] != state:
                seen.append(state)

    # -- asking -----------------------------------------------------------------------------

    def ask(
        self,
        name: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        conditions: Conditions = NO_CONDITIONS,
        settled: bool = True,
        **params: str,
    ) -> Shown:
        """Carry out an operation of the table; its answer, decoded. Raises Refused.

        Unless told otherwise a moment passes, so that agents have reported what follows from it.
        """
        request = self.request(name, body, query=query, conditions=conditions, **params)
        found = find_handler(name)
        assert found is not None, name
        handler, place = found
        answer: Answer = (
            self.owner.call(handler, request) if place == "tx" else handler(self.reader, request)
        )
        if answer.later is not None:
            self.settle()
            answer = answer.later()
        if settled:
            self.advance(MOMENT_S)
        return msgspec.json.decode(answer.body) if answer.body else {}

    def request(
        self,
        name: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        conditions: Conditions = NO_CONDITIONS,
        **params: str,
    ) -> Request:
        """A request as the shell hands it to handlers. Refuses what the options cannot be."""
        operation = _BY_NAME[name]
        check_options(query or {}, operation)
        request = Request(
            operation=operation,
            params=params,
            query=dict(query or {}),
            base_url=BASE_URL,
            path=operation.path.format(**params),
            api_version="2024-07-01.20.0",
            account="lote",
            conditions=conditions,
            now_us=self.world.now_us(),
        )
        if body is not None:
            request.raw_body = msgspec.json.encode(body)
            if name == "create_task_collection":
                request.body = task_handlers.decode_collection(request)
            elif operation.takes is not None:
                request.body = decode(request.raw_body, operation.takes)
        return request

    def refusal(self, name: str, body: object = None, **given: Any) -> str:
        """The code of the error that refuses this."""
        try:
            self.ask(name, body, **given)
        except Refused as refused:
            return refused.code
        raise AssertionError(f"{name} was not refused")

    # -- time -------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let owner and desk do what is to be done at this moment."""
        while True:
            if self.owner._is_stale:
                self.owner.tell(lambda tx: None)
            self.owner.drain()
            is_behind = self.owner._postponed or self.owner._is_stale
            worked = [self.desk.work(), self.evaluator.work()]
            if not any(worked) and not is_behind:
                break

    def advance(self, seconds: float) -> None:
        """Let time pass: everything happens at its moment, each followed to its end."""
        target_us = self.world.now_us() + int(seconds * 1_000_000)
        for _ in range(STEPS_MAX):
            self.tick()
            moments = [self.engine.next_due_us, first_due(self.owner.memory), self._grace_us()]
            due = [one for one in moments if one is not None and one <= target_us]
            if not due:
                break
            self.engine.advance_to(max(min(due), self.world.now_us()))
        else:
            raise AssertionError(f"{STEPS_MAX} things happened: they will not end")
        self.engine.advance_to(target_us)
        self.tick()

    def tick(self) -> None:
        """Look at the clock, as the owner does when it is poked."""
        self.owner.tell(lambda tx: None)
        self.settle()

    def _grace_us(self) -> int | None:
        timers = self.owner.memory.grace_timers
        return int(timers[0][0] * 1_000_000) + 1 if timers else None

    # -- faults -----------------------------------------------------------------------------

    def restart(self, *, resume: str = "after") -> None:
        """Stop the server as a kill does, and start another one on the same file.

        ``resume``: whether the desk looks at the engine ``before`` or ``after`` nodes have called.
        """
        self.owner._db.close()
        self.owner = self._new_owner()
        self.engine._switchboard = self._switchboard()
        self._furnish()
        self.owner.load()
        if resume == "before":
            self.desk.resume()
            self.settle()
        self.engine.attach(self._switchboard())
        if resume == "after":
            self.desk.resume()
        self.settle()

    def close(self) -> None:
        """Close the database files."""
        self.reader.close()
        self.owner._db.close()

    # -- looking ----------------------------------------------------------------------------

    def pool(self, pool_id: str = "p") -> Shown:
        return self.ask("get_pool", pool_id=pool_id, settled=False)

    def nodes(self, pool_id: str = "p") -> list[Shown]:
        """The pool's nodes, oldest first."""
        shown = self.ask("list_nodes", pool_id=pool_id, settled=False)["value"]
        keys = self.owner.memory.node_keys
        return sorted(shown, key=lambda node: keys[node["id"].lower()])

    def node_states(self, pool_id: str = "p") -> list[str]:
        return [node["state"] for node in self.nodes(pool_id)]

    def job(self, job_id: str = "j") -> Shown:
        return self.ask("get_job", job_id=job_id, settled=False)

    def task(self, task_id: str, job_id: str = "j") -> Shown:
        return self.ask("get_task", job_id=job_id, task_id=task_id, settled=False)

    def tasks(self, job_id: str = "j") -> dict[str, Shown]:
        found = self.ask("list_tasks", job_id=job_id, settled=False)["value"]
        return {task["id"]: task for task in found}

    def task_states(self, job_id: str = "j") -> dict[str, str]:
        return {task_id: task["state"] for task_id, task in self.tasks(job_id).items()}

    def running(self, job_id: str = "j") -> list[str]:
        """Ids of the tasks that run."""
        states = self.task_states(job_id)
        return [task_id for task_id, state in states.items() if state == "running"]

    def counts(self, job_id: str = "j") -> dict[str, int]:
        shown = self.ask("get_job_task_counts", job_id=job_id, settled=False)
        return dict(shown["taskCounts"])

    def check(self) -> None:
        """The record is sound, and memory is what a fresh server would make of it."""
        found = check_invariants(self.reader)
        found += differences(self.owner, self.settings, self.world, self.path)
        assert not found, "\n".join(found)

    # -- builders ---------------------------------------------------------------------------

    def add_pool(self, pool_id: str = "p", **given: object) -> None:
        """A pool of one node with one slot, unless said otherwise."""
        self.ask("create_pool", a_pool(pool_id, **given))

    def add_job(self, job_id: str = "j", **given: object) -> None:
        """A job in pool ``p``, unless said otherwise."""
        self.ask("create_job", a_job(job_id, **given))

    def add_task(self, task_id: str, job_id: str = "j", **given: object) -> None:
        """One task, which runs for 10 seconds unless said otherwise."""
        self.ask("create_task", a_task(task_id, **given), job_id=job_id)

    def add_tasks(self, count: int, job_id: str = "j", **given: object) -> list[str]:
        """``count`` tasks ``t0``, ``t1`` …; their ids."""
        ids = [f"t{number}" for number in range(count)]
        for group in _by(ids):
            answer = self.ask(
                "create_task_collection",
                {"value": [a_task(task_id, **given) for task_id in group]},
                job_id=job_id,
            )
            assert all(one["status"] == "success" for one in answer["value"]), answer
        return ids


def _by(ids: list[str], size: int = 100) -> list[list[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def a_pool(pool_id: str = "p", *, nodes: int = 1, slots: int = 1, **given: object) -> Shown:
    return {
        "id": pool_id,
        "vmSize": "standard_d4s_v3",
        "virtualMachineConfiguration": {
            "imageReference": {"publisher": "p", "offer": "o", "sku": "s"},
            "nodeAgentSKUId": "batch.node.ubuntu 22.04",
        },
        "targetDedicatedNodes": nodes,
        "taskSlotsPerNode": slots,
    } | given


def a_job(job_id: str = "j", *, pool: str = "p", **given: object) -> Shown:
    return {"id": job_id, "poolInfo": {"poolId": pool}} | given


def a_task(
    task_id: str, *, seconds: float = 10, exits: int = 0, slots: int = 1, **given: object
) -> Shown:
    """``seconds`` of work, ending with this exit code."""
    return {
        "id": task_id,
        "commandLine": f"sh -c 'sleep {seconds:g}; exit {exits}'",
        "requiredSlots": slots,
    } | given


def depends_on(*task_ids: str, ranges: list[tuple[int, int]] | None = None) -> Shown:
    """The member ``dependsOn`` of a task."""
    listed = [{"start": start, "end": end} for start, end in ranges or []]
    shown: Shown = {"taskIds": list(task_ids)}
    return {"dependsOn": shown | ({"taskIdRanges": listed} if listed else {})}

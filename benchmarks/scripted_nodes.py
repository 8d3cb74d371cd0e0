"""How many completions a second does the server's core sustain, with 1,000 and with 5,000 nodes?

The owner, its database on disk and scripted nodes of 16 slots, in one thread on a stepped clock.
Tasks of 30 to 90 simulated seconds go through, a million of them with 5,000 nodes. Simulated time
goes on in steps, so that one transaction meets so many completions: as many as wait when it comes
late. What counts is the time that the server's core spends (decoding requests, transactions, frames
for agents); what the scripted nodes spend is not in it, and neither is any socket.

    python benchmarks/scripted_nodes.py [--tasks 1000000] [--nodes 5000] [--profile FILE]
"""

from __future__ import annotations

import argparse
import cProfile
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from figures import Figure, answer, from_runs, reference_count
from posting import GROUP
from processes import peak_rss_bytes, rss_bytes
from reference import Repeated, repeat
from service import POOL

from lote.engines.fake import FakeEngine
from lote.engines.seam import EngineNode, NodeOrder
from lote.listener import calm_collector
from lote.server import fleet
from lote.server.channel import Callers, LocalConnection, LocalSwitchboard
from lote.server.handlers import task as task_handlers
from lote.server.http import find_handler
from lote.server.load import load_memory
from lote.server.owner import Owner
from lote.server.request import NO_CONDITIONS, Answer, Request
from lote.server.settle import settle, take_alarms
from lote.settings import Settings
from lote.store.database import open_reader
from lote.store.invariants import check_invariants
from lote.wire.decode import decode
from lote.wire.frames import ServerFrame
from lote.wire.operations import OPERATIONS
from lote.world import SteppedWorld

QUESTION = "scripted nodes"
SLOTS = 16
MEAN_S = 60  # simulated; tasks take 30 to 90
BASE_URL = "http://lote.bench"
# Completions that one transaction meets, with how many nodes, and the share of all tasks.
SIZES = ((16, 1000, 0.1), (128, 1000, 0.1), (1024, 1000, 0.25), (1024, 5000, 1.0))
RUNS_MAX = 2
RATE_MIN = 8000.0
GROWN_MIB_MAX = 32.0  # from a tenth of the completions to the last; the page cache fills up
_BY_NAME = {operation.name: operation for operation in OPERATIONS}

Deliver = Callable[[list[ServerFrame]], None]


class Mail:
    """Frames to agents, kept until the server's core has done its turn."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Deliver, list[ServerFrame]]] = []

    def put(self, deliver: Deliver, frames: list[ServerFrame]) -> None:
        """Keep them."""
        self._waiting.append((deliver, frames))

    def hand_out(self) -> bool:
        """Give agents what is theirs; false when there was nothing."""
        waiting, self._waiting = self._waiting, []
        for deliver, frames in waiting:
            deliver(frames)
        return bool(waiting)


class MailedSwitchboard(LocalSwitchboard):
    """Agents connect as always, but their frames go by mail."""

    def __init__(self, callers: Callers, mail: Mail) -> None:
        super().__init__(callers)
        self._mail = mail

    def connect(self, node_id: str, secret: str, send: Deliver) -> LocalConnection:
        """Open a channel."""
        return super().connect(node_id, secret, partial(self._mail.put, send))


class QuickDesk:
    """The engines' desk, without threads: orders wait until the turn is over."""

    def __init__(self, engine: FakeEngine, owner: Owner) -> None:
        self._engine = engine
        self._ordered: list[NodeOrder] = []
        engine.watch = lambda node_id, why: owner.tell(fleet.agent_gone, node_id, why)

    def start(self, engine: str, orders: list[NodeOrder]) -> None:
        """Order nodes."""
        self._ordered += orders

    def stop(self, engine: str, node_ids: list[str]) -> None:
        """End nodes."""
        raise RuntimeError(f"no node of this benchmark leaves: {node_ids}")

    def forget_files(self, directories: list[str]) -> None:
        """Scripted nodes have no files."""

    def work(self) -> list[EngineNode]:
        """Start what was ordered."""
        orders, self._ordered = self._ordered, []
        self._engine.start_nodes(orders)
        return self._engine.list_nodes()


class Core:
    """The server's core over one database, its nodes, and the time that it spends itself."""

    def __init__(self, folder: Path, profile: cProfile.Profile | None = None) -> None:
        self.world = SteppedWorld()
        self.path = folder / "account.db"
        self.owner = Owner(
            Settings(folder=folder),
            self.world,
            self.path,
            load=load_memory,
            settle=settle,
            alarm=take_alarms,
        )
        self.mail = Mail()
        callers = Callers(self.owner, lambda: ("lote", BASE_URL), lambda: None)
        self.engine = FakeEngine(MailedSwitchboard(callers, self.mail), self.world)
        self.desk = QuickDesk(self.engine, self.owner)
        self.owner.memory.desk = self.desk
        self.owner.memory.default_engine = "fake"
        self.owner.load()
        self.reader = open_reader(self.path)
        self.spent_s = 0.0
        self._profile = profile

    def ask(self, name: str, body: object = None, **params: str) -> Answer:
        """An operation as the shell hands it to the owner, or to a reader."""
        operation = _BY_NAME[name]
        request = Request(
            operation=operation, params=params, query={}, base_url=BASE_URL,
            path=operation.path.format(**params), api_version="2024-07-01.20.0", account="lote",
            conditions=NO_CONDITIONS, now_us=self.world.now_us(),
        )  # fmt: skip
        request.raw_body = b"" if body is None else msgspec.json.encode(body)
        if name == "create_task_collection":
            request.body = task_handlers.decode_collection(request)
        elif operation.takes is not None:
            request.body = decode(request.raw_body, operation.takes)
        found = find_handler(name)
        assert found is not None
        handler, place = found
        answered: Answer
        if place == "tx":
            answered = self.owner.call(handler, request)
        else:
            answered = handler(self.reader, request)
        return answered

    def turn(self) -> None:
        """The core takes what waits; then agents get their frames, until nobody says anything."""
        while True:
            began = time.perf_counter()
            if self._profile is not None:
                self._profile.enable()
            self.owner.drain()
            if self._profile is not None:
                self._profile.disable()
            self.spent_s += time.perf_counter() - began
            if not self.mail.hand_out():
                return

    def counts(self) -> dict[str, int]:
        """The job's tasks by state."""
        shown = msgspec.json.decode(self.ask("get_job_task_counts", job_id="j").body or b"")
        return dict(shown["taskCounts"])

    def close(self) -> None:
        """Close the database's files."""
        self.reader.close()
        self.owner._db.close()


class Run(msgspec.Struct):
    """Seconds of the server's core, and what they bought."""

    accepted_s: float
    spent_s: float
    whole_s: float
    before_bytes: int
    loaded_bytes: int
    busy_bytes: int
    """When a tenth had completed."""
    done_bytes: int
    peak_bytes: int


def a_task(number: int) -> dict[str, Any]:
    """30.00 to 89.99 s of simulated work, spread evenly and in no order."""
    seconds = MEAN_S / 2 + number * 7919 % (MEAN_S * 100) / 100
    return {"id": f"t{number}", "commandLine": f"sleep {seconds:.2f}"}


def go_through(core: Core, nodes: int, tasks: int, group: int) -> Run:
    """Add all tasks to a disabled job, enable it, and let simulated time go on to their end."""
    size = {"vmSize": "standard_d4s_v3", "taskSlotsPerNode": SLOTS}
    core.ask("create_pool", POOL | size | {"id": "p", "targetDedicatedNodes": nodes})
    core.turn()
    core.desk.work()
    core.turn()
    core.ask("create_job", {"id": "j", "poolInfo": {"poolId": "p"}})
    core.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    core.turn()
    calm_collector()  # as the server does when it has started
    before_bytes, began = rss_bytes(os.getpid()), time.perf_counter()
    for first in range(0, tasks, GROUP):
        value = [a_task(number) for number in range(first, min(first + GROUP, tasks))]
        core.ask("create_task_collection", {"value": value}, job_id="j")
    accepted_s = time.perf_counter() - began
    loaded_bytes = rss_bytes(os.getpid())
    core.ask("enable_job", job_id="j")
    core.spent_s = 0.0
    began = time.perf_counter()
    step_us = int(1e6 * group * MEAN_S / (nodes * SLOTS))
    busy_bytes = 0
    while (completed := core.counts()["completed"]) < tasks:
        if not busy_bytes and completed >= tasks / 10:
            busy_bytes = rss_bytes(os.getpid())
        core.engine.advance_to(core.world.now_us() + step_us)
        core.turn()
    whole_s = time.perf_counter() - began
    counts = core.counts()
    if counts["succeeded"] != tasks or check_invariants(core.reader):
        raise RuntimeError(f"the record is not what it should be: {counts}")
    pid = os.getpid()
    done_bytes, peak_bytes = rss_bytes(pid), peak_rss_bytes(pid)
    return Run(
        accepted_s, core.spent_s, whole_s,
        before_bytes, loaded_bytes, busy_bytes, done_bytes, peak_bytes,
    )  # fmt: skip


def run_apart(nodes: int, tasks: int, group: int, profile: Path | None) -> Run:
    """In a process of its own, so that each run has a memory of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        code = 1
        try:
            shown = msgspec.json.encode(_run_here(nodes, tasks, group, profile))
            os.write(write, shown)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with open(read, "rb") as pipe:
        shown = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"the run of {tasks} tasks failed")
    return msgspec.json.decode(shown, type=Run)


def _run_here(nodes: int, tasks: int, group: int, profile: Path | None) -> Run:
    profiler = cProfile.Profile() if profile is not None else None
    with tempfile.TemporaryDirectory(prefix="lote-bench-") as folder:
        core = Core(Path(folder), profiler)
        try:
            run = go_through(core, nodes, tasks, group)
        finally:
            core.close()
    if profiler is not None and profile is not None:
        profiler.dump_stats(profile)
    return run


@contextmanager
def prepared(
    nodes: int, tasks: int, group: int, profile: Path | None
) -> Iterator[Callable[[], Run]]:
    """Nothing to prepare."""
    yield lambda: run_apart(nodes, tasks, group, profile)


def completions(
    given: argparse.Namespace, nodes: int, tasks: int, group: int, runs: int
) -> Iterator[Figure]:
    """What the core sustains when each transaction meets so many completions."""
    kept = repeat(
        lambda: prepared(nodes, tasks, group, given.profile), runs, **reference_count(given)
    )
    name = f"{tasks:,} tasks, {nodes:,} nodes x {SLOTS} slots, {group} ends a transaction"
    last, is_last = kept.results[-1], (group, nodes) == SIZES[-1][:2]
    yield _figure(name, "tasks/s", [tasks / one.spent_s for one in kept.results], kept, note=(
        f"{1e6 * last.spent_s / tasks:.1f} µs a task, with the nodes' own work in the same thread"
        f" {1e6 * last.whole_s / tasks:.1f}"
    ), must=RATE_MIN if is_last else None)  # fmt: skip
    if is_last:
        grown = [(one.loaded_bytes - one.before_bytes) / tasks for one in kept.results]
        yield _figure(f"{name}: queue's memory", "bytes a task", grown, kept, better="less")
        peaks = [one.peak_bytes / (1 << 20) for one in kept.results]
        yield _figure(f"{name}: most memory, nodes and all", "MiB", peaks, kept, better="less")
        later = [(one.done_bytes - one.busy_bytes) / (1 << 20) for one in kept.results]
        what = f"{name}: memory at the end, to that when a tenth had completed"
        yield _figure(what, "MiB more", later, kept, better="less", must=GROWN_MIB_MAX)


def _figure(
    what: str, unit: str, values: list[float], runs: Repeated[Run], **more: object
) -> Figure:
    return from_runs(QUESTION, what, unit, values, runs, **more)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """Few nodes with fewer tasks, then all nodes and tasks; or only as many nodes as asked for."""
    tasks = given.tasks or (20_000 if given.small else 1_000_000)
    for group, nodes, share in SIZES:
        if given.nodes in (None, nodes):
            runs = min(given.runs, RUNS_MAX) if share < 1 else 1
            yield from completions(given, nodes, max(int(tasks * share), 1), group, runs)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--nodes", type=int, choices=sorted({nodes for _, nodes, _ in SIZES}))
    parser.add_argument("--profile", type=Path, help="write cProfile's figures of the core there")


if __name__ == "__main__":
    answer(__doc__, measure, add_options)

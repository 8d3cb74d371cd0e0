"""What the owner thread keeps in memory: a cache of the database, and who is connected.

The database is the truth. Everything here except the links is made from it by ``load``, at the
start and again after a transaction that failed.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from typing import Protocol

import msgspec

from lote.autoscale.samples import SampleHistory
from lote.autoscale.targets import Targets
from lote.engines.seam import NodeOrder
from lote.scheduler.view import View
from lote.server.kept import KeptFiles
from lote.server.throttling import Throttle
from lote.store.pool_use import PoolUse
from lote.store.records import JobCount, SpecialRun
from lote.store.rehearsals import RehearsalRecord
from lote.store.scaling import Readings
from lote.tokens.task_tokens import TaskTokens
from lote.wire.frames import Account, ContainerPool, Failure, Samples, ServerFrame
from lote.wire.rehearsal import RehearsalCreate

# What is to become of a run that is being killed, once its agent says that it is over.
KEEP, REQUEUE, RERUN, FORGET, AGAIN = range(5)

RECENT_TASKS = 10  # REST: recentTasks of a node; the number is ours


class Link(Protocol):
    """A connection to an agent."""

    def deliver(self, frames: list[ServerFrame]) -> None:
        """Send these frames, in this order, in one message. From the owner thread."""

    def close(self) -> None:
        """Break the connection."""


class Placed(msgspec.Struct):
    """A run in a node's hands, from its commit until the agent says that it is over."""

    key: int
    job_key: int
    node_key: int
    run: int
    slots: int
    flags: int
    is_prefetched: bool
    is_running: bool = False
    start_us: int | None = None
    doom: int = KEEP
    held_slots: int | None = None
    """Slots of the node that it takes, if not as many as it is counted with."""

    is_preparing: bool = False
    """It is shown as preparing: it came before its job was prepared on the node."""
    has_begun: bool | None = None
    """Its agent has begun with it, as its end says; ``is_running`` if that was told before. None:
    there was no such end."""
    is_unsent: bool = False
    """Its agent does not know it yet: it waits for the preparation."""
    gang: Gang | None = None
    """Of multi-instance tasks: all instances."""
    number: int = 0
    """Which of them this is; 0 is the primary, which stands for the task."""

    @property
    def is_counted_running(self) -> bool:
        """Whether counts have it among what runs; a task that is preparing is."""
        return self.is_running or self.is_preparing

    @property
    def node_slots(self) -> int:
        """Slots of its node that it takes."""
        return self.slots if self.held_slots is None else self.held_slots


class Gang(msgspec.Struct):
    """The instances of a multi-instance task, by number, from their commit until all are over."""

    members: list[Placed] = []
    in_hand: set[int] = msgspec.field(default_factory=set)
    """Those that are in nodes' hands."""
    coordinated: set[int] = msgspec.field(default_factory=set)
    doom: int = KEEP
    """What is to become of the task once all are over. ``AGAIN``: it is ready, counted already."""
    is_ended: bool = False
    """The task's row has its end, or is ready again: nothing more to do for it."""


class SpecialTask(msgspec.Struct, frozen=True):
    """A job preparation or job release task: its id, and what its agent needs as JSON bytes."""

    id: str
    spec: bytes
    waits: bool = True
    """Tasks wait for its success."""
    reruns: bool = True
    """It runs again when its node has restarted."""
    limit_s: float = 0.0
    """How long it may run, of a job release task."""


class NodeState(msgspec.Struct):
    """A node that has not gone. ``told_jobs`` are those whose facts its agent has."""

    key: int
    id: str
    pool_key: int
    pool_id: str
    state: str
    scheduling: str
    is_dedicated: bool
    secret_digest: bytes
    boot: str | None = None
    link: Link | None = None
    told_jobs: set[int] = msgspec.field(default_factory=set)
    placed: dict[int, Placed] = msgspec.field(default_factory=dict)
    recent: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT_TASKS))
    specials: dict[tuple[int, int], SpecialRun] = msgspec.field(default_factory=dict)
    """Runs of jobs' special tasks, by job key and kind."""
    deallocation: str | None = None
    replaces: int | None = None
    start_task: str | None = None
    address: str = ""
    """Where other nodes reach it."""
    lost_at: float | None = None
    is_lost: bool = False
    """Its agent has gone for good; it is shown until its replacement has called."""
    is_going: bool = False
    """Its engine is ending it."""
    stuck_why: str = ""
    """Why its engine could not end it, if it has tried. It is tried again at ``stuck_us``."""
    stuck_us: int = 0
    is_ordered: bool = False
    """Its engine was asked for its agent since this memory was made."""
    is_empty: bool = False
    """It is to leave or to restart, and no task's directory is left there."""
    asked: Link | None = None
    """The connection on which its agent was asked to say when that is so."""
    is_halting: bool = False
    """Its engine is switching it off, to be started again now or later."""
    use: Samples | None = None
    """What its agent last said of its use, at ``use_us``."""
    use_us: int = 0
    has_images: bool = False
    """Its agent has said that it can run containers, and has the pool's images."""

    @property
    def is_stuck(self) -> bool:
        """Whether its engine could not end it, and is not trying at this moment."""
        return bool(self.stuck_why) and not self.is_going


class JobState(msgspec.Struct):
    """A job that is not completed."""

    key: int
    id: str
    pool_id: str | None
    pool_key: int | None
    state: str
    uses_dependencies: bool
    ends_when_complete: bool
    acts_on_failure: bool
    retries_max: int
    environment: list[tuple[str, str]]
    directory: str
    counts: JobCount
    disable_option: str | None = None
    created_us: int = 0
    wall_clock_us: int | None = None
    """When its maxWallClockTime is over."""
    placed: int = 0
    """Runs of it in nodes' hands, those being killed included."""
    schedule_key: int | None = None
    """The schedule that made it."""
    preparation: SpecialTask | None = None
    release: SpecialTask | None = None
    is_released: bool = False
    """It ended before; its release task is not run again."""
    has_auto_pool: bool = False
    """Its pool was made for it alone."""
    has_manager: bool = False
    ends_with_manager: bool = False
    """The end of its manager terminates it."""
    allows_preemption: bool = False
    """Its tasks may be taken off their nodes for higher priorities."""


class PoolState(msgspec.Struct):
    """A pool. ``order_failures`` counts agents that died before they called, in a row."""

    key: int
    id: str
    engine: str
    slots: int
    state: str
    allocation_state: str
    start_task: bytes | None
    waits_for_start_task: bool
    nodes: set[int] = msgspec.field(default_factory=set)
    order_failures: int = 0
    quota_errors: dict[bool, str] = msgspec.field(default_factory=dict)
    """Kinds of nodes (dedicated or not) that the present resize could not have all of, and why."""
    cores: int = 1
    """Of one of its nodes, by its vmSize."""
    inter_node: bool = False
    """Its nodes reach each other: there may be so many and no more."""
    accounts: list[Account] = msgspec.field(default_factory=list)
    """Users whom its tasks may name."""
    certificates: list[str] = msgspec.field(default_factory=list)
    """To whom it shows certificates, of those who may see them (CertificateVisibility)."""
    containers: ContainerPool | None = None
    """What its nodes need to run containers; None in a pool whose tasks run without."""
    retry_us: int = 0
    """When agents are ordered again in the places of lost nodes, after some died in a row."""
    seek_us: int = 0
    """When low-priority nodes that the pool lacks are sought next."""
    use: PoolUse | None = None
    """What its nodes measured and is not written yet: it is with what comes at ``use_write_us``."""
    use_write_us: int = 0


class ScaleState(msgspec.Struct):
    """What a pool that scales by a formula needs between evaluations. Times in microseconds."""

    history: SampleHistory
    due_us: int
    """When the formula is evaluated next."""
    sample_us: int
    """When the next sample is taken."""
    wake_us: int | None = None
    """The alarm that counts; any other of this pool is stale."""
    waiting: list[threading.Event] = msgspec.field(default_factory=list)
    """Whom the next evaluation is to be told to, once it is committed."""


class Rehearsal(msgspec.Struct):
    """A failure that was asked for and is not over: its row, what was asked, what it holds."""

    record: RehearsalRecord
    body: RehearsalCreate
    node_ids: frozenset[str] = frozenset()


class ScaleOrder(msgspec.Struct, frozen=True):
    """A formula to be evaluated outside the owner thread, and all that it may look at."""

    pool_key: int
    formula: str
    at_us: int
    samples: SampleHistory
    readings: Readings
    current: Targets
    waiting: list[threading.Event]


class Evaluator(Protocol):
    """Who evaluates formulas. Calls are made after the commit, and do not wait."""

    def evaluate(self, order: ScaleOrder) -> None:
        """Carry it out; the owner is told what came of it."""


class Desk(Protocol):
    """What the owner asks of the engines, without waiting. Calls are made after the commit."""

    def start(self, engine: str, orders: list[NodeOrder]) -> None:
        """Start these nodes; a failure is told to the owner."""

    def stop(self, engine: str, node_ids: list[str]) -> None:
        """End these nodes; the owner is told when they have gone."""

    def halt(self, engine: str, node_id: str, *, wipes: bool) -> None:
        """Switch a node off; the owner is told when nothing of it runs any more."""

    def forget_files(self, directories: list[str]) -> None:
        """Remove what was kept of these directories of nodes that have gone."""


class Memory:
    """The cache. Only the owner thread touches it."""

    def __init__(self) -> None:
        self.desk: Desk | None = None
        self.evaluator: Evaluator | None = None
        self.default_engine = "local"
        self.kept: KeptFiles | None = None
        self.task_tokens: TaskTokens | None = None
        self.secure: tuple[str, str] | None = None
        """The account's https URL and its authority, for tasks that have a token."""
        self.throttle: Throttle | None = None
        self.links: dict[int, Link] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything but who is connected."""
        self.view = View()
        self.pools: dict[int, PoolState] = {}
        self.scales: dict[int, ScaleState] = {}
        self.rehearsals: dict[int, Rehearsal] = {}
        self.jobs: dict[int, JobState] = {}
        self.nodes: dict[int, NodeState] = {}
        self.node_keys: dict[str, int] = {}
        self.placed: dict[int, Placed] = {}
        self.specs = SpecCache()
        self.lost_managers: dict[int, int] = {}
        """Job manager tasks that wait and had a node before, by job."""
        self.next_task_key = 0
        self.task_keys_end = 0
        self.dirty_pools: set[int] = set()
        self.dirty_counts: set[int] = set()
        self.dirty_nodes: set[int] = set()
        self.touched_pools: set[int] = set()
        self.touched_jobs: set[int] = set()
        self.next_jobs: set[int] = set()
        """Jobs to be touched in the next transaction."""
        self.touched_schedules: set[int] = set()
        self.next_schedules: set[int] = set()
        self.finished: list[tuple[int, int, int | None, Failure | None]] = []
        """(task key, job key, exit code, failure) of ends whose effects are still to follow."""
        self.timers: list[tuple[int, str, int]] = []
        self.grace_timers: list[tuple[float, int]] = []
        self.clock_us = 0
        """The moment of the last transaction."""

    def pool_of_id(self, pool_id: str | None) -> PoolState | None:
        """The pool of that id, in any spelling."""
        if pool_id is None:
            return None
        lowered = pool_id.lower()
        return next((pool for pool in self.pools.values() if pool.id.lower() == lowered), None)

    def node_of_id(self, node_id: str) -> NodeState | None:
        """The node of that id, if it has not gone."""
        key = self.node_keys.get(node_id.lower())
        return None if key is None else self.nodes.get(key)

    def set_timer(self, due_us: int, kind: str, key: int) -> None:
        """Touch the pool, job, schedule, scaling or rehearsal of that key at ``due_us``; an early
        or stale alarm does no harm."""
        heapq.heappush(self.timers, (due_us, kind, key))

    def jobs_of_pool(self, pool_key: int) -> list[JobState]:
        """The living jobs bound to a pool."""
        return [job for job in self.jobs.values() if job.pool_key == pool_key]


SPEC_CACHE_BYTES = 32 << 20


class SpecCache:
    """What placement needs of ready tasks that are in a window: row and spec, so that placing a
    task reads nothing. Bounded; what does not fit is read when it is placed."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[int, int, int, bytes]] = {}
        self._bytes = 0

    def add(self, key: int, run: int, retries: int, flags: int, spec: bytes) -> None:
        """Remember a task, if there is room."""
        if self._bytes + len(spec) <= SPEC_CACHE_BYTES and key not in self._rows:
            self._rows[key] = (run, retries, flags, spec)
            self._bytes += len(spec)

    def take(self, key: int) -> tuple[int, int, int, bytes] | None:
        """(run, retries, flags, spec), and forget the task."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._bytes -= len(row[3])
        return row


def first_due(memory: Memory) -> int | None:
    """When the next timer is due."""
    return memory.timers[0][0] if memory.timers else None


def pop_due(memory: Memory, now_us: int) -> list[tuple[str, int]]:
    """(kind, key) of every timer that is due, removed."""
    due: list[tuple[str, int]] = []
    while memory.timers and memory.timers[0][0] <= now_us:
        _, kind, key = heapq.heappop(memory.timers)
        due.append((kind, key))
    return due


def pop_grace(memory: Memory, monotonic: float) -> list[int]:
    """Keys of nodes whose grace has passed, removed."""
    due: list[int] = []
    while memory.grace_timers and memory.grace_timers[0][0] <= monotonic:
        due.append(heapq.heappop(memory.grace_timers)[1])
    return due

"""What the scheduler remembers of a pool, a node and a job. Changed only by ``View``."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from lote.scheduler.levels import Levels
from lote.scheduler.plan import Collecting
from lote.scheduler.ready import ReadyTask, Window

# Design: prefetch only work that is over soon. Between the two, a job stays what it was.
QUICK_MEAN_MAX_S = 0.5
QUICK_AGAIN_MEAN_S = 0.4


class NodeView:
    """A node: its slots, what runs on it and what waits on it.

    ``free`` counts slots that no begun task holds. The node begins its backlog by itself, so
    slots that its backlog is about to take are not open: ``open`` = free - backlog.
    """

    __slots__ = (
        "backlog",
        "dedicated",
        "eligible",
        "free",
        "held",
        "key",
        "level",
        "name",
        "pool",
        "queue",
        "returning",
        "running",
        "slots",
        "slow",
    )

    def __init__(
        self, key: int, pool: PoolView, slots: int, name: str, dedicated: bool, eligible: bool
    ) -> None:
        self.key = key
        self.pool = pool
        self.slots = slots
        self.free = slots
        self.name = name
        self.dedicated = dedicated
        self.eligible = eligible
        self.running = 0
        self.backlog: dict[int, int] = {}  # task key -> job key, in the order of arrival
        self.returning: set[int] = set()  # tasks of the backlog that were asked back
        self.held: dict[int, int] = {}  # job key -> slots its begun tasks hold
        self.slow = 0  # slots held by tasks of jobs that are not quick
        self.level = -1  # row in pool.opened, -1 when in none
        self.queue = -1  # row in pool.queued, -1 when in none

    @property
    def pool_key(self) -> int:
        """Key of the node's pool."""
        return self.pool.key

    @property
    def in_revocation(self) -> set[int]:
        """Keys of the backlog's tasks that were asked back and are not yet answered for."""
        return self.returning

    @property
    def open(self) -> int:
        """Slots that a new task could have at once."""
        return max(0, self.free - len(self.backlog))


class JobView:
    """A job: how it ranks and the window of its ready tasks."""

    __slots__ = (
        "active",
        "barred",
        "created_us",
        "key",
        "looks_ahead",
        "max_parallel",
        "mean_run_s",
        "more",
        "placed",
        "pool",
        "pool_key",
        "priority",
        "quick",
        "rank",
        "turn",
        "window",
    )

    def __init__(
        self,
        key: int,
        pool_key: int,
        priority: int,
        created_us: int,
        max_parallel: int,
        active: bool,
        looks_ahead: bool,
    ) -> None:
        self.key = key
        self.pool_key = pool_key  # 0: none
        self.pool: PoolView | None = None
        self.priority = priority
        self.created_us = created_us
        self.max_parallel = max_parallel  # -1: no limit
        self.placed = 0  # running, preparing and prefetched
        self.active = active
        self.window = Window()
        self.more = False  # the store holds ready tasks beyond the window
        self.mean_run_s: float | None = None
        self.looks_ahead = looks_ahead  # its tasks may be prefetched, once it is quick
        self.quick = False  # its tasks are over soon enough to be prefetched
        self.barred: set[int] = set()  # nodes where its preparation failed
        self.turn = 0
        self.rank: tuple[int, int, int] | None = None  # where it stands in its tier, if it does

    @property
    def head(self) -> deque[ReadyTask]:
        """The ready tasks in creation order; to look at, not to change."""
        return self.window.in_order()

    @property
    def ready_count(self) -> int:
        """How many tasks the window holds."""
        return self.window.size

    @property
    def wants(self) -> bool:
        """True when a free slot would interest it."""
        return (
            self.active
            and (self.window.size > 0 or self.more)
            and (self.max_parallel < 0 or self.placed < self.max_parallel)
        )


class Yielding:
    """A running task that may be taken off its node for one of a higher priority."""

    __slots__ = ("is_leaving", "job_key", "node_key", "slots", "task_key")

    def __init__(
        self, task_key: int, job_key: int, node_key: int, slots: int, is_leaving: bool = False
    ) -> None:
        self.task_key = task_key
        self.job_key = job_key
        self.node_key = node_key
        self.slots = slots
        self.is_leaving = is_leaving  # it is being ended already, for whatever reason


class Promise(NamedTuple):
    """Slots on each of these nodes that are coming free are for a task of this job that waits."""

    job_key: int
    node_keys: tuple[int, ...]
    slots: int


class Tier:
    """Jobs of one priority that want slots, in the order of their turns.

    Fair queuing: a job's turn grows with every task it is given, the lowest turn goes first. A
    job that comes back starts at the tier's clock, so it cannot make up for its absence.
    """

    __slots__ = ("clock", "order", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.clock = 0  # turn of the task placed last
        self.order: list[tuple[int, int, int]] = []  # turn, created_us, job key


class PoolView:
    """A pool: its policy and the indexes of its nodes and jobs."""

    __slots__ = (
        "collecting",
        "creation_order",
        "inter_node",
        "jobs",
        "key",
        "lent",
        "nodes",
        "open_total",
        "opened",
        "promises",
        "queued",
        "ranked",
        "returning_count",
        "sizes",
        "slots_per_node",
        "spread",
        "tiers",
        "yielding",
    )

    def __init__(
        self,
        key: int,
        spread: bool,
        creation_order: bool,
        slots_per_node: int,
        inter_node: bool = False,
    ) -> None:
        self.key = key
        self.inter_node = inter_node  # its nodes may talk to each other
        self.spread = spread
        self.creation_order = creation_order
        self.slots_per_node = slots_per_node
        self.nodes: dict[int, NodeView] = {}
        self.jobs: dict[int, JobView] = {}
        self.opened = Levels()  # eligible nodes by open slots
        self.queued = Levels()  # eligible nodes by tasks waiting on them; not the hopeless ones
        self.open_total = 0
        self.lent: dict[int, int] = {}  # job key -> prefetched tasks not asked back
        self.returning_count = 0  # prefetched tasks asked back
        self.sizes: dict[int, int] = {}  # slots -> eligible nodes that have as many
        self.tiers: dict[int, Tier] = {}
        self.ranked: list[int] = []  # negated priorities of tiers with jobs, so highest first
        self.collecting: Collecting | None = None
        self.promises: dict[int, Promise] = {}  # by task: made when others were taken off for it
        self.yielding: dict[int, Yielding] = {}  # by task: those whose job allows preemption

    @property
    def largest(self) -> int:
        """Slots of the largest eligible node; 0 when there is none."""
        return max(self.sizes, default=0)

    @property
    def runs_gangs(self) -> bool:
        """Whether multi-instance tasks can run here (REST: they take whole nodes that talk)."""
        return self.inter_node and self.slots_per_node == 1

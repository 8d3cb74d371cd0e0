"""What a placement decides: assignments, revocations, and why the rest waits."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from lote.scheduler.ready import LaneName


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """Give ``slots`` of a node to a task; ``prefetched``: into its backlog, to begin later.

    ``others``: the further nodes of a multi-instance task, as many slots of each.
    """

    task_key: int
    node_key: int
    job_key: int
    slots: int
    prefetched: bool = False
    others: tuple[int, ...] = ()


class Revocation(NamedTuple):
    """Ask a node for a prefetched task back."""

    node_key: int
    task_key: int


class Reason(NamedTuple):
    """Why a task or a job waits: a stable code and a sentence for people."""

    code: str
    text: str


class Collecting(NamedTuple):
    """A task that needs several slots, or several nodes, and is being passed by others.

    ``passed`` counts the tasks of its own or lower priority that were placed past it;
    ``node_key`` is the node that is kept for it, or 0: see ``protect.py``. ``instances``: how many
    nodes a multi-instance task needs; ``keeps``: open nodes are kept for it: see ``gather.py``.
    """

    task_key: int
    job_key: int
    slots: int
    passed: int
    node_key: int
    instances: int = 0
    keeps: bool = False


class Plan:
    """A decision of ``place``; ``View.apply`` makes it so. Only the first five are for callers.

    ``starved``: jobs whose window ran out while the store holds more; refill and place again.
    """

    __slots__ = (
        "assignments",
        "clocks",
        "collecting",
        "pool_key",
        "reasons",
        "revocations",
        "starved",
        "taken",
        "turns",
    )

    def __init__(self, pool_key: int) -> None:
        self.pool_key = pool_key
        self.assignments: list[Assignment] = []
        self.revocations: list[Revocation] = []
        self.reasons: dict[int, tuple[Reason, ...]] = {}
        self.starved: list[int] = []
        # For apply: how many tasks left each lane and which was the last; turns and clocks.
        self.taken: list[tuple[int, LaneName, int, int]] = []
        self.turns: dict[int, int] = {}
        self.clocks: dict[int, int] = {}
        self.collecting: Collecting | None = None

    def __bool__(self) -> bool:
        """True when there is anything to send."""
        return bool(self.assignments or self.revocations)

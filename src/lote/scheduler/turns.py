"""Whose turn it is while a plan is made: jobs of one priority, and the tasks of one job."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from lote.scheduler.nouns import JobView, PoolView, Tier
from lote.scheduler.ready import Lane, LaneName, ReadyTask

Rank = tuple[int, int, int]
_NO_LIMIT = 1 << 60


class Cursor:
    """How far a plan has gone through one lane."""

    __slots__ = ("_rest", "count", "last_key", "name", "task")

    def __init__(self, name: LaneName, lane: Lane) -> None:
        self.name = name
        self._rest: Iterator[ReadyTask] = iter(lane.tasks)
        self.task: ReadyTask | None = next(self._rest, None)
        self.count = 0
        self.last_key = 0

    def advance(self) -> None:
        """The present task was placed."""
        if self.task is not None:
            self.last_key = self.task.key
            self.count += 1
            self.task = next(self._rest, None)


class JobTurn:
    """A job that a plan has looked at."""

    __slots__ = ("cursors", "job", "left", "rank")

    def __init__(self, job: JobView, rank: Rank) -> None:
        self.job = job
        self.rank = rank
        self.left = _NO_LIMIT if job.max_parallel < 0 else job.max_parallel - job.placed
        self.cursors = [Cursor(name, lane) for name, lane in job.window.lanes.items()]

    def waiting(self) -> list[tuple[Cursor, ReadyTask]]:
        """Lanes that have a task left, the oldest task first; empty when the job is at its cap."""
        if self.left <= 0:
            return []
        cursors = self.cursors
        if len(cursors) == 1:  # the usual case
            task = cursors[0].task
            return [(cursors[0], task)] if task is not None else []
        found = [(c, c.task) for c in cursors if c.task is not None]
        found.sort(key=_task_key)
        return found

    @property
    def is_starved(self) -> bool:
        """True when the window is used up while the store has more."""
        return self.left > 0 and self.job.more and all(c.task is None for c in self.cursors)


def _task_key(pair: tuple[Cursor, ReadyTask]) -> int:
    return pair[1].key


class TierRun:
    """The jobs of one priority, handed out in turn."""

    __slots__ = ("_again", "_failed", "_index", "_jobs", "_turns", "clock", "pool", "tier")

    def __init__(self, pool: PoolView, tier: Tier) -> None:
        self.pool = pool
        self.tier = tier
        self.clock = tier.clock
        self._jobs = pool.jobs
        self._index = 0  # into the tier's order: all before it have been handed out
        self._turns: dict[int, JobTurn] = {}
        self._again: list[Rank] = []  # heap of jobs that were served and may want more
        self._failed: list[Rank] = []  # jobs that nothing fitted

    @property
    def turns(self) -> dict[int, JobTurn]:
        """The jobs that have been looked at, by key."""
        return self._turns

    def next(self) -> JobTurn | None:
        """The job whose turn it is; None when all have failed or want nothing more."""
        order, again = self.tier.order, self._again
        while self._index < len(order) and order[self._index][2] in self._turns:
            self._index += 1  # it was pulled
        fresh = order[self._index] if self._index < len(order) else None
        if again and (fresh is None or again[0] < fresh):
            return self._turns[heappop(again)[2]]
        if fresh is None:
            return None
        self._index += 1
        turn = self._turns[fresh[2]] = JobTurn(self._jobs[fresh[2]], fresh)
        return turn

    def pull(self, job: JobView, rank: Rank) -> JobTurn:
        """One job out of turn, before any was handed out; ``served`` is due for it."""
        turn = self._turns[job.key] = JobTurn(job, rank)
        return turn

    def served(self, turn: JobTurn) -> None:
        """The job was given one task: it goes behind the others, unless older jobs go first."""
        number, created_us, key = turn.rank
        if not self.pool.creation_order:
            self.clock = max(self.clock, number)
            turn.rank = (number + 1, created_us, key)
        heappush(self._again, turn.rank)

    def failed(self, turn: JobTurn) -> None:
        """Nothing of the job fits."""
        self._failed.append(turn.rank)

    def retry(self) -> None:
        """Hand out all over again those that failed."""
        self._again += self._failed
        heapify(self._again)
        self._failed.clear()

    def unserved(self) -> Iterator[JobTurn]:
        """Jobs of the tier that may still want something, in no order."""
        for rank in (*self._again, *self._failed):
            yield self._turns[rank[2]]
        for index in range(self._index, len(self.tier.order)):
            rank = self.tier.order[index]
            if rank[2] in self._turns:
                continue
            yield JobTurn(self._jobs[rank[2]], rank)

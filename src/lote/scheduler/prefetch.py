"""Prefetch: tasks given to a node beyond its slots, so that it need not wait for the next.

The rule: a job's task is prefetched when it takes one slot, is single, may run on any node, no
open slot is left for it in the pool, its job is quick (mean run time known and at most 0.5 s),
and no task of a higher priority waits that some node could run. It goes to the node with the
shortest backlog, ties to the lowest key, while that backlog is shorter than

    depth = min(64, max(1, floor(0.05 s * quick slots / mean run time)))

where quick slots are those not held by tasks of jobs that are not quick; no such slot, no
backlog. A backlog is filled up only once it has fallen to half of its depth, so that tasks
travel in batches. Affinity is not looked at: a node with a backlog is busy.
"""

from __future__ import annotations

from heapq import heappop, heappush

from lote.scheduler.nouns import JobView, PoolView

BACKLOG_WORK_S = 0.05  # Design: about 50 ms of work
BACKLOG_MAX = 64  # Design: tasks a node


def depth_of(quick_slots: int, job: JobView) -> int:
    """How long a backlog may grow with tasks of the job on a node with that many quick slots."""
    mean = job.mean_run_s
    if quick_slots <= 0 or mean is None or not job.quick:
        return 0
    work = BACKLOG_WORK_S * quick_slots
    if mean * BACKLOG_MAX <= work:
        return BACKLOG_MAX
    return max(1, int(work / mean))


def is_settled(pool: PoolView) -> bool:
    """A quick look for the hottest case: nothing can be placed, prefetched or asked back.

    True only when that is certain; False means that it takes a closer look.
    """
    if pool.opened.mask > 1 or pool.collecting is not None:
        return False
    if not pool.ranked:
        return True
    order = pool.tiers[-pool.ranked[0]].order
    if len(order) > 1:
        return False
    job = pool.jobs[order[0][2]]
    lent = pool.lent
    if len(lent) > 1 or (lent and job.key not in lent):
        return False  # what is lent may have a lower priority
    if len(pool.ranked) > 1 and next(iter(job.window.lanes), _PLAIN) != _PLAIN:
        return False  # its tasks may be too large for any node, and lower tiers have their turn
    if len(job.window.lanes) > 1:
        return False
    shortest = pool.queued.lowest()
    deepest = depth_of(pool.largest, job)
    return shortest < 0 or deepest == 0 or 2 * shortest > deepest


_PLAIN = (1, False, True, 0)  # the lane of tasks that may be prefetched


class Prefetcher:
    """Hands out places in backlogs while a plan is made, the shortest backlog first.

    A node is *fresh* until the plan gives it something; then it is *topped* up to its depth.
    """

    __slots__ = (
        "_index",
        "_largest",
        "_level",
        "_mask",
        "_nodes",
        "_rows",
        "_slowed",
        "_topped",
        "avoided",
        "lengths",
    )

    def __init__(self, pool: PoolView, avoided: int, slowed: dict[int, int]) -> None:
        self._nodes = pool.nodes
        self._rows = pool.queued.rows
        self._largest = pool.largest
        self._mask = pool.queued.mask
        self._level = 0
        self._index = 0
        self._topped: list[tuple[int, int]] = []  # heap of length, key; some are out of date
        self._slowed = slowed  # slots that the plan gives to tasks of jobs that are not quick
        self.lengths: dict[int, int] = {}  # backlogs as the plan has made them
        self.avoided = avoided  # the node that is kept for a larger task, or 0

    def find(self, job: JobView) -> int:
        """The node whose backlog takes a task of the job next; 0 when none does."""
        bound = depth_of(self._largest, job)
        if not bound:
            return 0
        topped = self._find_topped(job, bound)
        fresh = self._find_fresh(job, bound)
        if topped is not None and (fresh is None or topped < fresh):
            return topped[1]
        return fresh[1] if fresh is not None else 0

    def take(self, key: int) -> None:
        """The node that ``find`` gave gets one task."""
        length = self.lengths.get(key)
        if length is None:
            length = self._nodes[key].queue
        self.lengths[key] = length + 1
        heappush(self._topped, (length + 1, key))

    def _depth(self, key: int, job: JobView) -> int:
        node = self._nodes[key]
        return depth_of(node.slots - node.slow - self._slowed.get(key, 0), job)

    def _find_topped(self, job: JobView, bound: int) -> tuple[int, int] | None:
        topped, lengths = self._topped, self.lengths
        while topped and lengths[topped[0][1]] != topped[0][0]:
            heappop(topped)
        if not topped or topped[0][0] >= bound:
            return None
        if self._has_room(topped[0], job):
            return topped[0]
        current = [one for one in topped if lengths[one[1]] == one[0]]
        return min((one for one in current if self._has_room(one, job)), default=None)

    def _has_room(self, one: tuple[int, int], job: JobView) -> bool:
        if one[1] == self.avoided:
            return False
        return one[1] not in job.barred and one[0] < self._depth(one[1], job)

    def _find_fresh(self, job: JobView, bound: int) -> tuple[int, int] | None:
        start, index, used_up = self._level, self._index, True
        above = self._mask >> start << start  # levels from here on that hold nodes
        while above:
            level = (above & -above).bit_length() - 1
            if 2 * level > bound:
                return None
            row = self._rows[level]
            for place in range(index if level == start else 0, len(row)):
                key = row[place]
                if key in self.lengths:
                    if used_up:
                        self._level, self._index = level, place + 1
                    continue
                # What will not do for this job may do for another of its tier.
                used_up = False
                usable = key not in job.barred and key != self.avoided
                depth = self._depth(key, job) if usable else 0
                if depth and 2 * level <= depth:
                    return level, key
            above &= above - 1
        return None

"""The scheduler's picture of the account, kept by its owner after every committed operation.

Every change costs O(1) or O(log n) in the nodes of a pool and the jobs of a priority. Keys are
the store's row keys: positive, growing, never used twice.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from lote.scheduler.nouns import (
    QUICK_AGAIN_MEAN_S,
    QUICK_MEAN_MAX_S,
    JobView,
    NodeView,
    PoolView,
    Promise,
    Tier,
    Yielding,
)
from lote.scheduler.plan import Plan
from lote.scheduler.ready import ReadyTask

__all__ = ["JobView", "NodeView", "PoolView", "ReadyTask", "StalePlan", "View"]

_MEAN_WEIGHT = 0.2  # of the latest run in the moving mean; ours: follows a change in ~10 runs


class StalePlan(Exception):
    """The view changed under a plan: our bug, nothing was applied."""


class View:
    """Pools, nodes and jobs by key."""

    def __init__(self) -> None:
        self.pools: dict[int, PoolView] = {}
        self.nodes: dict[int, NodeView] = {}
        self.jobs: dict[int, JobView] = {}

    # -- pools ------------------------------------------------------------------------------

    def add_pool(
        self,
        key: int,
        *,
        slots_per_node: int = 1,
        spread: bool = True,
        creation_order: bool = False,
        inter_node: bool = False,
    ) -> PoolView:
        """A pool appears; jobs that name it already join it."""
        pool = self.pools[key] = PoolView(key, spread, creation_order, slots_per_node, inter_node)
        for job in self.jobs.values():
            if job.pool_key == key:
                self._join(job)
        return pool

    def set_pool(
        self,
        key: int,
        *,
        spread: bool | None = None,
        creation_order: bool | None = None,
        slots_per_node: int | None = None,
        inter_node: bool | None = None,
    ) -> None:
        """Change a pool's policy; what is left out stays."""
        pool = self.pools[key]
        if spread is not None:
            pool.spread = spread
        if slots_per_node is not None:
            pool.slots_per_node = slots_per_node
        if inter_node is not None:
            pool.inter_node = inter_node
        if creation_order is not None and creation_order != pool.creation_order:
            for job in pool.jobs.values():
                self._unrank(job)
            pool.creation_order = creation_order
            for job in pool.jobs.values():
                self._rank(job)

    def drop_pool(self, key: int) -> None:
        """The pool has gone, with all its nodes. Its jobs stay and wait."""
        pool = self.pools[key]
        for node_key in list(pool.nodes):
            self.drop_node(node_key)
        for job in list(pool.jobs.values()):
            self._leave(job)
        del self.pools[key]

    # -- nodes ------------------------------------------------------------------------------

    def add_node(
        self,
        key: int,
        pool_key: int,
        slots: int,
        *,
        name: str = "",
        dedicated: bool = True,
        eligible: bool = True,
    ) -> NodeView:
        """A node appears in a pool, empty. ``eligible``: new tasks may be put on it."""
        pool = self.pools[pool_key]
        node = NodeView(key, pool, slots, name, dedicated, eligible)
        self.nodes[key] = pool.nodes[key] = node
        if eligible:
            pool.sizes[slots] = pool.sizes.get(slots, 0) + 1
        self._seat(node)
        return node

    def set_node(self, key: int, *, eligible: bool) -> None:
        """New tasks may, or may no longer, be put on the node. What is on it stays."""
        node = self.nodes[key]
        if node.eligible != eligible:
            node.eligible = eligible
            _count_size(node, 1 if eligible else -1)
            self._seat(node)

    def drop_node(self, key: int) -> None:
        """The node has gone. A ``release`` is still due for each task it had."""
        node = self.nodes.pop(key)
        pool = node.pool
        if node.eligible:
            node.eligible = False
            _count_size(node, -1)
            self._seat(node)
        for task_key, job_key in node.backlog.items():
            if task_key in node.returning:
                pool.returning_count -= 1
            else:
                _lend(pool, job_key, -1)
        for task_key in [one.task_key for one in pool.yielding.values() if one.node_key == key]:
            del pool.yielding[task_key]
        del pool.nodes[key]

    def bar(self, job_key: int, node_key: int) -> None:
        """The job's preparation failed on the node: no more tasks of it there."""
        self.jobs[job_key].barred.add(node_key)

    def unbar(self, node_key: int) -> None:
        """The node was reimaged: every job may try it again."""
        for job in self.nodes[node_key].pool.jobs.values():
            job.barred.discard(node_key)

    # -- jobs -------------------------------------------------------------------------------

    def add_job(
        self,
        key: int,
        pool_key: int,
        *,
        created_us: int,
        priority: int = 0,
        max_parallel: int = -1,
        active: bool = True,
        mean_run_s: float | None = None,
        looks_ahead: bool = True,
    ) -> JobView:
        """A job appears, without ready tasks. ``pool_key`` may be 0 or of no known pool.

        A job that does not look ahead never counts as quick: it has a task that holds its slots
        for long, whatever the mean of the others, and nothing may wait behind that.
        """
        job = JobView(key, pool_key, priority, created_us, max_parallel, active, looks_ahead)
        self.jobs[key] = job
        if mean_run_s is not None:
            job.mean_run_s = mean_run_s
            job.quick = looks_ahead and mean_run_s <= QUICK_MEAN_MAX_S
        self._join(job)
        return job

    def set_job(
        self,
        key: int,
        *,
        priority: int | None = None,
        max_parallel: int | None = None,
        active: bool | None = None,
        pool_key: int | None = None,
    ) -> None:
        """Change how a job ranks; what is left out stays."""
        job = self.jobs[key]
        self._unrank(job)
        if priority is not None and priority != job.priority:
            job.priority = priority
            job.turn = 0  # turns of different tiers cannot be compared
        if max_parallel is not None:
            job.max_parallel = max_parallel
        if active is not None:
            job.active = active
        if pool_key is not None and pool_key != job.pool_key:
            self._leave(job)
            job.pool_key = pool_key
            job.turn = 0
            job.barred.clear()
            self._join(job)
        else:
            self._rank(job)

    def put_first(self, key: int) -> None:
        """The job has the next turn of its priority, before all others."""
        job = self.jobs[key]
        if job.rank is None or job.pool is None:
            return
        order = job.pool.tiers[job.priority].order
        del order[bisect_left(order, job.rank)]
        job.rank = (-1, job.created_us, job.key)
        insort(order, job.rank)

    def drop_job(self, key: int) -> None:
        """The job has gone. A ``release`` is still due for each task that nodes have of it."""
        job = self.jobs.pop(key)
        self._leave(job)
        self._set_quick(job, False)

    def observe_run(self, job_key: int, seconds: float) -> None:
        """A task of the job ran for ``seconds``; feeds the mean that prefetch goes by."""
        job = self.jobs.get(job_key)
        if job is None:
            return
        mean = job.mean_run_s
        mean = seconds if mean is None else mean + _MEAN_WEIGHT * (seconds - mean)
        job.mean_run_s = mean
        quick = mean <= (QUICK_MEAN_MAX_S if job.quick else QUICK_AGAIN_MEAN_S)
        self._set_quick(job, quick and job.looks_ahead)

    def _set_quick(self, job: JobView, quick: bool) -> None:
        """Rare, so it may look at every node; they may be of a pool the job has left."""
        if quick == job.quick:
            return
        job.quick = quick
        for node in self.nodes.values() if job.placed else ():
            if job.key in node.held:
                node.slow += -node.held[job.key] if quick else node.held[job.key]
                self._seat(node)

    # -- ready tasks ------------------------------------------------------------------------

    def push_ready(self, job_key: int, tasks: Iterable[ReadyTask], *, more: bool) -> None:
        """Tasks join the job's window. ``more``: the store holds ready tasks beyond it.

        ValueError when a task is in the window already.
        """
        job = self.jobs[job_key]
        add = job.window.add
        for task in tasks:
            add(task)
        job.more = more
        self._rank(job)

    def push_front(self, job_key: int, task: ReadyTask) -> None:
        """A task was returned or requeued; it goes back where its key belongs."""
        job = self.jobs[job_key]
        job.window.add(task)
        self._rank(job)

    def drop_ready(self, job_key: int, task_key: int) -> bool:
        """A ready task was deleted, terminated or blocked; False when not in the window."""
        job = self.jobs[job_key]
        dropped = job.window.drop(task_key)
        self._rank(job)
        return dropped

    # -- tasks on nodes ---------------------------------------------------------------------

    def occupy(
        self,
        node_key: int,
        job_key: int,
        task_key: int,
        slots: int,
        *,
        prefetched: bool = False,
        counts: bool = True,
    ) -> None:
        """A node has a task that no plan put there (a restart, a rescue).

        ``counts``: it is one more of its job's; not so for further instances of a task.
        """
        node = self.nodes[node_key]
        job = self.jobs.get(job_key)
        if prefetched:
            node.backlog[task_key] = job_key
            _lend(node.pool, job_key, 1)
        else:
            _hold(node, job_key, job, slots)
        self._seat(node)
        if job is not None and counts:
            job.placed += 1
            self._rank(job)

    def begin(self, node_key: int, task_key: int) -> None:
        """A prefetched task began: from the backlog to a slot. Nothing when it had begun."""
        node = self.nodes[node_key]
        job_key = node.backlog.get(task_key)
        if job_key is not None:
            self._pop_backlog(node, task_key)
            _hold(node, job_key, self.jobs.get(job_key), 1)
            self._seat(node)

    def release(
        self, node_key: int, job_key: int, task_key: int, slots: int, *, counts: bool = True
    ) -> None:
        """A node no longer has a task: it ended, was requeued, or came back from the backlog.

        The node or the job may have been dropped before. ``counts``: its job has one less placed;
        not so while other instances of the task are still on nodes.
        """
        node = self.nodes.get(node_key)
        job = self.jobs.get(job_key)
        if node is not None:
            if task_key in node.backlog:
                self._pop_backlog(node, task_key)
            else:
                _hold(node, job_key, job, -slots)
            if node.pool.yielding:
                node.pool.yielding.pop(task_key, None)
            self._seat(node)
        if job is not None and counts:
            job.placed -= 1
            self._rank(job)

    def let_yield(self, node_key: int, job_key: int, task_key: int, slots: int) -> None:
        """A begun task may be taken off its node for one of a higher priority."""
        pool = self.nodes[node_key].pool
        pool.yielding[task_key] = Yielding(task_key, job_key, node_key, slots)

    def keep_running(self, job_key: int) -> None:
        """No task of the job may be taken off any more."""
        for pool in self.pools.values():
            for key in [one.task_key for one in pool.yielding.values() if one.job_key == job_key]:
                del pool.yielding[key]

    def mark_leaving(self, node_key: int, task_key: int) -> None:
        """A task is being ended: its slots will come free."""
        node = self.nodes.get(node_key)
        one = node.pool.yielding.get(task_key) if node is not None else None
        if one is not None:
            one.is_leaving = True

    def promise(self, pool_key: int, promises: dict[int, Promise]) -> None:
        """What comes free on some nodes of the pool is for these tasks; others have no promise."""
        self.pools[pool_key].promises = promises

    def mark_revoked(self, node_key: int, task_key: int) -> bool:
        """A prefetched task is being asked back; False when it is not there or was asked before.

        ``apply`` does this for a plan's revocations; the owner for those of its own.
        """
        node = self.nodes[node_key]
        if task_key in node.returning or task_key not in node.backlog:
            return False
        node.returning.add(task_key)
        node.pool.returning_count += 1
        _lend(node.pool, node.backlog[task_key], -1)
        return True

    # -- plans ------------------------------------------------------------------------------

    def apply(self, plan: Plan) -> None:
        """Make a plan so. Raises StalePlan, with nothing changed, when the windows differ."""
        pool = self.pools.get(plan.pool_key)
        if pool is None:
            if plan:
                raise StalePlan(f"pool {plan.pool_key} has gone")
            return
        for job_key, lane, count, last_key in plan.taken:
            if self.jobs[job_key].window.key_at(lane, count - 1) != last_key:
                raise StalePlan(f"job {job_key}: task {last_key} is no longer number {count}")
        pool.collecting = plan.collecting
        for job_key, lane, count, _ in plan.taken:
            job = self.jobs[job_key]
            job.window.take(lane, count)
            job.placed += count
        self._apply_assignments(pool, plan)
        for priority, clock in plan.clocks.items():
            pool.tiers[priority].clock = clock
        for job_key, turn in plan.turns.items():
            job = self.jobs[job_key]
            self._unrank(job)
            job.turn = turn
            self._rank(job)
        for revocation in plan.revocations:
            self.mark_revoked(revocation.node_key, revocation.task_key)

    def _apply_assignments(self, pool: PoolView, plan: Plan) -> None:
        touched: dict[int, NodeView] = {}
        nodes, jobs = self.nodes, self.jobs
        for one in plan.assignments:
            node = nodes[one.node_key]
            if one.prefetched:
                node.backlog[one.task_key] = one.job_key
                _lend(pool, one.job_key, 1)
            else:
                _hold(node, one.job_key, jobs[one.job_key], one.slots)
            touched[one.node_key] = node
            for key in one.others:
                touched[key] = nodes[key]
                _hold(nodes[key], one.job_key, jobs[one.job_key], one.slots)
        for node in touched.values():
            self._seat(node)

    # -- indexes ----------------------------------------------------------------------------

    def _seat(self, node: NodeView) -> None:
        """Put the node into the rows where it now belongs."""
        pool = node.pool
        level = queue = -1
        if node.eligible:
            waiting = len(node.backlog)
            free = node.free
            if free > 0:
                level = free - waiting if free > waiting else 0
                waiting = waiting - free if waiting > free else 0
            else:
                level = 0
            # A node that only long tasks hold gets no backlog, so nobody looks for it there.
            queue = waiting if waiting or node.slow < node.slots else -1
        if level != node.level:
            if node.level >= 0:
                pool.opened.remove(node.key, node.level)
                pool.open_total -= node.level
            if level >= 0:
                pool.opened.add(node.key, level)
                pool.open_total += level
            node.level = level
        if queue != node.queue:
            if node.queue >= 0:
                pool.queued.remove(node.key, node.queue)
            if queue >= 0:
                pool.queued.add(node.key, queue)
            node.queue = queue

    def _join(self, job: JobView) -> None:
        pool = self.pools.get(job.pool_key)
        if pool is not None:
            job.pool = pool
            pool.jobs[job.key] = job
            self._rank(job)

    def _leave(self, job: JobView) -> None:
        self._unrank(job)
        if job.pool is not None:
            del job.pool.jobs[job.key]
            job.pool = None

    def _rank(self, job: JobView) -> None:
        """Bring the job's place among those that want slots up to date."""
        pool = job.pool
        if job.wants == (job.rank is not None) or pool is None:
            return
        if job.rank is not None:
            self._unrank(job)
            return
        tier = pool.tiers.get(job.priority)
        if tier is None:
            tier = pool.tiers[job.priority] = Tier(job.priority)
        if not tier.order:
            insort(pool.ranked, -job.priority)
        job.turn = max(job.turn, tier.clock)
        turn = 0 if pool.creation_order else job.turn
        job.rank = (turn, job.created_us, job.key)
        insort(tier.order, job.rank)

    def _unrank(self, job: JobView) -> None:
        pool = job.pool
        if job.rank is None or pool is None:
            return
        order = pool.tiers[job.priority].order
        del order[bisect_left(order, job.rank)]
        if not order:
            del pool.ranked[bisect_left(pool.ranked, -job.priority)]
        job.rank = None

    def _pop_backlog(self, node: NodeView, task_key: int) -> None:
        job_key = node.backlog.pop(task_key)
        if task_key in node.returning:
            node.returning.discard(task_key)
            node.pool.returning_count -= 1
        else:
            _lend(node.pool, job_key, -1)


def _hold(node: NodeView, job_key: int, job: JobView | None, slots: int) -> None:
    """A begun task takes ``slots`` of the node, or gives them back when negative."""
    node.free -= slots
    node.running += 1 if slots > 0 else -1
    if job is None or not job.quick:
        node.slow += slots
    held = node.held.get(job_key, 0) + slots
    if held:
        node.held[job_key] = held
    else:
        del node.held[job_key]


def _lend(pool: PoolView, job_key: int, count: int) -> None:
    lent = pool.lent.get(job_key, 0) + count
    if lent:
        pool.lent[job_key] = lent
    else:
        pool.lent.pop(job_key, None)


def _count_size(node: NodeView, count: int) -> None:
    sizes = node.pool.sizes
    left = sizes.get(node.slots, 0) + count
    if left:
        sizes[node.slots] = left
    else:
        del sizes[node.slots]

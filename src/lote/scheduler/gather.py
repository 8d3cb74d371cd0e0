"""Gathering nodes for a multi-instance task: it is not passed by others for ever.

Such a task takes several empty nodes at once, in a pool whose nodes have one slot and may talk to
each other. The rule is that of ``protect.py`` with whole nodes: the oldest task of a job, when it
is of this kind and fewer nodes are free than it needs though the pool has as many, becomes the
protected task, unless one of the same or a higher priority is that already. Once ``PASSES_MAX``
tasks of its own or lower priority have been placed past it, and before anything is prefetched past
it, and when tasks of a lower priority are taken off their nodes for it, open nodes are kept for it,
as many as it needs and whichever become free first: nothing of its own or lower priority goes onto
them, nothing of that is prefetched anywhere in the pool, and backlogs of that are asked back until
there are enough. All its nodes are given in one step, so two such tasks can't wait for each other's
nodes.

The last place under its job's ``max_parallel`` is left to it too, once nodes are or ought to be
kept. While the job is at ``max_parallel``, or the pool has too few nodes, nothing is kept, but the
passes are remembered.
"""

from __future__ import annotations

from collections.abc import Container

from lote.scheduler import reasons
from lote.scheduler.guard import PASSES_MAX, Guard
from lote.scheduler.nouns import JobView, PoolView
from lote.scheduler.plan import Collecting, Reason
from lote.scheduler.ready import ReadyTask
from lote.scheduler.scratch import Scratch
from lote.scheduler.view import View


def count_suitable(pool: PoolView, job: JobView, task: ReadyTask) -> int:
    """How many nodes of the pool could have an instance of the task, empty or not."""
    if not job.barred and not task.dedicated_only:
        return pool.sizes.get(1, 0)
    return sum(
        node.eligible and node.slots == 1 and Scratch.suits(node, job.barred, task.dedicated_only)
        for node in pool.nodes.values()
    )


def could_gather(pool: PoolView, job: JobView, task: ReadyTask) -> bool:
    """Whether the pool has as many nodes as a multi-instance task needs, empty or not."""
    return pool.runs_gangs and count_suitable(pool, job, task) >= task.instances


def why_not_gathered(pool: PoolView, job: JobView, task: ReadyTask) -> Reason | None:
    """Why a multi-instance task can't run in the pool as it is; None when it only has to wait."""
    if not pool.inter_node:
        return reasons.NO_INTER_NODE
    if pool.slots_per_node != 1:
        return reasons.SEVERAL_SLOTS
    if pool.sizes.get(1, 0) < task.instances:
        return reasons.TOO_MANY_INSTANCES
    if count_suitable(pool, job, task) < task.instances:
        return reasons.BARRED if job.barred else reasons.NEEDS_DEDICATED
    return None


class Gathering(Guard):
    """The protected task of a pool that runs multi-instance tasks, while a plan is made."""

    __slots__ = ("_hidden", "_is_possible", "hidden")

    def __init__(self, view: View, pool: PoolView, scratch: Scratch) -> None:
        super().__init__(view, pool, scratch)
        self.hidden = 0  # no single node is: see ``bars_ahead``
        self._hidden: list[int] = []  # open nodes, one slot each, offered to nobody else
        self._is_possible = True  # the pool has as many nodes as it needs
        self.collecting = None if pool.collecting is None else self._still(pool.collecting)

    @property
    def _keeps(self) -> bool:
        return self.collecting is not None and self.collecting.keeps

    @property
    def fits_now(self) -> bool:
        """True when enough nodes have been gathered."""
        now = self.collecting
        return now is not None and now.keeps and not self._hidden and bool(self.nodes_now())

    def nodes_now(self) -> list[int]:
        """The nodes that the protected task takes, once it ``fits_now``."""
        job, task = self.job, self._task
        if job is None or task is None:
            return []
        only = task.dedicated_only
        return self._scratch.find_nodes(task.instances, job.barred, only, task.affinity)

    def note_blocked(self, job: JobView, task: ReadyTask) -> None:
        """The oldest task of a job fits nowhere: it may be the one to protect."""
        now = self.collecting
        if not task.instances or (now is not None and now.task_key == task.key):
            return
        if self._is_waiting and self._priority >= job.priority:
            return
        if could_gather(self._pool, job, task):
            self._show()
            self._is_capped = False
            self._is_possible = True
            self.collecting = Collecting(task.key, job.key, 1, 0, 0, task.instances)

    def count_pass(self, priority: int, task_key: int, *, choose: bool) -> None:
        """A task was placed; ``choose``: nodes may be kept now if it was one too many."""
        now = self.collecting
        if now is None:
            return
        if task_key == now.task_key:
            self._show()
            self.collecting = None
        elif not now.keeps and priority <= self._priority and self._could_wait:
            self.collecting = now._replace(passed=now.passed + 1)
            if choose and self._is_waiting and now.passed + 1 >= PASSES_MAX:
                self._keep()

    def keep_before(self, priority: int, given: Container[int]) -> None:
        """Something of ``priority`` is about to be prefetched: keep nodes first."""
        now = self.collecting
        if now is not None and not now.keeps and self._is_waiting and priority <= self._priority:
            self._keep()

    def bars_ahead(self, priority: int) -> bool:
        """Whether nothing of ``priority`` may be prefetched anywhere: a node with a backlog does
        not become free."""
        now = self.collecting
        return now is not None and now.keeps and self._is_waiting and priority <= self._priority

    def hide_below(self, priority: int) -> None:
        """Tasks of ``priority`` and lower come next: hide the kept nodes if not for them."""
        now = self.collecting
        if now is not None and self._is_waiting and priority <= self._priority:
            if not now.keeps and (now.passed >= PASSES_MAX or self._is_given_room(priority)):
                self._keep()
            self.hide()

    def hide(self) -> None:
        """Offer the kept nodes to nobody from here on."""
        job, task, now = self.job, self._task, self.collecting
        if now is None or not now.keeps or self._hidden or job is None or task is None:
            return
        open_now = self._scratch.find_empty(job.barred, task.dedicated_only)
        self._hidden = open_now[: now.instances]
        for key in self._hidden:
            self._scratch.hide(key)

    def _is_given_room(self, priority: int) -> bool:
        """Whether tasks of a lower priority are taken off nodes for it: see ``preempt.py``."""
        if priority >= self._priority or not self._pool.yielding:
            return False
        jobs = (self._jobs.get(one.job_key) for one in self._pool.yielding.values())
        return any(job is not None and job.priority < self._priority for job in jobs)

    @property
    def _task(self) -> ReadyTask | None:
        job = self.job
        return None if job is None else job.window.find(self.task_key)

    @property
    def _is_waiting(self) -> bool:
        """True when nodes are what the protected task waits for."""
        return self._could_wait and not self._is_capped

    @property
    def _could_wait(self) -> bool:
        """The same, but for what the plan has given its job meanwhile."""
        job = self.job
        return job is not None and job.wants and self._is_possible

    def _show(self) -> None:
        for key in self._hidden:
            self._scratch.show(key, 1)
        self._hidden = []

    def _keep(self) -> None:
        # Where it fits already it will be placed when its turn comes; keep nothing before.
        if self.collecting is not None and not self.nodes_now():
            self.collecting = self.collecting._replace(keeps=True)
            self.hide()

    def _still(self, now: Collecting) -> Collecting | None:
        """What the last plan left, if the task still waits, and the pool still has its nodes."""
        job = self._jobs.get(now.job_key)
        if job is None or job.pool is not self._pool or not job.active:
            return None
        first_key = job.window.first_of_kind(now.task_key)
        task = job.window.find(first_key) if first_key else None
        if task is None or not task.instances:
            return None
        # Another of its kind that was requeued may be older, and then goes before it.
        now = now._replace(task_key=first_key)
        self._is_possible = could_gather(self._pool, job, task)
        return now if job.wants and self._is_possible else now._replace(keeps=False)

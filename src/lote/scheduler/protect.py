"""Starvation protection: a task that needs several slots is not passed by others for ever.

The rule: the oldest task of a job, when it needs several slots and fits nowhere though some node
is large enough, becomes the protected task of its pool, unless one of the same or a higher
priority is that already. Once ``PASSES_MAX`` tasks of its own or lower priority have been placed
past it, and before anything is prefetched past it, a node is kept for it: the roomiest that is
large enough, ties to the lowest key. Nothing of its own or lower priority goes onto the kept
node, whose backlog is asked back, until the protected task is placed, there or elsewhere.

The last place under its job's ``max_parallel`` is left to it too, once a node is or ought to be
kept. While the job is at ``max_parallel`` nothing is kept, but the passes are remembered.
"""

from __future__ import annotations

from collections.abc import Container

from lote.scheduler.guard import PASSES_MAX, Guard
from lote.scheduler.nouns import JobView, PoolView
from lote.scheduler.plan import Collecting
from lote.scheduler.ready import ReadyTask
from lote.scheduler.scratch import Scratch
from lote.scheduler.view import View


class Protection(Guard):
    """The protected task of a pool while a plan is made."""

    __slots__ = ("_kept_open", "hidden")

    def __init__(self, view: View, pool: PoolView, scratch: Scratch) -> None:
        super().__init__(view, pool, scratch)
        self.hidden = 0  # the kept node, once it is offered to nobody else
        self._kept_open = 0  # open slots of the hidden node
        self.collecting = None if pool.collecting is None else self._still(pool.collecting)

    @property
    def node_key(self) -> int:
        """The kept node, or 0."""
        return 0 if self.collecting is None else self.collecting.node_key

    @property
    def _keeps(self) -> bool:
        return self.collecting is not None and bool(self.collecting.node_key)

    @property
    def fits_now(self) -> bool:
        """True when enough slots have been collected."""
        now = self.collecting
        if now is None or not now.node_key or self.hidden:
            return False
        return self._scratch.open_slots(self._pool.nodes[now.node_key]) >= now.slots

    def nodes_now(self) -> list[int]:
        """The nodes that the protected task takes, once it ``fits_now``."""
        return [self.node_key]

    def bars_ahead(self, priority: int) -> bool:
        """Whether nothing of ``priority`` may be prefetched anywhere: never, for one node."""
        return False

    def note_blocked(self, job: JobView, task: ReadyTask) -> None:
        """The oldest task of a job fits nowhere: it may be the one to protect."""
        now = self.collecting
        if now is not None and now.task_key == task.key:
            return
        if self._is_waiting and self._priority >= job.priority:
            return
        if self._scratch.roomiest(task.slots, job.barred, task.dedicated_only):
            self._show()
            self._is_capped = False
            self.collecting = Collecting(task.key, job.key, task.slots, 0, 0)

    def count_pass(self, priority: int, task_key: int, *, choose: bool) -> None:
        """A task was placed; ``choose``: a node may be kept now if it was one too many."""
        now = self.collecting
        if now is None:
            return
        if task_key == now.task_key:
            self._show()
            self.collecting = None
        elif not now.node_key and priority <= self._priority and self._jobs[now.job_key].wants:
            self.collecting = now._replace(passed=now.passed + 1)
            if choose and self._is_waiting and now.passed + 1 >= PASSES_MAX:
                self._choose(())

    def keep_before(self, priority: int, given: Container[int]) -> None:
        """Something of ``priority`` is about to be prefetched: keep a node first.

        ``given`` are nodes that the plan prefetched to already; it does not ask that back.
        """
        now = self.collecting
        if now is not None and not now.node_key and self._is_waiting and priority <= self._priority:
            self._choose(given)

    def hide_below(self, priority: int) -> None:
        """Tasks of ``priority`` and lower come next: hide the kept node if it is not for them."""
        now = self.collecting
        if now is not None and self._is_waiting and priority <= self._priority:
            if not now.node_key and now.passed >= PASSES_MAX:
                self._choose(())
            self.hide()

    def hide(self) -> None:
        """Offer the kept node to nobody from here on."""
        if self.node_key and not self.hidden:
            self.hidden = self.node_key
            self._kept_open = self._scratch.hide(self.hidden)

    @property
    def _is_waiting(self) -> bool:
        """True when slots are what the protected task waits for."""
        job = self.job
        return job is not None and job.wants and not self._is_capped

    def _show(self) -> None:
        if self.hidden:
            self._scratch.show(self.hidden, self._kept_open)
            self.hidden = 0

    def _choose(self, excluded: Container[int]) -> None:
        now = self.collecting
        if now is None:
            return
        job = self._jobs[now.job_key]
        task = job.window.find(now.task_key)
        only = task is not None and task.dedicated_only
        key = self._scratch.roomiest(now.slots, job.barred, only, excluded)
        # Where it fits already it will be placed when its turn comes; keep nothing before.
        if key and self._scratch.open_slots(self._pool.nodes[key]) < now.slots:
            self.collecting = now._replace(node_key=key)
            self.hide()

    def _still(self, now: Collecting) -> Collecting | None:
        """What the last plan left, if the task still waits; its node, if that is still fit."""
        job = self._jobs.get(now.job_key)
        if job is None or job.pool is not self._pool or not job.active:
            return None
        first_key = job.window.first_of_kind(now.task_key)
        if not first_key:
            return None
        # Another of its kind that was requeued may be older, and then goes before it.
        now = now._replace(task_key=first_key)
        node = self._pool.nodes.get(now.node_key)
        if node is None or not node.eligible or node.key in job.barred or not job.wants:
            return now._replace(node_key=0)
        return now

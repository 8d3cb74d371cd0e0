"""The protected task of a pool: what is the same for slots of one node and for several nodes.

``protect.py`` says when slots of a node are kept for it, ``gather.py`` when whole nodes are. What
``place`` asks of the one it asks of the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from lote.scheduler.nouns import JobView, PoolView
from lote.scheduler.plan import Collecting
from lote.scheduler.scratch import Scratch
from lote.scheduler.view import View

PASSES_MAX = 8  # ours: few enough to be fair, enough to keep slots busy that would stand empty


class Guard(ABC):
    """Which task is protected while a plan is made, and its job's cap."""

    __slots__ = ("_is_capped", "_jobs", "_pool", "_scratch", "collecting")

    def __init__(self, view: View, pool: PoolView, scratch: Scratch) -> None:
        self._jobs = view.jobs
        self._pool = pool
        self._scratch = scratch
        self._is_capped = False  # the plan has brought its job to the cap
        self.collecting: Collecting | None = None

    @property
    def job(self) -> JobView | None:
        """The job of the protected task."""
        return None if self.collecting is None else self._jobs[self.collecting.job_key]

    @property
    def task_key(self) -> int:
        """The protected task, or 0."""
        return 0 if self.collecting is None else self.collecting.task_key

    def leaves_to_it(self, job: JobView, left: int, *, ahead: bool) -> int:
        """The only task of the job that may have the last place under its cap; 0 for any."""
        now = self.collecting
        if left != 1 or now is None or now.job_key != job.key:
            return 0
        return now.task_key if ahead or self._keeps or now.passed >= PASSES_MAX else 0

    def reach_cap(self, job: JobView) -> None:
        """The plan gave the job all it may have, so its task no longer waits for room."""
        now = self.collecting
        if now is not None and now.job_key == job.key:
            self._is_capped = True

    @property
    @abstractmethod
    def _keeps(self) -> bool:
        """Whether anything is kept for it."""

    @property
    def _priority(self) -> int:
        job = self.job
        return 0 if job is None else job.priority

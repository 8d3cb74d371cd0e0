"""Job preparation and job release tasks: run when the server says so, beside the slots.

Each (job, kind) has at most one run at a time; what became of the last is kept, so that a server
that asks again is told again. What an end means is the server's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lote.agent import work as phases
from lote.agent.environment import make_base
from lote.agent.failures import WALL_CLOCK_TEXT, failure
from lote.agent.layout import Layout
from lote.agent.links import Links
from lote.agent.log import Log
from lote.agent.orders import Note
from lote.agent.outbox import Outbox
from lote.agent.start_task import StartTask, StartTaskState
from lote.agent.task_spec import decode_task, retention_s, wall_clock_limit_s
from lote.agent.transfers import Transfers
from lote.agent.users import Users
from lote.agent.work import Work
from lote.wire.frames import Container, Failure, JobFacts, Run, Special, SpecialReport

# Keys of their orders and bases, where no task and no job has any.
_FIRST_KEY = -1
_FIRST_BASE = -(1 << 48)


class SpecialState(StartTaskState):
    """How far a run is, as reported."""

    def __init__(self, order: Special, state: StartTaskState) -> None:
        super().__init__(
            state.start_s,
            state.end_s,
            state.exit_code,
            state.failure,
            state.retries,
            state.last_retry_s,
            state.container,
        )
        self.order = order

    def entry(self, now_s: float) -> SpecialReport:  # type: ignore[override]
        """The frame to send now."""
        told = super().entry(now_s)
        order = self.order
        return SpecialReport(
            order.job_key,
            order.kind,
            order.run,
            told.state,
            told.start_age_us,
            told.end_age_us,
            told.exit_code,
            told.failure,
            told.retries,
            told.last_retry_age_us,
            told.container,
        )


class JobTask(StartTask):
    """One run of a job preparation or job release task."""

    _tells_of_pauses = False  # REST: endTime of such a task is that of the whole

    def __init__(
        self,
        order: Special,
        key: int,
        layout: Layout,
        links: Links,
        outbox: Outbox,
        users: Users,
        transfers: Transfers,
        log: Log,
        clock: Callable[[], float],
        on_first: Callable[[str], None],
        on_settled: Callable[[str, float, float], None],
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(layout, links, outbox, users, transfers, log, clock, on_change)
        self.order = order
        self._key = key
        self._base = _FIRST_BASE + key
        self._name = "job_task"
        self._on_first = on_first
        self._on_settled = on_settled
        self._layout = layout
        self._limit: asyncio.TimerHandle | None = None
        self._ended_by: str | None = None

    def begin(self, job: JobFacts, service: dict[str, str]) -> None:
        """Start the first attempt."""
        spec = decode_task(self.order.spec)
        self._directory = self._layout.task_directory(job.directory, spec.id)
        if self.order.run == 1:
            self._on_first(self._directory)
        run = Run(self._key, self.order.run, 0, 0, self.order.spec)
        facts = JobFacts(
            job.job_key, job.job_id, job.directory, job.environment, 0, job.preparation_id
        )
        work = Work(run, facts, spec, self._directory)
        work.limit_s = wall_clock_limit_s(spec.constraints)
        self._links.set_base(self._base, make_base(job.environment, service, job.job_id))
        self._start(work)

    def tell_again(self) -> None:
        """Report how it ended once more, if it has."""
        if self._completed is not None:
            self._outbox.add_urgent(self._completed)

    def kill(self, reason: str = phases.KILLED_BY_SERVER) -> None:
        """End it now; a report follows."""
        work = self._work
        if work is None or self._ended_by is not None:
            return
        self._ended_by = reason
        if self._timer is not None:  # between two attempts
            self._timer.cancel()
            self._complete(work, None)
        elif work.stop is not None:
            work.stop.set()
        else:
            self._links.kill(self._key, work.run)
        self._on_change()

    @property
    def directory(self) -> str:
        """Where it runs."""
        return self._directory

    @property
    def is_at_work(self) -> bool:
        """Whether its last attempt is not over."""
        return self._work is not None

    def close(self) -> None:
        """Begin nothing more."""
        self._drop_limit()
        super().close()

    def _attempt(self, work: Work) -> None:
        if work.limit_s is not None:
            loop = asyncio.get_running_loop()
            self._drop_limit()
            self._limit = loop.call_later(work.limit_s, self.kill, phases.KILLED_BY_LIMIT)
        super()._attempt(work)

    def _retry(self, work: Work) -> None:
        self._drop_limit()  # of the attempt that has ended
        super()._retry(work)

    def _may_retry(self, work: Work) -> bool:
        return self._ended_by is None and super()._may_retry(work)

    def _complete(self, work: Work, trouble: Failure | None) -> None:
        self._drop_limit()
        if self._ended_by is not None:
            is_limit = self._ended_by == phases.KILLED_BY_LIMIT
            trouble = failure("TaskEnded", text=WALL_CLOCK_TEXT if is_limit else None)
        super()._complete(work, trouble)
        lasted_s = (work.end_s or 0.0) - (work.start_s or 0.0)
        self._on_settled(self._directory, retention_s(work.spec.constraints), lasted_s)

    def _state(self, work: Work, *, is_pending: bool) -> StartTaskState:
        return SpecialState(self.order, super()._state(work, is_pending=is_pending))

    def _drop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


class JobTasks:
    """The special tasks of all jobs on this node."""

    def __init__(self, make: Callable[[Special, int], JobTask]) -> None:
        self._make = make
        self._tasks: dict[tuple[int, int], JobTask] = {}
        self._by_key: dict[int, JobTask] = {}
        self._next_key = _FIRST_KEY

    def begin(self, order: Special, job: JobFacts, service: dict[str, str]) -> None:
        """Start a run, unless it is known: then say again how it ended."""
        name = (order.job_key, order.kind)
        known = self._tasks.get(name)
        if known is not None and known.order.run == order.run:
            known.tell_again()
            return
        if known is not None:
            known.close()
        key, self._next_key = self._next_key, self._next_key - 1
        task = self._tasks[name] = self._by_key[key] = self._make(order, key)
        task.begin(job, service)

    def kill(self, job_key: int, kind: int, run: int) -> None:
        """End a run now; one that has ended is told again."""
        task = self._tasks.get((job_key, kind))
        if task is not None and task.order.run == run:
            task.tell_again()
            task.kill()

    def note(self, note: Note) -> None:
        """What a spawner says of one of them."""
        task = self._by_key.get(note[1])
        if task is not None:
            task.note(note)

    def directories(self) -> set[str]:
        """The directories of those that are at work."""
        return {task.directory for task in self._tasks.values() if task.is_at_work}

    def contained(self, key: int, container: Container | None) -> None:
        """What became of the container of one of them."""
        task = self._by_key.get(key)
        if task is not None:
            task.contained(container)

    def close(self) -> None:
        """Begin nothing more."""
        for task in self._by_key.values():
            task.close()

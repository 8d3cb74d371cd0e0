"""The pool's start task on this node: run when the server says that it is due, beside the slots.

Whether tasks wait for it, and what its failure means for the node, is the server's business.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from lote.agent import orders
from lote.agent import work as phases
from lote.agent.environment import make_base
from lote.agent.failures import container_mismatch, exit_failure, failure, launch_failure
from lote.agent.layout import START_TASK_DIRECTORY, Layout
from lote.agent.links import Links
from lote.agent.log import Log
from lote.agent.orders import Ended, Note, Order
from lote.agent.outbox import Outbox
from lote.agent.runs import RETRIES_AT_ONCE, RETRY_PAUSE_S
from lote.agent.task_spec import decode_task
from lote.agent.transfers import Transfers
from lote.agent.users import UnknownUser, Users
from lote.agent.work import Work
from lote.wire.frames import Container, Failure, JobFacts, Run, Setup, StartTaskReport

START_TASK_KEY = 0  # no task has this row key
START_TASK_BASE = 0  # nor any job


class StartTaskState:
    """How far the start task is, as reported; moments in monotonic seconds. One that waits to be
    tried again is running, and has the end of its last attempt."""

    def __init__(
        self,
        start_s: float,
        end_s: float | None = None,
        exit_code: int | None = None,
        failure: Failure | None = None,
        retries: int = 0,
        last_retry_s: float | None = None,
        container: Container | None = None,
        *,
        is_pending: bool = False,
    ) -> None:
        self.start_s = start_s
        self.end_s = end_s
        self.exit_code = exit_code
        self.failure = failure
        self.retries = retries
        self.last_retry_s = last_retry_s
        self.container = container
        self.is_pending = is_pending

    def entry(self, now_s: float) -> StartTaskReport:
        """The frame to send now."""

        def age_us(stamp_s: float | None) -> int | None:
            return None if stamp_s is None else max(0, int((now_s - stamp_s) * 1e6))

        return StartTaskReport(
            "running" if self.end_s is None or self.is_pending else "completed",
            max(0, int((now_s - self.start_s) * 1e6)),
            age_us(self.end_s),
            self.exit_code,
            self.failure,
            self.retries,
            age_us(self.last_retry_s),
            self.container,
        )


class StartTask:
    """Runs the start task at most once in this life of the agent."""

    _tells_of_pauses = True
    """Whether the server is told of an attempt's end while the next one is waited for."""

    def __init__(
        self,
        layout: Layout,
        links: Links,
        outbox: Outbox,
        users: Users,
        transfers: Transfers,
        log: Log,
        clock: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._directory = f"{layout.root}/{START_TASK_DIRECTORY}"
        self._key = START_TASK_KEY
        self._base = START_TASK_BASE
        self._name = "start_task"
        self._links = links
        self._outbox = outbox
        self._users = users
        self._transfers = transfers
        self._log = log
        self._clock = clock
        self._on_change = on_change
        self._work: Work | None = None
        self._completed: StartTaskState | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set_up(self, setup: Setup, service: dict[str, str]) -> None:
        """Begin the start task if it is due; say again how it ended if the server asks again."""
        if setup.start_task is None or not setup.start_task_due or self._work is not None:
            return
        if self._completed is not None:
            self._outbox.add_urgent(self._completed)
            return
        spec = decode_task(setup.start_task)
        run = Run(START_TASK_KEY, 0, 0, 0, setup.start_task)
        job = JobFacts(
            START_TASK_BASE, "", START_TASK_DIRECTORY, [], spec.max_task_retry_count or 0
        )
        self._links.set_base(self._base, make_base([], service, None))
        self._start(Work(run, job, spec, self._directory))

    def _start(self, work: Work) -> None:
        self._work = work
        try:
            work.user = self._users.assign(work.spec.user_identity)
        except UnknownUser as error:
            work.start_s = self._clock()
            self._complete(work, failure("CommandLaunchFailed", ("UserAccount", str(error))))
            return
        self._attempt(work)

    def close(self) -> None:
        """Begin nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None and self._work.stop is not None:
            self._work.stop.set()
        self._work = None

    def note(self, note: Note) -> None:
        """What a spawner says of the start task."""
        work = self._work
        if work is None or note[0] != orders.ENDED or note[3] != work.attempt:
            return
        ended: Ended = note  # type: ignore[assignment]
        _, _, _, _, _, end_s, status, _, _, trouble, *_ = ended
        work.end_s = end_s
        if trouble is not None:
            self._complete(work, launch_failure(trouble))
            return
        assert status is not None
        work.exit_code = os.waitstatus_to_exitcode(status)
        if work.exit_code != 0 and self._may_retry(work):
            self._retry(work)
        else:
            self._complete(work, exit_failure(work.exit_code))

    def contained(self, container: Container | None) -> None:
        """What became of the container of an attempt; its end is noted next."""
        if self._work is not None:
            self._work.container = container

    def _may_retry(self, work: Work) -> bool:
        return work.may_retry()

    def _attempt(self, work: Work) -> None:
        self._timer = None
        work.start_s = self._clock()
        work.end_s = None
        if work.retries:
            work.last_retry_s = work.start_s
        work.phase = phases.PREPARING
        self._report(work)
        if work.spec.resource_files:
            self._transfers.download(work, self._downloaded)
        else:
            self._launch(work)
        self._on_change()

    def _downloaded(self, work: Work, trouble: Failure | None) -> None:
        work.stop = None
        if self._work is not work:
            return
        if trouble is not None:
            self._complete(work, trouble)
        else:
            self._launch(work)
        self._on_change()

    def _launch(self, work: Work) -> None:
        containers = self._links.containers
        if work.spec.container_settings is None:
            self._links.send_direct(self._order(work))
        elif containers is not None:
            containers.begin(work, self._key, self._links.base(self._base))
        else:
            self._complete(work, container_mismatch(is_contained=True))

    def _retry(self, work: Work) -> None:
        work.exit_code = None  # REST: only of a task that has completed
        pause_s = 0.0 if work.retries < RETRIES_AT_ONCE else RETRY_PAUSE_S
        if pause_s and self._tells_of_pauses:
            self._report(work, is_pending=True)
        work.attempt += 1
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._try_again, work)

    def _try_again(self, work: Work) -> None:
        work.retries += 1  # only now: one that is ended before was not tried again
        self._attempt(work)

    def _complete(self, work: Work, trouble: Failure | None) -> None:
        work.end_s = work.end_s or self._clock()
        work.failure = trouble
        self._users.release(work.user)
        self._completed = self._report(work)
        self._work = None
        code = trouble.code if trouble is not None else "none"
        self._log.event(f"{self._name}_ended", exit_code=work.exit_code, failure=code)

    def _report(self, work: Work, *, is_pending: bool = False) -> StartTaskState:
        state = self._state(work, is_pending=is_pending)
        self._outbox.add_urgent(state)
        return state

    def _state(self, work: Work, *, is_pending: bool) -> StartTaskState:
        assert work.start_s is not None
        return StartTaskState(
            work.start_s, work.end_s, work.exit_code, work.failure, work.retries,
            work.last_retry_s, work.container, is_pending=is_pending,
        )  # fmt: skip

    def _order(self, work: Work) -> Order:
        own = [(one.name, one.value or "") for one in work.spec.environment_settings or []]
        return (
            self._key, work.run, work.attempt, self._base, os.fsencode(self._directory),
            work.spec.command_line, own, work.user,
        )  # fmt: skip

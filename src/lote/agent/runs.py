"""The runs in the agent's hands: slots, order, retries, limits, ends.

One-slot runs without inputs and outputs may wait with the spawners, a few beyond the slots, so
that a slot never waits for the talker. All others are begun only when their slots are free; while
one of them is at work, nothing is sent ahead.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from lote.agent import work as phases
from lote.agent.channel_error import ChannelError
from lote.agent.ending import Ending, ending_of
from lote.agent.environment import make_base, preparation_variables
from lote.agent.failures import (
    WALL_CLOCK_TEXT,
    container_mismatch,
    exit_failure,
    failure,
    launch_failure,
    upload_failed_too,
)
from lote.agent.instance import COORDINATED, WORKING, Role, set_outputs_aside
from lote.agent.layout import Layout
from lote.agent.links import Links
from lote.agent.log import Log
from lote.agent.orders import Coordinated, Ended, Order, Started
from lote.agent.outbox import Outbox
from lote.agent.task_spec import decode_task, retention_s
from lote.agent.transfers import Transfers
from lote.agent.users import UnknownUser, Users
from lote.agent.work import Work
from lote.wire.frames import Confirm, Container, Failure, Held, Instance, JobFacts, Returned, Run
from lote.wire.frames import Coordinated as CoordinatedFrame

AHEAD = 48  # orders with the spawners beyond the slots
STOP_GRACE_S = 0.2  # for a download that is told to stop
RETRIES_AT_ONCE = 10
RETRY_PAUSE_S = 1.0  # then a task that fails at once must not take the whole node

Name = tuple[int, int]


class Runs:
    """All runs of this agent, by (key, run). ``clock`` gives monotonic seconds."""

    def __init__(
        self,
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
        self._layout = layout
        self._links = links
        self._outbox = outbox
        self._users = users
        self._transfers = transfers
        self._log = log
        self._clock = clock
        self._on_first = on_first  # a task comes that had no run before, with its directory
        self._on_settled = on_settled
        """A task directory is at rest: (directory, retention_s, how long the attempt lasted)."""
        self._on_change = on_change  # something is to be reported that no frame or note caused
        self._jobs: dict[int, JobFacts] = {}
        self._works: dict[Name, Work] = {}
        self._waiting: deque[Work] = deque()
        self._service: dict[str, str] = {}
        self._secure: tuple[str, str] | None = None
        self._slots = 0
        self._slots_used = 0
        self._not_simple = 0  # begun and not ended
        self._is_closing = False

    # -- what the server says ---------------------------------------------------------------

    def set_up(
        self, slots: int, service: dict[str, str], secure: tuple[str, str] | None = None
    ) -> None:
        """The node's slots, the variables of its tasks, and where those with a token call."""
        if (service, secure) != (self._service, self._secure):
            self._service, self._secure = service, secure
            for job in self._jobs.values():
                self._renew_bases(job)
        if slots != self._slots:
            self._slots = slots
            self._links.share_slots(slots)
        self.pump()

    def set_job(self, job: JobFacts) -> None:
        """What the tasks of a job share."""
        self._jobs[job.job_key] = job
        self._renew_bases(job)

    def job(self, job_key: int) -> JobFacts:
        """What the tasks of a job share. Raises ChannelError when the server has not said."""
        job = self._jobs.get(job_key)
        if job is None:
            raise ChannelError("a special task came before the facts of its job")
        return job

    def _renew_bases(self, job: JobFacts) -> None:
        for base_id in (job.job_key, -job.job_key):
            if self._links.knows_base(base_id):
                self._send_base(job, base_id)

    def accept(self, runs: Iterable[Run]) -> None:
        """Take runs in, in this order. A run that is in hand already is not taken twice."""
        for run in runs:
            if (run.key, run.run) in self._works:
                continue
            self._take_in(run)
        self.pump()

    def _take_in(self, run: Run, role: Role | None = None) -> None:
        job = self._jobs.get(run.job_key)
        if job is None:
            raise ChannelError("a run came before the facts of its job")
        try:
            spec = decode_task(run.spec)
            directory = self._layout.task_directory(job.directory, spec.id)
            work = Work(run, job, spec, directory, role)
            work.set_limit()
        except (msgspec.DecodeError, ValueError) as error:
            self._refuse(run, error)
            return
        if run.run == 1:
            self._on_first(directory)
        self._works[run.key, run.run] = work
        self._waiting.append(work)

    def accept_instance(self, frame: Instance) -> None:
        """Take in an instance of a multi-instance task."""
        run = frame.task
        if (run.key, run.run) not in self._works:
            self._take_in(run, Role(frame.number, frame.hosts))
        self.pump()

    def proceed(self, names: Iterable[Name]) -> None:
        """All instances of these tasks are coordinated: their command lines begin. May be told
        again."""
        for name in names:
            work = self._works.get(name)
            role = None if work is None else work.instance
            if work is None or role is None or work.phase != phases.COORDINATED:
                continue
            if work.ended_by is not None or not role.is_primary:
                continue
            set_outputs_aside(work.directory)
            role.stage = WORKING
            work.attempt += 1
            work.phase = phases.QUEUED
            if self._links.containers is not None:
                self._links.containers.proceed(work)
            else:
                self._links.send_direct(self._order(work))

    def revoke(self, names: Iterable[Name]) -> None:
        """Give back those of these runs that have not begun."""
        for name in names:
            work = self._works.get(name)
            if work is None or work.attempt or not self._withdraw(work):
                continue
            self._drop(work)
            self._outbox.add_urgent(Returned(*name))
        self.pump()

    def kill(self, names: Iterable[Name], reason: str = phases.KILLED_BY_SERVER) -> None:
        """End these runs; with the reason DROPPED without a report."""
        for name in names:
            work = self._works.get(name)
            if work is not None:
                self._kill(work, reason)
        self.pump()

    def amend(self, tasks: Iterable[tuple[int, int, bytes]]) -> None:
        """Tasks that have other constraints now: they hold from here on, for what runs, too."""
        for key, run, spec in tasks:
            work = self._works.get((key, run))
            if work is None:
                continue
            try:
                work.amend(decode_task(spec))
            except (msgspec.DecodeError, ValueError) as error:
                self._log.event("amendment_not_understood", error=str(error))
                continue
            is_begun = work.phase in (phases.PREPARING, phases.RUNNING, phases.COORDINATED)
            if is_begun and work.start_s is not None:
                self._set_limit(work, work.start_s)

    def directories(self) -> set[str]:
        """The directories of tasks in hand, those that wait included."""
        return {work.directory for work in self._works.values()}

    def confirmed(self, name: Name) -> None:
        """The server wants this run's outputs."""
        work = self._works.get(name)
        if work is None:
            return
        if work.phase == phases.CONFIRMING:
            self._upload(work)
        elif work.permit is not None:
            work.permit.answer()

    def confirm_again(self, work: Work) -> None:
        """An upload wants to know whether its run is still the current one."""
        if work.phase == phases.UPLOADING and not self._is_closing:
            self._outbox.add_urgent(Confirm(work.key, work.run))
            self._on_change()

    def refused(self, names: Iterable[Name]) -> None:
        """These runs are not current: nothing more is to be heard of them.

        Unless the server has asked for their end: then it waits to be told of it.
        """
        for name in names:
            work = self._works.get(name)
            if work is not None and work.ended_by != phases.KILLED_BY_SERVER:
                self._outbox.forget(name)
                self.kill([name], phases.DROPPED)

    def keep_only(self, confirmed: set[Name]) -> None:
        """After a reconnection: all other runs in hand are not wanted any more."""
        self.kill([name for name in self._works if name not in confirmed], phases.DROPPED)

    # -- what the owner asks ----------------------------------------------------------------

    def held(self) -> list[Held]:
        """The runs in hand, for Hello."""
        return [
            Held(one.key, one.run, phases.PHASE_ON_THE_WIRE[one.phase])
            for one in self._works.values()
        ]

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._works

    def close(self) -> None:
        """Begin nothing more; transfers under way are stopped."""
        self._is_closing = True
        for work in self._works.values():
            work.halt()
            if work.timer is not None:
                work.timer.cancel()

    # -- what the spawners say --------------------------------------------------------------

    def note_started(self, note: Started) -> None:
        """An attempt's process exists."""
        _, key, run, attempt, start_s = note
        work = self._works.get((key, run))
        if work is None or work.attempt != attempt or work.phase != phases.QUEUED:
            return
        work.phase = phases.RUNNING
        self._set_start(work, start_s)
        self._log.event("task_started", task=work.spec.id, job=work.job.job_id, run=run)

    def note_ended(self, note: Ended) -> None:
        """An attempt is over and nothing of its process tree is left."""
        _, key, run, attempt, start_s, end_s, status, user_s, kernel_s, trouble, *blocks = note
        work = self._works.get((key, run))
        if work is None or work.attempt != attempt:
            return
        if work.start_s is None:
            work.start_s = start_s
        work.end_s = end_s
        work.run_us = int((end_s - start_s) * 1e6)
        work.wall_us += int((end_s - work.start_s) * 1e6)
        work.add_use(user_s, kernel_s, *blocks)
        if trouble is not None:
            self._fail(work, launch_failure(trouble))
            return
        assert status is not None
        work.exit_code = os.waitstatus_to_exitcode(status)
        work.failure = exit_failure(work.exit_code)
        if work.ended_by is not None:
            self._finish(work)
        elif work.exit_code != 0 and work.may_retry():
            self._retry(work)
        elif work.has_outputs() and self._transfers.wants_upload(work):
            self._confirm(work)
        else:
            self._finish(work)

    def note_coordinated(self, note: Coordinated) -> None:
        """An instance's coordination command has succeeded; what it started runs on."""
        _, key, run, attempt, _ = note
        work = self._works.get((key, run))
        if work is None or work.instance is None or work.attempt != attempt:
            return
        work.instance.stage = COORDINATED
        work.phase = phases.COORDINATED
        if work.ended_by is None:
            self._outbox.add_urgent(CoordinatedFrame(key, run))
            self._log.event("instance_coordinated", task=work.spec.id, job=work.job.job_id, run=run)

    def contained(self, key: int, run: int, container: Container | None) -> None:
        """What became of the container of an attempt; its end is noted next."""
        work = self._works.get((key, run))
        if work is not None:
            work.container = container

    # -- beginning --------------------------------------------------------------------------

    def pump(self) -> None:
        """Begin what the slots allow, in order."""
        waiting = self._waiting
        while waiting and not self._is_closing:
            work = waiting[0]
            if work.phase == phases.WAITING:
                if not self._fits(work):
                    return
                if not self._begin(work):
                    return
            waiting.popleft()

    def _fits(self, work: Work) -> bool:
        limit = self._slots
        if work.is_simple:
            if not self._not_simple:
                limit += AHEAD
        elif self._slots_used == 0:
            return True  # wider than the node: alone
        return self._slots_used + work.slots <= limit

    def _begin(self, work: Work) -> bool:
        """Start work on a run; False when the spawners' queue is full for now."""
        is_contained = work.spec.container_settings is not None
        if is_contained is (self._links.containers is None):
            self._reject(work, container_mismatch(is_contained=is_contained))
            return True
        if not self._links.knows_base(work.base_id):
            self._links.forget_bases({one.base_id for one in self._works.values()})
            self._send_base(work.job, work.base_id)
        identity = work.spec.user_identity
        try:
            work.user = self._users.assign(identity)
        except UnknownUser as error:
            self._reject(work, failure("CommandLaunchFailed", ("UserAccount", str(error))))
            return True
        if work.is_fetched_for:
            self._take_slots(work)
            if work.instance is not None and work.retries > RETRIES_AT_ONCE:
                self._pause(work)  # the server begins all instances anew, at once
            else:
                self._download(work)
            return True
        if not self._send_order(work):
            self._users.release(work.user)
            return False
        self._take_slots(work)
        return True

    def _reject(self, work: Work, trouble: Failure) -> None:
        """End a run that can't begin."""
        work.start_s = work.end_s = self._clock()
        work.phase = phases.PREPARING
        self._take_slots(work)
        self._fail(work, trouble)

    def _take_slots(self, work: Work) -> None:
        self._slots_used += work.slots
        if not work.is_simple:
            self._not_simple += 1

    def _send_base(self, job: JobFacts, base_id: int) -> None:
        service = self._service
        if base_id < 0:
            from lote.agent.access import access_variables

            service = service | access_variables(self._layout, self._secure)
        if job.preparation_id:
            service = service | preparation_variables(self._layout, job)
        self._links.set_base(base_id, make_base(job.environment, service, job.job_id))

    def _order(self, work: Work) -> Order:
        return (
            work.key,
            work.run,
            work.attempt,
            work.base_id,
            os.fsencode(work.directory),
            work.command_line,
            work.own_variables(self._layout),
            work.user,
        )

    def _send_order(self, work: Work) -> bool:
        if not self._links.send_order(self._order(work)):
            return False
        work.phase = phases.QUEUED
        return True

    def _contain(self, work: Work) -> None:
        """Have an attempt run in a container; getting its image is part of it."""
        containers = self._links.containers
        assert containers is not None
        work.phase = phases.QUEUED
        containers.begin(work, work.key, self._links.base(work.base_id))

    def _download(self, work: Work) -> None:
        work.phase = phases.PREPARING
        self._set_start(work, self._clock())
        self._transfers.download(work, self._downloaded)

    def _downloaded(self, work: Work, trouble: Failure | None) -> None:
        if work.phase == phases.ENDED or self._is_closing:
            return
        assert work.start_s is not None
        work.stop = None
        work.download_us = int((self._clock() - work.start_s) * 1e6)
        if work.ended_by is not None:
            self._finish(work)
        elif trouble is not None:
            self._fail(work, trouble)
        elif work.spec.container_settings is not None:
            self._contain(work)
        else:
            is_instance = work.instance is not None
            send = self._links.send_coordination if is_instance else self._links.send_direct
            send(self._order(work))
            work.phase = phases.QUEUED
        self.pump()
        self._on_change()

    def _set_start(self, work: Work, start_s: float) -> None:
        """An attempt's clock begins; downloads are inside it."""
        if work.start_s is not None:
            return
        work.start_s = start_s
        self._outbox.add_start(work.name, start_s, work.retries, work.last_retry_s)
        if work.limit_s is not None:
            self._set_limit(work, start_s)

    def _set_limit(self, work: Work, start_s: float) -> None:
        self._stop_timer(work)
        if work.limit_s is not None:
            delay_s = max(0.0, start_s + work.limit_s - self._clock())
            loop = asyncio.get_running_loop()
            work.timer = loop.call_later(delay_s, self._exceed, work)

    def _abandon(self, work: Work) -> None:
        if work.phase == phases.PREPARING:
            self._finish(work)
            self.pump()
            self._on_change()

    def _exceed(self, work: Work) -> None:
        self._kill(work, phases.KILLED_BY_LIMIT)
        self.pump()
        self._on_change()

    # -- ending -----------------------------------------------------------------------------

    def _retry(self, work: Work) -> None:
        work.retries += 1
        work.attempt += 1
        work.last_retry_s = self._clock()
        work.exit_code = work.failure = None
        # Told even if each attempt is over before a report goes: the task is at work.
        self._outbox.add_start(work.name, work.last_retry_s, work.retries, work.last_retry_s)
        self._stop_timer(work)
        work.phase = phases.PAUSING
        if work.retries <= RETRIES_AT_ONCE:
            self._try_again(work)
        else:
            self._pause(work)

    def _pause(self, work: Work) -> None:
        work.phase = phases.PAUSING
        work.timer = asyncio.get_running_loop().call_later(RETRY_PAUSE_S, self._try_again, work)

    def _try_again(self, work: Work) -> None:
        if work.phase != phases.PAUSING or self._is_closing:
            return
        work.timer = None
        work.start_s = None
        if work.is_fetched_for:
            self._download(work)
        elif not self._send_order(work):
            work.timer = asyncio.get_running_loop().call_later(0.01, self._try_again, work)

    def _confirm(self, work: Work) -> None:
        self._stop_timer(work)
        work.phase = phases.CONFIRMING
        self._outbox.add_urgent(Confirm(work.key, work.run))

    def _upload(self, work: Work) -> None:
        work.phase = phases.UPLOADING
        begun_s = self._clock()

        def uploaded(work: Work, trouble: Failure | None) -> None:
            if self._is_closing:  # stopped half way: no end that the next life could report
                return
            work.stop = work.permit = None
            work.end_s = self._clock()
            work.upload_us = int((work.end_s - begun_s) * 1e6)
            if trouble is not None:
                cause = work.failure
                work.failure = trouble if cause is None else upload_failed_too(cause, trouble)
            self._finish(work)
            self.pump()
            self._on_change()

        self._transfers.upload(work, uploaded)

    def _fail(self, work: Work, trouble: Failure) -> None:
        work.failure = trouble
        self._finish(work)

    def _kill(self, work: Work, reason: str) -> None:
        if work.phase == phases.ENDED:
            return
        if work.ended_by is None or reason == phases.DROPPED:
            work.ended_by = reason
        if work.phase in (phases.WAITING, phases.QUEUED) and self._withdraw(work):
            work.start_s = work.start_s or self._clock()
            self._finish(work)
        elif work.phase in (phases.QUEUED, phases.RUNNING, phases.COORDINATED):
            self._links.kill(work.key, work.run)
        elif work.phase in (phases.PREPARING, phases.UPLOADING) and work.stop is not None:
            work.halt()
            if work.phase == phases.PREPARING:
                # An upload must be over before another run may write the same blobs; a download
                # that hangs is left alone, as it writes nothing more into the directory.
                asyncio.get_running_loop().call_later(STOP_GRACE_S, self._abandon, work)
        elif work.phase in (phases.PAUSING, phases.CONFIRMING):
            self._finish(work)

    def _withdraw(self, work: Work) -> bool:
        """Take a run out of the queues; False when it has begun."""
        if work.phase == phases.WAITING:
            return True
        if work.phase != phases.QUEUED:
            return False
        found = False
        for order in self._links.take_back():
            if order[:2] == (work.key, work.run):
                found = True
            elif not self._links.send_order(order):
                raise BlockingIOError("the queue that was just emptied is full")
        return found

    def _finish(self, work: Work) -> None:
        """The run is over: report it and free its slots."""
        if work.ended_by in (phases.KILLED_BY_SERVER, phases.KILLED_BY_LIMIT):
            is_limit = work.ended_by == phases.KILLED_BY_LIMIT
            detail = work.failure.details if work.failure is not None else []
            work.failure = failure("TaskEnded", *detail, text=WALL_CLOCK_TEXT if is_limit else None)
        if work.ended_by != phases.DROPPED:
            now_s = self._clock()
            self._outbox.add_ending(ending_of(work, now_s))
            lasted_s = (work.end_s or now_s) - (work.start_s or now_s)
            self._on_settled(work.directory, retention_s(work.spec.constraints), lasted_s)
        self._log.task_ended(work)
        self._drop(work)

    def _drop(self, work: Work) -> None:
        self._stop_timer(work)
        if work.phase != phases.WAITING:
            self._slots_used -= work.slots
            if not work.is_simple:
                self._not_simple -= 1
            self._users.release(work.user)
        work.phase = phases.ENDED
        del self._works[work.name]

    def _stop_timer(self, work: Work) -> None:
        if work.timer is not None:
            work.timer.cancel()
            work.timer = None

    def _refuse(self, run: Run, error: Exception) -> None:
        now_s = self._clock()
        trouble = failure("Unknown", ("Message", str(error)))
        self._outbox.add_ending(Ending(run.key, run.run, now_s, now_s, None, trouble, run.retries))

"""The agent of a scripted node: the protocol of a real one, without processes.

What differs from a real agent: there are no files (an Open is refused through the engine's
``refuse_open``), no downloads or uploads (so no Confirm is asked), no wall-clock limits (a script
may end a run itself) and no Samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from lote.engines.fake_outbox import REPORT_ENTRIES_MAX, FakeOutbox
from lote.engines.fake_run import (
    AT_WORK,
    ENDED,
    FAILURE_EXIT_CODE,
    KILLED_EXIT_CODE,
    TASK_ENDED,
    WAITING,
    FakeRun,
)
from lote.engines.fake_special import FakeSpecial
from lote.engines.script import Outcome, Script, ScriptedTask
from lote.engines.seam import Connection, NodeOrder
from lote.wire.frames import (
    PROTOCOL,
    Ack,
    Amend,
    AwaitRetention,
    Clean,
    ContainersReady,
    Coordinated,
    Failure,
    Held,
    Hello,
    Instance,
    JobFacts,
    Kill,
    KillSpecial,
    Leave,
    Open,
    Proceed,
    Report,
    RetentionOver,
    Returned,
    Revoke,
    Runs,
    ServerFrame,
    Setup,
    Special,
    StartTaskReport,
)

# A retry of a run without length takes time all the same, or a hopeless one would never let go.
ATTEMPT_US_MIN = 1000

_TASK_DECODER = msgspec.json.Decoder(ScriptedTask)


class Stage(Protocol):
    """What a scripted node needs of its engine."""

    def now_us(self) -> int:
        """The scripted time."""

    def at(self, due_us: int, act: Callable[[], None]) -> None:
        """Have something done at a scripted time."""

    def leave(self, node: FakeNode, why: str) -> None:
        """The node's agent has ended by itself."""

    def refuse_open(self, node_id: str, request: Open) -> None:
        """Somebody asks for a file that a scripted node can't have."""


class FakeNode:
    """A scripted agent. Its methods are called by one thread at a time."""

    __slots__ = (
        "_channel",
        "_connection",
        "_free",
        "_jobs",
        "_pending",
        "_ready",
        "_runs",
        "_script",
        "_sent",
        "_seq",
        "_slots",
        "_specials",
        "_stage",
        "_timer_us",
        "_waiting",
        "alive",
        "calls_home",
        "cleaned",
        "order",
        "start",
        "why",
    )

    def __init__(self, order: NodeOrder, script: Script, stage: Stage, start: int = 1) -> None:
        self.start = start  # numbers the starts of the node
        self.order = order
        self.alive = True
        self.calls_home = False  # true once its start has taken its time
        self.why = ""
        self.cleaned: list[str] = []
        self._script = script
        self._stage = stage
        self._connection: Connection | None = None
        self._channel = 0  # counts connections, so that frames of an old one are known
        self._ready = False  # from Setup on: nothing is reported before
        self._slots = self._free = 0
        self._jobs: dict[int, int] = {}  # retries by job key
        self._runs: dict[tuple[int, int], FakeRun] = {}  # all that is held, by (key, run)
        self._waiting: deque[FakeRun] = deque()
        self._pending = FakeOutbox()
        self._sent: FakeOutbox | None = None  # the one batch that is not acknowledged
        self._seq = 0
        self._specials: dict[tuple[int, int], FakeSpecial] = {}
        self._timer_us = 0  # when the last timer set for reports goes off

    # -- connection -------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a channel is open."""
        return self._connection is not None

    def count_running(self) -> int:
        """How many runs are at work."""
        return sum(run.phase == AT_WORK for run in self._runs.values())

    def new_channel(self) -> int:
        """The number of the connection that is being opened."""
        self._channel += 1
        return self._channel

    def greet(self, connection: Connection) -> None:
        """Say Hello on a new connection."""
        self._connection = connection
        held = [Held(r.key, r.run, r.phase) for r in self._runs.values()]
        hello = Hello(
            protocol=PROTOCOL,
            node_id=self.order.node_id,
            boot=f"{self.order.node_id}-{self.start}",
            version="fake",
            cores=self.order.slots,
            memory_bytes=1 << 30,
            ip_address="127.0.0.1",
            operating_system="scripted",
            held=held,
        )
        connection.receive([hello])

    def disconnect(self) -> None:
        """Lose the channel; runs go on and what is unacknowledged is kept for the next one."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        self._ready = False
        self._channel += 1
        if self._sent is not None:
            self._pending, self._sent = self._sent.followed_by(self._pending), None
        connection.close()

    def end(self, why: str) -> None:
        """The agent and all that it ran are gone."""
        self.alive = False
        self.why = why
        self._runs.clear()
        self._waiting.clear()
        self._specials.clear()
        self.disconnect()

    def receive(self, channel: int, frames: list[ServerFrame]) -> None:
        """Act on frames the server sent on this channel, then report what is due."""
        for frame in frames:
            if channel != self._channel:
                return  # the connection broke before they arrived
            _ACTIONS[type(frame)](self, frame)
        self._begin_runs()
        self._report()

    # -- frames -----------------------------------------------------------------------------

    def _set_up(self, frame: Setup) -> None:
        self._free += frame.slots - self._slots
        self._slots = frame.slots
        if not self._ready:  # the answer to Hello; a later Setup confirms nothing
            self._ready = True
            confirmed = set(frame.confirmed)
            for run in [r for r in self._runs.values() if r.name not in confirmed]:
                self._drop(run)
        if frame.containers is not None:
            self._pending.add_other(lambda now_us: ContainersReady(), self._stage.now_us())
        if frame.start_task_due and frame.start_task is not None:
            self._run_start_task(_TASK_DECODER.decode(frame.start_task))

    def _await_retention(self, frame: AwaitRetention) -> None:
        """Scripted nodes have no files."""
        self._pending.add_other(lambda now_us: RetentionOver(), self._stage.now_us())

    def _take_job(self, frame: JobFacts) -> None:
        self._jobs[frame.job_key] = frame.retries_max

    def _take_runs(self, frame: Runs) -> None:
        for one in frame.runs:
            if (one.key, one.run) in self._runs:
                continue
            task = _TASK_DECODER.decode(one.spec)
            run = FakeRun(one.key, one.run, task, one.retries, self._jobs[one.job_key])
            self._runs[run.name] = run
            self._waiting.append(run)

    def _take_instance(self, frame: Instance) -> None:
        one = frame.task
        if (one.key, one.run) not in self._runs:
            task = _TASK_DECODER.decode(one.spec)
            run = FakeRun(one.key, one.run, task, one.retries, self._jobs[one.job_key])
            run.instance = frame.number
            self._runs[run.name] = run
            self._waiting.append(run)

    def _proceed(self, frame: Proceed) -> None:
        for name in frame.runs:
            run = self._runs.get(name)
            if run is not None and run.phase == AT_WORK and run.is_coordinated:
                run.is_coordinated = False  # told twice, it begins once
                self._attempt(run, self._stage.now_us())

    def _revoke(self, frame: Revoke) -> None:
        for name in frame.runs:
            run = self._runs.get(name)
            if run is not None and run.phase == WAITING:
                self._drop(run)
                entry = partial(_returned, name)
                self._pending.add_other(entry, self._stage.now_us())

    def _kill(self, frame: Kill) -> None:
        for name in frame.runs:
            run = self._runs.get(name)
            if run is None or run.phase == ENDED:
                continue
            began = run.phase == AT_WORK
            if not began:
                self._waiting.remove(run)
            self._finish(run, KILLED_EXIT_CODE if began else None, TASK_ENDED)

    def _amend(self, frame: Amend) -> None:
        for key, number, spec in frame.tasks:
            run = self._runs.get((key, number))
            if run is not None:
                run.amend(_TASK_DECODER.decode(spec))

    def _acknowledge(self, frame: Ack) -> None:
        if self._sent is None or frame.seq != self._seq:
            return
        for run in self._sent.ended:
            self._runs.pop(run.name, None)
        self._sent = None

    def _open(self, frame: Open) -> None:
        self._stage.refuse_open(self.order.node_id, frame)

    def _clean(self, frame: Clean) -> None:
        self.cleaned += frame.directories  # it has none, but was told

    def _leave(self, frame: Leave) -> None:
        self._stage.leave(self, f"left its pool: {frame.reason}")

    # -- runs -------------------------------------------------------------------------------

    def _begin_runs(self) -> None:
        """Begin waiting runs, in order, while the first of them fits."""
        while self._waiting and self._waiting[0].slots <= self._free:
            run = self._waiting.popleft()
            self._free -= run.slots
            now_us = self._stage.now_us()
            run.begin(now_us)
            self._pending.add_begun(run, now_us)
            if run.instance is None:
                self._attempt(run, now_us)
            else:
                self._coordinate(run, run.instance, now_us)

    def _coordinate(self, run: FakeRun, number: int, now_us: int) -> None:
        outcome = self._script.coordination(run.task, number)
        end_us = now_us + int(outcome.seconds * 1_000_000)
        self._stage.at(end_us, partial(self._end_coordination, run, outcome))

    def _end_coordination(self, run: FakeRun, outcome: Outcome) -> None:
        if run.phase != AT_WORK or self._runs.get(run.name) is not run:
            return
        if outcome.exit_code == 0:
            run.is_coordinated = True
            self._pending.add_other(partial(_coordinated, run.name), self._stage.now_us())
        else:
            self._finish(run, outcome.exit_code, outcome.failure)
        self._report()

    def _attempt(self, run: FakeRun, now_us: int) -> None:
        outcome = self._script.outcome(run.task, run.retries)
        if outcome.seconds <= 0 and not run.may_retry(outcome):
            self._finish(run, outcome.exit_code, outcome.failure)
            return
        length_us = max(int(outcome.seconds * 1_000_000), ATTEMPT_US_MIN)
        self._stage.at(now_us + length_us, partial(self._end_attempt, run, outcome))

    def _end_attempt(self, run: FakeRun, outcome: Outcome) -> None:
        if run.phase != AT_WORK or self._runs.get(run.name) is not run:
            return  # killed, or lost with the node
        now_us = self._stage.now_us()
        if run.may_retry(outcome):
            run.retry(now_us)
            self._attempt(run, now_us)
        else:
            self._finish(run, outcome.exit_code, outcome.failure)
        self._begin_runs()
        self._report()

    def _finish(self, run: FakeRun, exit_code: int | None, failure: Failure | None) -> None:
        if run.phase == AT_WORK:
            self._free += run.slots
        now_us = self._stage.now_us()
        run.end(now_us, exit_code, failure)
        self._pending.add_ended(run, now_us)

    def _drop(self, run: FakeRun) -> None:
        """Let go of a run without a report."""
        del self._runs[run.name]
        if run.phase == WAITING:
            self._waiting.remove(run)
        elif run.phase == AT_WORK:
            self._free += run.slots
        self._pending.forget(run)

    # -- start task -------------------------------------------------------------------------

    def _run_start_task(self, task: ScriptedTask) -> None:
        outcome = self._script.start_outcome(task, 0)
        start_us = self._stage.now_us()
        self._pending.add_other(partial(_start_task_running, start_us), start_us)
        retries_max = task.max_task_retry_count or 0
        if outcome.exit_code and retries_max < 0:
            return  # retried for ever
        retries = retries_max if outcome.exit_code else 0
        end_us = start_us + int(outcome.seconds * 1_000_000) * (1 + retries)
        self._stage.at(end_us, partial(self._end_start_task, outcome, retries, start_us))

    def _end_start_task(self, outcome: Outcome, retries: int, start_us: int) -> None:
        now_us = self._stage.now_us()
        entry = partial(_start_task_completed, outcome, retries, start_us, now_us)
        self._pending.add_other(entry, now_us)
        self._report()

    # -- special tasks ----------------------------------------------------------------------

    def _run_special(self, frame: Special) -> None:
        name = (frame.job_key, frame.kind)
        known = self._specials.get(name)
        if known is not None and known.frame.run == frame.run:
            self._pending.add_other(known.entry, self._stage.now_us())
            return
        now_us = self._stage.now_us()
        task = _TASK_DECODER.decode(frame.spec)
        special = self._specials[name] = FakeSpecial(frame, now_us)
        outcome = self._script.outcome(task, 0)
        limit = task.constraints.max_task_retry_count if task.constraints else None
        special.retries = (limit or 0) if outcome.exit_code else 0
        length_us = int(outcome.seconds * 1_000_000) * (1 + special.retries)
        self._pending.add_other(special.entry, now_us)
        self._stage.at(now_us + length_us, partial(self._end_special, special, outcome))

    def _end_special(self, special: FakeSpecial, outcome: Outcome) -> None:
        frame = special.frame
        if self._specials.get((frame.job_key, frame.kind)) is not special or special.is_over:
            return
        special.end(self._stage.now_us(), outcome)
        self._pending.add_other(special.entry, self._stage.now_us())
        self._report()

    def _kill_special(self, frame: KillSpecial) -> None:
        special = self._specials.get((frame.job_key, frame.kind))
        if special is not None and special.frame.run == frame.run:
            if not special.is_over:
                special.end(self._stage.now_us(), Outcome(0, KILLED_EXIT_CODE, TASK_ENDED))
            self._pending.add_other(special.entry, self._stage.now_us())

    # -- reports ----------------------------------------------------------------------------

    def _report(self) -> None:
        """Send what is pending if nothing is unacknowledged and its time has come."""
        if not self._ready or self._sent is not None or not self._pending:
            return
        now_us = self._stage.now_us()
        due_us = self._pending.due_us
        idle = self._free == self._slots and not self._waiting
        if idle or now_us >= due_us or len(self._pending) >= REPORT_ENTRIES_MAX:
            self._sent, self._pending = self._pending, FakeOutbox()
            self._seq += 1
            assert self._connection is not None
            self._connection.receive([Report(self._seq, self._sent.entries(now_us))])
        elif self._timer_us != due_us:
            self._timer_us = due_us
            self._stage.at(due_us, self._report)


def _coordinated(name: tuple[int, int], now_us: int) -> Coordinated:
    return Coordinated(*name)


def _returned(name: tuple[int, int], now_us: int) -> Returned:
    return Returned(*name)


def _start_task_running(start_us: int, now_us: int) -> StartTaskReport:
    return StartTaskReport("running", now_us - start_us)


def _start_task_completed(
    outcome: Outcome, retries: int, start_us: int, end_us: int, now_us: int
) -> StartTaskReport:
    failure = outcome.failure
    return StartTaskReport(
        state="completed",
        start_age_us=now_us - start_us,
        end_age_us=now_us - end_us,
        exit_code=outcome.exit_code,
        failure=FAILURE_EXIT_CODE if outcome.exit_code and failure is None else failure,
        retries=retries,
        last_retry_age_us=None,
    )


_ACTIONS: dict[type, Callable[..., None]] = {
    Setup: FakeNode._set_up,
    JobFacts: FakeNode._take_job,
    Runs: FakeNode._take_runs,
    Instance: FakeNode._take_instance,
    Proceed: FakeNode._proceed,
    Revoke: FakeNode._revoke,
    Kill: FakeNode._kill,
    Amend: FakeNode._amend,
    Ack: FakeNode._acknowledge,
    Open: FakeNode._open,
    Clean: FakeNode._clean,
    Leave: FakeNode._leave,
    AwaitRetention: FakeNode._await_retention,
    Special: FakeNode._run_special,
    KillSpecial: FakeNode._kill_special,
}

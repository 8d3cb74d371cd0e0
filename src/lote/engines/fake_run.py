"""One run in the hands of a scripted node, and its frames."""

from __future__ import annotations

from lote.engines.script import Outcome, ScriptedTask
from lote.wire.frames import Ended, Failure, Started

WAITING, AT_WORK, ENDED = 0, 1, 2  # phases, as in `frames.Held`
KILLED_EXIT_CODE = -9
FAILURE_EXIT_CODE = Failure(
    "usererror",
    "FailureExitCode",
    "The task exited with an exit code representing a failure",
)
TASK_ENDED = Failure("usererror", "TaskEnded", "The task was ended by user request")


class FakeRun:
    """A run of a task: what is to be done, and what became of it. Times are microseconds."""

    __slots__ = (
        "_jobs_retries_max",
        "attempt_us",
        "end_us",
        "exit_code",
        "failure",
        "instance",
        "is_coordinated",
        "key",
        "last_retry_us",
        "phase",
        "retries",
        "retries_max",
        "run",
        "slots",
        "start_us",
        "task",
    )

    def __init__(
        self, key: int, run: int, task: ScriptedTask, retries: int, retries_max: int
    ) -> None:
        self.key = key
        self.run = run
        self.task = task
        self.slots = task.required_slots or 1
        self.retries = retries
        self._jobs_retries_max = retries_max
        self.amend(task)
        self.instance: int | None = None  # which of a multi-instance task's this is
        self.is_coordinated = False  # and waits for the others
        self.phase = WAITING
        self.start_us = self.attempt_us = self.end_us = 0
        self.last_retry_us: int | None = None
        self.exit_code: int | None = None
        self.failure: Failure | None = None

    @property
    def name(self) -> tuple[int, int]:
        """Key and run, as frames name it."""
        return self.key, self.run

    def amend(self, task: ScriptedTask) -> None:
        """Its constraints are those of this task."""
        own = task.constraints.max_task_retry_count if task.constraints else None
        self.retries_max = self._jobs_retries_max if own is None else own

    def begin(self, now_us: int) -> None:
        """Work on it starts."""
        self.phase = AT_WORK
        self.start_us = self.attempt_us = now_us

    def retry(self, now_us: int) -> None:
        """Another attempt, in the same run."""
        self.retries += 1
        self.attempt_us = self.last_retry_us = now_us

    def may_retry(self, outcome: Outcome) -> bool:
        """Whether this outcome leads to another attempt: a process ran and failed."""
        if not outcome.exit_code or self.instance is not None:
            return False
        return self.retries_max < 0 or self.retries < self.retries_max

    def end(self, now_us: int, exit_code: int | None, failure: Failure | None) -> None:
        """It is over; a run that never began starts and ends now."""
        if self.phase == WAITING:
            self.start_us = self.attempt_us = now_us
        self.phase = ENDED
        self.end_us = now_us
        self.exit_code = exit_code
        self.failure = FAILURE_EXIT_CODE if exit_code and failure is None else failure

    def started_entry(self, now_us: int) -> Started:
        """The report entry of its beginning, sent at ``now_us``."""
        return Started(self.key, self.run, now_us - self.start_us)

    def ended_entry(self, now_us: int) -> Ended:
        """The report entry of its end, sent at ``now_us``."""
        retry_us = self.last_retry_us
        return Ended(
            self.key,
            self.run,
            now_us - self.start_us,
            now_us - self.end_us,
            self.exit_code,
            self.failure,
            self.retries,
            None if retry_us is None else now_us - retry_us,
            0,
            self.end_us - self.attempt_us,
            user_cpu_us=self.end_us - self.start_us,  # scripted processes compute all the time
        )

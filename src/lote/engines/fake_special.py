"""A run of a job preparation or job release task on a scripted node."""

from __future__ import annotations

from lote.engines.fake_run import FAILURE_EXIT_CODE
from lote.engines.script import Outcome
from lote.wire.frames import Special, SpecialReport


class FakeSpecial:
    """What is to be done, and what became of it. Times are microseconds."""

    __slots__ = ("_outcome", "end_us", "frame", "retries", "start_us")

    def __init__(self, frame: Special, now_us: int) -> None:
        self.frame = frame
        self.start_us = now_us
        self.end_us: int | None = None
        self.retries = 0
        self._outcome: Outcome | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._outcome is not None

    def end(self, now_us: int, outcome: Outcome) -> None:
        """Nothing of it is left."""
        self.end_us, self._outcome = now_us, outcome

    def entry(self, now_us: int) -> SpecialReport:
        """The frame to send now."""
        frame, outcome = self.frame, self._outcome
        name = (frame.job_key, frame.kind, frame.run)
        if outcome is None or self.end_us is None:
            return SpecialReport(*name, "running", now_us - self.start_us)
        failure = outcome.failure
        if outcome.exit_code and failure is None:
            failure = FAILURE_EXIT_CODE
        return SpecialReport(
            *name,
            "completed",
            now_us - self.start_us,
            now_us - self.end_us,
            outcome.exit_code,
            failure,
            self.retries,
        )

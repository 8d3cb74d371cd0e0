"""When a job schedule's jobs are due. Pure; times are microseconds since 1970 UTC.

Occurrence k is due at ``base + k * interval``. It may be made until its start window is over, the
next one is due, or the schedule's time has run out. Source: REST, Job Schedule.
"""

from __future__ import annotations

from typing import NamedTuple


class Recurrence(NamedTuple):
    """A schedule's times. ``interval_us`` None: one occurrence; ``window_us`` None: no limit;
    ``until_us`` None: for ever."""

    base_us: int
    interval_us: int | None
    window_us: int | None
    until_us: int | None

    def latest_due_us(self, now_us: int) -> int | None:
        """The latest occurrence that is due by now; None before the first."""
        if now_us < self.base_us:
            return None
        if self.interval_us is None:
            return self.base_us
        return now_us - (now_us - self.base_us) % self.interval_us

    def next_due_us(self, served_us: int | None) -> int | None:
        """The first occurrence after those up to ``served_us``; None when there is no other."""
        if served_us is None or served_us < self.base_us:
            due_us = self.base_us
        elif self.interval_us is None:
            return None
        else:
            passed = (served_us - self.base_us) // self.interval_us
            due_us = self.base_us + (passed + 1) * self.interval_us
        if self.until_us is not None and due_us >= self.until_us:
            return None
        return due_us

    def last_us(self, due_us: int) -> int | None:
        """The last moment at which this occurrence's job may be made; None: no limit.

        A job never carries over into the next occurrence, and none is made once the time is over.
        """
        limits = []
        if self.window_us is not None:
            limits.append(due_us + self.window_us)
        if self.interval_us is not None:
            limits.append(due_us + self.interval_us - 1)
        if self.until_us is not None:
            limits.append(self.until_us - 1)
        return min(limits, default=None)


class Decision(NamedTuple):
    """What a schedule does now. ``served_us``: occurrences that are over, this one included;
    ``wake_us``: when to look again; ``is_over``: nothing will ever be due again."""

    makes_job: bool
    served_us: int | None
    wake_us: int | None
    is_over: bool


def decide(
    times: Recurrence, served_us: int | None, now_us: int, *, has_active_job: bool
) -> Decision:
    """Whether a job is to be made now, and when to look again. At most one job is active."""
    due_us = times.latest_due_us(now_us)
    is_open = due_us is not None and (served_us is None or due_us > served_us)
    makes_job = False
    wake_us: int | None = None
    if is_open and due_us is not None:
        last_us = times.last_us(due_us)
        if last_us is not None and now_us > last_us:
            served_us = due_us  # its time was missed
        elif not has_active_job:
            makes_job, served_us = True, due_us
        else:
            wake_us = None if last_us is None else last_us + 1  # or when that job has ended
            before_us = due_us - 1 if times.interval_us is None else due_us - times.interval_us
            served_us = max(before_us, served_us or before_us)  # earlier ones were missed
    next_us = times.next_due_us(served_us)
    if next_us is not None and next_us > now_us:
        wake_us = next_us if wake_us is None else min(wake_us, next_us)
    until_us = times.until_us
    is_over = times.interval_us is None and next_us is None
    if until_us is not None and not is_over:
        is_over = now_us >= until_us
        if not is_over:
            wake_us = until_us if wake_us is None else min(wake_us, until_us)
    return Decision(makes_job, served_us, wake_us, is_over)

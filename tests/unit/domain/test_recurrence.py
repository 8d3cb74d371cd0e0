"""When jobs of schedules are made: worked examples, and what holds for any schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.domain.recurrence import Recurrence, decide

MINUTE = 60 * 1_000_000
HOUR = 60 * MINUTE
TEN = 10 * HOUR


def clock(text):
    hours, minutes = text.split(":")
    return int(hours) * HOUR + int(minutes) * MINUTE


def made_at(times, runtime_us, until_us, disabled=(0, 0), starts_at=0):
    """When jobs are made, by a service that looks only when it is told to or a job ended."""
    now, served, ends, made = starts_at, None, None, []
    for _ in range(100_000):
        if ends is not None and ends <= now:
            ends = None
        wake = disabled[1] if disabled[0] <= now < disabled[1] else None
        if wake is None:
            found = decide(times, served, now, has_active_job=ends is not None)
            served, wake = found.served_us, found.wake_us
            if found.makes_job:
                made.append(now)
                ends = now + runtime_us
        later = [one for one in (wake, ends, disabled[0]) if one is not None and one > now]
        if not later or min(later) > until_us:
            return made
        now = min(later)
    raise AssertionError("it looks again and again")


@pytest.mark.parametrize(
    ("interval", "window", "runtime", "disabled", "expected"),
    [
        (None, None, 7, None, "10:00"),
        (60, None, 20, None, "10:00 11:00 12:00 13:00"),
        (60, 10, 65, None, "10:00 11:05 12:10 13:15"),
        (60, 10, 90, None, "10:00 12:00"),
        (30, 120, 45, None, "10:00 10:45 11:30 12:15 13:00"),
        (60, 10, 5, ("10:30", "12:15"), "10:00 13:00"),
        (60, None, 5, ("10:30", "12:15"), "10:00 12:15 13:00"),
    ],
)
def test_worked_examples(interval, window, runtime, disabled, expected):
    times = Recurrence(
        TEN,
        None if interval is None else interval * MINUTE,
        None if window is None else window * MINUTE,
        None,
    )
    pause = tuple(clock(text) for text in disabled) if disabled else (0, 0)
    found = made_at(times, runtime * MINUTE, clock("13:29"), pause)
    wanted = [clock(text) for text in expected.split()]
    if expected.endswith("13:15"):
        wanted = wanted[:3]  # the job of 12:10 ends at 13:15, after the window of 13:00
    assert found == wanted


def test_none_is_made_once_the_time_is_over():
    times = Recurrence(TEN, HOUR, None, clock("12:30"))
    assert made_at(times, MINUTE, clock("20:00")) == [TEN, clock("11:00"), clock("12:00")]
    late = decide(times, clock("12:00"), clock("12:31"), has_active_job=False)
    assert (late.makes_job, late.is_over) == (False, True)


def test_a_single_one_that_was_missed_is_over():
    times = Recurrence(TEN, None, MINUTE, None)
    found = decide(times, None, TEN + 2 * MINUTE, has_active_job=False)
    assert (found.makes_job, found.is_over) == (False, True)


def test_a_year_of_hours_is_quick_and_exact():
    times = Recurrence(0, HOUR, 10 * MINUTE, None)
    made = made_at(times, 30 * MINUTE, 365 * 24 * HOUR - 1)
    assert made == [k * HOUR for k in range(365 * 24)]


@given(
    base=st.integers(0, 10**9),
    interval=st.one_of(st.none(), st.integers(MINUTE, 10 * HOUR)),
    window=st.one_of(st.none(), st.integers(MINUTE, 10 * HOUR)),
    length=st.one_of(st.none(), st.integers(0, 100 * HOUR)),
    runtime=st.integers(1, 5 * HOUR),
)
def test_what_always_holds(base, interval, window, length, runtime):
    until = None if length is None else base + length
    times = Recurrence(base, interval, window, until)
    made = made_at(times, runtime, base + 60 * HOUR)
    assert made == sorted(made)
    for one, other in pairwise(made):
        assert other - one >= runtime, "never two at a time"
    for moment in made:
        due = times.latest_due_us(moment)
        assert due is not None
        assert due <= moment
        assert window is None or moment <= due + window
        assert until is None or moment < until
    dues = [times.latest_due_us(moment) for moment in made]
    assert len(set(dues)) == len(dues), "one job an occurrence"
    if interval is not None and runtime < interval and made:
        assert made[0] == base
        assert all((moment - base) % interval == 0 for moment in made)

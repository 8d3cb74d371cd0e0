"""A schedule over a year of restarts, pauses and outages, and over clocks that are set."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from lote.wire.formats import format_timestamp

HOUR_S = 3600
DAYS = 365
LAST_DAY = 360
ENDS_ITSELF = {"poolInfo": {"poolId": "p"}, "onAllTasksComplete": "terminatejob"}
START = datetime.fromisoformat("2025-01-01T10:00:00Z")  # ten hours after the bench's clock starts

# What happens from 09:00 of the days that are so many days after a multiple of 30, and when the
# job is made then, if it is: it may be made from 10:00 to 12:00.
MISHAPS = {
    7: ("disabled until 13:00", None),
    12: ("disabled until 11:00", timedelta(hours=1)),
    17: ("down until 11:30", timedelta(hours=1.5)),
    22: ("down until 13:00", None),
    26: ("restarted at 11:00", timedelta()),
    28: ("down until 12:00", timedelta(hours=2)),
}


def add_schedule(bench, **times):
    body = {"id": "s", "schedule": times, "jobSpecification": ENDS_ITSELF}
    bench.ask("create_job_schedule", body)


def shown(bench):
    return bench.ask("get_job_schedule", job_schedule_id="s", settled=False)


def made_at(bench):
    """When each job was made, in order."""
    query = {"maxresults": "1000"}
    found = bench.ask("list_jobs_from_schedule", job_schedule_id="s", query=query, settled=False)
    jobs = sorted(found["value"], key=lambda job: int(job["id"].removeprefix("s:job-")))
    assert [job["id"] for job in jobs] == [f"s:job-{n + 1}" for n in range(len(jobs))]
    return [datetime.fromisoformat(job["creationTime"]) for job in jobs]


def suffer(bench, mishap):
    """From 09:00 to 13:00."""
    what, _, until = mishap.partition(" until ")
    hours = float(until[:2]) + float(until[3:]) / 60 - 9 if until else 4.0
    if what == "disabled":
        bench.ask("disable_job_schedule", job_schedule_id="s", settled=False)
        bench.advance(hours * HOUR_S)
        bench.ask("enable_job_schedule", job_schedule_id="s", settled=False)
    elif what == "down":
        bench.world.advance(hours * HOUR_S)  # nobody looks at the clock
        bench.restart()
    else:
        bench.advance(2 * HOUR_S)
        bench.restart()
        hours = 2.0
    bench.advance((4 - hours) * HOUR_S)


def test_a_year_with_mishaps(bench):
    add_schedule(
        bench,
        doNotRunUntil=format_timestamp(int(START.timestamp()) * 1_000_000),
        doNotRunAfter=format_timestamp(
            int((START + timedelta(days=LAST_DAY)).timestamp()) * 1_000_000
        ),
        recurrenceInterval="P1D",
        startWindow="PT2H",
    )
    expected = []
    bench.advance(9 * HOUR_S - (bench.world.now_us() / 1_000_000) % (24 * HOUR_S))
    for day in range(DAYS):
        mishap, delay = MISHAPS.get(day % 30, ("", timedelta()))
        if delay is not None and day < LAST_DAY:
            expected.append(START + timedelta(days=day) + delay)
        if mishap and day < LAST_DAY:
            suffer(bench, mishap)
            bench.advance(20 * HOUR_S)
        else:
            bench.advance(24 * HOUR_S)
    seen = made_at(bench)
    assert len(seen) == len(expected)
    for moment, wanted in zip(seen, expected, strict=True):
        assert abs(moment - wanted) < timedelta(seconds=1)
    assert shown(bench)["state"] == "completed"
    assert "nextRunTime" not in shown(bench)["executionInfo"]
    bench.check()


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_is_set_back_makes_no_job_twice(bench, restarts):
    add_schedule(bench, recurrenceInterval="PT1H")
    bench.advance(2.5 * HOUR_S)
    before = made_at(bench)
    assert len(before) == 3
    bench.world.advance(-2 * HOUR_S)
    if restarts:
        bench.restart()
    bench.advance(2.4 * HOUR_S)  # the second and third hour once more
    assert made_at(bench) == before
    bench.advance(0.2 * HOUR_S)
    assert len(made_at(bench)) == 4
    assert made_at(bench)[3] - before[2] < timedelta(hours=1, seconds=1)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_is_set_forward_makes_one_job_for_all_it_passed(bench, restarts):
    add_schedule(bench, recurrenceInterval="PT1H")
    bench.world.advance(5.5 * HOUR_S)
    if restarts:
        bench.restart()
    bench.advance(0.1 * HOUR_S)
    assert len(made_at(bench)) == 2
    bench.advance(0.5 * HOUR_S)
    assert len(made_at(bench)) == 3


def test_a_later_specification_is_for_the_next_job_only(bench):
    add_schedule(bench, recurrenceInterval="PT1H")
    bench.advance(10)
    changed = ENDS_ITSELF | {"priority": 7, "displayName": "later"}
    bench.ask("update_job_schedule", {"jobSpecification": changed}, job_schedule_id="s")
    assert bench.job("s:job-1")["priority"] == 0
    bench.advance(HOUR_S)
    assert bench.job("s:job-2")["priority"] == 7
    assert bench.job("s:job-2")["displayName"] == "later"
    assert bench.job("s:job-1")["priority"] == 0


def test_a_deleted_job_does_not_free_its_number(bench):
    add_schedule(bench, recurrenceInterval="PT1H")
    bench.advance(1.5 * HOUR_S)
    bench.ask("delete_job", job_id="s:job-2")
    assert shown(bench)["executionInfo"]["recentJob"]["id"] == "s:job-2"
    bench.advance(HOUR_S)
    assert shown(bench)["executionInfo"]["recentJob"]["id"] == "s:job-3"
    assert bench.refusal("get_job", job_id="s:job-2") == "JobNotFound"

"""Job schedules: their jobs, their states, what survives a restart."""

from __future__ import annotations

import pytest
from bench import a_task

from lote.wire.formats import format_timestamp

HOUR_S = 3600
SPECIFICATION = {"poolInfo": {"poolId": "p"}}
ENDS_ITSELF = SPECIFICATION | {"onAllTasksComplete": "terminatejob"}


def a_schedule(schedule_id="s", *, specification=None, metadata=None, **times):
    shown = {
        "id": schedule_id,
        "schedule": times,
        "jobSpecification": specification or SPECIFICATION,
    }
    return shown | ({"metadata": metadata} if metadata else {})


@pytest.fixture
def hourly(bench):
    """A schedule of jobs that end at once, as nobody adds tasks to them."""
    bench.ask(
        "create_job_schedule", a_schedule(specification=ENDS_ITSELF, recurrenceInterval="PT1H")
    )
    return bench


def schedule(bench, schedule_id="s"):
    return bench.ask("get_job_schedule", job_schedule_id=schedule_id, settled=False)


def jobs(bench, schedule_id="s"):
    found = bench.ask("list_jobs_from_schedule", job_schedule_id=schedule_id, settled=False)
    return {job["id"]: job["state"] for job in found["value"]}


def test_the_first_job_is_made_with_the_schedule(bench):
    before_us = bench.world.now_us()
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H"), settled=False)
    shown = schedule(bench)
    assert shown["state"] == "active"
    assert shown["executionInfo"] == {
        "nextRunTime": format_timestamp(before_us + HOUR_S * 1_000_000),
        "recentJob": {"id": "s:job-1", "url": "http://lote.test/jobs/s:job-1"},
    }
    assert jobs(bench) == {"s:job-1": "active"}
    assert bench.job("s:job-1")["poolInfo"] == {"poolId": "p"}
    bench.check()


def test_a_job_every_hour(hourly):
    hourly.advance(3.5 * HOUR_S)
    assert jobs(hourly) == {f"s:job-{n}": "completed" for n in (1, 2, 3, 4)}
    assert schedule(hourly)["executionInfo"]["recentJob"]["id"] == "s:job-4"
    hourly.check()


def test_a_year_of_a_schedule(hourly):
    hourly.ask(
        "update_job_schedule",
        {"schedule": {"recurrenceInterval": "P1D"}},
        job_schedule_id="s",
    )
    for _ in range(365):
        hourly.advance(24 * HOUR_S)
    assert len(jobs(hourly)) == 366
    hourly.check()


def test_tasks_of_a_scheduled_job_run_in_its_own_directory(bench):
    bench.add_pool()
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H"))
    bench.ask("create_task", a_task("t"), job_id="s:job-1")
    bench.advance(11)
    shown = bench.task("t", "s:job-1")
    assert shown["state"] == "completed"
    assert shown["nodeInfo"]["taskRootDirectory"] == "workitems/s/job-1/t"
    bench.check()


def test_an_active_job_holds_up_the_next(bench):
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H"))
    bench.advance(1.2 * HOUR_S)
    assert jobs(bench) == {"s:job-1": "active"}
    bench.ask("terminate_job", job_id="s:job-1")
    assert jobs(bench) == {"s:job-1": "completed", "s:job-2": "active"}
    bench.check()


def test_a_missed_window_is_skipped(bench):
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H", startWindow="PT10M"))
    bench.advance(1.5 * HOUR_S)
    bench.ask("terminate_job", job_id="s:job-1")
    assert jobs(bench) == {"s:job-1": "completed"}
    bench.advance(0.6 * HOUR_S)
    assert jobs(bench) == {"s:job-1": "completed", "s:job-2": "active"}
    bench.check()


def test_one_job_without_recurrence(bench):
    bench.ask("create_job_schedule", a_schedule(specification=ENDS_ITSELF))
    shown = schedule(bench)
    assert (shown["state"], shown["previousState"]) == ("completed", "active")
    assert "nextRunTime" not in shown["executionInfo"]
    assert "endTime" in shown["executionInfo"]
    assert jobs(bench) == {"s:job-1": "completed"}
    assert bench.refusal("disable_job_schedule", job_schedule_id="s") == "JobScheduleCompleted"
    bench.check()


def test_nothing_before_its_time(bench):
    begin_us = bench.world.now_us() + HOUR_S * 1_000_000
    bench.ask("create_job_schedule", a_schedule(doNotRunUntil=format_timestamp(begin_us)))
    assert jobs(bench) == {}
    assert schedule(bench)["executionInfo"] == {"nextRunTime": format_timestamp(begin_us)}
    bench.advance(HOUR_S + 1)
    assert jobs(bench) == {"s:job-1": "active"}


def test_it_ends_when_its_time_is_over(bench):
    end_us = bench.world.now_us() + int(2.5 * HOUR_S) * 1_000_000
    bench.ask(
        "create_job_schedule",
        a_schedule(
            specification=ENDS_ITSELF,
            recurrenceInterval="PT1H",
            doNotRunAfter=format_timestamp(end_us),
        ),
    )
    bench.advance(2.4 * HOUR_S)
    assert schedule(bench)["state"] == "active"
    bench.advance(HOUR_S)
    assert schedule(bench)["state"] == "completed"
    assert len(jobs(bench)) == 3
    bench.check()


def test_disabled_and_enabled(hourly):
    hourly.ask("disable_job_schedule", job_schedule_id="s")
    hourly.ask("disable_job_schedule", job_schedule_id="s")
    hourly.advance(3.2 * HOUR_S)
    assert len(jobs(hourly)) == 1
    shown = schedule(hourly)
    assert shown["state"] == "disabled"
    assert "nextRunTime" not in shown["executionInfo"]
    hourly.ask("enable_job_schedule", job_schedule_id="s")
    assert len(jobs(hourly)) == 2, "the latest occurrence is still open, earlier ones are not"
    hourly.check()


def test_terminate_ends_the_job_too(bench):
    bench.add_pool()
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H"))
    bench.ask("create_task", a_task("t", seconds=1000), job_id="s:job-1")
    bench.ask("terminate_job_schedule", job_schedule_id="s", settled=False)
    assert schedule(bench)["state"] == "terminating"
    assert bench.refusal("enable_job_schedule", job_schedule_id="s") == "JobScheduleBeingTerminated"
    bench.advance(1)
    assert schedule(bench)["state"] == "completed"
    assert bench.job("s:job-1")["executionInfo"]["terminateReason"] == "TerminateJobSchedule"
    bench.advance(5 * HOUR_S)
    assert len(jobs(bench)) == 1
    bench.check()


def test_delete_takes_all_jobs_along(hourly):
    hourly.advance(130 * HOUR_S)
    assert len(jobs(hourly)) == 131
    hourly.ask("delete_job_schedule", job_schedule_id="s")
    assert hourly.refusal("get_job_schedule", job_schedule_id="s") == "JobScheduleNotFound"
    assert hourly.refusal("get_job", job_id="s:job-131") == "JobNotFound"
    hourly.check()


def test_a_restart_forgets_nothing(bench):
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H"))
    bench.ask("terminate_job", job_id="s:job-1")
    bench.restart()
    bench.advance(0.5 * HOUR_S)
    assert len(jobs(bench)) == 1
    bench.restart()
    bench.advance(0.6 * HOUR_S)
    assert jobs(bench) == {"s:job-1": "completed", "s:job-2": "active"}
    bench.check()


def test_a_delete_is_finished_after_a_restart(bench):
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H"))
    bench.ask("delete_job_schedule", job_schedule_id="s", settled=False)
    bench.restart()
    bench.advance(1)
    assert bench.refusal("get_job_schedule", job_schedule_id="s") == "JobScheduleNotFound"
    bench.check()


def test_names_that_are_taken(bench):
    bench.add_job("both")
    bench.ask("create_job_schedule", a_schedule())
    assert bench.refusal("create_job_schedule", a_schedule("S")) == "JobScheduleExists"
    assert bench.refusal("create_job_schedule", a_schedule("both")) == "JobWithSameIdExists"
    job = {"id": "s", "poolInfo": {"poolId": "p"}}
    assert bench.refusal("create_job", job) == "JobScheduleWithSameIdExists"


def test_later_jobs_follow_a_change(hourly):
    specification = ENDS_ITSELF | {"priority": 7}
    hourly.ask("update_job_schedule", {"jobSpecification": specification}, job_schedule_id="s")
    hourly.advance(HOUR_S)
    assert hourly.job("s:job-1")["priority"] == 0
    assert hourly.job("s:job-2")["priority"] == 7
    assert schedule(hourly)["schedule"] == {"recurrenceInterval": "PT1H"}
    hourly.ask(
        "replace_job_schedule",
        {"schedule": {"recurrenceInterval": "PT2H"}, "jobSpecification": ENDS_ITSELF},
        job_schedule_id="s",
    )
    hourly.advance(4 * HOUR_S)
    assert len(jobs(hourly)) == 4
    hourly.check()


def stats(bench, name, **params):
    query = {"api-version": "2024-07-01.20.0", "expand": "stats"}
    shown = bench.ask(name, query=query, settled=False, **params)["stats"]
    names = ("numSucceededTasks", "numFailedTasks", "numTaskRetries", "wallClockTime")
    return {one: shown[one] for one in names}


def test_its_statistics_keep_jobs_that_are_deleted(bench):
    bench.add_pool()
    bench.ask("create_job_schedule", a_schedule(recurrenceInterval="PT1H"))
    bench.ask("create_task", a_task("good", seconds=2), job_id="s:job-1")
    limits = {"maxTaskRetryCount": 1}
    bench.ask(
        "create_task", a_task("bad", seconds=2, exits=1, constraints=limits), job_id="s:job-1"
    )
    bench.advance(10)
    expected = {
        "numSucceededTasks": "1",
        "numFailedTasks": "1",
        "numTaskRetries": "1",
        "wallClockTime": "PT6S",
    }
    assert stats(bench, "get_job_schedule", job_schedule_id="s") == expected
    bench.ask("delete_task", job_id="s:job-1", task_id="good")
    assert stats(bench, "get_job", job_id="s:job-1") == expected
    bench.ask("delete_job", job_id="s:job-1")
    assert jobs(bench) == {}
    assert stats(bench, "get_job_schedule", job_schedule_id="s") == expected
    bench.advance(HOUR_S)
    bench.ask("create_task", a_task("good", seconds=2), job_id="s:job-2")
    bench.advance(10)
    bench.restart()
    more = expected | {"numSucceededTasks": "2", "wallClockTime": "PT8S"}
    assert stats(bench, "get_job_schedule", job_schedule_id="s") == more
    bench.ask("delete_job_schedule", job_schedule_id="s")
    bench.ask("create_job_schedule", a_schedule())
    fresh = dict.fromkeys(expected, "0") | {"wallClockTime": "PT0S"}
    assert stats(bench, "get_job_schedule", job_schedule_id="s") == fresh
    total = bench.ask("get_lifetime_job_statistics", settled=False)
    assert {name: total[name] for name in more} == more
    bench.check()

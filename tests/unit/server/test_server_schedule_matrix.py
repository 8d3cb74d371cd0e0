"""Each request on a job schedule in each of its states, with a job that is active or over."""

from __future__ import annotations

import pytest
from bench import a_task

SPECIFICATION = {"poolInfo": {"poolId": "p"}}
TIMES = {"recurrenceInterval": "PT1H"}
BODIES = {
    "update_job_schedule": {"schedule": {"recurrenceInterval": "PT2H"}},
    "replace_job_schedule": {"schedule": TIMES, "jobSpecification": SPECIFICATION},
}
WRITES = (
    *BODIES,
    *(f"{verb}_job_schedule" for verb in ("disable", "enable", "terminate")),
)
WAYS = {
    "disabled": "disable_job_schedule",
    "terminating": "terminate_job_schedule",
    "deleting": "delete_job_schedule",
}
CODES = {
    "terminating": "JobScheduleBeingTerminated",
    "completed": "JobScheduleCompleted",
    "deleting": "JobScheduleBeingDeleted",
}
HOUR_S = 3600


def shown(bench):
    return bench.ask("get_job_schedule", job_schedule_id="s", settled=False)


def jobs(bench):
    found = bench.ask("list_jobs_from_schedule", job_schedule_id="s", settled=False)
    return {job["id"]: job["state"] for job in found["value"]}


def bring(bench, state):
    """A schedule in that state, whose job has a task at work; where it waits for its node, that
    is out of reach."""
    bench.add_pool()
    body = {"id": "s", "schedule": TIMES, "jobSpecification": SPECIFICATION}
    bench.ask("create_job_schedule", body)
    bench.ask("create_task", a_task("t", seconds=100_000), job_id="s:job-1")
    if state.endswith("ing"):
        bench.engine.cut(bench.nodes()[0]["id"])
        bench.settle()
    name = "terminate_job_schedule" if state == "completed" else WAYS.get(state)
    if name is not None:
        bench.ask(name, job_schedule_id="s")
    assert shown(bench)["state"] == state


@pytest.mark.parametrize("state", ["active", "disabled", *CODES])
def test_each_request_in_each_state(make_bench, state):
    for name in WRITES:
        bench = make_bench()
        bring(bench, state)
        before, jobs_before = shown(bench), jobs(bench)
        if state in CODES:
            found = bench.refusal(name, BODIES.get(name), job_schedule_id="s", settled=False)
            assert (name, found) == (name, CODES[state])
            assert (shown(bench), jobs(bench)) == (before, jobs_before)
        else:
            bench.ask(name, BODIES.get(name), job_schedule_id="s", settled=False)
            assert shown(bench)["eTag"] != before["eTag"]
            if name != "terminate_job_schedule":
                assert jobs(bench) == jobs_before
        bench.check()
        bench.close()


@pytest.mark.parametrize("state", ["active", "disabled", "terminating", "completed"])
def test_it_can_be_deleted_in_any_state(bench, state):
    bring(bench, state)
    bench.ask("delete_job_schedule", job_schedule_id="s", settled=False)
    code = bench.refusal("delete_job_schedule", job_schedule_id="s", settled=False)
    assert code in ("JobScheduleBeingDeleted", "JobScheduleNotFound")
    bench.advance(120)  # a node that is out of reach is given up
    assert bench.refusal("get_job_schedule", job_schedule_id="s") == "JobScheduleNotFound"
    assert bench.refusal("get_job", job_id="s:job-1") == "JobNotFound"
    bench.check()


def test_a_name_is_free_only_when_it_has_gone(bench):
    bring(bench, "deleting")
    body = {"id": "S", "schedule": TIMES, "jobSpecification": SPECIFICATION}
    assert bench.refusal("create_job_schedule", body) == "JobScheduleBeingDeleted"
    bench.advance(120)
    bench.ask("create_job_schedule", body)
    assert jobs(bench) == {"S:job-1": "active"}


@pytest.mark.parametrize("job_state", ["active", "disabled", "terminating", "deleting"])
@pytest.mark.parametrize("name", ["terminate_job_schedule", "delete_job_schedule"])
def test_its_end_takes_its_job_from_any_state(bench, job_state, name):
    bring(bench, "active")
    if job_state == "disabled":
        bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="s:job-1")
    elif job_state != "active":
        bench.engine.cut(bench.nodes()[0]["id"])
        bench.settle()
        way = "terminate_job" if job_state == "terminating" else "delete_job"
        bench.ask(way, job_id="s:job-1")
    assert jobs(bench) == {"s:job-1": job_state}
    bench.ask(name, job_schedule_id="s")
    bench.advance(120)
    if name == "terminate_job_schedule":
        assert shown(bench)["state"] == "completed"
        expected = {} if job_state == "deleting" else {"s:job-1": "completed"}
        assert jobs(bench) == expected
        if expected:
            reason = bench.job("s:job-1")["executionInfo"]["terminateReason"]
            by_user = job_state == "terminating"
            assert reason == ("UserTerminate" if by_user else "TerminateJobSchedule")
    else:
        assert bench.refusal("get_job_schedule", job_schedule_id="s") == "JobScheduleNotFound"
    bench.advance(3 * HOUR_S)
    bench.check()


def test_a_job_that_is_disabled_holds_up_the_next(bench):
    """It is not over: at most one job of a schedule is."""
    bring(bench, "active")
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="s:job-1")
    bench.advance(2.5 * HOUR_S)
    assert jobs(bench) == {"s:job-1": "disabled"}
    bench.ask("delete_job", job_id="s:job-1")
    assert jobs(bench) == {"s:job-2": "active"}
    assert shown(bench)["executionInfo"]["recentJob"]["id"] == "s:job-2"
    bench.check()


def test_one_job_and_no_more_whatever_becomes_of_it(bench):
    """Without a recurrence the schedule is over with its job, deleted or completed; disabled, it
    says so when it is enabled."""
    body = {"id": "s", "schedule": {}, "jobSpecification": SPECIFICATION}
    bench.ask("create_job_schedule", body)
    bench.ask("disable_job_schedule", job_schedule_id="s")
    bench.ask("delete_job", job_id="s:job-1")
    assert shown(bench)["state"] == "disabled"
    bench.ask("enable_job_schedule", job_schedule_id="s")
    assert shown(bench)["state"] == "completed"
    assert jobs(bench) == {}
    bench.check()


def test_other_times_while_its_job_is_active(bench):
    """A schedule of one job may come to recur, and a recurring one may end with its job."""
    bring(bench, "active")
    bench.ask("update_job_schedule", {"schedule": {}}, job_schedule_id="s")
    assert "nextRunTime" not in shown(bench)["executionInfo"]
    assert shown(bench)["state"] == "active"
    bench.advance(1.5 * HOUR_S)
    bench.ask("update_job_schedule", {"schedule": TIMES}, job_schedule_id="s")
    bench.ask("terminate_job", job_id="s:job-1")
    assert jobs(bench) == {"s:job-1": "completed", "s:job-2": "active"}
    bench.ask("update_job_schedule", {"schedule": {}}, job_schedule_id="s")
    bench.ask("terminate_job", job_id="s:job-2")
    assert shown(bench)["state"] == "completed"
    bench.check()


def test_a_window_longer_than_the_interval_carries_nothing_over(bench):
    bench.add_pool()
    times = TIMES | {"startWindow": "PT5H"}
    body = {"id": "s", "schedule": times, "jobSpecification": SPECIFICATION}
    bench.ask("create_job_schedule", body)
    bench.advance(3.5 * HOUR_S)
    bench.ask("terminate_job", job_id="s:job-1")
    assert len(jobs(bench)) == 2, "that of 3:00; those of 1:00 and 2:00 were missed"
    bench.ask("terminate_job", job_id="s:job-2")
    assert len(jobs(bench)) == 2
    bench.advance(HOUR_S)
    assert len(jobs(bench)) == 3
    bench.check()

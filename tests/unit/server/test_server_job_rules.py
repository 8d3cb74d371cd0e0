"""The rules of jobs, one by one: each request in each state, each limit, each default reason."""

from __future__ import annotations

import pytest
from bench import a_task

DISABLE = {"disableTasks": "requeue"}
MOVED = {"poolInfo": {"poolId": "other"}}
BODIES = {
    "disable_job": DISABLE,
    "create_task": a_task("new"),
    "update_job": {"metadata": [{"name": "a", "value": "b"}]},
    "replace_job": {"poolInfo": {"poolId": "p"}},
}
REQUESTS = (*BODIES, "get_job", "enable_job", "terminate_job", "delete_job", "move_job")
ALL = frozenset(REQUESTS)
# What is refused in a state, and with which code; everything else is taken.
REFUSED = {
    "active": {
        "enable_job": "OperationInvalidForCurrentState",
        "move_job": "OperationInvalidForCurrentState",
    },
    "disabling": {"enable_job": "OperationInvalidForCurrentState", "move_job": "JobDisabled"},
    "disabled": {},
    "terminating": dict.fromkeys(ALL - {"get_job", "delete_job"}, "JobBeingTerminated"),
    "completed": dict.fromkeys(ALL - {"get_job", "delete_job"}, "JobCompleted"),
    "deleting": dict.fromkeys(ALL - {"get_job"}, "JobBeingDeleted"),
}
WAYS = {
    "disabling": ("disable_job", DISABLE),
    "disabled": ("disable_job", DISABLE),
    "terminating": ("terminate_job", None),
    "completed": ("terminate_job", None),
    "deleting": ("delete_job", None),
}


def bring(bench, state):
    """A job in that state; where it waits for its node, that is out of reach."""
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=1000)
    if state.endswith("ing"):
        bench.engine.cut(bench.nodes()[0]["id"])
    if state in WAYS:
        name, body = WAYS[state]
        bench.ask(name, body, job_id="j")
    assert bench.job()["state"] == state


@pytest.mark.parametrize("state", REFUSED)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_each_request_in_each_state(bench, state, request_name):
    bring(bench, state)
    name, body = request_name, BODIES.get(request_name)
    if name == "move_job":
        name, body = "update_job", MOVED
    before = bench.job()
    code = REFUSED[state].get(request_name)
    if code is None:
        bench.ask(name, body, job_id="j", settled=False)
    else:
        assert bench.refusal(name, body, job_id="j", settled=False) == code
        assert bench.job() == before
    bench.check()


@pytest.mark.parametrize("state", ["active", "disabling", "disabled"])
def test_the_wall_clock_runs_in_every_state(bench, state):
    bench.add_pool()
    bench.add_job(constraints={"maxWallClockTime": "PT1H"})
    bench.add_task("t", seconds=10_000)
    if state != "active":
        option = "wait" if state == "disabling" else "requeue"
        bench.ask("disable_job", {"disableTasks": option}, job_id="j")
    assert bench.job()["state"] == state
    bench.advance(3590)
    assert bench.job()["state"] == state
    bench.advance(11)
    job = bench.job()
    assert job["state"] == "completed"
    assert job["executionInfo"]["terminateReason"] == "MaxWallClockTimeExpiry"


@pytest.mark.parametrize(
    ("body", "reason"),
    [(None, "UserTerminate"), ({}, "UserTerminate"), ({"terminateReason": "over"}, "over")],
)
def test_the_reason_of_a_request(bench, body, reason):
    bench.add_job()
    bench.ask("terminate_job", body, job_id="j")
    info = bench.job()["executionInfo"]
    assert info["terminateReason"] == reason
    assert info["startTime"] == bench.job()["creationTime"]
    assert "endTime" in info


@pytest.mark.parametrize(("priority", "is_taken"), [(-1001, 0), (-1000, 1), (1000, 1), (1001, 0)])
def test_priorities_have_bounds(bench, priority, is_taken):
    body = {"id": "j", "poolInfo": {"poolId": "p"}, "priority": priority}
    if not is_taken:
        assert bench.refusal("create_job", body) == "InvalidPropertyValue"
        bench.add_job()
        change = {"priority": priority}
        assert bench.refusal("update_job", change, job_id="j") == "InvalidPropertyValue"
        return
    bench.ask("create_job", body)
    assert bench.job()["priority"] == priority


def test_fewer_parallel_tasks_hold_back_only_what_waits(bench):
    bench.add_pool(slots=4)
    bench.add_job()
    bench.add_tasks(4, seconds=10)
    bench.add_task("next", seconds=10)
    bench.ask("update_job", {"maxParallelTasks": 1}, job_id="j")
    assert len(bench.running()) == 4
    bench.add_task("last", seconds=10)
    bench.advance(11)
    assert bench.running() == ["next"]
    bench.ask("update_job", {"maxParallelTasks": -1}, job_id="j")
    assert sorted(bench.running()) == ["last", "next"]
    bench.check()


def test_a_failure_may_disable_the_job_with_requeue(bench):
    bench.add_pool(slots=2)
    bench.add_job(onTaskFailure="performexitoptionsjobaction")
    options = {"exitCodes": [{"code": 3, "exitOptions": {"jobAction": "disable"}}]}
    bench.add_task("bad", seconds=5, exits=3, exitConditions=options)
    bench.add_task("other", seconds=100)
    bench.advance(6)
    assert bench.job()["state"] == "disabled"
    assert bench.task("other")["state"] == "active"
    assert bench.task("other")["executionInfo"]["requeueCount"] == 1
    bench.ask("enable_job", job_id="j")
    assert bench.running() == ["other"]


def test_a_job_action_needs_a_job_that_acts(bench):
    bench.add_job()
    options = {"exitCodes": [{"code": 3, "exitOptions": {"jobAction": "terminate"}}]}
    body = a_task("t", exitConditions=options)
    assert bench.refusal("create_task", body, job_id="j") == "InvalidPropertyValue"


def test_a_task_is_not_over_before_its_last_retry_for_its_job(bench):
    bench.add_pool()
    bench.add_job(onTaskFailure="performexitoptionsjobaction")
    bench.add_task("bad", seconds=5, exits=1, constraints={"maxTaskRetryCount": 2})
    bench.advance(14)
    assert bench.job()["state"] == "active"
    bench.advance(2)
    assert bench.job()["executionInfo"]["terminateReason"] == "TaskFailed"


def test_an_id_is_free_again_only_when_its_job_has_gone(bench):
    bring(bench, "deleting")
    body = {"id": "J", "poolInfo": {"poolId": "p"}}
    assert bench.refusal("create_job", body) == "JobBeingDeleted"
    bench.advance(120)  # the node is given up
    bench.ask("create_job", body)
    assert bench.job("j")["id"] == "J"


def test_a_job_that_is_terminated_can_be_deleted_at_once(bench):
    bring(bench, "terminating")
    bench.ask("delete_job", job_id="j")
    assert bench.job()["state"] == "deleting"
    assert bench.job()["previousState"] == "terminating"
    assert bench.job()["executionInfo"]["terminateReason"] == "UserTerminate"
    bench.check()


def test_a_replacement_puts_everything_else_back(bench):
    bench.add_pool()
    bench.add_job(
        priority=7,
        maxParallelTasks=3,
        allowTaskPreemption=True,
        constraints={"maxTaskRetryCount": 4},
        metadata=[{"name": "a", "value": "b"}],
        usesTaskDependencies=True,
        commonEnvironmentSettings=[{"name": "A", "value": "b"}],
    )
    bench.ask("replace_job", {"poolInfo": {"poolId": "p"}}, job_id="j")
    job = bench.job()
    assert (job["priority"], job["maxParallelTasks"]) == (0, -1)
    assert job["allowTaskPreemption"] is False
    assert job["constraints"]["maxTaskRetryCount"] == 0
    assert "metadata" not in job
    assert job["usesTaskDependencies"] is True
    assert job["commonEnvironmentSettings"] == [{"name": "A", "value": "b"}]
    bench.check()


def test_jobs_of_one_priority_take_turns_and_older_ones_go_first_if_so_wanted(make_bench):
    for policy, expected in (("none", {"a", "b"}), ("creationtime", {"a"})):
        bench = make_bench()
        bench.add_pool(taskSchedulingPolicy={"nodeFillType": "spread", "jobDefaultOrder": policy})
        for job_id in ("a", "b"):
            bench.add_job(job_id)
        for job_id in ("a", "b"):
            bench.add_tasks(4, job_id)
        bench.advance(15)
        begun = [name for name in ("a", "b") if set(bench.task_states(name).values()) != {"active"}]
        assert set(begun) == expected

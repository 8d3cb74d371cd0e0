"""What the end of a task does to its job: in every state of the job, for every kind of end."""

from __future__ import annotations

import pytest
from bench import a_task

from lote.server.runs import RERUNS_MAX

ACTS = {"onTaskFailure": "performexitoptionsjobaction"}
ENDS_EMPTY = {"onAllTasksComplete": "terminatejob"}


@pytest.fixture
def acting(bench):
    """A job that acts on failures, and a pool with room."""
    bench.add_pool(slots=3)
    bench.add_job(**ACTS)
    return bench


def disable(bench, option):
    bench.ask("disable_job", {"disableTasks": option}, job_id="j")


def by_default(action):
    return {"exitConditions": {"default": {"jobAction": action}}}


def reason(bench):
    return bench.job()["executionInfo"].get("terminateReason")


def test_a_failure_ends_a_job_that_waits_to_be_disabled(acting):
    acting.add_task("bad", seconds=5, exits=1)
    acting.add_task("other", seconds=100)
    disable(acting, "wait")
    assert acting.job()["state"] == "disabling"
    acting.advance(6)
    assert (acting.job()["state"], reason(acting)) == ("completed", "TaskFailed")
    assert acting.task("other")["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    acting.check()


def test_a_failure_that_disables_does_not_wait_for_the_others(acting):
    """Equivalent to the request, which may follow a milder one."""
    acting.add_task("bad", seconds=5, exits=1, **by_default("disable"))
    acting.add_task("other", seconds=100)
    disable(acting, "wait")
    acting.advance(6)
    assert acting.job()["state"] == "disabled"
    assert acting.task("other")["state"] == "active"
    assert acting.task("other")["executionInfo"]["requeueCount"] == 1
    acting.check()


@pytest.mark.parametrize(
    ("action", "state"), [("terminate", "completed"), ("disable", "disabled"), ("none", "disabled")]
)
def test_what_ends_while_the_job_is_disabled_counts_too(acting, action, state):
    disable(acting, "requeue")
    acting.add_task("t", **by_default(action))
    acting.ask("terminate_task", job_id="j", task_id="t")
    assert acting.job()["state"] == state
    assert reason(acting) == ("TaskFailed" if state == "completed" else None)
    acting.check()


def test_disabling_with_terminate_is_no_failure_that_ends_the_job(acting):
    acting.add_task("t", seconds=100)
    disable(acting, "terminate")
    assert acting.job()["state"] == "disabled"
    assert acting.task("t")["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    acting.ask("enable_job", job_id="j")
    assert acting.job()["state"] == "active"
    acting.check()


def test_a_task_that_lost_its_nodes_too_often_did_start(bench):
    """Its end is not that of a task that could not be started."""
    bench.add_pool()
    bench.add_job(**ACTS)
    conditions = {
        "preProcessingError": {"jobAction": "none"},
        "default": {"jobAction": "disable"},
    }
    bench.add_task("t", exitConditions=conditions)
    for _ in range(RERUNS_MAX + 1):
        assert bench.running() == ["t"]
        node_id = next(one["id"] for one in bench.nodes() if one["state"] == "running")
        bench.engine.kill_node(node_id)
        bench.advance(0.1)
    assert bench.task("t")["executionInfo"]["failureInfo"]["code"] == "MaxInternalRetryCountReached"
    assert bench.job()["state"] == "disabled"
    bench.check()


# -- all tasks complete ---------------------------------------------------------------------


@pytest.mark.parametrize("option", ["requeue", "wait"])
@pytest.mark.parametrize("name", ["update_job", "replace_job"])
def test_an_empty_job_ends_when_told_so_in_any_state(bench, option, name):
    bench.add_pool()
    bench.add_job()
    disable(bench, option)
    body = ENDS_EMPTY | ({"poolInfo": {"poolId": "p"}} if name == "replace_job" else {})
    bench.ask(name, body, job_id="j")
    assert (bench.job()["state"], reason(bench)) == ("completed", "AllTasksComplete")
    bench.check()


def test_what_disable_ends_may_be_the_last_of_its_job(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=100)
    bench.ask("update_job", ENDS_EMPTY, job_id="j")
    disable(bench, "terminate")
    assert (bench.job()["state"], reason(bench)) == ("completed", "AllTasksComplete")
    bench.check()


@pytest.mark.parametrize("kills", [True, False])
def test_a_job_with_its_manager_only(bench, kills):
    bench.add_pool()
    manager = a_task("manager", seconds=5) | {"killJobOnCompletion": kills}
    bench.add_job(jobManagerTask=manager, **ENDS_EMPTY)
    bench.advance(2)
    disable(bench, "wait")
    assert bench.job()["state"] == "disabling"
    bench.advance(5)
    expected = "JMComplete" if kills else "AllTasksComplete"
    assert (bench.job()["state"], reason(bench)) == ("completed", expected)
    bench.check()


def test_a_waiting_manager_keeps_an_empty_job(bench):
    bench.add_job(jobManagerTask=a_task("manager", seconds=5), **ENDS_EMPTY)
    bench.advance(100)
    assert bench.job()["state"] == "active"
    bench.ask("terminate_task", job_id="j", task_id="manager")
    assert (bench.job()["state"], reason(bench)) == ("completed", "JMComplete")
    bench.check()


@pytest.mark.parametrize("state", ["terminating", "completed", "deleting"])
def test_a_job_at_its_end_keeps_its_reason(bench, state):
    """Tasks that fail while it ends, or are ended afterwards, change nothing of it."""
    bench.add_pool()
    bench.add_job(**ACTS)
    bench.add_task("t", seconds=100)
    bench.add_task("waits", seconds=100)
    if state != "completed":
        bench.engine.cut(bench.nodes()[0]["id"])
        bench.settle()
    name = "delete_job" if state == "deleting" else "terminate_job"
    bench.ask(name, job_id="j")
    assert bench.job()["state"] == state
    if state != "deleting":
        bench.ask("terminate_task", job_id="j", task_id="waits")
        assert reason(bench) == "UserTerminate"
    assert bench.job()["state"] == state
    bench.check()

"""Jobs that pause and end: disable, enable, terminate, and the modes that end them."""

from __future__ import annotations

import pytest
from azure.batch import models as m

from .conftest import add_task, fresh, shell, until, wait_job, wait_task
from .raw_http import check_error
from .success import check_headers

QUICK = {"polling_interval": 0.02}


def disable(batch, job_id: str, option: str):
    return batch.begin_disable_job(job_id, m.BatchJobDisableOptions(disable_tasks=option), **QUICK)


def new_job(batch, pool: str, **members: object) -> str:
    job_id = fresh("moded")
    batch.create_job(
        m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool), **members)
    )
    return job_id


def test_disable_and_enable_answers(raw, lone_job):
    before = raw("GET", f"/jobs/{lone_job}").headers["etag"]
    reply = raw("POST", f"/jobs/{lone_job}/disable", {"disableTasks": "Requeue"})
    assert (reply.status, reply.body) == (202, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/jobs/{lone_job}/disable")
    assert reply.headers["etag"] != before
    shown = raw("GET", f"/jobs/{lone_job}").json
    assert shown["state"] in ("disabling", "disabled")
    assert shown["previousState"] in ("active", "disabling")
    again = raw("POST", f"/jobs/{lone_job}/enable")
    assert (again.status, again.body) == (202, b"")
    check_headers(again, etag=True, service_id=f"{raw.endpoint}/jobs/{lone_job}/enable")
    assert again.headers["etag"] != reply.headers["etag"]
    until(lambda: raw("GET", f"/jobs/{lone_job}").json["state"] == "active")


def test_disable_twice(raw, batch, lone_job):
    disable(batch, lone_job, "wait").result()
    assert batch.get_job(lone_job).state == "disabled"
    reply = raw("POST", f"/jobs/{lone_job}/disable", {"disableTasks": "terminate"})
    assert reply.status == 202
    assert batch.get_job(lone_job).state == "disabled"


@pytest.mark.parametrize("body", [None, {}, {"disableTasks": "sleep"}, {"disableTasks": None}])
def test_disable_needs_an_option(raw, lone_job, body):
    before = raw("GET", f"/jobs/{lone_job}").body
    reply = raw("POST", f"/jobs/{lone_job}/disable", body)
    assert reply.status == 400
    assert raw("GET", f"/jobs/{lone_job}").body == before


def test_enable_of_an_active_job_is_409(raw, lone_job):
    before = raw("GET", f"/jobs/{lone_job}").body
    reply = raw("POST", f"/jobs/{lone_job}/enable")
    check_error(reply, 409, "OperationInvalidForCurrentState")
    text = "The specified operation is not valid for the current state"
    assert text in reply.json["message"]["value"]
    assert raw("GET", f"/jobs/{lone_job}").body == before


def test_disable_with_requeue_then_enable(batch, job, tmp_path):
    add_task(batch, job, "t", shell("sleep 60"))
    first = wait_task(batch, job, "t", "running")
    poller = disable(batch, job, "requeue")
    poller.result()
    assert poller.status() == "Succeeded"
    assert batch.get_job(job).state == "disabled"
    task = batch.get_task(job, "t")
    assert (task.state, task.execution_info.requeue_count) == ("active", 1)
    assert task.execution_info.retry_count == 0
    add_task(batch, job, "more")
    assert batch.get_task(job, "more").state == "active"
    batch.begin_enable_job(job, **QUICK).result()
    assert batch.get_job(job).state == "active"
    wait_task(batch, job, "more")
    again = wait_task(batch, job, "t", "running")
    assert again.execution_info.start_time > first.execution_info.start_time


def test_disable_with_terminate(batch, job):
    add_task(batch, job, "t", shell("sleep 60"))
    wait_task(batch, job, "t", "running")
    disable(batch, job, "terminate").result()
    task = batch.get_task(job, "t")
    assert task.state == "completed"
    assert task.execution_info.result == m.BatchTaskExecutionResult.FAILURE
    assert task.execution_info.failure_info.code == "TaskEnded"
    batch.begin_enable_job(job, **QUICK).result()
    assert batch.get_task(job, "t").state == "completed"


def test_disable_with_wait(batch, job, gate):
    add_task(batch, job, "t", gate.waits)
    wait_task(batch, job, "t", "running")
    poller = disable(batch, job, "wait")
    add_task(batch, job, "later")
    assert batch.get_job(job).state == "disabling"
    assert not poller.done()
    gate.open()
    poller.result()
    assert batch.get_job(job).state == "disabled"
    assert batch.get_task(job, "t").execution_info.exit_code == 0
    assert batch.get_task(job, "later").state == "active"


def test_terminate_answers(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    reply = raw("POST", f"/jobs/{lone_job}/terminate", {})
    assert (reply.status, reply.body) == (202, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/jobs/{lone_job}/terminate")
    job = wait_job(batch, lone_job, "completed")
    assert job.execution_info.termination_reason == "UserTerminate"
    assert job.execution_info.end_time
    assert job.previous_state in ("active", "terminating")
    # What waited stays as it is, and never runs.
    assert batch.get_task(lone_job, "t").state == "active"


def test_terminate_poller_kills_what_runs(batch, job):
    add_task(batch, job, "t", shell("sleep 60"))
    wait_task(batch, job, "t", "running")
    # The SDK keeps the model of this body to itself; a dictionary does.
    poller = batch.begin_terminate_job(job, {"terminateReason": "because"}, **QUICK)
    poller.result()
    assert poller.status() == "Succeeded"
    shown = batch.get_job(job)
    assert (shown.state, shown.execution_info.termination_reason) == ("completed", "because")
    task = batch.get_task(job, "t")
    assert (task.state, task.execution_info.failure_info.code) == ("completed", "TaskEnded")


def test_a_completed_job_refuses_all_but_delete(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    raw("POST", f"/jobs/{lone_job}/terminate")
    wait_job(batch, lone_job, "completed")
    before = raw("GET", f"/jobs/{lone_job}").body
    calls = [
        ("PATCH", "", {"priority": 1}),
        ("PUT", "", {"poolInfo": {"poolId": "p"}}),
        ("POST", "/disable", {"disableTasks": "requeue"}),
        ("POST", "/enable", None),
        ("POST", "/terminate", None),
        ("POST", "/tasks", {"id": "u", "commandLine": "x"}),
        ("POST", "/addtaskcollection", {"value": [{"id": "u", "commandLine": "x"}]}),
        ("POST", "/tasks/t/reactivate", None),
    ]
    for method, path, body in calls:
        reply = check_error(raw(method, f"/jobs/{lone_job}{path}", body), 409, "JobCompleted")
        text = "The specified job is already in a completed state."
        assert text in reply.json["message"]["value"]
    assert raw("GET", f"/jobs/{lone_job}").body == before
    assert raw("GET", f"/jobs/{lone_job}/tasks/u").status == 404
    assert raw("DELETE", f"/jobs/{lone_job}").status == 202


def test_a_terminating_job_refuses_writes(raw, batch, job, gate):
    # The shell ignores the polite signal for a moment, so the state can be seen.
    add_task(batch, job, "t", shell("sleep 60"))
    wait_task(batch, job, "t", "running")
    raw("POST", f"/jobs/{job}/terminate")
    for method, path, body in (
        ("POST", "/terminate", None),
        ("PATCH", "", {"priority": 1}),
        ("POST", "/tasks", {"id": "u", "commandLine": "x"}),
    ):
        reply = raw(method, f"/jobs/{job}{path}", body)
        assert (reply.status, reply.code) in ((409, "JobBeingTerminated"), (409, "JobCompleted"))
    wait_job(batch, job, "completed")


# -- jobs that end by themselves --------------------------------------------------------------


def test_terminatejob_on_an_empty_job_ends_it(batch, pool):
    job_id = new_job(batch, pool, all_tasks_complete_mode="terminatejob")
    job = wait_job(batch, job_id, "completed")
    assert job.execution_info.termination_reason == "AllTasksComplete"


def test_terminatejob_by_patch(batch, job):
    for number in range(5):
        add_task(batch, job, f"t{number}", shell(f"exit {number % 2}"))
    batch.update_job(job, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    assert wait_job(batch, job, "completed").execution_info.termination_reason == "AllTasksComplete"
    counts = batch.get_job_task_counts(job)
    assert (counts.task_counts.succeeded, counts.task_counts.failed) == (3, 2)
    assert all(task.state == "completed" for task in batch.list_tasks(job))


def test_terminatejob_by_patch_when_all_is_done_already(batch, job):
    add_task(batch, job, "t")
    wait_task(batch, job, "t")
    batch.update_job(job, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    wait_job(batch, job, "completed")


def test_terminatejob_when_the_last_open_task_is_deleted(batch, lone_job):
    add_task(batch, lone_job, "t")
    batch.update_job(lone_job, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    assert batch.get_job(lone_job).state == "active"
    batch.delete_task(lone_job, "t")
    wait_job(batch, lone_job, "completed")


def test_a_blocked_dependent_keeps_the_job_open(batch, pool):
    job_id = new_job(batch, pool, uses_task_dependencies=True)
    add_task(batch, job_id, "a", shell("exit 1"))
    add_task(batch, job_id, "b", depends_on=m.BatchTaskDependencies(task_ids=["a"]))
    wait_task(batch, job_id, "a")
    batch.update_job(job_id, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    assert batch.get_job(job_id).state == "active"
    assert batch.get_task(job_id, "b").state == "active"


def test_job_action_terminate_is_the_default(batch, pool):
    job_id = new_job(batch, pool, task_failure_mode="performexitoptionsjobaction")
    add_task(batch, job_id, "good")
    wait_task(batch, job_id, "good")
    assert batch.get_job(job_id).state == "active"
    add_task(batch, job_id, "bad", shell("exit 1"))
    job = wait_job(batch, job_id, "completed")
    assert job.execution_info.termination_reason == "TaskFailed"


def test_job_action_by_exit_code(batch, pool):
    job_id = new_job(batch, pool, task_failure_mode="performexitoptionsjobaction")
    conditions = m.ExitConditions(
        exit_codes=[
            m.ExitCodeMapping(code=3, exit_options=m.ExitOptions(job_action="none")),
            m.ExitCodeMapping(code=0, exit_options=m.ExitOptions(job_action="disable")),
        ],
        exit_code_ranges=[
            m.ExitCodeRangeMapping(
                start=10, end=20, exit_options=m.ExitOptions(job_action="disable")
            )
        ],
        default=m.ExitOptions(job_action="terminate"),
    )
    add_task(batch, job_id, "three", shell("exit 3"), exit_conditions=conditions)
    wait_task(batch, job_id, "three")
    assert batch.get_job(job_id).state == "active"
    add_task(batch, job_id, "fifteen", shell("exit 15"), exit_conditions=conditions)
    wait_job(batch, job_id, "disabled")
    batch.begin_enable_job(job_id, **QUICK).result()
    add_task(batch, job_id, "zero", exit_conditions=conditions)
    wait_job(batch, job_id, "disabled")
    batch.begin_enable_job(job_id, **QUICK).result()
    add_task(batch, job_id, "one", shell("exit 1"), exit_conditions=conditions)
    assert wait_job(batch, job_id, "completed").execution_info.termination_reason == "TaskFailed"


def test_job_action_on_a_program_that_is_not_there(batch, pool):
    job_id = new_job(batch, pool, task_failure_mode="performexitoptionsjobaction")
    conditions = m.ExitConditions(
        pre_processing_error=m.ExitOptions(job_action="disable"),
        default=m.ExitOptions(job_action="none"),
    )
    add_task(batch, job_id, "t", "no-such-program", exit_conditions=conditions)
    wait_job(batch, job_id, "disabled")

"""Jobs with every method of the official Python client 15.1, sync and async."""

from __future__ import annotations

from datetime import timedelta

from azure.batch import models as m
from data_plane.conftest import fresh, until, wait_job

from .modern import calls, now


def options(job_id: str, pool_id: str, **changes: object) -> m.BatchJobCreateOptions:
    """Most of what a job can be told."""
    members = {
        "display_name": "A job",
        "uses_task_dependencies": True,
        "priority": 7,
        "allow_task_preemption": True,
        "max_parallel_tasks": 3,
        "constraints": m.BatchJobConstraints(
            max_wall_clock_time=timedelta(hours=1), max_task_retry_count=2
        ),
        "common_environment_settings": [m.EnvironmentSetting(name="N", value="v")],
        "all_tasks_complete_mode": m.BatchAllTasksCompleteMode.NO_ACTION,
        "task_failure_mode": m.BatchTaskFailureMode.NO_ACTION,
        "metadata": [m.BatchMetadataItem(name="team", value="red")],
    } | changes
    return m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id), **members)


@calls("create_job", "get_job")
def test_a_job_is_created_and_read(sdk):
    job_id, pool_id, before = fresh("job"), fresh("no-pool"), now() - timedelta(seconds=2)
    assert sdk.create_job(options(job_id, pool_id)) is None
    job = sdk.get_job(job_id)
    assert (job.id, job.display_name, job.priority) == (job_id, "A job", 7)
    assert job.url.endswith(f"/jobs/{job_id}")
    assert job.state is m.BatchJobState.ACTIVE
    assert before <= job.creation_time <= now()
    assert job.last_modified == job.creation_time == job.state_transition_time
    assert job.uses_task_dependencies is True
    assert job.allow_task_preemption is True
    assert job.max_parallel_tasks == 3
    assert job.constraints.max_wall_clock_time == timedelta(hours=1)
    assert job.constraints.max_task_retry_count == 2
    assert job.common_environment_settings[0].value == "v"
    assert job.pool_info.pool_id == pool_id
    assert job.all_tasks_complete_mode is m.BatchAllTasksCompleteMode.NO_ACTION
    assert job.task_failure_mode is m.BatchTaskFailureMode.NO_ACTION
    assert job.metadata[0].value == "red"
    assert job.execution_info.start_time == job.creation_time
    assert job.execution_info.end_time is None
    part = sdk.conditional(
        "get_job", job_id, etag=job.etag, select=["id", "state"], expand=["stats"]
    )
    assert (part.id, part.state, part.pool_info) == (job_id, "active", None)
    sdk.refused(409, "JobExists", "create_job", options(job_id, pool_id))
    sdk.refused(404, "JobNotFound", "get_job", fresh("none"))


@calls("list_jobs")
def test_jobs_are_listed(sdk, lone_job):
    found = sdk.list_jobs(
        filter=f"id eq '{lone_job}' and state eq 'active'",
        select=["id", "poolInfo"],
        expand=["stats"],
        max_results=1,
    )
    assert [one.id for one in found] == [lone_job]
    assert found[0].pool_info.pool_id.startswith("no-pool")
    assert found[0].creation_time is None
    ids = [one.id for one in sdk.list_jobs(max_results=1)]
    assert lone_job in ids
    assert ids == sorted(set(ids))


@calls("update_job", "replace_job")
def test_a_job_is_changed_and_replaced(sdk):
    job_id, pool_id = fresh("job"), fresh("no-pool")
    sdk.create_job(options(job_id, pool_id))
    before = sdk.get_job(job_id)
    changes = m.BatchJobUpdateOptions(priority=-5, max_parallel_tasks=9)
    assert sdk.conditional("update_job", job_id, changes, etag=before.etag) is None
    changed = sdk.get_job(job_id)
    assert (changed.priority, changed.max_parallel_tasks) == (-5, 9)
    assert changed.metadata[0].value == "red"
    assert changed.etag != before.etag
    changed.priority = 11
    changed.metadata = None
    assert sdk.conditional("replace_job", job_id, changed, etag=changed.etag) is None
    replaced = sdk.get_job(job_id)
    assert replaced.priority == 11
    assert not replaced.metadata
    assert replaced.last_modified > changed.last_modified


@calls("begin_disable_job", "begin_enable_job", "begin_terminate_job", "begin_delete_job")
def test_a_job_is_stopped_and_deleted(sdk, batch, pool):
    job_id = fresh("job")
    sdk.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))
    sdk.create_task(job_id, m.BatchTaskCreateOptions(id="t", command_line="sleep 600"))
    until(lambda: sdk.get_task(job_id, "t").state == "running")
    body = m.BatchJobDisableOptions(disable_tasks=m.DisableBatchJobOption.REQUEUE)
    etag = sdk.get_job(job_id).etag
    assert sdk.conditional("begin_disable_job", job_id, body, etag=etag) == "Succeeded"
    job = sdk.get_job(job_id)
    assert (job.state, job.previous_state) == ("disabled", "disabling")
    assert job.state is m.BatchJobState.DISABLED
    assert sdk.get_task(job_id, "t").state is m.BatchTaskState.ACTIVE
    assert sdk.conditional("begin_enable_job", job_id, etag=job.etag) == "Succeeded"
    job = sdk.get_job(job_id)
    assert job.state is m.BatchJobState.ACTIVE
    body = {"terminateReason": "enough"}  # the client has no public model for it
    done = sdk.conditional("begin_terminate_job", job_id, body, etag=job.etag, force=False)
    assert done == "Succeeded"
    job = wait_job(batch, job_id, "completed")
    assert job.execution_info.termination_reason == "enough"
    assert job.execution_info.end_time >= job.execution_info.start_time
    done = sdk.conditional("begin_delete_job", job_id, etag=sdk.get_job(job_id).etag, force=True)
    assert done == "Succeeded"
    sdk.refused(404, "JobNotFound", "get_job", job_id)


@calls("get_job_task_counts")
def test_tasks_are_counted(sdk, lone_job):
    for task_id in "abc":
        task = m.BatchTaskCreateOptions(id=task_id, command_line="x", required_slots=2)
        sdk.create_task(lone_job, task)
    sdk.terminate_task(lone_job, "a")
    found = sdk.get_job_task_counts(lone_job)
    tasks, slots = found.task_counts, found.task_slot_counts
    assert (tasks.active, tasks.running, tasks.completed) == (2, 0, 1)
    assert (tasks.succeeded, tasks.failed) == (0, 1)
    assert (slots.active, slots.running, slots.completed) == (4, 0, 2)
    assert (slots.succeeded, slots.failed) == (0, 2)
    sdk.refused(404, "JobNotFound", "get_job_task_counts", fresh("none"))


@calls("list_job_preparation_and_release_task_status")
def test_a_job_without_preparation_tells_none(sdk, job):
    sdk.refused(
        409,
        "JobPreparationTaskNotSpecified",
        "list_job_preparation_and_release_task_status",
        job,
        filter="nodeId eq 'n' and jobPreparationTaskExecutionInfo/exitCode eq 0",
        select=["poolId", "nodeId", "jobPreparationTaskExecutionInfo"],
        max_results=5,
    )
    missing = fresh("none")
    sdk.refused(404, "JobNotFound", "list_job_preparation_and_release_task_status", missing)

"""Tasks and their files with every method of the official Python client 15.1, sync and async."""

from __future__ import annotations

from datetime import timedelta

from azure.batch import models as m
from data_plane.conftest import fresh, shell, until

from .modern import LONG_AGO, calls, now


def options(task_id: str = "t", **changes: object) -> m.BatchTaskCreateOptions:
    """Most of what a task can be told."""
    members = {
        "command_line": shell("echo $N; echo worse >&2; mkdir d; printf 0123456789 > d/f.txt"),
        "display_name": "A task",
        "environment_settings": [m.EnvironmentSetting(name="N", value="v")],
        "constraints": m.BatchTaskConstraints(
            max_wall_clock_time=timedelta(minutes=5),
            retention_time=timedelta(hours=1),
            max_task_retry_count=1,
        ),
        "required_slots": 1,
    } | changes
    return m.BatchTaskCreateOptions(id=task_id, **members)


def run(sdk, job_id: str, task_id: str = "t") -> m.BatchTask:
    """Add a task; gives it once it has ended."""
    sdk.create_task(job_id, options(task_id))
    until(lambda: sdk.get_task(job_id, task_id).state == "completed")
    return sdk.get_task(job_id, task_id)


@calls("create_task", "get_task")
def test_a_task_is_created_runs_and_is_read(sdk, job, pool):
    before = now() - timedelta(seconds=2)
    assert sdk.create_task(job, options()) is None
    until(lambda: sdk.get_task(job, "t").state == "completed")
    task = sdk.get_task(job, "t")
    assert (task.id, task.display_name, task.required_slots) == ("t", "A task", 1)
    assert task.url.endswith(f"/jobs/{job}/tasks/t")
    assert task.state is m.BatchTaskState.COMPLETED
    assert task.previous_state is m.BatchTaskState.RUNNING
    assert before <= task.creation_time <= task.state_transition_time <= now()
    assert task.constraints.retention_time == timedelta(hours=1)
    assert task.constraints.max_wall_clock_time == timedelta(minutes=5)
    assert task.environment_settings[0].value == "v"
    assert task.user_identity is None or task.user_identity.auto_user is not None
    ended = task.execution_info
    assert ended.result is m.BatchTaskExecutionResult.SUCCESS
    assert (ended.exit_code, ended.retry_count, ended.requeue_count) == (0, 0, 0)
    assert task.creation_time <= ended.start_time <= ended.end_time
    assert ended.failure_info is None
    node = task.node_info
    assert node.pool_id == pool
    assert node.task_root_directory == f"workitems/{job}/job-1/t"
    assert node.node_url.endswith(f"/pools/{pool}/nodes/{node.node_id}")
    part = sdk.conditional(
        "get_task", job, "t", etag=task.etag, select=["id", "stats"], expand=["stats"]
    )
    assert (part.id, part.state) == ("t", None)
    sdk.refused(409, "TaskExists", "create_task", job, options())
    sdk.refused(404, "TaskNotFound", "get_task", job, "none")


@calls("create_task_collection", "create_tasks", "list_tasks")
def test_tasks_are_added_together_and_listed(sdk, lone_job):
    group = m.BatchTaskGroup(task_values=[options("a"), options("b"), options("b")])
    result = sdk.create_task_collection(lone_job, group)
    statuses = [(one.task_id, one.status) for one in result.result_values]
    success, error = m.BatchTaskAddStatus.SUCCESS, m.BatchTaskAddStatus.CLIENT_ERROR
    assert statuses == [("a", success), ("b", success), ("b", error)]
    assert result.result_values[2].error.code == "TaskExists"
    assert result.result_values[0].etag == sdk.get_task(lone_job, "a").etag
    assert result.result_values[0].location.endswith(f"/jobs/{lone_job}/tasks/a")
    many = [options(f"m{number}") for number in range(7)]
    result = sdk.create_tasks(lone_job, many, max_concurrency=2)
    assert {one.task_id for one in result.result_values} == {f"m{n}" for n in range(7)}
    found = sdk.list_tasks(
        lone_job,
        filter="startswith(id,'m') and state eq 'active'",
        select=["id", "commandLine"],
        expand=["stats"],
        max_results=2,
    )
    assert [one.id for one in found] == [f"m{number}" for number in range(7)]
    assert found[0].command_line.startswith("/bin/sh")
    assert found[0].state is None
    sdk.refused(404, "JobNotFound", "list_tasks", fresh("none"))


@calls("replace_task", "terminate_task", "reactivate_task", "delete_task")
def test_a_task_is_changed_ended_revived_and_deleted(sdk, lone_job):
    sdk.create_task(lone_job, options())
    task = sdk.get_task(lone_job, "t")
    task.constraints = m.BatchTaskConstraints(max_task_retry_count=3)
    assert sdk.conditional("replace_task", lone_job, "t", task, etag=task.etag) is None
    task = sdk.get_task(lone_job, "t")
    assert task.constraints.max_task_retry_count == 3
    assert task.constraints.retention_time == timedelta(days=7)
    assert sdk.conditional("terminate_task", lone_job, "t", etag=task.etag) is None
    task = sdk.get_task(lone_job, "t")
    assert task.state is m.BatchTaskState.COMPLETED
    assert task.execution_info.result is m.BatchTaskExecutionResult.FAILURE
    assert task.execution_info.failure_info.code == "TaskEnded"
    assert task.execution_info.failure_info.category is m.BatchErrorSourceCategory.USER_ERROR
    assert sdk.conditional("reactivate_task", lone_job, "t", etag=task.etag) is None
    task = sdk.get_task(lone_job, "t")
    assert task.state is m.BatchTaskState.ACTIVE
    assert task.execution_info.failure_info is None
    assert sdk.conditional("delete_task", lone_job, "t", etag=task.etag) is None
    sdk.refused(404, "TaskNotFound", "get_task", lone_job, "t")


@calls("list_subtasks")
def test_a_task_without_instances_has_no_subtasks(sdk, lone_job):
    sdk.create_task(lone_job, options())
    assert sdk.list_subtasks(lone_job, "t", select=["id", "state"]) == []
    sdk.refused(404, "TaskNotFound", "list_subtasks", lone_job, "none")


@calls("list_task_files", "get_task_file_properties", "download_task_file", "delete_task_file")
def test_files_of_a_task(sdk, job):
    run(sdk, job)
    found = sdk.list_task_files(
        job, "t", filter="startswith(name,'wd/d')", recursive=True, max_results=1
    )
    assert [(one.name, one.is_directory) for one in found] == [
        ("wd/d", True),
        ("wd/d/f.txt", False),
    ]
    listed = found[1].properties
    assert listed.content_length == 10
    times = {"if_modified_since": LONG_AGO, "if_unmodified_since": now() + timedelta(hours=1)}
    shown = sdk.get_task_file_properties(job, "t", "wd/d/f.txt", **times)
    assert shown.content_length == 10
    assert abs(shown.last_modified - listed.last_modified) < timedelta(seconds=1)
    assert shown.file_mode.startswith("0o100")
    part = sdk.download_task_file(job, "t", "wd/d/f.txt", ocp_range="bytes=2-5", **times)
    assert part == b"2345"
    assert sdk.download_task_file(job, "t", "stderr.txt") == b"worse\n"
    for name in ("get_task_file_properties", "download_task_file"):
        check_unmet(sdk, name, job, "t", "stdout.txt")
        sdk.refused(404, "FileNotFound", name, job, "t", "none.txt")
    sdk.delete_task_file(job, "t", "wd/d", recursive=True)
    assert [
        one.name for one in sdk.list_task_files(job, "t", filter="startswith(name,'wd/d')")
    ] == []


def check_unmet(sdk, name, *args):
    """The two conditions that files have."""
    later = now() + timedelta(hours=1)
    for status, unmet in (
        (304, {"if_modified_since": later}),
        (412, {"if_unmodified_since": LONG_AGO}),
    ):
        sdk.unmet(status, name, *args, **unmet)

"""Multi-instance tasks with the SDK, on real nodes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceNotFoundError

from .conftest import create_pool, fresh, shell, until, wait_steady, wait_task

SAY = "echo $AZ_BATCH_IS_CURRENT_NODE_MASTER $AZ_BATCH_NODE_ID"


@pytest.fixture(scope="module")
def gang_job(batch):
    """A job on three nodes that may talk to each other."""
    pool_id, job_id = fresh("gang-pool"), fresh("gang-job")
    create_pool(batch, pool_id, 3, task_slots_per_node=1, enable_inter_node_communication=True)
    wait_steady(batch, pool_id)
    info = m.BatchPoolInfo(pool_id=pool_id)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    yield job_id
    batch.begin_delete_job(job_id, polling_interval=0)
    batch.begin_delete_pool(pool_id, polling_interval=0)


def create(batch, job_id, task_id, command, *, coordination=SAY, instances=3, **members):
    settings = m.MultiInstanceSettings(
        number_of_instances=instances, coordination_command_line=shell(coordination)
    )
    task = m.BatchTaskCreateOptions(
        id=task_id, command_line=shell(command), multi_instance_settings=settings, **members
    )
    batch.create_task(job_id, task)


def recently(batch, pool_id, node_id, task_id):
    """What a node says of a task that ran on it."""
    shown = batch.get_node(pool_id, node_id).recent_tasks
    return next(one for one in shown if one.task_id == task_id)


def test_it_is_shown_as_it_was_sent_and_its_subtasks_are_listed(batch, gang_job):
    create(batch, gang_job, "g", "echo done by $AZ_BATCH_NODE_ID")
    task = wait_task(batch, gang_job, "g")
    settings = task.multi_instance_settings
    assert settings.number_of_instances == 3
    assert settings.coordination_command_line == shell(SAY)
    assert task.execution_info.result == "success"
    primary = task.node_info.node_id
    said = b"".join(batch.download_task_file(gang_job, "g", "stdout.txt")).decode()
    assert said == f"done by {primary}\n"
    first, second = batch.list_subtasks(gang_job, "g")
    assert (first.id, second.id) == (1, 2)
    assert len({primary, first.node_info.node_id, second.node_info.node_id}) == 3
    for one in (first, second):
        assert (one.state, one.previous_state, one.result) == ("completed", "running", "success")
        assert (one.exit_code, one.failure_info, one.container_info) == (0, None, None)
        assert one.start_time <= one.end_time <= one.state_transition_time
        assert one.start_time >= task.creation_time
        info = one.node_info
        assert info.task_root_directory == task.node_info.task_root_directory
        assert info.node_url.endswith(f"/pools/{info.pool_id}/nodes/{info.node_id}")
        name = f"{info.task_root_directory}/stdout.txt"
        text = b"".join(batch.download_node_file(info.pool_id, info.node_id, name)).decode()
        assert text == f"false {info.node_id}\n"
        recent = recently(batch, info.pool_id, info.node_id, "g")
        assert recent.subtask_id == one.id
    coordinated = b"".join(batch.download_task_file(gang_job, "g", "coordination-stdout.txt"))
    assert coordinated.decode() == f"true {primary}\n"
    assert recently(batch, task.node_info.pool_id, primary, "g").subtask_id is None
    chosen = list(batch.list_subtasks(gang_job, "g", select=["id", "state"]))
    assert [(one.id, one.state, one.node_info) for one in chosen] == [
        (1, "completed", None),
        (2, "completed", None),
    ]


def test_it_counts_as_one_task_on_all_its_nodes(batch, gang_job):
    before = batch.get_job_task_counts(gang_job).task_counts
    create(batch, gang_job, "long", "sleep 300")
    until(lambda: batch.get_task(gang_job, "long").state == "running")
    counts = batch.get_job_task_counts(gang_job).task_counts
    assert (counts.running, counts.active) == (1, before.active)
    until(lambda: {one.state for one in batch.list_subtasks(gang_job, "long")} == {"running"})
    pool_id = batch.get_job(gang_job).pool_info.pool_id
    nodes = list(batch.list_nodes(pool_id))
    assert [(node.state, node.running_tasks_count) for node in nodes] == [("running", 1)] * 3
    assert len({node.ip_address for node in nodes}) == 3
    batch.terminate_task(gang_job, "long")
    for one in batch.list_subtasks(gang_job, "long"):
        assert (one.state, one.result) == ("completed", "failure")
        assert (one.failure_info.code, one.exit_code) == ("TaskEnded", None)
    wait_steady(batch, pool_id)  # idle again
    batch.delete_task(gang_job, "long")
    with pytest.raises(ResourceNotFoundError):
        list(batch.list_subtasks(gang_job, "long"))


def test_a_subtask_that_fails_is_named(batch, gang_job):
    coordination = "[ $AZ_BATCH_IS_CURRENT_NODE_MASTER = true ] || exit 9"
    create(batch, gang_job, "failing", "true", coordination=coordination)
    info = wait_task(batch, gang_job, "failing").execution_info
    assert (info.exit_code, info.result, info.failure_info.category) == (9, "failure", "usererror")
    named = {detail.name: detail.value for detail in info.failure_info.details}
    failed = [one for one in batch.list_subtasks(gang_job, "failing") if one.exit_code == 9]
    assert named["SubtaskId"] in {str(one.id) for one in failed}
    assert {one.failure_info.code for one in failed} == {"FailureExitCode"}


def test_in_a_pool_whose_nodes_may_not_talk_it_waits(batch, pool, job):
    create(batch, job, "waiting", "true", instances=2)
    batch.create_task(job, m.BatchTaskCreateOptions(id="after", command_line="true"))
    wait_task(batch, job, "after")
    assert batch.get_task(job, "waiting").state == "active"
    assert list(batch.list_subtasks(job, "waiting")) == []


def test_a_wall_clock_limit_ends_all_of_it(batch, gang_job):
    limit = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=1), max_task_retry_count=3)
    create(batch, gang_job, "slow", "true", coordination="sleep 300", constraints=limit)
    info = wait_task(batch, gang_job, "slow").execution_info
    assert (info.failure_info.code, info.retry_count) == ("TaskEnded", 0)
    pool_id = batch.get_job(gang_job).pool_info.pool_id
    wait_steady(batch, pool_id)

"""Job preparation tasks with the SDK, on real nodes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m

from .conftest import add_task, create_pool, fresh, shell, until, wait_steady, wait_task

FIRST = 'echo $AZ_BATCH_TASK_ID >> "$AZ_BATCH_NODE_SHARED_DIR/$AZ_BATCH_JOB_ID"'
MAKE_SHARED = 'mkdir -p "$AZ_BATCH_NODE_SHARED_DIR"; '


@pytest.fixture(scope="module")
def lone_pool(batch):
    """One node with two slots."""
    pool_id = fresh("prepared")
    create_pool(batch, pool_id, 1, task_slots_per_node=2)
    wait_steady(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, polling_interval=0)


def create(batch, pool, command, **members):
    job_id = fresh("prepared-job")
    task = m.BatchJobPreparationTask(command_line=shell(command), **members)
    info = m.BatchPoolInfo(pool_id=pool)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info, job_preparation_task=task))
    return job_id


def text_of(batch, job_id, task_id, name="stdout.txt"):
    return b"".join(batch.download_task_file(job_id, task_id, name)).decode()


def node_text(batch, pool, node_id, name):
    return b"".join(batch.download_node_file(pool, node_id, name)).decode()


def test_once_a_node_before_the_first_task_with_a_directory_of_its_own(batch, lone_pool):
    log = '"$AZ_BATCH_NODE_SHARED_DIR/$AZ_BATCH_JOB_ID"'
    job_id = create(
        batch,
        lone_pool,
        f"{MAKE_SHARED}sleep 0.3; echo prep >> {log}; echo made > made;"
        " echo $AZ_BATCH_JOB_ID $AZ_BATCH_TASK_ID [$AZ_BATCH_JOB_PREP_DIR]",
    )
    for number in range(3):
        command = shell(f'cat {log}; cat "$AZ_BATCH_JOB_PREP_WORKING_DIR/made"')
        add_task(batch, job_id, f"t{number}", command)
    seen = until(lambda: (t := batch.get_task(job_id, "t0")).state != "active" and t)
    assert seen.state in ("preparing", "running", "completed")
    for number in range(3):
        task = wait_task(batch, job_id, f"t{number}")
        assert task.execution_info.exit_code == 0
        assert text_of(batch, job_id, f"t{number}") == "prep\nmade\n"
    node_id = task.node_info.node_id
    (status,) = batch.list_job_preparation_and_release_task_status(job_id)
    assert status.node_id == node_id
    info = status.job_preparation_task_execution_info
    assert (info.state, info.result, info.exit_code) == ("completed", "success", 0)
    directory = info.task_root_directory
    assert directory == f"workitems/{job_id}/job-1/jobpreparation"
    text = node_text(batch, lone_pool, node_id, f"{directory}/stdout.txt")
    assert text == f"{job_id} jobpreparation []\n"
    assert node_text(batch, lone_pool, node_id, f"{directory}/wd/made") == "made\n"


def test_a_failure_leaves_the_task_active_and_the_node_to_others(batch, lone_pool):
    job_id = create(
        batch,
        lone_pool,
        f"{MAKE_SHARED}{FIRST}; exit 3",
        constraints=m.BatchTaskConstraints(max_task_retry_count=1),
    )
    add_task(batch, job_id, "t")
    until(lambda: batch.get_task(job_id, "t").previous_state == "preparing")
    task = batch.get_task(job_id, "t")
    assert (task.state, task.execution_info.requeue_count) == ("active", 0)
    other = create(batch, lone_pool, "true")
    add_task(batch, other, "t")
    wait_task(batch, other, "t")
    (node,) = batch.list_nodes(lone_pool)
    assert node_text(batch, lone_pool, node.id, f"shared/{job_id}") == "jobpreparation\n" * 2


def test_its_time_limit(batch, lone_pool):
    limit = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=0.3))
    job_id = create(batch, lone_pool, "sleep 600", constraints=limit)
    add_task(batch, job_id, "t")
    until(lambda: batch.get_task(job_id, "t").previous_state == "preparing")
    assert batch.get_task(job_id, "t").state == "active"


def test_terminating_the_job_ends_it(batch, lone_pool):
    job_id = create(batch, lone_pool, "sleep 600")
    add_task(batch, job_id, "t")
    wait_task(batch, job_id, "t", "preparing")
    batch.begin_terminate_job(job_id, {"terminateReason": "over"}, polling_interval=0)
    until(lambda: batch.get_job(job_id).state == "completed")
    assert batch.get_task(job_id, "t").execution_info.failure_info.code == "TaskEnded"


def test_again_after_a_reboot(batch, lone_pool):
    job_id = create(batch, lone_pool, f"{MAKE_SHARED}{FIRST}")
    add_task(batch, job_id, "a")
    node_id = wait_task(batch, job_id, "a").node_info.node_id
    options = {"nodeRebootOption": "requeue"}
    batch.begin_reboot_node(lone_pool, node_id, options, polling_interval=0.05).wait()
    add_task(batch, job_id, "b")
    wait_task(batch, job_id, "b")
    log = node_text(batch, lone_pool, node_id, f"shared/{job_id}")
    assert log == "jobpreparation\n" * 2

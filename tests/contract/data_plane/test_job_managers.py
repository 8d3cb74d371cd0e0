"""Job manager tasks with the SDK, on real nodes."""

from __future__ import annotations

from azure.batch import models as m

from .conftest import add_task, fresh, shell, until, wait_task


def create(batch, pool, command, *, members=None, **manager):
    job_id = fresh("managed")
    task = m.BatchJobManagerTask(id="boss", command_line=shell(command), **manager)
    info = m.BatchPoolInfo(pool_id=pool)
    options = m.BatchJobCreateOptions(
        id=job_id, pool_info=info, job_manager_task=task, **(members or {})
    )
    batch.create_job(options)
    return job_id


def wait_completed(batch, job_id):
    return until(lambda: (job := batch.get_job(job_id)).state == "completed" and job)


def test_its_end_ends_the_job(batch, pool):
    job_id = create(batch, pool, "echo $AZ_BATCH_TASK_ID of $AZ_BATCH_JOB_ID")
    job = wait_completed(batch, job_id)
    assert job.execution_info.termination_reason == "JMComplete"
    assert job.job_manager_task.run_exclusive is True
    assert job.job_manager_task.kill_job_on_completion is True
    boss = batch.get_task(job_id, "boss")
    assert boss.execution_info.result == "success"
    text = b"".join(batch.download_task_file(job_id, "boss", "stdout.txt")).decode()
    assert text == f"boss of {job_id}\n"
    assert [task.id for task in batch.list_tasks(job_id)] == ["boss"]


def test_a_failing_one_is_tried_again_then_ends_the_job(batch, pool):
    job_id = create(
        batch, pool, "exit 4", constraints=m.BatchTaskConstraints(max_task_retry_count=1)
    )
    job = wait_completed(batch, job_id)
    assert job.execution_info.termination_reason == "JMComplete"
    info = batch.get_task(job_id, "boss").execution_info
    assert (info.exit_code, info.retry_count, info.result) == (4, 1, "failure")


def test_nothing_else_runs_on_its_node(batch, pool):
    """Two nodes with two slots: six tasks run on the other one."""
    wait = "sleep 600"
    job_id = create(batch, pool, wait, kill_job_on_completion=False)
    boss = wait_task(batch, job_id, "boss", "running")
    node_id = boss.node_info.node_id
    for number in range(6):
        add_task(batch, job_id, f"t{number}", "/bin/sleep 0.05")
    tasks = [wait_task(batch, job_id, f"t{number}") for number in range(6)]
    assert node_id not in {task.node_info.node_id for task in tasks}
    batch.terminate_task(job_id, "boss")
    wait_task(batch, job_id, "boss")
    assert batch.get_job(job_id).state == "active"
    batch.begin_delete_job(job_id, polling_interval=0)

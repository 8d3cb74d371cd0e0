"""What deleted tasks and jobs leave on nodes: nothing, wherever they ran."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.batch import models as m

from .conftest import (
    add_task,
    create_pool,
    fresh,
    read_file,
    shell,
    until,
    wait_job,
    wait_steady,
    wait_task,
)

QUICK = {"polling_interval": 0.02}
WAIT = m.BatchJobDisableOptions(disable_tasks="wait")


@pytest.fixture
def two_nodes(batch) -> Iterator[str]:
    pool_id = fresh("leftovers")
    create_pool(batch, pool_id, 2)
    wait_steady(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, polling_interval=5)


def has(batch, pool_id: str, node_id: str, folder: str) -> bool:
    """Whether a node has anything in a folder below its root."""
    where = f"startswith(name,'{folder}')"
    return bool(list(batch.list_node_files(pool_id, node_id, filter=where, recursive=True)))


def test_a_task_that_changed_its_node(batch, two_nodes):
    job_id = fresh("moved-task")
    info = m.BatchPoolInfo(pool_id=two_nodes)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    add_task(batch, job_id, "t", shell("touch here; sleep 600"))
    first = wait_task(batch, job_id, "t", "running").node_info.node_id
    directory = f"workitems/{job_id}/job-1/t"
    until(lambda: has(batch, two_nodes, first, f"{directory}/wd/here"))
    option = m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="requeue")
    batch.disable_node_scheduling(two_nodes, first, option)

    def moved() -> str | None:
        task = batch.get_task(job_id, "t")
        is_other = task.state == "running" and task.node_info.node_id != first
        return task.node_info.node_id if is_other else None

    second = until(moved)
    assert has(batch, two_nodes, first, directory)
    batch.delete_task(job_id, "t")
    for node_id in (first, second):
        until(lambda node_id=node_id: not has(batch, two_nodes, node_id, directory))


def test_a_task_that_is_to_run_again(batch, two_nodes):
    """Until it does, what its last run left is there, as is the node; both go with the task."""
    job_id = fresh("again")
    info = m.BatchPoolInfo(pool_id=two_nodes)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    add_task(batch, job_id, "t", shell("echo said; exit 1"))
    first = wait_task(batch, job_id, "t").node_info
    batch.begin_disable_job(
        job_id, m.BatchJobDisableOptions(disable_tasks="wait"), **QUICK
    ).result()
    batch.reactivate_task(job_id, "t")
    task = batch.get_task(job_id, "t")
    assert (task.state, task.node_info) == ("active", first)
    assert read_file(batch, job_id, "t") == "said\n"
    directory = f"workitems/{job_id}/job-1/t"
    assert has(batch, two_nodes, first.node_id, directory)
    batch.delete_task(job_id, "t")
    until(lambda: not has(batch, two_nodes, first.node_id, directory))


def test_special_tasks_are_kept_as_long_as_they_say(batch, two_nodes):
    job_id = fresh("retained")
    brief = timedelta(seconds=0.3)
    quick = m.BatchTaskConstraints(retention_time=brief)
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=two_nodes),
            job_preparation_task=m.BatchJobPreparationTask(
                command_line="/bin/true", constraints=quick
            ),
            job_release_task=m.BatchJobReleaseTask(command_line="/bin/true", retention_time=brief),
            job_manager_task=m.BatchJobManagerTask(
                id="boss",
                command_line="/bin/true",
                constraints=quick,
                kill_job_on_completion=False,
            ),
        )
    )
    add_task(batch, job_id, "t")
    wait_task(batch, job_id, "boss")
    node_id = wait_task(batch, job_id, "t").node_info.node_id
    batch.begin_terminate_job(job_id, {"terminateReason": "over"}, **QUICK).result()
    released = list(batch.list_job_preparation_and_release_task_status(job_id))
    states = {one.job_release_task_execution_info.state for one in released}
    assert states == {"completed"}
    folder = f"workitems/{job_id}/job-1/"
    for one in released:
        for name in ("boss", "jobpreparation", "jobrelease"):
            until(lambda at=one.node_id, name=name: not has(batch, two_nodes, at, folder + name))
    assert has(batch, two_nodes, node_id, folder + "t")


def test_a_job_that_changed_its_pool(batch, pool, two_nodes):
    job_id = fresh("moved-job")
    info = m.BatchPoolInfo(pool_id=two_nodes)
    preparation = m.BatchJobPreparationTask(command_line="/bin/true")
    batch.create_job(
        m.BatchJobCreateOptions(id=job_id, pool_info=info, job_preparation_task=preparation)
    )
    add_task(batch, job_id, "t")
    node_id = wait_task(batch, job_id, "t").node_info.node_id
    folder = f"workitems/{job_id}"
    assert has(batch, two_nodes, node_id, folder)
    batch.begin_disable_job(
        job_id, m.BatchJobDisableOptions(disable_tasks="wait"), **QUICK
    ).result()
    other = m.BatchPoolInfo(pool_id=pool)
    batch.update_job(job_id, m.BatchJobUpdateOptions(pool_info=other))
    batch.begin_enable_job(job_id, **QUICK).result()
    add_task(batch, job_id, "u")
    wait_task(batch, job_id, "u")
    assert has(batch, two_nodes, node_id, folder)
    batch.begin_terminate_job(job_id, {"terminateReason": "over"}, **QUICK).result()
    wait_job(batch, job_id, "completed")
    batch.begin_delete_job(job_id, **QUICK).result()
    until(lambda: not has(batch, two_nodes, node_id, folder))

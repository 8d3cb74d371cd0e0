"""Auto pools with the SDK, on real nodes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceNotFoundError

from .conftest import MACHINE, VM_SIZE, add_task, fresh, until, wait_task


def auto_pool(lifetime="job", **members):
    spec = m.BatchPoolSpecification(
        vm_size=VM_SIZE, virtual_machine_configuration=MACHINE, target_dedicated_nodes=1
    )
    auto = m.BatchAutoPoolSpecification(
        auto_pool_id_prefix="auto", pool_lifetime_option=lifetime, pool=spec, **members
    )
    return m.BatchPoolInfo(auto_pool_specification=auto)


def wait_gone(batch, pool_id):
    def look():
        try:
            batch.get_pool(pool_id)
        except ResourceNotFoundError:
            return True
        return False

    until(look)


def test_a_job_with_its_own_pool_from_beginning_to_end(batch):
    job_id = fresh("own-pool")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=auto_pool()))
    job = batch.get_job(job_id)
    pool_id = job.execution_info.pool_id
    assert pool_id.startswith("auto_")
    assert job.pool_info.pool_id is None
    assert job.pool_info.auto_pool_specification.pool.vm_size == VM_SIZE
    add_task(batch, job_id, "t")
    assert wait_task(batch, job_id, "t").node_info.pool_id == pool_id
    complete = m.BatchAllTasksCompleteMode.TERMINATE_JOB
    batch.update_job(job_id, m.BatchJobUpdateOptions(all_tasks_complete_mode=complete))
    until(lambda: batch.get_job(job_id).state == "completed")
    wait_gone(batch, pool_id)
    batch.begin_delete_job(job_id, polling_interval=0)


def test_keep_alive_is_patched(batch):
    job_id = fresh("kept-pool")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=auto_pool()))
    auto = m.BatchAutoPoolSpecification(pool_lifetime_option="job", keep_alive=True)
    info = m.BatchPoolInfo(auto_pool_specification=auto)
    batch.update_job(job_id, m.BatchJobUpdateOptions(pool_info=info))
    pool_id = batch.get_job(job_id).execution_info.pool_id
    batch.begin_terminate_job(job_id, {"terminateReason": "over"}, polling_interval=0).wait()
    until(lambda: batch.get_job(job_id).state == "completed")
    assert batch.get_pool(pool_id).state == "active"
    batch.begin_delete_pool(pool_id, polling_interval=0)


@pytest.mark.parametrize("slots", [200])
def test_a_pool_that_cannot_be_made_completes_the_job(batch, slots):
    job_id = fresh("no-pool")
    info = auto_pool()
    info.auto_pool_specification.pool.task_slots_per_node = slots
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    job = batch.get_job(job_id)
    assert job.state == "completed"
    assert job.execution_info.scheduling_error.code == "InvalidAutoPoolSettings"
    assert job.execution_info.scheduling_error.category == "usererror"


def test_a_schedule_with_one_pool(batch):
    schedule_id = fresh("shared-pool")
    batch.create_job_schedule(
        m.BatchJobScheduleCreateOptions(
            id=schedule_id,
            schedule=m.BatchJobScheduleConfiguration(recurrence_interval=timedelta(hours=1)),
            job_specification=m.BatchJobSpecification(
                pool_info=auto_pool("jobschedule"),
                job_manager_task=m.BatchJobManagerTask(id="boss", command_line="/bin/true"),
            ),
        )
    )
    job_id = f"{schedule_id}:job-1"
    job = until(lambda: (job := batch.get_job(job_id)).state == "completed" and job)
    pool_id = job.execution_info.pool_id
    assert batch.get_pool(pool_id).state == "active"
    batch.begin_delete_job_schedule(schedule_id, polling_interval=0).wait()
    wait_gone(batch, pool_id)

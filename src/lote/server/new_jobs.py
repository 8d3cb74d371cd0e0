"""Making a job: for a client, or for a schedule."""

from __future__ import annotations

import msgspec

from lote.domain.job import JOB
from lote.server import new_tasks
from lote.server.auto_pools import find_pool
from lote.server.container_rules import check_job_containers
from lote.server.job_ends import give_up_job
from lote.server.job_manager import add_manager
from lote.server.load import load_job
from lote.server.owner import Tx
from lote.store import jobs as rows
from lote.store.records import JobRecord, JobScheduleRecord
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobSpecification


def check_carried_out(tx: Tx, body: JobCreate | JobSpecification) -> None:
    """Refuses: InvalidPropertyValue, and others for what this release does not carry out."""
    if body.job_manager_task is not None:
        new_tasks.check_carried_out(body.job_manager_task)
    check_job_containers(tx, body)


def make_job(tx: Tx, body: JobCreate, schedule: JobScheduleRecord | None = None) -> JobRecord:
    """Record a job that was checked, and take it into memory; for a schedule, if given.

    One whose auto pool could not be made is completed at once.
    """
    pool_id, error = find_pool(tx, body.pool_info, schedule)
    record = JobRecord(
        key=0,
        id=body.id,
        pool_id=pool_id,
        state=JOB.initial,
        state_us=tx.now_us,
        previous_state=None,
        previous_us=None,
        created_us=tx.now_us,
        modified_us=tx.now_us,
        start_us=tx.now_us,
        end_us=None,
        priority=body.priority or 0,
        disable_option=None,
        terminate_reason=None,
        spec=msgspec.json.encode(body),
        schedule_key=schedule.key if schedule is not None else None,
        scheduling_error=error,
    )
    record.key = rows.add_job(tx.db, record)
    job = load_job(tx, record)
    if body.job_manager_task is not None:
        add_manager(tx, job, body.job_manager_task)
    tx.memory.touched_jobs.add(record.key)
    if error is not None:
        give_up_job(tx, job)
    return record

"""Job schedules at work: their jobs are made when they are due, and the schedules end.

``settle_schedule`` does what is due; it is called when a schedule was touched by a request or its
timer, or when a job of it has ended or gone.
"""

from __future__ import annotations

import msgspec

from lote.domain.job import JOB
from lote.domain.job_schedule import JOB_SCHEDULE
from lote.domain.recurrence import Recurrence, decide
from lote.server.auto_pools import end_schedule_pool
from lote.server.job_ends import begin_delete, begin_terminate
from lote.server.load import load_job
from lote.server.memory import JobState
from lote.server.new_jobs import make_job
from lote.server.owner import Tx
from lote.server.quotas import has_job_room
from lote.store import job_schedules as rows
from lote.store.events import add_event
from lote.store.records import JobScheduleRecord
from lote.wire.formats import parse_duration, parse_timestamp
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobScheduleConfiguration, JobScheduleCreate

TERMINATE_REASON = "TerminateJobSchedule"  # REST: Terminate Job Schedule
QUOTA_RETRY_US = 30_000_000  # ours: a job that the quota kept back is tried again after it
DELETE_CHUNK = 100  # jobs that begin to go in one transaction

decode_spec = msgspec.json.Decoder(JobScheduleCreate, strict=False).decode


def recurrence_of(times: JobScheduleConfiguration, created_us: int) -> Recurrence:
    """A schedule's times; without doNotRunUntil they begin when it was made."""
    return Recurrence(
        base_us=parse_timestamp(times.do_not_run_until) if times.do_not_run_until else created_us,
        interval_us=_us_of(times.recurrence_interval),
        window_us=_us_of(times.start_window),
        until_us=parse_timestamp(times.do_not_run_after) if times.do_not_run_after else None,
    )


def _us_of(text: str | None) -> int | None:
    seconds = parse_duration(text) if text else None
    return None if seconds is None else int(seconds * 1_000_000)


def settle_schedule(tx: Tx, key: int) -> None:
    """Do what is due on a schedule."""
    record = rows.get_job_schedule_by_key(tx.db, key)
    if record is None:
        return
    if record.state == "active":
        _make_what_is_due(tx, record)
    elif record.state == "terminating" and not active_jobs(tx, key):
        move_schedule(tx, record, "settle_terminate", end_us=tx.now_us)
    elif record.state == "deleting":
        _delete_some(tx, record)


def _make_what_is_due(tx: Tx, record: JobScheduleRecord) -> None:
    spec = decode_spec(record.spec)
    times = recurrence_of(spec.schedule, record.created_us)
    is_busy = bool(active_jobs(tx, record.key))
    found = decide(times, record.served_us, tx.now_us, has_active_job=is_busy)
    if found.makes_job and not has_job_room(tx):
        # Not served: it is tried again until its start window is over.
        retry_us = (tx.now_us // QUOTA_RETRY_US + 1) * QUOTA_RETRY_US  # alarms that meet are one
        tx.memory.set_timer(retry_us, "schedule", record.key)
        return
    if found.served_us != record.served_us:
        record.served_us = found.served_us
        rows.save_job_schedule(tx.db, record.key, served_us=record.served_us)
    if found.makes_job:
        _make_job(tx, record, spec)
    elif found.is_over and not is_busy:
        move_schedule(tx, record, "finish", end_us=tx.now_us)
        return
    if found.wake_us is not None:
        tx.memory.set_timer(found.wake_us, "schedule", record.key)


def _make_job(tx: Tx, record: JobScheduleRecord, spec: JobScheduleCreate) -> None:
    """The next job, a copy of the specification as it is now."""
    number = record.jobs_made + 1
    job_id = f"{record.id}:job-{number}"
    members = msgspec.to_builtins(spec.job_specification) | {"id": job_id}
    job = make_job(tx, msgspec.convert(members, JobCreate, strict=False), record)
    record.jobs_made, record.recent_job_id = number, job.id
    rows.save_job_schedule(tx.db, record.key, jobs_made=number, recent_job_id=job.id)


def active_jobs(tx: Tx, key: int) -> list[JobState]:
    """The jobs of a schedule that are not completed."""
    return [job for job in tx.memory.jobs.values() if job.schedule_key == key]


def begin_terminate_schedule(tx: Tx, record: JobScheduleRecord, *, force: bool) -> None:
    """End a schedule: its job is terminated, then the schedule is completed."""
    move_schedule(tx, record, "terminate")
    for job in active_jobs(tx, record.key):
        if JOB.allows(job.state, "terminate"):
            begin_terminate(tx, job, TERMINATE_REASON, force=force)


def begin_delete_schedule(tx: Tx, record: JobScheduleRecord, *, force: bool) -> None:
    """Delete a schedule with all its jobs, little by little."""
    move_schedule(tx, record, "delete")
    for job in active_jobs(tx, record.key):
        if JOB.allows(job.state, "delete"):
            begin_delete(tx, job, force=force)


def _delete_some(tx: Tx, record: JobScheduleRecord) -> None:
    jobs = rows.list_jobs_to_delete(tx.db, record.key, DELETE_CHUNK)
    for job in jobs:
        begin_delete(tx, tx.memory.jobs.get(job.key) or load_job(tx, job))
    if len(jobs) == DELETE_CHUNK:
        tx.memory.next_schedules.add(record.key)
    elif not rows.has_jobs(tx.db, record.key):
        end_schedule_pool(tx, record)
        rows.delete_job_schedule(tx.db, record.key)
        add_event(tx.db, tx.now_us, "job_schedule_deleted", record.id, "")


def move_schedule(tx: Tx, record: JobScheduleRecord, event: str, **changes: object) -> None:
    """Move the schedule's state by its table and write it."""
    before, before_us = record.state, record.state_us
    record.state, record.state_us = JOB_SCHEDULE.after(before, event), tx.now_us
    record.previous_state, record.previous_us = before, before_us
    rows.save_job_schedule(
        tx.db,
        record.key,
        state=record.state,
        state_us=record.state_us,
        previous_state=before,
        previous_us=before_us,
        **changes,
    )
    tx.memory.touched_schedules.add(record.key)
    if record.state == "completed":
        end_schedule_pool(tx, record)

"""Jobs: the operations of the data plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from lote.domain.job import JOB, allows_write, job_refusal
from lote.server import job_ends
from lote.server.auto_pools import patched_auto_pool
from lote.server.conditions import check_write
from lote.server.job_manager import reseat_manager
from lote.server.load import load_job
from lote.server.making_room import set_preemption
from lote.server.memory import JobState
from lote.server.new_jobs import check_carried_out, make_job
from lote.server.options import is_set
from lote.server.owner import Tx
from lote.server.pages import answer_chosen, answer_list, choice, page_of
from lote.server.quotas import check_job_quota
from lote.server.request import Answer, Request, json_answer
from lote.server.statistics import job_stats, wants_stats, with_stats
from lote.server.views import view_counts, view_job
from lote.store import jobs as rows
from lote.store.database import Connection
from lote.store.job_schedules import get_job_schedule
from lote.store.lists import list_jobs as page_of_jobs
from lote.store.records import JobRecord
from lote.wire.check_jobs import check_job, check_job_replace, check_job_update
from lote.wire.errors import Refused, invalid_property
from lote.wire.formats import parse_duration
from lote.wire.job import (
    Job,
    JobCreate,
    JobDisable,
    JobReplace,
    JobTerminate,
    JobUpdate,
    TaskCountsResult,
)
from lote.wire.spelling import spell

TERMINATE_REASON = "UserTerminate"  # REST: Terminate Job


def create_job(tx: Tx, request: Request) -> Answer:
    """Create a job. Its pool need not exist.

    Refuses: JobExists, JobBeingDeleted, ActiveJobAndScheduleQuotaReached.
    """
    body: JobCreate = request.body
    check_job(body)
    check_carried_out(tx, body)
    taken = rows.get_job(tx.db, body.id)
    if taken is not None:
        raise Refused("JobBeingDeleted" if taken.state == "deleting" else "JobExists")
    if get_job_schedule(tx.db, body.id) is not None:
        raise Refused("JobScheduleWithSameIdExists")
    check_job_quota(tx)
    record = make_job(tx, body)
    return Answer(modified_us=tx.now_us, location=f"/jobs/{record.id}")


def list_jobs(db: Connection, request: Request) -> Answer:
    """One page of jobs."""
    records, go_on = page_of_jobs(db, page_of(request))
    view = viewer_of_jobs(db, request, records)
    return answer_list(request, [view(job) for job in records], go_on)


def viewer_of_jobs(
    db: Connection, request: Request, records: Sequence[JobRecord]
) -> Callable[[JobRecord], dict[str, Any]]:
    """How this request shows these jobs. Refuses: InvalidQueryParameterValue."""
    choose = choice(request, Job)
    stats = job_stats(db, request, records) if wants_stats(request) else {}
    return lambda job: choose(with_stats(view_job(job, request.base_url), stats.get(job.key)))


def get_job(db: Connection, request: Request) -> Answer:
    """One job. Refuses: JobNotFound."""
    record = existing_job(db, request.params["job_id"])
    view = viewer_of_jobs(db, request, [record])
    return answer_chosen(request, view(record), record.modified_us)


def get_job_task_counts(db: Connection, request: Request) -> Answer:
    """Tasks of a job by state, exact. Refuses: JobNotFound."""
    found = rows.get_job_count_by_id(db, request.params["job_id"])
    if found is None:
        raise Refused("JobNotFound")
    counts = view_counts(found)
    counts = spell(counts, TaskCountsResult, request.api_version)
    metadata = f"{request.base_url}/$metadata#{request.operation.metadata}"
    return json_answer({"odata.metadata": metadata} | counts)


def update_job(tx: Tx, request: Request) -> Answer:
    """Patch: members that are given replace, all others stay. Refuses: by the job's state."""
    body: JobUpdate = request.body
    check_job_update(body)
    record = _updatable(tx, request)
    spec = msgspec.json.decode(record.spec, type=JobCreate, strict=False)
    before = spec.pool_info, spec.on_all_tasks_complete
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if value is not None:
            setattr(spec, name, value)
    return _save_spec(tx, record, spec, before)


def replace_job(tx: Tx, request: Request) -> Answer:
    """Replace what can be changed; members that are not given go back to their defaults."""
    body: JobReplace = request.body
    check_job_replace(body)
    record = _updatable(tx, request)
    spec = msgspec.json.decode(record.spec, type=JobCreate, strict=False)
    before = spec.pool_info, spec.on_all_tasks_complete
    for name in body.__struct_fields__:
        setattr(spec, name, getattr(body, name))
    return _save_spec(tx, record, spec, before)


def delete_job(tx: Tx, request: Request) -> Answer:
    """Delete a job with all its tasks and files. Refuses: JobNotFound, JobBeingDeleted."""
    record = existing_job(tx.db, request.params["job_id"])
    _check_event(record, "delete")
    check_write(request, record.modified_us)
    force = is_forced(request)
    job = tx.memory.jobs.get(record.key) or load_job(tx, record)
    job_ends.begin_delete(tx, job, force=force)
    return Answer()


def disable_job(tx: Tx, request: Request) -> Answer:
    """Stop starting tasks. Refuses: by the job's state."""
    body: JobDisable = request.body
    record = existing_job(tx.db, request.params["job_id"])
    _check_event(record, "disable")
    check_write(request, record.modified_us)
    if record.state != "disabled":
        job_ends.begin_disable(tx, tx.memory.jobs[record.key], body.disable_tasks)
    return _touched(tx, record)


def enable_job(tx: Tx, request: Request) -> Answer:
    """Start tasks again. Refuses: OperationInvalidForCurrentState when not disabled."""
    record = existing_job(tx.db, request.params["job_id"])
    job = tx.memory.jobs.get(record.key)
    if job is not None and job.state == "disabling" and not job.placed:
        job_ends.move_job(tx, job, "settle_disable")
        record.state = job.state
    _check_event(record, "enable")
    check_write(request, record.modified_us)
    job_ends.move_job(tx, tx.memory.jobs[record.key], "enable")
    return _touched(tx, record)


def terminate_job(tx: Tx, request: Request) -> Answer:
    """End a job: what runs is killed. Refuses: JobCompleted, JobBeingTerminated, …"""
    body: JobTerminate | None = request.body
    record = existing_job(tx.db, request.params["job_id"])
    _check_event(record, "terminate")
    check_write(request, record.modified_us)
    reason = (body.terminate_reason if body else None) or TERMINATE_REASON
    job = tx.memory.jobs[record.key]
    job_ends.begin_terminate(tx, job, reason, force=is_forced(request))
    return _touched(tx, record)


def existing_job(db: Connection, job_id: str) -> JobRecord:
    """The job of that id. Refuses: JobNotFound."""
    record = rows.get_job(db, job_id)
    if record is None:
        raise Refused("JobNotFound")
    return record


def writable_job(tx: Tx, job_id: str, event: str) -> tuple[JobRecord, JobState]:
    """The job, if its state allows this write on it or its tasks."""
    record = existing_job(tx.db, job_id)
    if not allows_write(record.state, event):
        raise Refused(job_refusal(record.state, event))
    return record, tx.memory.jobs[record.key]


def _check_event(record: JobRecord, event: str) -> None:
    if not JOB.allows(record.state, event):
        raise Refused(job_refusal(record.state, event))


def is_forced(request: Request) -> bool:
    """The option ``force``."""
    return is_set(request.query, "force")


def _updatable(tx: Tx, request: Request) -> JobRecord:
    record, _ = writable_job(tx, request.params["job_id"], "update")
    check_write(request, record.modified_us)
    return record


def _save_spec(tx: Tx, record: JobRecord, spec: JobCreate, before: tuple[Any, Any]) -> Answer:
    """Write a changed job. Refuses: a pool changed while not disabled, terminatejob taken back."""
    pool_before, end_before = before
    if end_before == "terminatejob" and spec.on_all_tasks_complete != "terminatejob":
        raise invalid_property(
            "onAllTasksComplete",
            spec.on_all_tasks_complete or "noaction",
            "terminatejob cannot be taken back.",
        )
    spec.pool_info = patched_auto_pool(pool_before, spec.pool_info)
    pool_id = spec.pool_info.pool_id
    is_moved = pool_id is not None and pool_id.lower() != (pool_before.pool_id or "").lower()
    if is_moved and not allows_write(record.state, "move_pool"):
        values = [("PropertyName", "poolInfo"), ("Reason", "Disable the job first.")]
        raise Refused(job_refusal(record.state, "move_pool"), values=values)
    memory = tx.memory
    job = memory.jobs[record.key]
    constraints = spec.constraints
    limit = constraints.max_wall_clock_time if constraints else None
    limit_s = parse_duration(limit) if limit else None
    job.ends_when_complete = spec.on_all_tasks_complete == "terminatejob"
    job.retries_max = (constraints.max_task_retry_count if constraints else None) or 0
    job.wall_clock_us = None if limit_s is None else record.created_us + int(limit_s * 1_000_000)
    if job.wall_clock_us is not None:
        memory.set_timer(job.wall_clock_us, "job", job.key)
    if is_moved:
        pool = memory.pool_of_id(pool_id)
        job.pool_id = pool_id
        job.pool_key = pool.key if pool else None
        memory.view.set_job(job.key, pool_key=job.pool_key or 0)
        reseat_manager(tx, job)
    memory.view.set_job(
        job.key,
        priority=spec.priority or 0,
        max_parallel=-1 if spec.max_parallel_tasks is None else spec.max_parallel_tasks,
    )
    set_preemption(tx, job, is_allowed=bool(spec.allow_task_preemption))
    for node in memory.nodes.values():
        node.told_jobs.discard(job.key)  # nodes are told the new retry limit with the next run
    memory.touched_jobs.add(job.key)
    if job.pool_key:
        memory.dirty_pools.add(job.pool_key)
    rows.save_job(
        tx.db,
        record.key,
        spec=msgspec.json.encode(spec),
        priority=spec.priority or 0,
        pool_id=job.pool_id,
    )
    return _touched(tx, record)


def _touched(tx: Tx, record: JobRecord) -> Answer:
    modified_us = max(tx.now_us, record.modified_us + 1)
    rows.save_job(tx.db, record.key, modified_us=modified_us)
    return Answer(modified_us=modified_us)

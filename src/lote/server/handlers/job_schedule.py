"""Job schedules: the operations of the data plane."""

from __future__ import annotations

from typing import Any

import msgspec

from lote.domain.job_schedule import allows_write, job_schedule_refusal
from lote.server.conditions import check_write
from lote.server.handlers.job import is_forced, viewer_of_jobs
from lote.server.new_jobs import check_carried_out
from lote.server.owner import Tx
from lote.server.pages import (
    after_id,
    answer_list,
    answer_one,
    choice,
    filter_of,
    page_of,
)
from lote.server.quotas import check_job_quota
from lote.server.request import Answer, Request
from lote.server.schedules import (
    begin_delete_schedule,
    begin_terminate_schedule,
    decode_spec,
    move_schedule,
    recurrence_of,
    settle_schedule,
)
from lote.server.statistics import schedule_stats, wants_stats
from lote.server.views import view_job_schedule
from lote.store import job_schedules as rows
from lote.store.database import Connection
from lote.store.jobs import get_job
from lote.store.lists import list_jobs as page_of_jobs
from lote.store.records import JobScheduleRecord
from lote.wire.check_jobs import (
    check_job_schedule,
    check_job_schedule_replace,
    check_job_schedule_update,
)
from lote.wire.errors import Refused
from lote.wire.formats import parse_timestamp
from lote.wire.job_schedule import (
    JobSchedule,
    JobScheduleConfiguration,
    JobScheduleCreate,
    JobScheduleReplace,
    JobScheduleUpdate,
)
from lote.wire.odata import Value, evaluate

SCAN_MAX = 1000  # schedules that a page with a filter looks at: some 30 ms
_TIMES = {
    "stateTransitionTime",
    "creationTime",
    "lastModified",
    "executionInfo/endTime",
    "schedule/doNotRunUntil",
    "schedule/doNotRunAfter",
}


def create_job_schedule(tx: Tx, request: Request) -> Answer:
    """Create a schedule; a job that is due at once is made with it.

    Refuses: JobScheduleExists, JobWithSameIdExists, ActiveJobAndScheduleQuotaReached.
    """
    body: JobScheduleCreate = request.body
    check_job_schedule(body)
    check_carried_out(tx, body.job_specification)
    taken = rows.get_job_schedule(tx.db, body.id)
    if taken is not None:
        code = "JobScheduleBeingDeleted" if taken.state == "deleting" else "JobScheduleExists"
        raise Refused(code)
    if get_job(tx.db, body.id) is not None:
        raise Refused("JobWithSameIdExists")
    check_job_quota(tx)
    record = JobScheduleRecord(
        key=0,
        id=body.id,
        state="active",
        state_us=tx.now_us,
        previous_state=None,
        previous_us=None,
        created_us=tx.now_us,
        modified_us=tx.now_us,
        served_us=None,
        end_us=None,
        jobs_made=0,
        recent_job_id=None,
        spec=msgspec.json.encode(body),
    )
    record.key = rows.add_job_schedule(tx.db, record)
    settle_schedule(tx, record.key)
    return Answer(modified_us=tx.now_us, location=f"/jobschedules/{record.id}")


def list_job_schedules(db: Connection, request: Request) -> Answer:
    """One page of schedules."""
    where, size = filter_of(request), request.page_size
    limit = size + 1 if where is None else SCAN_MAX
    records = rows.list_job_schedules(db, after_id(request), limit)
    shown = [(one.id, _view(one, request.base_url)) for one in records]
    if where is not None:
        shown = [(name, view) for name, view in shown if evaluate(where, _getter(view))]
    next_id = None
    if len(shown) > size:
        next_id = shown[size - 1][0]
    elif len(records) == limit:
        next_id = records[-1].id  # more to look at; a page may be short
    if wants_stats(request):
        by_id = {one.id: one for one in records}
        for name, view in shown[:size]:
            view["stats"] = schedule_stats(db, request, by_id[name])
    choose = choice(request, JobSchedule)
    return answer_list(request, [choose(view) for _, view in shown[:size]], next_id)


def get_job_schedule(db: Connection, request: Request) -> Answer:
    """One schedule. Refuses: JobScheduleNotFound."""
    record = existing_schedule(db, request.params["job_schedule_id"])
    shown = _view(record, request.base_url)
    if wants_stats(request):
        shown["stats"] = schedule_stats(db, request, record)
    return answer_one(request, shown, JobSchedule, record.modified_us)


def job_schedule_exists(db: Connection, request: Request) -> Answer:
    """Whether a schedule exists."""
    record = existing_schedule(db, request.params["job_schedule_id"])
    return Answer(modified_us=record.modified_us)


def list_jobs_from_schedule(db: Connection, request: Request) -> Answer:
    """One page of a schedule's jobs that still exist. Refuses: JobScheduleNotFound."""
    record = existing_schedule(db, request.params["job_schedule_id"])
    jobs, go_on = page_of_jobs(db, page_of(request), record.key)
    view = viewer_of_jobs(db, request, jobs)
    return answer_list(request, [view(job) for job in jobs], go_on)


def update_job_schedule(tx: Tx, request: Request) -> Answer:
    """Patch: members that are given replace, all others stay. Later jobs follow it."""
    body: JobScheduleUpdate = request.body
    check_job_schedule_update(body)
    record = _writable(tx, request, "update")
    spec = decode_spec(record.spec)
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if value is not None:
            setattr(spec, name, value)
    return _save_spec(tx, record, spec)


def replace_job_schedule(tx: Tx, request: Request) -> Answer:
    """Replace what can be changed; members that are not given go back to their defaults."""
    body: JobScheduleReplace = request.body
    check_job_schedule_replace(body)
    record = _writable(tx, request, "update")
    spec = decode_spec(record.spec)
    spec.schedule = body.schedule or JobScheduleConfiguration()
    spec.job_specification = body.job_specification
    spec.metadata = body.metadata
    return _save_spec(tx, record, spec)


def delete_job_schedule(tx: Tx, request: Request) -> Answer:
    """Delete a schedule with all its jobs. Refuses: JobScheduleBeingDeleted."""
    record = _writable(tx, request, "delete")
    begin_delete_schedule(tx, record, force=is_forced(request))
    return Answer()


def disable_job_schedule(tx: Tx, request: Request) -> Answer:
    """Make no more jobs; the one that is active goes on. Refuses: by the schedule's state."""
    return _move(tx, request, "disable")


def enable_job_schedule(tx: Tx, request: Request) -> Answer:
    """Make jobs again. Refuses: by the schedule's state."""
    return _move(tx, request, "enable")


def terminate_job_schedule(tx: Tx, request: Request) -> Answer:
    """End a schedule and its active job. Refuses: by the schedule's state."""
    record = _writable(tx, request, "terminate")
    begin_terminate_schedule(tx, record, force=is_forced(request))
    return _touched(tx, record)


def existing_schedule(db: Connection, schedule_id: str) -> JobScheduleRecord:
    """The schedule of that id. Refuses: JobScheduleNotFound."""
    record = rows.get_job_schedule(db, schedule_id)
    if record is None:
        raise Refused("JobScheduleNotFound")
    return record


def _writable(tx: Tx, request: Request, event: str) -> JobScheduleRecord:
    record = existing_schedule(tx.db, request.params["job_schedule_id"])
    if not allows_write(record.state, event):
        raise Refused(job_schedule_refusal(record.state))
    check_write(request, record.modified_us)
    return record


def _move(tx: Tx, request: Request, event: str) -> Answer:
    record = _writable(tx, request, event)
    is_new = (record.state == "disabled") == (event == "enable")
    if is_new:  # the same again is harmless
        move_schedule(tx, record, event)
    return _touched(tx, record)


def _save_spec(tx: Tx, record: JobScheduleRecord, spec: JobScheduleCreate) -> Answer:
    check_carried_out(tx, spec.job_specification)
    rows.save_job_schedule(tx.db, record.key, spec=msgspec.json.encode(spec))
    tx.memory.touched_schedules.add(record.key)
    return _touched(tx, record)


def _touched(tx: Tx, record: JobScheduleRecord) -> Answer:
    modified_us = max(tx.now_us, record.modified_us + 1)
    rows.save_job_schedule(tx.db, record.key, modified_us=modified_us)
    return Answer(modified_us=modified_us)


def _view(record: JobScheduleRecord, base_url: str) -> dict[str, Any]:
    times = recurrence_of(decode_spec(record.spec).schedule, record.created_us)
    next_us = times.next_due_us(record.served_us) if record.state == "active" else None
    return view_job_schedule(record, next_us, base_url)


def _getter(shown: dict[str, Any]) -> Any:  # noqa: ANN401 - a reader of decoded JSON
    def read(prop: str) -> Value | None:
        value: Any = shown
        for name in prop.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        return parse_timestamp(value) if prop in _TIMES and value is not None else value

    return read

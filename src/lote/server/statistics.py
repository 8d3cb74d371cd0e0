"""What tasks, jobs, schedules and pools used, as ``$expand=stats`` shows it: at once and exact.

Tasks have it when they have ended; a job or a schedule has the sum over its tasks that ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lote.server.request import Request
from lote.store.database import Connection
from lote.store.records import JobRecord, JobScheduleRecord, PoolRecord, TaskRecord
from lote.store.statistics import Use, jobs_use, schedule_use, tasks_use
from lote.store.usage import dedicated_time_us
from lote.wire.formats import format_duration, format_timestamp
from lote.wire.vm_sizes import cores_of

BLOCK_BYTES = 512  # Linux: the blocks of getrusage(2)
GIB = 1 << 30

Shown = dict[str, Any]


def wants_stats(request: Request) -> bool:
    """Whether the answer is to have statistics. REST: by ``$expand``, or named in ``$select``."""
    query = request.query
    if len(query) == 1:
        return False  # the api-version
    return any("stats" in query.get(option, "").replace(" ", "").split(",") for option in _OPTIONS)


_OPTIONS = ("expand", "select")


def task_stats(
    db: Connection, request: Request, job_id: str, records: Sequence[TaskRecord]
) -> dict[int, Shown]:
    """Statistics of those of these tasks that have ended, by row key."""
    found = tasks_use(db, [record.key for record in records])
    shown = {}
    for record in records:
        use = found.get(record.key)
        if use is not None:
            end_us = record.end_us or request.now_us
            url = f"{request.base_url}/jobs/{job_id}/tasks/{record.id}"
            shown[record.key] = view_use(use, url, record.created_us, end_us)
    return shown


def job_stats(db: Connection, request: Request, records: Sequence[JobRecord]) -> dict[int, Shown]:
    """Statistics of these jobs, by row key."""
    uses = jobs_use(db, [record.key for record in records])
    shown = {}
    for record in records:
        end_us = record.end_us or request.now_us
        url = f"{request.base_url}/jobs/{record.id}"
        use = uses.get(record.key, Use())
        shown[record.key] = view_use(use, url, record.start_us, end_us) | view_ends(use)
    return shown


def schedule_stats(db: Connection, request: Request, record: JobScheduleRecord) -> Shown:
    """Statistics of a schedule: of all jobs it made."""
    use = schedule_use(db, record.key)
    url = f"{request.base_url}/jobschedules/{record.id}"
    end_us = record.end_us or request.now_us
    return view_use(use, url, record.created_us, end_us) | view_ends(use)


def pool_stats(db: Connection, request: Request, records: Sequence[PoolRecord]) -> dict[int, Shown]:
    """Statistics of these pools, by row key: how long cores were there."""
    core_us = dict.fromkeys((record.key for record in records), 0)
    for key, vm_size, there_us in dedicated_time_us(db, list(core_us), request.now_us):
        core_us[key] += there_us * (cores_of(vm_size) if vm_size else 1)
    shown = {}
    for record in records:
        span = _span(record.created_us, request.now_us)
        usage = span | {"dedicatedCoreTime": _duration(core_us[record.key])}
        url = f"{request.base_url}/pools/{record.id}"
        shown[record.key] = {"url": url} | span | {"usageStats": usage}
    return shown


def with_stats(shown: Shown, stats: Shown | None) -> Shown:
    """A view with its statistics, if it has them."""
    return shown if stats is None else shown | {"stats": stats}


def view_use(use: Use, url: str, start_us: int, end_us: int) -> Shown:
    """What was used from start to end, as statistics show it."""
    return {
        "url": url,
        **_span(start_us, end_us),
        "userCPUTime": _duration(use.user_us),
        "kernelCPUTime": _duration(use.kernel_us),
        "wallClockTime": _duration(use.wall_us),
        "readIOps": str(use.read_blocks),
        "writeIOps": str(use.write_blocks),
        "readIOGiB": use.read_blocks * BLOCK_BYTES / GIB,
        "writeIOGiB": use.write_blocks * BLOCK_BYTES / GIB,
        "waitTime": _duration(use.wait_us),
    }


def view_ends(use: Use) -> Shown:
    """How tasks ended, as statistics show it."""
    return {
        "numSucceededTasks": str(use.succeeded),
        "numFailedTasks": str(use.failed),
        "numTaskRetries": str(use.retries),
    }


def _span(start_us: int, end_us: int) -> Shown:
    return {"startTime": format_timestamp(start_us), "lastUpdateTime": format_timestamp(end_us)}


def _duration(us: int) -> str:
    return format_duration(us / 1_000_000)

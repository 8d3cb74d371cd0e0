"""What tasks, jobs, schedules and pools used, as ``$expand=stats`` shows it: at once and exact.

Tasks have it when they have ended; a job or a schedule has the sum over its tasks that ended. What
a pool's nodes used is as their agents measure it, which they do every half minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lote.server.request import Request
from lote.store.database import Connection
from lote.store.pool_use import PoolUse, pools_use
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
    """Statistics of these pools, by row key: how long cores were there, what nodes used."""
    core_us = dict.fromkeys((record.key for record in records), 0)
    for key, vm_size, there_us in dedicated_time_us(db, list(core_us), request.now_us):
        core_us[key] += there_us * (cores_of(vm_size) if vm_size else 1)
    measured = pools_use(db, list(core_us))
    shown = {}
    for record in records:
        span = _span(record.created_us, request.now_us)
        usage = span | {"dedicatedCoreTime": _duration(core_us[record.key])}
        url = f"{request.base_url}/pools/{record.id}"
        shown[record.key] = {"url": url} | span | {"usageStats": usage}
        use = measured.get(record.key)
        if use is not None:
            shown[record.key]["resourceStats"] = view_pool_use(use)
    return shown


def view_pool_use(use: PoolUse) -> Shown:
    """What a pool's nodes used, as statistics show it: means of one node, peaks of one, sums of
    all."""
    return _span(use.first_us, use.last_us) | {
        "avgCPUPercentage": use.cpu_percent_s / use.measured_s,
        "avgMemoryGiB": use.memory_byte_s / use.measured_s / GIB,
        "peakMemoryGiB": use.memory_bytes_max / GIB,
        "avgDiskGiB": use.disk_byte_s / use.measured_s / GIB,
        "peakDiskGiB": use.disk_bytes_max / GIB,
        "diskReadIOps": str(int(use.disk_reads)),
        "diskWriteIOps": str(int(use.disk_writes)),
        "diskReadGiB": use.disk_read_bytes / GIB,
        "diskWriteGiB": use.disk_write_bytes / GIB,
        "networkReadGiB": use.network_in_bytes / GIB,
        "networkWriteGiB": use.network_out_bytes / GIB,
    }


def with_stats(shown: Shown, stats: Shown | None) -> Shown:
    """A view with its statistics, if it has them."""
    return shown if stats is None else shown | {"stats": stats}


def view_use(use: Use, url: str, start_us: int, end_us: int) -> Shown:
    """What was used from start to end, as statistics show it; what nobody measured is left out."""
    times = {"userCPUTime": use.user_us, "kernelCPUTime": use.kernel_us}
    return {
        "url": url,
        **_span(start_us, end_us),
        **{name: _duration(us) for name, us in times.items() if us is not None},
        "wallClockTime": _duration(use.wall_us),
        **_view_blocks("read", use.read_blocks),
        **_view_blocks("write", use.write_blocks),
        "waitTime": _duration(use.wait_us),
    }


def _view_blocks(way: str, blocks: int | None) -> Shown:
    if blocks is None:
        return {}
    return {f"{way}IOps": str(blocks), f"{way}IOGiB": blocks * BLOCK_BYTES / GIB}


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

"""What an account has used: core hours of its pools by half hours, and totals over its life."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from lote.server.pages import after_id, answer_list, answer_one, filter_of
from lote.server.request import Answer, Request
from lote.server.statistics import view_ends, view_use
from lote.store.database import Connection
from lote.store.statistics import account_use
from lote.store.usage import first_allocation_us, first_job_us, list_stays
from lote.wire.errors import invalid_query
from lote.wire.formats import format_duration, format_timestamp, parse_timestamp
from lote.wire.job import JobStatistics
from lote.wire.odata import Expr, evaluate
from lote.wire.pool import PoolStatistics
from lote.wire.vm_sizes import cores_of

INTERVAL_US = 30 * 60 * 1_000_000  # REST: List Pool Usage Metrics, half hours
HOUR_US = 3600 * 1_000_000


def list_pool_usage_metrics(db: Connection, request: Request) -> Answer:
    """Core hours of each pool in each half hour, from the times its nodes were there.

    Refuses: InvalidQueryParameterValue for times that are none.
    """
    now_us = request.now_us
    last_us = (now_us // INTERVAL_US - 1) * INTERVAL_US  # the last interval that is over
    start_us = _time_of(request, "starttime", last_us)
    end_us = min(_time_of(request, "endtime", now_us), now_us)
    first_us = first_allocation_us(db)
    if first_us is None:
        return answer_list(request, [])
    where = filter_of(request)
    after = after_id(request) or ""
    if after:
        start_us = int(after.partition(" ")[0])
    shown: list[dict[str, Any]] = []
    last = ""
    for name, metrics in _metrics(db, max(start_us, first_us), end_us, where):
        if name <= after:
            continue
        if len(shown) == request.page_size:
            return answer_list(request, shown, last)
        shown.append(metrics)
        last = name
    return answer_list(request, shown)


def _time_of(request: Request, name: str, otherwise: int) -> int:
    text = request.query.get(name)
    if not text:
        return otherwise
    try:
        return parse_timestamp(text)
    except ValueError:
        raise invalid_query(name, text, "This is not a time.") from None


def _metrics(
    db: Connection, start_us: int, end_us: int, where: Expr | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """By interval, then pool: a name that sorts so, and what is shown."""
    begin_us = start_us // INTERVAL_US * INTERVAL_US
    while begin_us < end_us:
        until_us = begin_us + INTERVAL_US
        used_us: dict[tuple[str, str], int] = defaultdict(int)
        for stay in list_stays(db, begin_us, min(until_us, end_us)):
            gone_us = min(until_us, end_us) if stay.gone_us is None else stay.gone_us
            there_us = min(gone_us, until_us, end_us) - max(stay.allocated_us, begin_us)
            used_us[stay.pool_id, stay.vm_size] += max(0, there_us)
        for (pool_id, vm_size), there_us in sorted(used_us.items()):
            if where is not None and not evaluate(where, {"poolId": pool_id}.get):
                continue
            yield (
                f"{begin_us:020d} {pool_id} {vm_size}",
                {
                    "poolId": pool_id,
                    "startTime": format_timestamp(begin_us),
                    "endTime": format_timestamp(until_us),
                    "vmSize": vm_size,
                    "totalCoreHours": there_us / HOUR_US * (cores_of(vm_size) if vm_size else 1),
                },
            )
        begin_us = until_us


def get_lifetime_job_statistics(db: Connection, request: Request) -> Answer:
    """How tasks ended and what they used, of all jobs that there ever were."""
    use, started_us = account_use(db), first_job_us(db)
    url = request.base_url + request.path
    shown = view_use(use, url, request.now_us if started_us is None else started_us, request.now_us)
    shown |= view_ends(use)
    return answer_one(request, shown, JobStatistics, None)


def get_lifetime_pool_statistics(db: Connection, request: Request) -> Answer:
    """The core time of all nodes there ever were. What is not measured is left out."""
    started_us = first_allocation_us(db)
    stays = list_stays(db, 0, request.now_us) if started_us is not None else []
    core_us = sum(
        ((stay.gone_us or request.now_us) - stay.allocated_us)
        * (cores_of(stay.vm_size) if stay.vm_size else 1)
        for stay in stays
    )
    shown = _statistics(request, started_us)
    usage = {name: shown[name] for name in ("startTime", "lastUpdateTime")}
    shown["usageStats"] = usage | {"dedicatedCoreTime": format_duration(core_us / 1_000_000)}
    return answer_one(request, shown, PoolStatistics, None)


def _statistics(request: Request, started_us: int | None) -> dict[str, Any]:
    return {
        "url": request.base_url + request.path,
        "startTime": format_timestamp(request.now_us if started_us is None else started_us),
        "lastUpdateTime": format_timestamp(request.now_us),
    }

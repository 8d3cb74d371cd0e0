"""Pages of pools, jobs and tasks: a filter's tree as SQL, in order of ids.

A page begins behind the last id of the one before, so paging is stable while things come and go.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from lote.store.database import Connection
from lote.store.records import (
    STATE_OF_PHASE,
    JobRecord,
    PoolRecord,
    TaskRecord,
    columns,
)
from lote.store.tasks import FROM_TASKS
from lote.wire.odata import And, Compare, Expr, Not, Or, StartsWith

_ENTITY = {
    "id": "id",
    "state": "state",
    "stateTransitionTime": "state_us",
    "creationTime": "created_us",
    "lastModified": "modified_us",
}
_POOL_COLUMNS = _ENTITY | {
    "allocationState": "allocation_state",
    "allocationStateTransitionTime": "allocation_us",
    "enableAutoScale": "enable_auto_scale",
    "vmSize": "vm_size",
    "enableInterNodeCommunication": "inter_node",
}
_JOB_COLUMNS = _ENTITY | {
    "executionInfo/startTime": "start_us",
    "executionInfo/endTime": "end_us",
    "executionInfo/poolId": "pool_id",
}
_TASK_COLUMNS = {name: "task." + column for name, column in _ENTITY.items()} | {
    "executionInfo/startTime": "task.start_us",
    "executionInfo/endTime": "task.end_us",
    "executionInfo/exitCode": "task.exit_code",
    "executionInfo/result": "task.result",
}
_SQL_OPS = {"eq": "=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_RESULTS = {"success": 1, "failure": 0}

Sql = tuple[str, list[object]]


SCAN_MAX = 30_000  # tasks one page looks at: some 10 ms
BOUNDS_MAX = 16  # parts of a filter that are looked at for bounds of ids
LAST_CHARACTER = "\U0010ffff"  # sorts behind whatever an id may go on with


class Page(msgspec.Struct):
    """Which part of a list: behind ``after_id`` (None: from the start), at most ``limit``."""

    after_id: str | None
    limit: int
    where: Expr | None = None


def list_pools(db: Connection, page: Page) -> list[PoolRecord]:
    """One page of pools, and one more if there is a next page."""
    condition, values = _conditions(page, _POOL_COLUMNS, "id")
    text = f"SELECT {columns(PoolRecord)} FROM pool WHERE {condition} ORDER BY id LIMIT ?"
    return [PoolRecord(*row) for row in db.execute(text, [*values, page.limit + 1])]


def list_jobs(db: Connection, page: Page, schedule_key: int | None = None) -> list[JobRecord]:
    """One page of jobs, or of a schedule's jobs, and one more if there is a next page."""
    condition, values = _conditions(page, _JOB_COLUMNS, "id")
    if schedule_key is not None:
        condition, values = f"schedule_key = ? AND {condition}", [schedule_key, *values]
    text = f"SELECT {columns(JobRecord)} FROM job WHERE {condition} ORDER BY id LIMIT ?"
    return [JobRecord(*row) for row in db.execute(text, [*values, page.limit + 1])]


def list_tasks(db: Connection, job_key: int, page: Page) -> tuple[list[TaskRecord], str | None]:
    """One page of a job's tasks, and the id to go on behind (None: the list is over).

    A filter that few tasks pass must not look at a million of them at once: where no index of the
    rare ones serves it, a page looks at ``SCAN_MAX`` tasks at most and may be short or empty.
    Source: REST, lists may return fewer items than maxresults, even none, with a next link.
    """
    condition, values = _conditions(page, _TASK_COLUMNS, "task.id")
    rare = _rare(page.where)
    if page.where is None or rare:
        text = f"{FROM_TASKS} WHERE task.job_key = ? AND {condition}{rare} ORDER BY task.id LIMIT ?"
        rows = db.execute(text, [job_key, *values, page.limit + 1])
        found = [TaskRecord(*row) for row in rows]
        is_over = len(found) <= page.limit
        return found[: page.limit], None if is_over else found[page.limit - 1].id
    return _scan_tasks(db, job_key, page, (condition, values))


def _scan_tasks(
    db: Connection, job_key: int, page: Page, condition: Sql
) -> tuple[list[TaskRecord], str | None]:
    bounds, values = _id_bounds(page)
    within = f"FROM task WHERE job_key = ? AND {bounds} ORDER BY id"
    scanned = (
        f"SELECT task.key, task.id FROM (SELECT * {within} LIMIT {SCAN_MAX}) AS task"
        f" WHERE {condition[0]} LIMIT ?"
    )
    rows = db.execute(scanned, [job_key, *values, *condition[1], page.limit + 1]).fetchall()
    if len(rows) > page.limit:
        go_on = rows[page.limit - 1][1]
    else:
        last = f"SELECT id {within} LIMIT 1 OFFSET {SCAN_MAX - 1}"
        end = db.execute(last, [job_key, *values]).fetchone()
        go_on = end[0] if end else None
    keys = ", ".join(str(row[0]) for row in rows[: page.limit])
    found = [TaskRecord(*row) for row in db.execute(f"{FROM_TASKS} WHERE task.key IN ({keys})")]
    order = {row[0]: place for place, row in enumerate(rows)}
    return sorted(found, key=lambda one: order[one.key]), go_on


def _id_bounds(page: Page) -> Sql:
    """What the page and the filter say of ids, as one lower bound and upper ones: an index can
    begin at one place only."""
    lower = (page.after_id or "", ">")
    uppers: list[tuple[str, str]] = []
    where = page.where
    for item in where.items[:BOUNDS_MAX] if isinstance(where, And) else (where,):
        if not isinstance(item, (Compare, StartsWith)) or item.prop != "id":
            continue
        value = str(item.value)
        op = "ge" if isinstance(item, StartsWith) else item.op
        if op in ("eq", "gt", "ge") and value.lower() > lower[0].lower():
            lower = (value, ">" if op == "gt" else ">=")
        if op in ("eq", "lt", "le"):
            uppers.append((value, "<" if op == "lt" else "<="))
        elif isinstance(item, StartsWith):
            uppers.append((value + LAST_CHARACTER, "<"))
    bounds = [lower, *uppers]
    return " AND ".join(f"id {op} ?" for _, op in bounds), [value for value, _ in bounds]


def _rare(where: Expr | None) -> str:
    """The condition of a partial index that the filter implies, as SQL; else an empty text."""
    for item in where.items if isinstance(where, And) else (where,):
        if not isinstance(item, Compare):
            continue
        value = str(item.value).lower()
        if (item.prop, item.op) == ("state", "eq") and value in ("preparing", "running"):
            return " AND task.phase IN (2, 3, 4)"
        if (item.prop, item.op, value) == ("executionInfo/result", "eq", "failure"):
            return " AND task.result = 0"
        if (item.prop, item.op) == ("executionInfo/exitCode", "eq") and value != "0":
            return " AND task.exit_code <> 0"
    return ""


def _conditions(page: Page, names: dict[str, str], id_column: str) -> Sql:
    parts: list[str] = []
    values: list[object] = []
    if page.after_id is not None:
        parts.append(f"{id_column} > ?")
        values.append(page.after_id)
    if page.where is not None:
        text, more = compile_filter(page.where, names)
        parts.append(text)
        values += more
    return " AND ".join(parts) or "1", values


def compile_filter(expr: Expr, names: dict[str, str]) -> Sql:
    """A filter's tree as an SQL condition and its values. ``names``: property → column."""
    match expr:
        case And(items):
            return _joined(" AND ", items, names)
        case Or(items):
            return _joined(" OR ", items, names)
        case Not(item):
            text, values = compile_filter(item, names)
            return f"NOT coalesce({text}, 0)", values
        case StartsWith(prop, value):
            escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            return f"{names[prop]} LIKE ? ESCAPE '\\'", [escaped + "%"]
        case Compare():
            return _compare(expr, names)
    assert_never(expr)


def _joined(word: str, items: tuple[Expr, ...], names: dict[str, str]) -> Sql:
    """Joined in halves: the database bounds how deep a condition is, and a chain is as deep as it
    is long."""
    if len(items) == 1:
        return compile_filter(items[0], names)
    middle = len(items) // 2
    left, values = _joined(word, items[:middle], names)
    right, more = _joined(word, items[middle:], names)
    return f"({left}{word}{right})", values + more


def _compare(expr: Compare, names: dict[str, str]) -> Sql:
    column = names[expr.prop]
    value: object = int(expr.value) if isinstance(expr.value, bool) else expr.value
    if column == "task.state":
        phases = [n for n, s in enumerate(STATE_OF_PHASE) if s == str(value).lower()]
        listed = ", ".join(map(str, phases)) or "-1"
        return f"task.phase {'NOT IN' if expr.op == 'ne' else 'IN'} ({listed})", []
    if column == "task.result":
        value = _RESULTS.get(str(value).lower(), -1)
    collate = " COLLATE NOCASE" if isinstance(value, str) else ""
    if expr.op == "ne":
        return f"({column} IS NULL OR {column} <> ?{collate})", [value]
    return f"{column} {_SQL_OPS[expr.op]} ?{collate}", [value]

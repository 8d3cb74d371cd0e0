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


def list_jobs(db: Connection, page: Page) -> list[JobRecord]:
    """One page of jobs, and one more if there is a next page."""
    condition, values = _conditions(page, _JOB_COLUMNS, "id")
    text = f"SELECT {columns(JobRecord)} FROM job WHERE {condition} ORDER BY id LIMIT ?"
    return [JobRecord(*row) for row in db.execute(text, [*values, page.limit + 1])]


def list_tasks(db: Connection, job_key: int, page: Page) -> list[TaskRecord]:
    """One page of a job's tasks, and one more if there is a next page."""
    condition, values = _conditions(page, _TASK_COLUMNS, "task.id")
    text = f"{FROM_TASKS} WHERE task.job_key = ? AND {condition} ORDER BY task.id LIMIT ?"
    return [TaskRecord(*row) for row in db.execute(text, [job_key, *values, page.limit + 1])]


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

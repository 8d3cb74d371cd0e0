"""Pages of pools, jobs and tasks: a filter's tree as SQL, in order of ids.

A page begins behind the last id of the one before, so paging is stable while things come and go.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar, assert_never

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


SCAN_MAX = 30_000  # rows one page looks at: some 10 ms
TERMS_FREE = 8  # a filter of more comparisons than clients write looks at fewer rows
BOUNDS_MAX = 16  # parts of a filter that are looked at for bounds of ids
LAST_CHARACTER = "\U0010ffff"  # sorts behind whatever an id may go on with


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_HasId)


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


def list_jobs(
    db: Connection, page: Page, schedule_key: int | None = None
) -> tuple[list[JobRecord], str | None]:
    """One page of jobs, or of a schedule's jobs, and the id to go on behind; see ``list_tasks``."""
    scope: Sql = ("1", []) if schedule_key is None else ("schedule_key = ?", [schedule_key])
    select = f"SELECT {columns(JobRecord)} FROM job"
    if page.where is None:
        condition, values = _conditions(page, _JOB_COLUMNS, "id")
        text = f"{select} WHERE {scope[0]} AND {condition} ORDER BY id LIMIT ?"
        jobs = [JobRecord(*row) for row in db.execute(text, [*scope[1], *values, page.limit + 1])]
        return _cut(jobs, page)
    listed = ", ".join(["key", *dict.fromkeys(_JOB_COLUMNS.values())])
    keys, go_on = _scan(db, _Scanned("job", listed, scope, _JOB_COLUMNS), page)
    wanted = ", ".join(map(str, keys))
    text = f"{select} WHERE key IN ({wanted}) ORDER BY id"
    return [JobRecord(*row) for row in db.execute(text)], go_on


def list_tasks(db: Connection, job_key: int, page: Page) -> tuple[list[TaskRecord], str | None]:
    """One page of a job's tasks, and the id to go on behind (None: the list is over).

    A filter that few tasks pass must not look at a million of them at once: a page looks at
    ``SCAN_MAX`` tasks at most, of those that an index of the rare ones gives where one serves the
    filter, and may be short or empty.
    Source: REST, lists may return fewer items than maxresults, even none, with a next link.
    """
    if page.where is None:
        condition, values = _conditions(page, _TASK_COLUMNS, "task.id")
        text = f"{FROM_TASKS} WHERE task.job_key = ? AND {condition} ORDER BY task.id LIMIT ?"
        rows = db.execute(text, [job_key, *values, page.limit + 1])
        return _cut([TaskRecord(*row) for row in rows], page)
    scope = f"job_key = ?{_rare(page.where)}"
    keys, go_on = _scan(db, _Scanned("task", "*", (scope, [job_key]), _TASK_COLUMNS), page)
    wanted = ", ".join(map(str, keys))
    text = f"{FROM_TASKS} WHERE task.key IN ({wanted}) ORDER BY task.id"
    return [TaskRecord(*row) for row in db.execute(text)], go_on


def _cut(records: list[R], page: Page) -> tuple[list[R], str | None]:
    is_over = len(records) <= page.limit
    return records[: page.limit], None if is_over else records[page.limit - 1].id


class _Scanned(NamedTuple):
    """What a filter is tried on: the rows of a table within a scope, some of their columns."""

    table: str
    listed: str
    scope: Sql
    names: dict[str, str]


def _scan(db: Connection, scanned: _Scanned, page: Page) -> tuple[list[int], str | None]:
    """Keys of the rows that pass, and the id to go on behind."""
    assert page.where is not None
    condition, values = compile_filter(page.where, scanned.names)
    bounds, limits = _id_bounds(page)
    rows_max = max(1, SCAN_MAX * TERMS_FREE // max(TERMS_FREE, _terms(page.where)))
    table, scope = scanned.table, scanned.scope
    within = f"FROM {table} WHERE {scope[0]} AND {bounds} ORDER BY id"
    text = (
        f"SELECT {table}.key, {table}.id FROM (SELECT {scanned.listed} {within} LIMIT {rows_max})"
        f" AS {table} WHERE {condition} LIMIT ?"
    )
    given = [*scope[1], *limits]
    rows = db.execute(text, [*given, *values, page.limit + 1]).fetchall()
    if len(rows) > page.limit:
        go_on = rows[page.limit - 1][1]
    else:
        last = f"SELECT id {within} LIMIT 1 OFFSET {rows_max - 1}"
        end = db.execute(last, given).fetchone()
        go_on = end[0] if end else None
    return [row[0] for row in rows[: page.limit]], go_on


def _terms(expr: Expr) -> int:
    """How many comparisons a filter makes of each row."""
    match expr:
        case And(items) | Or(items):
            return sum(map(_terms, items))
        case Not(item):
            return _terms(item)
    return 1


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
            return " AND phase IN (2, 3, 4)"
        if (item.prop, item.op, value) == ("executionInfo/result", "eq", "failure"):
            return " AND result = 0"
        if (item.prop, item.op) == ("executionInfo/exitCode", "eq") and value != "0":
            return " AND exit_code <> 0"
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

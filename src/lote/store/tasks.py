"""Rows of tasks: the hot path of the store. Statements work on many rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from lote.store.database import Connection
from lote.store.instances import delete_instances
from lote.store.records import (
    BLOCKED,
    COMPLETED,
    HAS_MOVED,
    IS_PREEMPTED,
    PLACED,
    PREPARING,
    READY,
    RUNNING,
    SATISFIES,
    JobRecord,
    TaskRecord,
    columns,
)
from lote.store.statistics import add_job_use

KEY_BLOCK = 100_000  # task keys reserved at a time, so that a key is never used twice


class NewTask(msgspec.Struct, array_like=True, gc=False):
    """What ``add_tasks`` writes of one task."""

    key: int
    job_key: int
    id: str
    phase: int
    flags: int
    slots: int
    waiting: int
    created_us: int
    spec: bytes


class ReadyRow(msgspec.Struct, gc=False):
    """A ready task as placement needs it."""

    key: int
    flags: int
    slots: int
    run: int
    retries: int
    spec: bytes


class PlacedRow(msgspec.Struct, gc=False):
    """A task that a node holds, as a restarted server needs it."""

    key: int
    job_key: int
    node_key: int
    phase: int
    run: int
    slots: int
    flags: int
    start_us: int | None


_TASK = ", ".join(
    "task." + name
    for name in TaskRecord.__struct_fields__
    if name not in ("node_id", "node_pool_id", "spec")
)
FROM_TASKS = (
    f"SELECT {_TASK}, node.id, node.pool_id, task_spec.spec FROM task"
    " JOIN task_spec ON task_spec.key = task.key LEFT JOIN node ON node.key = task.node_key"
)
_GET = f"{FROM_TASKS} WHERE task.job_key = ? AND task.id = ?"
_GET_WITH_JOB = (
    f"SELECT {columns(JobRecord, 'job.')}, {_TASK}, node.id, node.pool_id, task_spec.spec FROM job"
    " LEFT JOIN task ON task.job_key = job.key AND task.id = ?"
    " LEFT JOIN task_spec ON task_spec.key = task.key LEFT JOIN node ON node.key = task.node_key"
    " WHERE job.id = ?"
)
_JOB_FIELDS = len(JobRecord.__struct_fields__)
_BY_KEY = f"{FROM_TASKS} WHERE task.key = ?"
_ADD = (
    "INSERT INTO task (key, job_key, id, phase, flags, slots, waiting, created_us, modified_us,"
    " state_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_key, id) DO NOTHING"
)
_ADD_SPEC = "INSERT INTO task_spec (key, spec) VALUES (?, ?)"
_READY = (
    "SELECT task.key, flags, slots, run, retries, spec FROM task"
    " JOIN task_spec ON task_spec.key = task.key"
    f" WHERE job_key = ? AND phase = {READY} AND task.key > ? ORDER BY task.key LIMIT ?"
)
_READY_ROWS = (
    "SELECT task.key, flags, slots, run, retries, spec FROM task"
    " JOIN task_spec ON task_spec.key = task.key"
    " WHERE task.key IN (SELECT value FROM json_each(?))"
)
_PLACE = (
    f"UPDATE task SET phase = {PLACED}, node_key = ?, run = run + 1 "
    f"WHERE key = ? AND phase = {READY}"
)
_START = (
    f"UPDATE task SET phase = {RUNNING}, previous_phase = phase, previous_us = state_us,"
    " state_us = ?, start_us = ?, retries = max(retries, ?),"
    f" last_retry_us = coalesce(?, last_retry_us) WHERE key = ? AND run = ? AND phase IN"
    f" ({PLACED}, {PREPARING})"
)
_PREPARE = (
    f"UPDATE task SET phase = {PREPARING}, previous_phase = phase, previous_us = state_us,"
    f" state_us = ? WHERE key = ? AND phase = {PLACED}"
)
_RETRY = (
    "UPDATE task SET start_us = ?, retries = ?, last_retry_us = ?"
    f" WHERE key = ? AND run = ? AND phase = {RUNNING}"
)
_END = (
    f"UPDATE task SET phase = {COMPLETED}, previous_phase = ?1,"
    # When it is there to be ended in the phase it was last seen in, the row knows since when.
    " previous_us = CASE WHEN phase = ?1 THEN state_us ELSE ?2 END, state_us = ?3,"
    " start_us = ?4, end_us = ?5, exit_code = ?6, result = ?7, failure = ?8,"
    " retries = coalesce(?9, retries), last_retry_us = coalesce(?10, last_retry_us), spans = ?11,"
    # Earlier attempts of a multi-instance task are in the row already.
    " wall_us = coalesce(wall_us + ?12, ?12, wall_us),"
    " user_us = coalesce(user_us + ?13, ?13, user_us),"
    " kernel_us = coalesce(kernel_us + ?14, ?14, kernel_us),"
    " read_blocks = coalesce(read_blocks + ?15, ?15, read_blocks),"
    " write_blocks = coalesce(write_blocks + ?16, ?16, write_blocks) WHERE key = ?17"
)
_REQUEUE = (
    f"UPDATE task SET phase = {READY}, previous_phase = phase, previous_us = state_us,"
    " state_us = ?, start_us = NULL, requeues = requeues + ?, reruns = reruns + ?,"
    f" last_requeue_us = coalesce(?, last_requeue_us), flags = flags & ~{IS_PREEMPTED} | ?"
    " WHERE key = ?"
)
_UNPLACE = (
    f"UPDATE task SET phase = {READY}, node_key = NULL, flags = flags & ~{IS_PREEMPTED} | ?"
    f" WHERE key = ? AND phase = {PLACED}"
)
_PLACED = (
    "SELECT key, job_key, node_key, phase, run, slots, flags, start_us FROM task"
    " WHERE phase IN (2, 3, 4) AND node_key IS NOT NULL ORDER BY phase DESC, slots DESC, key"
)


def reserve_task_keys(db: Connection) -> int:
    """The first of ``KEY_BLOCK`` task keys that nobody had or will have."""
    row = db.execute("SELECT value FROM fact WHERE name = 'next_task_key'").fetchone()
    first = int(row[0]) if row else 1
    db.execute(
        "INSERT OR REPLACE INTO fact (name, value) VALUES ('next_task_key', ?)",
        (first + KEY_BLOCK,),
    )
    return first


def get_task(db: Connection, job_key: int, task_id: str) -> TaskRecord | None:
    """The task of that id in the job, in any spelling of its letters."""
    row = db.execute(_GET, (job_key, task_id)).fetchone()
    return TaskRecord(*row) if row else None


def get_task_with_job(
    db: Connection, job_id: str, task_id: str
) -> tuple[JobRecord | None, TaskRecord | None]:
    """The job and the task of these ids, as far as they exist, in any spelling of their letters.

    One statement: most of what a point read costs is its transaction.
    """
    row = db.execute(_GET_WITH_JOB, (task_id, job_id)).fetchone()
    if row is None:
        return None, None
    job = JobRecord(*row[:_JOB_FIELDS])
    return job, None if row[_JOB_FIELDS] is None else TaskRecord(*row[_JOB_FIELDS:])


def get_task_by_key(db: Connection, key: int) -> TaskRecord | None:
    """The task of that row key."""
    row = db.execute(_BY_KEY, (key,)).fetchone()
    return TaskRecord(*row) if row else None


def get_tasks_by_key(db: Connection, keys: Sequence[int]) -> list[TaskRecord]:
    """The tasks of these row keys that exist, in no order."""
    wanted = ",".join(map(str, keys))
    return [TaskRecord(*row) for row in db.execute(f"{FROM_TASKS} WHERE task.key IN ({wanted})")]


def add_tasks(db: Connection, tasks: Sequence[NewTask]) -> set[int]:
    """Insert tasks of one job; a taken id leaves its task out. Returns the keys that went in."""
    cursor = db.executemany(
        _ADD,
        [
            (t.key, t.job_key, t.id, t.phase, t.flags, t.slots, t.waiting) + (t.created_us,) * 3
            for t in tasks
        ],
    )
    added = {t.key for t in tasks}
    if cursor.rowcount != len(tasks):
        first, last = min(added), max(added)
        rows = db.execute("SELECT key FROM task WHERE key BETWEEN ? AND ?", (first, last))
        added &= {row[0] for row in rows}
    db.executemany(_ADD_SPEC, [(t.key, t.spec) for t in tasks if t.key in added])
    return added


def list_ready_tasks(db: Connection, job_key: int, after_key: int, limit: int) -> list[ReadyRow]:
    """Ready tasks of a job in creation order, those behind ``after_key``."""
    return [ReadyRow(*row) for row in db.execute(_READY, (job_key, after_key, limit))]


def get_ready_rows(db: Connection, keys: Sequence[int]) -> dict[int, ReadyRow]:
    """What placement needs of these tasks, by key."""
    rows = db.execute(_READY_ROWS, (f"[{','.join(map(str, keys))}]",))
    return {row[0]: ReadyRow(*row) for row in rows}


def list_changed_specs(db: Connection, keys: Sequence[int]) -> list[tuple[int, bytes]]:
    """(key, spec) of those of these tasks that a user changed after they were added."""
    wanted = ",".join(map(str, keys))
    return db.execute(
        "SELECT task.key, spec FROM task JOIN task_spec ON task_spec.key = task.key"
        f" WHERE task.key IN ({wanted}) AND modified_us > created_us"
    ).fetchall()


def list_old_tasks(db: Connection, job_key: int, before_us: int, limit: int) -> list[TaskRecord]:
    """Some tasks of a job that were added before this and have not completed.

    Keys grow with time, so that what is too young is left out by the indexes alone.
    """
    last_key = _last_key_before(db, before_us)
    found: list[int] = []
    for phases in (f"({PLACED}, {PREPARING}, {RUNNING})", f"({READY})", f"({BLOCKED})"):
        rows = db.execute(
            f"SELECT key FROM task WHERE job_key = ? AND phase IN {phases} AND key <= ?"
            " AND created_us <= ? LIMIT ?",
            (job_key, last_key, before_us, limit - len(found)),
        )
        found += [row[0] for row in rows]
    return get_tasks_by_key(db, found)


def _last_key_before(db: Connection, moment_us: int) -> int:
    """The key of the last task that was added until then; 0 when there is none."""
    row = db.execute("SELECT max(key) FROM task").fetchone()
    low, high = 0, int(row[0] or 0)
    while low < high:
        middle = (low + high + 1) // 2
        at = db.execute(
            "SELECT created_us FROM task WHERE key <= ? ORDER BY key DESC LIMIT 1", (middle,)
        ).fetchone()
        if at is None or at[0] <= moment_us:
            low = middle
        else:
            high = middle - 1
    return low


def list_placed_tasks(db: Connection) -> list[PlacedRow]:
    """Every task that a node holds; those that run first, then the larger ones."""
    return [PlacedRow(*row) for row in db.execute(_PLACED)]


def place_tasks(db: Connection, placements: Sequence[tuple[int, int]]) -> int:
    """Give tasks to nodes, (node key, task key) each, and raise their runs. Returns how many."""
    return db.executemany(_PLACE, placements).rowcount


def prepare_tasks(db: Connection, now_us: int, keys: Iterable[int]) -> None:
    """Placed tasks wait for the preparation of their job on their node."""
    db.executemany(_PREPARE, [(now_us, key) for key in keys])


def start_tasks(db: Connection, starts: Iterable[tuple[int | None, ...]]) -> None:
    """(state_us, start_us, retries, last_retry_us or None, key, run) of runs whose work began."""
    db.executemany(_START, starts)


def retry_tasks(db: Connection, retries: Iterable[tuple[int | None, ...]]) -> None:
    """(start_us, retries, last_retry_us, key, run) of runs that began once more."""
    db.executemany(_RETRY, retries)


def count_retry(db: Connection, key: int, now_us: int) -> None:
    """One more retry of a task, that begins when it is placed again."""
    db.execute(
        f"UPDATE task SET retries = retries + 1, last_retry_us = ? WHERE key = ?"
        f" AND phase <> {COMPLETED}",
        (now_us, key),
    )


def end_tasks(db: Connection, ends: Iterable[tuple[object, ...]]) -> None:
    """Complete tasks: (previous phase, previous_us, state_us, start_us, end_us, exit code, result,
    failure, retries, last_retry_us, spans, and what it used (see ``statistics``): wall_us, user_us,
    kernel_us, read_blocks, write_blocks; key) each."""
    ends = list(ends)
    db.executemany(_END, ends)
    add_job_use(db, [end[-1] for end in ends])


def save_container(db: Connection, key: int, container: str | None) -> None:
    """What is known of the container a task ran in."""
    db.execute("UPDATE task SET container = ? WHERE key = ?", (container, key))


def requeue_tasks(
    db: Connection, rows: Iterable[tuple[int, int, int, int | None, int]], *, moves: bool = True
) -> None:
    """Back to ready: (state_us, requeues +, reruns +, last_requeue_us or None, key) each.

    ``moves``: they may have begun on their nodes, and have directories there.
    """
    flag = HAS_MOVED if moves else 0
    db.executemany(_REQUEUE, [(*row[:-1], flag, row[-1]) for row in rows])


def unplace_tasks(db: Connection, keys: Iterable[int], *, moves: bool = False) -> None:
    """Tasks that a node gave back before they began: ready again, as if never placed.

    ``moves``: nobody knows whether they had begun there.
    """
    flag = HAS_MOVED if moves else 0
    db.executemany(_UNPLACE, [(flag, key) for key in keys])


def mark_preempted(db: Connection, key: int) -> None:
    """What runs of a task is being ended to make room; it is ready again when that is over."""
    db.execute(f"UPDATE task SET flags = flags | {IS_PREEMPTED} WHERE key = ?", (key,))


def reactivate_task(db: Connection, key: int, phase: int, now_us: int, modified_us: int) -> None:
    """A completed task may run again: what its last run left is cleared."""
    db.execute(
        "UPDATE task SET phase = ?, previous_phase = phase, previous_us = state_us, state_us = ?,"
        " modified_us = ?, start_us = NULL, end_us = NULL, exit_code = NULL, result = NULL,"
        " failure = NULL, retries = 0, reruns = 0, last_retry_us = NULL, spans = NULL,"
        " container = NULL, wall_us = NULL, user_us = NULL, kernel_us = NULL, read_blocks = NULL,"
        " write_blocks = NULL,"
        f" flags = flags & ~{SATISFIES | IS_PREEMPTED}"
        f" | CASE WHEN node_key IS NULL THEN 0 ELSE {HAS_MOVED} END WHERE key = ?",
        (phase, now_us, modified_us, key),
    )


def save_task_spec(db: Connection, key: int, spec: bytes, modified_us: int) -> None:
    """Replace what the user sent for a task."""
    db.execute("UPDATE task_spec SET spec = ? WHERE key = ?", (spec, key))
    db.execute("UPDATE task SET modified_us = ? WHERE key = ?", (modified_us, key))


def touch_task(db: Connection, key: int, modified_us: int) -> None:
    """Date a change the user made to a task."""
    db.execute("UPDATE task SET modified_us = ? WHERE key = ?", (modified_us, key))


def delete_task(db: Connection, key: int) -> None:
    """Remove a task and what it waits for."""
    delete_tasks(db, [key])


def delete_tasks(db: Connection, keys: Sequence[int]) -> None:
    """Remove tasks and what they wait for."""
    rows = [(key,) for key in keys]
    db.executemany("DELETE FROM dependency WHERE child_key = ?", rows)
    db.executemany("DELETE FROM dependency_range WHERE child_key = ?", rows)
    delete_instances(db, keys)
    db.executemany("DELETE FROM task_spec WHERE key = ?", rows)
    db.executemany("DELETE FROM task WHERE key = ?", rows)


def delete_some_tasks(db: Connection, job_key: int, limit: int) -> list[int | None]:
    """Remove up to ``limit`` tasks of a job; the nodes of those that went, by row key."""
    rows = db.execute("SELECT key, node_key FROM task WHERE job_key = ? LIMIT ?", (job_key, limit))
    gone = rows.fetchall()
    if gone:
        delete_tasks(db, [row[0] for row in gone])
    return [row[1] for row in gone]


def block_task(db: Connection, key: int, waiting: int) -> None:
    """A new task waits for this many requirements."""
    db.execute(
        f"UPDATE task SET phase = {BLOCKED}, waiting = ? WHERE key = ?",
        (waiting, key),
    )

"""What tasks wait for: by the ids of other tasks and by ranges of integer ids.

A child counts in ``task.waiting`` the requirements that are open: each id, and each integer of each
range. A parent that satisfies closes them. ``satisfied_number`` remembers which integers of a job
have been satisfied, because ``4`` and ``04`` are the same member of a range. A child all of whose
requirements have been closed waits for nothing any more, so its ranges are dropped. What has been
closed for a child stays closed: when the task that closed a number is deleted or reactivated, the
number moves to ``forgotten_number``, with the last key that a task has by then. Keys only grow:
tasks up to that key have had the number, those that come later wait for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lote.store.database import Connection
from lote.store.records import BLOCKED, COMPLETED, READY, SATISFIES

INTEGER_MAX = 2**31 - 1  # REST: task id ranges are 32-bit integers
FAILED_LOOKS_MAX = 1000  # ours: failed tasks of a job looked at to explain why another one waits
ID_CHARS_MAX = 64  # REST: Add Task, id

_ADD_RANGE = "INSERT INTO dependency_range (job_key, first, last, child_key) VALUES (?, ?, ?, ?)"
_CHILDREN = (
    "SELECT child_key FROM dependency_range WHERE job_key = ?1 AND first <= ?2 AND last >= ?2"
    " AND child_key > coalesce((SELECT until_key FROM forgotten_number"
    " WHERE job_key = ?1 AND number = ?2), 0)"
)
_FORGET = (
    "INSERT OR REPLACE INTO forgotten_number (job_key, number, until_key)"
    " SELECT ?1, ?2, (SELECT max(key) FROM task) WHERE EXISTS (SELECT 1 FROM dependency_range"
    " WHERE job_key = ?1 AND first <= ?2 AND last >= ?2)"
)
_DROP_FORGOTTEN = (
    "DELETE FROM forgotten_number WHERE job_key = ?1 AND number BETWEEN ?2 AND ?3"
    " AND NOT EXISTS (SELECT 1 FROM dependency_range"
    " WHERE job_key = ?1 AND first <= ?3 AND last >= ?2)"
)
_CLOSE = (
    "UPDATE task SET waiting = waiting - ?1, phase ="
    f" CASE WHEN phase = {BLOCKED} AND waiting <= ?1 THEN {READY} ELSE phase END"
    " WHERE key IN (SELECT value FROM json_each(?2)) RETURNING key, phase, waiting"
)


def number_of(task_id: str) -> int | None:
    """The integer that an id is, leading zeros aside; None for any other id."""
    if task_id.isascii() and task_id.isdigit():
        number = int(task_id)
        return number if number <= INTEGER_MAX else None
    return None


def add_dependencies(
    db: Connection,
    job_key: int,
    child_key: int,
    task_ids: Sequence[str],
    ranges: Sequence[tuple[int, int]],
) -> int:
    """Record what a new task waits for; returns how many requirements are open.

    A parent that already completed and satisfied is not waited for.
    """
    waiting = 0
    for parent_id in {task_id.lower(): task_id for task_id in task_ids}.values():
        done = db.execute(
            f"SELECT 1 FROM task WHERE job_key = ? AND id = ? AND phase = {COMPLETED}"
            f" AND (flags & {SATISFIES}) <> 0",
            (job_key, parent_id),
        ).fetchone()
        if not done:
            db.execute(
                "INSERT INTO dependency (job_key, parent_id, child_key) VALUES (?, ?, ?)",
                (job_key, parent_id, child_key),
            )
            waiting += 1
    rows = [(job_key, first, last, child_key) for first, last in ranges if first <= last]
    for _, first, last, _ in rows:
        row = db.execute(
            "SELECT count(*) FROM satisfied_number WHERE job_key = ? AND number BETWEEN ? AND ?",
            (job_key, first, last),
        ).fetchone()
        waiting += last - first + 1 - row[0]
    if waiting:
        db.executemany(_ADD_RANGE, rows)
    return waiting


def satisfy(db: Connection, job_key: int, parent_key: int, parent_id: str) -> list[int]:
    """A task completed and satisfies those that wait for it. Returns the keys that became ready."""
    db.execute(f"UPDATE task SET flags = flags | {SATISFIES} WHERE key = ?", (parent_key,))
    closed = Counter(
        row[0]
        for row in db.execute(
            "DELETE FROM dependency WHERE job_key = ? AND parent_id = ? RETURNING child_key",
            (job_key, parent_id),
        )
    )
    number = number_of(parent_id)
    if number is not None and _is_news(db, job_key, number):
        closed.update(_children_in_range(db, job_key, number))
    ready: list[int] = []
    for count in set(closed.values()):
        keys = ",".join(str(key) for key, closes in closed.items() if closes == count)
        rows = db.execute(_CLOSE, (count, f"[{keys}]")).fetchall()
        ready += [key for key, phase, _ in rows if phase == READY]
        free = ",".join(str(key) for key, _, waiting in rows if waiting <= 0)
        if free and _has_ranges(db, job_key):
            _drop_ranges(db, job_key, free)
    return sorted(ready)


def forget_parent(db: Connection, job_key: int, parent_key: int, parent_id: str) -> None:
    """A task is deleted or runs again: who is added from now on waits for the number it closed,
    unless another task of that number (``4`` and ``04``) closes it too."""
    number = number_of(parent_id)
    if number is None or not _is_closed(db, job_key, number):
        return
    marks = ", ".join("?" * len(_spellings(number)))
    others = db.execute(
        f"SELECT 1 FROM task WHERE job_key = ? AND id IN ({marks}) AND key <> ?"
        f" AND phase = {COMPLETED} AND (flags & {SATISFIES}) <> 0",
        (job_key, *_spellings(number), parent_key),
    ).fetchone()
    if others:
        return
    db.execute("DELETE FROM satisfied_number WHERE job_key = ? AND number = ?", (job_key, number))
    db.execute(_FORGET, (job_key, number))


def list_awaited(db: Connection, child_key: int, limit: int) -> list[str]:
    """What a task waits for, some of it: ids of tasks, and ranges as ``1-5``."""
    ids = db.execute(
        "SELECT parent_id FROM dependency WHERE child_key = ? LIMIT ?", (child_key, limit)
    ).fetchall()
    ranges = db.execute(
        "SELECT first || '-' || last FROM dependency_range WHERE child_key = ? LIMIT ?",
        (child_key, limit),
    ).fetchall()
    return [row[0] for row in ids + ranges][:limit]


def list_blocking(db: Connection, job_key: int, child_key: int, limit: int) -> list[str]:
    """Ids of tasks that completed without satisfying this one, which waits for them; some."""
    ids = db.execute(
        "SELECT task.id FROM dependency JOIN task"
        " ON task.job_key = dependency.job_key AND task.id = parent_id"
        f" WHERE child_key = ? AND phase = {COMPLETED} LIMIT ?",
        (child_key, limit),
    ).fetchall()
    return [row[0] for row in ids] + _blocking_in_ranges(db, job_key, child_key, limit - len(ids))


def _blocking_in_ranges(db: Connection, job_key: int, child_key: int, limit: int) -> list[str]:
    ranges = db.execute(
        "SELECT first, last FROM dependency_range WHERE child_key = ?", (child_key,)
    ).fetchall()
    if not ranges:
        return []
    found: list[str] = []
    failed = db.execute(
        "SELECT id FROM task WHERE job_key = ? AND result = 0 LIMIT ?", (job_key, FAILED_LOOKS_MAX)
    )
    for (task_id,) in failed.fetchall():
        number = number_of(task_id)
        if number is None or not any(first <= number <= last for first, last in ranges):
            continue
        if not _was_closed(db, job_key, number, child_key) and len(found) < limit:
            found.append(task_id)
    return found


def _spellings(number: int) -> list[str]:
    """Every id that is this number."""
    digits = str(number)
    return [digits.zfill(length) for length in range(len(digits), ID_CHARS_MAX + 1)]


def _children_in_range(db: Connection, job_key: int, number: int) -> list[int]:
    """Keys of tasks that wait for a range with this number in it, once a range."""
    return [row[0] for row in db.execute(_CHILDREN, (job_key, number))]


def _drop_ranges(db: Connection, job_key: int, child_keys: str) -> None:
    """These tasks wait for nothing any more; nor does it matter to them what is forgotten."""
    gone = db.execute(
        f"DELETE FROM dependency_range WHERE child_key IN ({child_keys}) RETURNING first, last"
    ).fetchall()
    db.executemany(_DROP_FORGOTTEN, [(job_key, first, last) for first, last in set(gone)])


def _has_ranges(db: Connection, job_key: int) -> bool:
    row = db.execute("SELECT 1 FROM dependency_range WHERE job_key = ? LIMIT 1", (job_key,))
    return row.fetchone() is not None


def _is_closed(db: Connection, job_key: int, number: int) -> bool:
    row = db.execute(
        "SELECT 1 FROM satisfied_number WHERE job_key = ? AND number = ?", (job_key, number)
    ).fetchone()
    return row is not None


def _was_closed(db: Connection, job_key: int, number: int, child_key: int) -> bool:
    """Whether a number is closed for this child, forgotten since or not."""
    row = db.execute(
        "SELECT 1 FROM forgotten_number WHERE job_key = ? AND number = ? AND until_key >= ?",
        (job_key, number, child_key),
    ).fetchone()
    return row is not None or _is_closed(db, job_key, number)


def _is_news(db: Connection, job_key: int, number: int) -> bool:
    cursor = db.execute(
        "INSERT INTO satisfied_number (job_key, number) VALUES (?, ?)"
        " ON CONFLICT (job_key, number) DO NOTHING",
        (job_key, number),
    )
    return cursor.rowcount == 1

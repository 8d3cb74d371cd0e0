"""What tasks wait for: by the ids of other tasks and by ranges of integer ids.

A child counts in ``task.waiting`` the requirements that are open: each id, and each integer of each
range. A parent that satisfies closes them. ``satisfied_number`` remembers which integers of a job
have been satisfied, because ``4`` and ``04`` are the same member of a range.
"""

from __future__ import annotations

from collections.abc import Sequence

from lote.store.database import Connection
from lote.store.records import BLOCKED, COMPLETED, READY, SATISFIES

INTEGER_MAX = 2**31 - 1  # REST: task id ranges are 32-bit integers


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
    for first, last in ranges:
        if last < first:
            continue
        row = db.execute(
            "SELECT count(*) FROM satisfied_number WHERE job_key = ? AND number BETWEEN ? AND ?",
            (job_key, first, last),
        ).fetchone()
        missing = last - first + 1 - row[0]
        db.execute(
            "INSERT INTO dependency_range (job_key, first, last, child_key) VALUES (?, ?, ?, ?)",
            (job_key, first, last, child_key),
        )
        waiting += missing
    return waiting


def satisfy(db: Connection, job_key: int, parent_key: int, parent_id: str) -> list[int]:
    """A task completed and satisfies those that wait for it. Returns the keys that became ready."""
    db.execute(f"UPDATE task SET flags = flags | {SATISFIES} WHERE key = ?", (parent_key,))
    children: dict[int, int] = {}
    for row in db.execute(
        "DELETE FROM dependency WHERE job_key = ? AND parent_id = ? RETURNING child_key",
        (job_key, parent_id),
    ):
        children[row[0]] = children.get(row[0], 0) + 1
    number = number_of(parent_id)
    if number is not None and _is_news(db, job_key, number):
        for row in db.execute(
            "SELECT child_key FROM dependency_range WHERE job_key = ? AND first <= ? AND last >= ?",
            (job_key, number, number),
        ):
            children[row[0]] = children.get(row[0], 0) + 1
    if not children:
        return []
    db.executemany(
        "UPDATE task SET waiting = waiting - ? WHERE key = ?",
        [(closed, key) for key, closed in children.items()],
    )
    keys = ",".join(map(str, children))
    rows = db.execute(
        f"UPDATE task SET phase = {READY} WHERE key IN ({keys}) AND phase = {BLOCKED}"
        " AND waiting <= 0 RETURNING key"
    )
    return sorted(row[0] for row in rows)


def forget_parent(db: Connection, job_key: int, parent_key: int, parent_id: str) -> None:
    """A task is deleted: what it satisfied for future tasks goes with it."""
    number = number_of(parent_id)
    if number is None:
        return
    others = db.execute(
        f"SELECT id FROM task WHERE job_key = ? AND key <> ? AND phase = {COMPLETED}"
        f" AND (flags & {SATISFIES}) <> 0 AND ltrim(id, '0') = ?",
        (job_key, parent_key, str(number).lstrip("0")),
    ).fetchone()
    if not others:
        db.execute(
            "DELETE FROM satisfied_number WHERE job_key = ? AND number = ?", (job_key, number)
        )


def _is_news(db: Connection, job_key: int, number: int) -> bool:
    cursor = db.execute(
        "INSERT INTO satisfied_number (job_key, number) VALUES (?, ?)"
        " ON CONFLICT (job_key, number) DO NOTHING",
        (job_key, number),
    )
    return cursor.rowcount == 1

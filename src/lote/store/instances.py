"""Rows of multi-instance tasks: how many instances they have, and those of their latest run.

Instance 0 is the primary: what becomes of it is in the task's own row. The others are the task's
subtasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from lote.store.database import Connection
from lote.store.records import PLACED, PREPARING, READY, RUNNING


class InstanceRecord(msgspec.Struct, gc=False):
    """A row of ``instance``, with its node's id and pool. ``state`` is that of a subtask."""

    task_key: int
    number: int
    node_key: int
    run: int
    is_coordinated: int
    state: str
    state_us: int
    previous_state: str | None
    previous_us: int | None
    start_us: int | None
    end_us: int | None
    exit_code: int | None
    failure: str | None
    container: str | None
    node_id: str
    node_pool_id: str


_COLUMNS = ", ".join(f"instance.{name}" for name in InstanceRecord.__struct_fields__[:-2])
_LIST = (
    f"SELECT {_COLUMNS}, node.id, node.pool_id FROM instance JOIN node ON node.key = node_key"
    " WHERE task_key = ? ORDER BY number"
)
_START = (
    "UPDATE instance SET previous_state = state, previous_us = state_us, state = 'running',"
    " state_us = ?, start_us = ? WHERE task_key = ? AND number = ? AND run = ?"
    " AND state = 'preparing'"
)
_COORDINATE = "UPDATE instance SET is_coordinated = 1 WHERE task_key = ? AND number = ? AND run = ?"
_END = (
    "UPDATE instance SET previous_state = state, previous_us = state_us, state = 'completed',"
    " state_us = ?, start_us = coalesce(start_us, ?), end_us = ?, exit_code = ?, failure = ?"
    " WHERE task_key = ? AND number = ? AND run = ? AND state <> 'completed'"
)
_CONTAINER = "UPDATE instance SET container = ? WHERE task_key = ? AND number = ? AND run = ?"


def add_multi_instance_tasks(db: Connection, rows: Iterable[tuple[int, int, int]]) -> None:
    """(task key, job key, instances) of new tasks."""
    db.executemany("INSERT INTO multi_instance VALUES (?, ?, ?)", rows)


def replace_instances(
    db: Connection, task_key: int, run: int, now_us: int, node_keys: Sequence[int]
) -> None:
    """The instances of a run that begins, on these nodes, in the order of their numbers."""
    db.execute("DELETE FROM instance WHERE task_key = ?", (task_key,))
    db.executemany(
        "INSERT INTO instance (task_key, number, node_key, run, is_coordinated, state, state_us)"
        " VALUES (?, ?, ?, ?, 0, 'preparing', ?)",
        [(task_key, number, node_key, run, now_us) for number, node_key in enumerate(node_keys)],
    )


def start_instance(
    db: Connection, now_us: int, start_us: int, task_key: int, number: int, run: int
) -> None:
    """Work on an instance began."""
    db.execute(_START, (now_us, start_us, task_key, number, run))


def coordinate_instance(db: Connection, task_key: int, number: int, run: int) -> None:
    """The coordination command of an instance has succeeded."""
    db.execute(_COORDINATE, (task_key, number, run))


def end_instances(db: Connection, ends: Iterable[tuple[int | str | None, ...]]) -> None:
    """Complete instances that are not: (state_us, start_us or None, end_us, exit code, failure,
    task key, number, run) each."""
    db.executemany(_END, ends)


def save_instance_container(
    db: Connection, container: str, task_key: int, number: int, run: int
) -> None:
    """What is known of the container of an instance, which may be told after its end."""
    db.execute(_CONTAINER, (container, task_key, number, run))


def list_instances(db: Connection, task_key: int) -> list[InstanceRecord]:
    """All instances of a task, in the order of their numbers; of an ordinary task, none."""
    return [InstanceRecord(*row) for row in db.execute(_LIST, (task_key,))]


def numbers_on_node(db: Connection, node_key: int, task_keys: Sequence[int]) -> dict[int, int]:
    """Which instance this node has or had of each of these tasks, by task key."""
    wanted = ",".join(map(str, task_keys))
    return dict(
        db.execute(
            f"SELECT task_key, number FROM instance WHERE node_key = ? AND task_key IN ({wanted})",
            (node_key,),
        ).fetchall()
    )


def count_further_instances(db: Connection, job_keys: Sequence[int]) -> tuple[int, int]:
    """Instances beyond the first of these jobs' multi-instance tasks: of those that are active
    with nothing to wait for, and of those that run."""
    wanted = ",".join(map(str, job_keys))
    active, running = db.execute(
        f"SELECT total(instances - 1) FILTER (WHERE phase IN ({READY}, {PLACED})),"
        f" total(instances - 1) FILTER (WHERE phase IN ({PREPARING}, {RUNNING}))"
        " FROM multi_instance CROSS JOIN task ON task.key = task_key"
        f" WHERE multi_instance.job_key IN ({wanted})"
    ).fetchone()
    return int(active), int(running)


def delete_instances(db: Connection, task_keys: Iterable[int]) -> None:
    """Remove what is here of tasks that are removed."""
    rows = [(key,) for key in task_keys]
    db.executemany("DELETE FROM instance WHERE task_key = ?", rows)
    db.executemany("DELETE FROM multi_instance WHERE task_key = ?", rows)


def forget_open_instances(db: Connection) -> None:
    """Their tasks are to run anew, elsewhere."""
    db.execute("DELETE FROM instance WHERE state <> 'completed'")

"""What tasks used: time, processor, blocks of input and output; and the sums of it.

A job's sum grows with each end of one of its tasks, in the transaction of that end. So it keeps
what tasks used that were deleted afterwards, or ran again. When the job is deleted, its sum goes
to its schedule's, and when that is deleted, or there was none, to the account's.
What is told of a task after its end is added to both. NULL is what nobody measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lote.store.database import Connection
from lote.store.records import COMPLETED

NO_SCHEDULE = 0  # the key under which is what neither a job nor a schedule has any more


class Use(msgspec.Struct, frozen=True, gc=False):
    """What one task or several used, and how they ended. ``wait_us``: from their creation to
    their last start.

    A block is one of getrusage(2): 512 bytes on Linux. None is what was measured of none of them.
    """

    retries: int = 0
    wall_us: int = 0
    wait_us: int = 0
    user_us: int | None = 0
    kernel_us: int | None = 0
    read_blocks: int | None = 0
    write_blocks: int | None = 0
    succeeded: int = 0
    failed: int = 0


_NAMES = Use.__struct_fields__
_COLUMNS = ", ".join(_NAMES)
_MEASURED = ("user_us", "kernel_us", "read_blocks", "write_blocks")
_OF_A_TASK = (
    "retries, coalesce(wall_us, end_us - start_us, 0) AS wall_us,"
    " max(0, coalesce(start_us, end_us, created_us) - created_us) AS wait_us,"
    # What never ran used nothing.
    f" {', '.join(f'iif(start_us IS NULL, 0, {name}) AS {name}' for name in _MEASURED)},"
    " coalesce(result, 0) AS succeeded, result IS 0 AS failed"
)
_SUMS = ", ".join(f"iif(count(*), sum({name}), 0)" for name in _NAMES)
_MORE = ", ".join(
    f"{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})" for name in _NAMES
)
_ADD = (
    f"INSERT INTO job_use (job_key, {_COLUMNS}) SELECT job_key, {_SUMS} FROM"
    f" (SELECT job_key, {_OF_A_TASK} FROM task WHERE key IN (SELECT value FROM json_each(?)))"
    " GROUP BY job_key"
    f" ON CONFLICT (job_key) DO UPDATE SET {_MORE}"
)
_ADD_PAST = f"INSERT INTO past_use (schedule_key, first_us, {_COLUMNS})"
_MORE_PAST = (
    " ON CONFLICT (schedule_key) DO UPDATE SET first_us = min(first_us, excluded.first_us),"
    f" {_MORE}"
)
_KEEP_JOB = (
    f"{_ADD_PAST} SELECT coalesce(schedule_key, {NO_SCHEDULE}), created_us, {_COLUMNS} FROM job_use"
    f" JOIN job ON job.key = job_key WHERE job_key = ?{_MORE_PAST}"
)
_KEEP_SCHEDULE = (
    f"{_ADD_PAST} SELECT {NO_SCHEDULE}, first_us, {_COLUMNS} FROM past_use"
    f" WHERE schedule_key = ?{_MORE_PAST}"
)
_LATE = ", ".join(
    f"{name} = coalesce({name} + ?{number}, {name}, ?{number})"
    for number, name in enumerate(("wall_us", *_MEASURED), 1)
)
_ADD_TO_TASK = f"UPDATE task SET {_LATE} WHERE key = ?6 AND run = ?7 RETURNING job_key, phase"
_ADD_TO_JOB = f"UPDATE job_use SET {_LATE} WHERE job_key = ?6"


def add_task_use(db: Connection, key: int, run: int, used: Sequence[int | None]) -> None:
    """Add what a run of a task used beside what its end says, before or after that: wall_us,
    user_us, kernel_us, read_blocks, write_blocks, None for what is not told. Of a run that is not
    the task's latest, nothing."""
    for job_key, phase in db.execute(_ADD_TO_TASK, (*used, key, run)).fetchall():
        if phase == COMPLETED:  # else its end adds all of it
            db.execute(_ADD_TO_JOB, (*used, job_key))


def add_job_use(db: Connection, keys: Sequence[object]) -> None:
    """Add what these tasks used, which have just ended, to their jobs."""
    db.execute(_ADD, (f"[{','.join(map(str, keys))}]",))


def jobs_use(db: Connection, keys: Sequence[int]) -> dict[int, Use]:
    """What the ended tasks of these jobs used, by job key; jobs without any are left out."""
    wanted = ",".join(map(str, keys))
    rows = db.execute(f"SELECT job_key, {_COLUMNS} FROM job_use WHERE job_key IN ({wanted})")
    return {row[0]: Use(*row[1:]) for row in rows}


def drop_job_use(db: Connection, key: int) -> None:
    """A job is about to be deleted: its schedule, or the account, keeps what its tasks used."""
    db.execute(_KEEP_JOB, (key,))
    db.execute("DELETE FROM job_use WHERE job_key = ?", (key,))


def drop_schedule_use(db: Connection, key: int) -> None:
    """A schedule is deleted: the account keeps what the tasks of its jobs used."""
    db.execute(_KEEP_SCHEDULE, (key,))
    db.execute("DELETE FROM past_use WHERE schedule_key = ?", (key,))


def schedule_use(db: Connection, key: int) -> Use:
    """What the ended tasks of all jobs used that a schedule made, those deleted since included."""
    query = (
        f"SELECT {_SUMS} FROM (SELECT {_COLUMNS} FROM job_use JOIN job ON job.key = job_key"
        f" WHERE schedule_key = ?1 UNION ALL SELECT {_COLUMNS} FROM past_use"
        " WHERE schedule_key = ?1)"
    )
    return Use(*db.execute(query, (key,)).fetchone())


def account_use(db: Connection) -> Use:
    """What the ended tasks of all jobs used that there ever were."""
    query = (
        f"SELECT {_SUMS} FROM"
        f" (SELECT {_COLUMNS} FROM job_use UNION ALL SELECT {_COLUMNS} FROM past_use)"
    )
    return Use(*db.execute(query).fetchone())


def tasks_use(db: Connection, keys: Sequence[int]) -> dict[int, Use]:
    """What these tasks used, by key; those that have not ended are left out."""
    wanted = ",".join(map(str, keys))
    rows = db.execute(
        f"SELECT key, {_OF_A_TASK} FROM task WHERE key IN ({wanted}) AND end_us IS NOT NULL"
    )
    return {row[0]: Use(*row[1:]) for row in rows}

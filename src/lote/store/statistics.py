"""What tasks used: time, processor, blocks of input and output; and the sums of it.

A job's sum grows with each end of one of its tasks, in the transaction of that end. So it keeps
what tasks used that were deleted afterwards, or ran again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lote.store.database import Connection


class Use(msgspec.Struct, frozen=True, gc=False):
    """What one task or several used. ``wait_us``: from their creation to their last start.

    A block is one of getrusage(2): 512 bytes on Linux.
    """

    retries: int = 0
    wall_us: int = 0
    wait_us: int = 0
    user_us: int = 0
    kernel_us: int = 0
    read_blocks: int = 0
    write_blocks: int = 0


_NAMES = Use.__struct_fields__
_COLUMNS = ", ".join(_NAMES)
_OF_A_TASK = (
    "retries, coalesce(wall_us, end_us - start_us, 0) AS wall_us,"
    " max(0, coalesce(start_us, end_us, created_us) - created_us) AS wait_us,"
    " coalesce(user_us, 0) AS user_us, coalesce(kernel_us, 0) AS kernel_us,"
    " coalesce(read_blocks, 0) AS read_blocks, coalesce(write_blocks, 0) AS write_blocks"
)
_SUMS = ", ".join(f"coalesce(sum({name}), 0)" for name in _NAMES)
_ADD = (
    f"INSERT INTO job_use (job_key, {_COLUMNS}) SELECT job_key, {_SUMS} FROM"
    f" (SELECT job_key, {_OF_A_TASK} FROM task WHERE key IN (SELECT value FROM json_each(?)))"
    " GROUP BY job_key"
    " ON CONFLICT (job_key) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _NAMES)
)


def add_job_use(db: Connection, keys: Sequence[object]) -> None:
    """Add what these tasks used, which have just ended, to their jobs."""
    db.execute(_ADD, (f"[{','.join(map(str, keys))}]",))


def jobs_use(db: Connection, keys: Sequence[int]) -> dict[int, Use]:
    """What the ended tasks of these jobs used, by job key; jobs without any are left out."""
    wanted = ",".join(map(str, keys))
    rows = db.execute(f"SELECT job_key, {_COLUMNS} FROM job_use WHERE job_key IN ({wanted})")
    return {row[0]: Use(*row[1:]) for row in rows}


def schedule_use(db: Connection, key: int) -> Use:
    """What the ended tasks of a schedule's jobs used, of those jobs that still exist."""
    query = f"SELECT {_SUMS} FROM job_use JOIN job ON job.key = job_key WHERE schedule_key = ?"
    return Use(*db.execute(query, (key,)).fetchone())


def account_use(db: Connection) -> Use:
    """What the ended tasks of all jobs used that still exist."""
    return Use(*db.execute(f"SELECT {_SUMS} FROM job_use").fetchone())


def tasks_use(db: Connection, keys: Sequence[int]) -> dict[int, Use]:
    """What these tasks used, by key; those that have not ended are left out."""
    wanted = ",".join(map(str, keys))
    rows = db.execute(
        f"SELECT key, {_OF_A_TASK} FROM task WHERE key IN ({wanted}) AND end_us IS NOT NULL"
    )
    return {row[0]: Use(*row[1:]) for row in rows}


def ended_in_schedule(db: Connection, key: int) -> tuple[int, int]:
    """Tasks that succeeded and that failed, of a schedule's jobs that still exist."""
    row = db.execute(
        "SELECT coalesce(sum(succeeded), 0), coalesce(sum(failed), 0) FROM job_count"
        " JOIN job ON job.key = job_key WHERE schedule_key = ?",
        (key,),
    ).fetchone()
    return int(row[0]), int(row[1])

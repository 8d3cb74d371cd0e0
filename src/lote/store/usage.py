"""How long nodes were there, and what has been done, from the rows of nodes and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lote.store.database import Connection

_IN_INTERVAL = (
    "SELECT pool_id, vm_size, allocated_us, gone_us FROM node WHERE {gone} AND allocated_us < ?"
)
_PRESENT = _IN_INTERVAL.format(gone="gone_us IS NULL")
_GONE_AFTER = _IN_INTERVAL.format(gone="gone_us > ?")


class Stay(NamedTuple):
    """A node's time in its pool; ``gone_us`` None: it is still there."""

    pool_id: str
    vm_size: str
    allocated_us: int
    gone_us: int | None


def list_stays(db: Connection, start_us: int, end_us: int) -> list[Stay]:
    """The nodes that were there at some time from start to end."""
    rows = db.execute(_PRESENT, (end_us,)).fetchall()
    rows += db.execute(_GONE_AFTER, (start_us, end_us)).fetchall()
    return [Stay(*row) for row in rows]


def dedicated_time_us(
    db: Connection, pool_keys: Sequence[int], now_us: int
) -> list[tuple[int, str, int]]:
    """(pool key, VM size, µs): how long dedicated nodes of these pools were there till now, in
    sum."""
    wanted = ",".join(map(str, pool_keys))
    return db.execute(
        "SELECT pool_key, vm_size, sum(coalesce(gone_us, ?) - allocated_us) FROM node"
        f" WHERE is_dedicated = 1 AND pool_key IN ({wanted}) GROUP BY pool_key, vm_size",
        (now_us,),
    ).fetchall()


def first_allocation_us(db: Connection) -> int | None:
    """When the first node there ever was came."""
    found = db.execute("SELECT min(allocated_us) FROM node").fetchone()[0]
    return None if found is None else int(found)


def ended_tasks(db: Connection) -> tuple[int, int]:
    """Tasks that succeeded and that failed, of all jobs that still exist."""
    row = db.execute(
        "SELECT coalesce(sum(succeeded), 0), coalesce(sum(failed), 0) FROM job_count"
    ).fetchone()
    return int(row[0]), int(row[1])


def first_job_us(db: Connection) -> int | None:
    """When the oldest job that still exists was made."""
    found = db.execute("SELECT min(created_us) FROM job").fetchone()[0]
    return None if found is None else int(found)

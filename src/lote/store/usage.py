"""How long nodes were there, and since when there are jobs."""

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


def first_job_us(db: Connection) -> int | None:
    """When the first job was made that still exists, or of which something is remembered."""
    query = (
        "SELECT min(first_us) FROM"
        " (SELECT min(created_us) AS first_us FROM job UNION ALL SELECT first_us FROM past_use)"
    )
    found = db.execute(query).fetchone()[0]
    return None if found is None else int(found)

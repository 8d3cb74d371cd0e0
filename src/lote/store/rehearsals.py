"""Rows of rehearsals: failures that were asked for. Those that are over are kept for a while."""

from __future__ import annotations

import msgspec

from lote.store.database import Connection
from lote.store.records import columns

ENDED_MAX = 100  # rows of rehearsals that are over; oldest go first

# Why a rehearsal is over.
BY_TIME = "time"
BY_COUNT = "count"
BY_REQUEST = "request"


class RehearsalRecord(msgspec.Struct):
    """One rehearsal. ``spec``: what was asked for, as JSON; ``node_ids``: the nodes it holds, as a
    JSON list; ``times_left`` None: as often as it comes to it until its time is over."""

    key: int
    kind: str
    spec: bytes
    node_ids: str
    began_us: int
    until_us: int
    times_left: int | None
    times_acted: int
    ended_us: int | None = None
    ended_by: str | None = None


_COLUMNS = columns(RehearsalRecord)
_AT_WORK = f"SELECT {_COLUMNS} FROM rehearsal WHERE ended_us IS NULL ORDER BY key"
_NEWEST = f"SELECT {_COLUMNS} FROM rehearsal ORDER BY key DESC LIMIT ?"
_BY_KEY = f"SELECT {_COLUMNS} FROM rehearsal WHERE key = ?"
_FORGET = (
    "DELETE FROM rehearsal WHERE ended_us IS NOT NULL AND key <="
    " (SELECT key FROM rehearsal WHERE ended_us IS NOT NULL ORDER BY key DESC LIMIT 1 OFFSET ?)"
)


def list_rehearsals_at_work(db: Connection) -> list[RehearsalRecord]:
    """Those that are not over, oldest first."""
    return [RehearsalRecord(*row) for row in db.execute(_AT_WORK)]


def list_rehearsals(db: Connection, limit: int) -> list[RehearsalRecord]:
    """The newest, those that are over too."""
    return [RehearsalRecord(*row) for row in db.execute(_NEWEST, (limit,))]


def get_rehearsal(db: Connection, key: int) -> RehearsalRecord | None:
    """The rehearsal of that key."""
    row = db.execute(_BY_KEY, (key,)).fetchone()
    return RehearsalRecord(*row) if row else None


def add_rehearsal(db: Connection, record: RehearsalRecord) -> int:
    """Insert the rehearsal (its ``key`` is not looked at); returns the row key."""
    fields = RehearsalRecord.__struct_fields__[1:]
    values = [getattr(record, name) for name in fields]
    marks = ", ".join("?" * len(fields))
    cursor = db.execute(f"INSERT INTO rehearsal ({', '.join(fields)}) VALUES ({marks})", values)
    db.execute(_FORGET, (ENDED_MAX,))
    return int(cursor.lastrowid or 0)


def save_rehearsal(db: Connection, record: RehearsalRecord) -> None:
    """Write how often it acted, and whether it is over."""
    db.execute(
        "UPDATE rehearsal SET times_left = ?, times_acted = ?, ended_us = ?, ended_by = ?"
        " WHERE key = ?",
        (record.times_left, record.times_acted, record.ended_us, record.ended_by, record.key),
    )

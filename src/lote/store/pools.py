"""Rows of pools."""

from __future__ import annotations

from lote.store.database import Connection
from lote.store.pool_use import delete_pool_use
from lote.store.records import PoolRecord, columns
from lote.store.scaling import delete_evaluations, delete_samples

_COLUMNS = columns(PoolRecord)
_GET = f"SELECT {_COLUMNS} FROM pool WHERE id = ?"
_BY_KEY = f"SELECT {_COLUMNS} FROM pool WHERE key = ?"
_ALL = f"SELECT {_COLUMNS} FROM pool ORDER BY key"
_CHANGEABLE = frozenset(PoolRecord.__struct_fields__) - {"key", "id", "created_us"}


def get_pool(db: Connection, pool_id: str) -> PoolRecord | None:
    """The pool of that id, in any spelling of its letters."""
    row = db.execute(_GET, (pool_id,)).fetchone()
    return PoolRecord(*row) if row else None


def get_pool_by_key(db: Connection, key: int) -> PoolRecord | None:
    """The pool of that row key."""
    row = db.execute(_BY_KEY, (key,)).fetchone()
    return PoolRecord(*row) if row else None


def list_all_pools(db: Connection) -> list[PoolRecord]:
    """Every pool, oldest first."""
    return [PoolRecord(*row) for row in db.execute(_ALL)]


def add_pool(db: Connection, record: PoolRecord) -> int:
    """Insert the pool (its ``key`` is not looked at); returns the row key."""
    fields = PoolRecord.__struct_fields__[1:]
    values = [getattr(record, name) for name in fields]
    marks = ", ".join("?" * len(fields))
    cursor = db.execute(f"INSERT INTO pool ({', '.join(fields)}) VALUES ({marks})", values)
    return int(cursor.lastrowid or 0)


def save_pool(db: Connection, key: int, **changes: object) -> None:
    """Set these columns of the pool."""
    unknown = changes.keys() - _CHANGEABLE
    if unknown:
        raise ValueError(f"not columns of a pool that change: {sorted(unknown)}")
    sets = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE pool SET {sets} WHERE key = ?", (*changes.values(), key))


def delete_pool(db: Connection, key: int) -> None:
    """Remove the pool's row, and what was noted for its formula and of its nodes."""
    delete_samples(db, key)
    delete_evaluations(db, key)
    delete_pool_use(db, key)
    db.execute("DELETE FROM pool WHERE key = ?", (key,))

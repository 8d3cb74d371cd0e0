"""Rows of compute nodes. A node that has left its pool keeps its row, marked by ``gone_us``:
tasks that ran on it go on naming it."""

from __future__ import annotations

from collections.abc import Iterable

from lote.store.database import Connection
from lote.store.records import NodeRecord, columns

_COLUMNS = columns(NodeRecord)
_BY_ID = f"SELECT {_COLUMNS} FROM node WHERE id = ?"
_BY_KEY = f"SELECT {_COLUMNS} FROM node WHERE key = ?"
_OF_POOL = f"SELECT {_COLUMNS} FROM node WHERE pool_key = ? AND gone_us IS NULL ORDER BY key"
_PRESENT = f"SELECT {_COLUMNS} FROM node WHERE gone_us IS NULL ORDER BY key"
_CHANGEABLE = frozenset(NodeRecord.__struct_fields__) - {"key", "id", "pool_key", "pool_id"}
_COUNT = (
    "UPDATE node SET tasks_run = tasks_run + ?, tasks_succeeded = tasks_succeeded + ?, recent = ?"
    " WHERE key = ?"
)


def get_node(db: Connection, pool_id: str, node_id: str) -> NodeRecord | None:
    """The node of that id in that pool, unless it has gone."""
    record = get_node_by_id(db, node_id)
    if record is None or record.gone_us or record.pool_id.lower() != pool_id.lower():
        return None
    return record


def get_node_by_id(db: Connection, node_id: str) -> NodeRecord | None:
    """The node of that id, gone or not."""
    row = db.execute(_BY_ID, (node_id,)).fetchone()
    return NodeRecord(*row) if row else None


def get_node_by_key(db: Connection, key: int) -> NodeRecord | None:
    """The node of that row key, gone or not."""
    row = db.execute(_BY_KEY, (key,)).fetchone()
    return NodeRecord(*row) if row else None


def list_pool_nodes(db: Connection, pool_key: int) -> list[NodeRecord]:
    """The nodes of a pool, oldest first."""
    return [NodeRecord(*row) for row in db.execute(_OF_POOL, (pool_key,))]


def list_present_nodes(db: Connection) -> list[NodeRecord]:
    """All nodes that have not gone, oldest first."""
    return [NodeRecord(*row) for row in db.execute(_PRESENT)]


def add_node(db: Connection, record: NodeRecord) -> int:
    """Insert the node (its ``key`` is not looked at); returns the row key."""
    fields = NodeRecord.__struct_fields__[1:]
    values = [getattr(record, name) for name in fields]
    marks = ", ".join("?" * len(fields))
    cursor = db.execute(f"INSERT INTO node ({', '.join(fields)}) VALUES ({marks})", values)
    return int(cursor.lastrowid or 0)


def save_node(db: Connection, key: int, **changes: object) -> None:
    """Set these columns of the node."""
    unknown = changes.keys() - _CHANGEABLE
    if unknown:
        raise ValueError(f"not columns of a node that change: {sorted(unknown)}")
    sets = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE node SET {sets} WHERE key = ?", (*changes.values(), key))


def count_node_tasks(db: Connection, counts: Iterable[tuple[int, int, Iterable[int], int]]) -> None:
    """Add to the nodes' counters, and say which tasks ended there last: (tasks run, of them
    succeeded, keys of the last ones from the oldest on, node key) each."""
    db.executemany(
        _COUNT,
        [(ran, good, ",".join(map(str, recent)), key) for ran, good, recent, key in counts],
    )


def recent_keys(record: NodeRecord) -> list[int]:
    """The keys of the tasks that ended on the node last, from the oldest on."""
    return [int(key) for key in record.recent.split(",")] if record.recent else []

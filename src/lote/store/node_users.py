"""Rows of the users that clients made on nodes."""

from __future__ import annotations

from lote.store.database import Connection
from lote.store.records import NodeUserRecord, columns

_ONE = f"SELECT {columns(NodeUserRecord)} FROM node_user WHERE node_key = ? AND name = ?"


def get_node_user(db: Connection, node_key: int, name: str) -> NodeUserRecord | None:
    """The user of that name on the node, in any case."""
    row = db.execute(_ONE, (node_key, name)).fetchone()
    return NodeUserRecord(*row) if row else None


def save_node_user(db: Connection, record: NodeUserRecord) -> None:
    """Insert or replace the user."""
    fields = NodeUserRecord.__struct_fields__
    db.execute(
        f"INSERT OR REPLACE INTO node_user ({', '.join(fields)}) VALUES (?, ?, ?, ?, ?)",
        [getattr(record, name) for name in fields],
    )


def delete_node_user(db: Connection, node_key: int, name: str) -> None:
    """Drop the user."""
    db.execute("DELETE FROM node_user WHERE node_key = ? AND name = ?", (node_key, name))


def delete_node_users(db: Connection, node_key: int) -> None:
    """Drop all users of a node: its disk is new, or it has gone."""
    db.execute("DELETE FROM node_user WHERE node_key = ?", (node_key,))

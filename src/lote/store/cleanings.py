"""Rows of the directories that nodes are to remove, and have not been told of."""

from __future__ import annotations

from collections.abc import Iterable

from lote.store.database import Connection


def add_cleanings(db: Connection, node_key: int, directories: Iterable[str]) -> None:
    """The node is to remove these when it is there again."""
    rows = [(node_key, directory) for directory in directories]
    db.executemany("INSERT OR IGNORE INTO cleaning (node_key, directory) VALUES (?, ?)", rows)


def take_cleanings(db: Connection, node_key: int) -> list[str]:
    """What the node is to remove; it is told now, or has gone."""
    rows = db.execute("DELETE FROM cleaning WHERE node_key = ? RETURNING directory", (node_key,))
    return [row[0] for row in rows.fetchall()]

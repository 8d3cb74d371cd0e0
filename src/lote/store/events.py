"""What happened to nodes, pools and jobs, for people: a bounded log in the database."""

from __future__ import annotations

from lote.store.database import Connection

EVENTS_MAX = 10_000  # oldest go first; see docs


def add_event(db: Connection, at_us: int, kind: str, subject: str, text: str) -> None:
    """Record one event. ``text`` carries no secrets."""
    cursor = db.execute(
        "INSERT INTO event (at_us, kind, subject, text) VALUES (?, ?, ?, ?)",
        (at_us, kind, subject, text),
    )
    newest = int(cursor.lastrowid or 0)
    if newest % 256 == 0:  # now and then is enough to keep the bound
        db.execute("DELETE FROM event WHERE key <= ?", (newest - EVENTS_MAX,))


def list_events(db: Connection, limit: int = 100) -> list[tuple[int, str, str, str]]:
    """The newest events: (at_us, kind, subject, text)."""
    rows = db.execute(
        "SELECT at_us, kind, subject, text FROM event ORDER BY key DESC LIMIT ?", (limit,)
    )
    return [tuple(row) for row in rows]

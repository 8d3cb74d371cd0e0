"""The SQLite file: how it is opened, and what one transaction of the writer offers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lote.storage.times import TICKS_TO_1970

MIGRATIONS = (
    "0001_first.sql",
    "0002_blob_kinds.sql",
    "0003_public_access.sql",
    "0004_pending_copies.sql",
)
SCHEMA_VERSION = len(MIGRATIONS)
CACHE_KIB = 8 * 1024
BUSY_TIMEOUT_S = 10.0


class OtherSchema(RuntimeError):
    """The tables are those of another version of the program."""


def check_schema(path: Path) -> None:
    """Refuses (OtherSchema): tables of a newer version. Nothing is changed."""
    if path.exists():
        with closing(open_reader(path)) as connection:
            _known_version(connection)


def _known_version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise OtherSchema(
            f"the database has schema {version}; this Lote knows {SCHEMA_VERSION}."
            " Use a newer one, or restore a backup that was made before the upgrade."
        )
    return version


def open_database(path: Path) -> sqlite3.Connection:
    """A connection for writing; makes or migrates the tables.

    Refuses (OtherSchema): tables of a newer version.
    """
    connection = _connect(str(path), uri=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
    migrate(connection)
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, each step in a transaction of its own, so that a crash leaves
    them before a step or after it. Refuses: OtherSchema."""
    version = _known_version(connection)
    folder = resources.files("lote.storage").joinpath("migrations")
    for number, name in enumerate(MIGRATIONS[version:], start=version + 1):
        script = folder.joinpath(name).read_text("utf-8")
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
        )


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, for one thread."""
    connection = _connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(target: str, *, uri: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        target, uri=uri, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False
    )
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


class Tx:
    """One transaction of the writer. ``now_us`` dates all that happens in it.

    ``unlink`` collects content files that no row names any more; they go after the commit.
    ``unused`` says that contents without links were left, for the writer's chores.
    """

    def __init__(self, connection: sqlite3.Connection, now_us: int) -> None:
        self.connection = connection
        self.now_us = now_us
        self.unlink: list[str] = []
        self.unused = False
        self._last_etag: int | None = None

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(sql, values)

    def new_etag(self) -> int:
        """An ETag that was never given before, even if the clock went back."""
        if self._last_etag is None:
            row = self.execute("SELECT last_etag FROM state").fetchone()
            self._last_etag = int(row[0])
        self._last_etag = max(self._last_etag + 1, TICKS_TO_1970 + self.now_us * 10)
        return self._last_etag

    def finish(self) -> None:
        """Write down the last ETag; the last statement before the commit."""
        if self._last_etag is not None:
            self.execute("UPDATE state SET last_etag = ?", (self._last_etag,))

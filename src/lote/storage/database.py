"""The SQLite file: how it is opened, and what one transaction of the writer offers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lote.storage.reserve import is_full
from lote.storage.times import TICKS_TO_1970

MIGRATIONS = (
    "0001_first.sql",
    "0002_blob_kinds.sql",
    "0003_public_access.sql",
    "0004_pending_copies.sql",
)
SCHEMA_VERSION = len(MIGRATIONS)
PAGE_BYTES = 4096
CACHE_KIB = 8 * 1024
BUSY_TIMEOUT_S = 10.0
ETAGS_AHEAD = 10_000_000  # ticks of 100 ns


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


class Etags:
    """The ETags that are given: never one twice, even if the clock goes back. For the one who
    writes.

    What the next start must not give again is written down a second ahead, so that few
    transactions have to: a page of each one's would be for this alone.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT last_etag FROM state").fetchone()
        self._last = self._written = int(row[0])

    def new(self, now_us: int) -> int:
        """The next."""
        self._last = max(self._last + 1, TICKS_TO_1970 + now_us * 10)
        return self._last

    def due(self) -> int | None:
        """What to write down with those given; None: nothing yet."""
        return self._last + ETAGS_AHEAD if self._last > self._written else None

    def note(self, written: int) -> None:
        """It was committed."""
        self._written = written


class NotPrompt(Exception):
    """A change turned out to be of more than a few rows."""


class Tx:
    """One transaction of the writer. ``now_us`` dates all that happens in it.

    ``unlink`` collects content files that no row names any more; they go after the commit.
    ``unused`` says that contents without links were left, for the writer's chores; ``pages`` is
    about what the log grows by, besides a few for any change. ``is_prompt``: others wait until it
    is over, so that more than a few rows have to be left to another (``NotPrompt``).
    """

    def __init__(
        self, connection: sqlite3.Connection, now_us: int, etags: Etags, is_prompt: bool = False
    ) -> None:
        self.connection = connection
        self.now_us = now_us
        self.unlink: list[str] = []
        self.unused = False
        self.pages = 0
        self.is_prompt = is_prompt
        self._etags = etags

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(sql, values)

    def note_bytes(self, size: int, file: str | None) -> None:
        """Bytes come with their row, or go with it: then they are overwritten (secure_delete)."""
        if file is None:
            self.pages += size // PAGE_BYTES + 1

    def new_etag(self) -> int:
        """An ETag that was never given before."""
        return self._etags.new(self.now_us)


class UnsureCommit(sqlite3.OperationalError):
    """A commit failed, perhaps with its end in the log already: should the process die before the
    next commit, the next start may take it for done. So what it names must not be removed."""


class Transaction:
    """``with Transaction(…) as tx``: committed at the end, rolled back by an exception."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        now_us: int,
        etags: Etags | None = None,
        *,
        is_prompt: bool = False,
    ) -> None:
        self._connection = connection
        self._etags = etags or Etags(connection)
        self._tx = Tx(connection, now_us, self._etags, is_prompt)

    def __enter__(self) -> Tx:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._tx

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._connection.in_transaction:  # SQLite itself may have rolled back
                self._connection.execute("ROLLBACK")

    def _finish(self) -> None:
        due = self._etags.due()
        if due is not None:
            self._connection.execute("UPDATE state SET last_etag = ?", (due,))
        self._commit()
        if due is not None:
            self._etags.note(due)

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if is_full(error):  # the log has no end of this transaction
                raise
            raise UnsureCommit(str(error)) from error

"""The SQLite database of one account: opening, migrating, transactions.

One writer connection belongs to the owner thread; any number of read-only connections see what was
committed. WAL with ``synchronous=FULL``: a commit that returned survives a crash of the machine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from urllib.parse import quote

Connection = sqlite3.Connection
DatabaseError = sqlite3.Error
"""Whatever the database may raise; for those outside this room who must survive it."""

MIGRATIONS: tuple[str, ...] = (
    "0001_first.sql",
    "0002_rare_tasks.sql",
    "0003_schedules_users_scaling.sql",
    "0004_scaling.sql",
    "0005_auto_pools.sql",
    "0006_special_runs.sql",
    "0007_release_tasks.sql",
    "0008_scaling_enabled.sql",
    "0009_rehearsals.sql",
    "0010_statistics.sql",
    "0011_multi_instance.sql",
    "0012_containers.sql",
    "0013_past_use.sql",
    "0014_recent_tasks.sql",
    "0015_pool_use.sql",
    "0016_unmeasured.sql",
    "0017_cleanings.sql",
    "0018_moved_tasks.sql",
    "0019_forgotten_numbers.sql",
)
"""Applied in order; the database's ``user_version`` counts those it has."""

PAGE_CACHE_KIB = 32 * 1024


class SchemaTooNew(Exception):
    """The database was written by a newer Lote."""


def open_writer(path: Path) -> Connection:
    """The read-write connection, migrated to the newest schema. For one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size=-{PAGE_CACHE_KIB}")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    connection.execute("PRAGMA journal_size_limit=67108864")
    migrate(connection)
    return connection


def open_reader(path: Path) -> Connection:
    """A read-only connection; it sees each commit as soon as that has returned."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30,
    )
    connection.execute("PRAGMA query_only=1")
    connection.execute("PRAGMA cache_size=-8192")
    return connection


def check_schema(path: Path) -> None:
    """Refuses (SchemaTooNew): the database of a newer Lote. It is not changed."""
    if path.exists():
        with closing(open_reader(path)) as reader:
            _known_version(reader)


def _known_version(connection: Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise SchemaTooNew(
            f"the database has schema {version}; this Lote knows {len(MIGRATIONS)}."
            " Use a newer one, or restore a backup that was made before the upgrade."
        )
    return version


def migrate(connection: Connection) -> None:
    """Bring the schema up to date, each step in a transaction of its own.

    A crash leaves the schema before a step or after it, never between. Refuses: SchemaTooNew.
    """
    version = _known_version(connection)
    folder = resources.files("lote.store").joinpath("migrations")
    for number, name in enumerate(MIGRATIONS[version:], start=version + 1):
        script = folder.joinpath(name).read_text()
        connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """One transaction: committed at the end, rolled back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

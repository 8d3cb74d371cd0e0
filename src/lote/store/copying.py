"""Whole copies of a database that others go on writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lote.store.database import open_reader

PAGES_A_STEP = 2048

Progress = Callable[[int, int], None]
"""Told of pages done and pages in all."""


def copy_database(source: Path, target: Path, progress: Progress = lambda done, total: None) -> int:
    """Copy a database as it was at one moment, that of the call; gives its schema number.

    The writer goes on meanwhile, and its write-ahead log grows until the copy is done. ``target``
    must not exist; it is one file, to be synced by the caller. Raises DatabaseError, OSError.
    """
    if not source.is_file():
        raise FileNotFoundError(f"{source} is not there")
    with closing(open_reader(source)) as reader, closing(sqlite3.connect(target)) as copy:
        # One read transaction around all steps: each step by itself would begin anew whenever
        # the writer has committed, and might never come to the end.
        reader.execute("BEGIN")
        version = int(reader.execute("PRAGMA user_version").fetchone()[0])
        copy.execute("PRAGMA synchronous=OFF")
        reader.backup(
            copy,
            pages=PAGES_A_STEP,
            progress=lambda _, remaining, total: progress(total - remaining, total),
        )
        reader.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode=DELETE")  # no log beside it
    return version


def schema_version(path: Path) -> int:
    """The schema number of a database; 0 when there is none yet. Raises DatabaseError."""
    if not path.exists():
        return 0
    with closing(open_reader(path)) as reader:
        return int(reader.execute("PRAGMA user_version").fetchone()[0])

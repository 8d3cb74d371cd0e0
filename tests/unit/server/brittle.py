"""A database that fails when it is told to, as a full or broken disk does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any


class BrittleConnection:
    """A connection whose statements fail: the one after ``good`` more, and ``times`` in a row.

    Rolling back always works: SQLite undoes without writing to the file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._good = 0
        self._times = 0
        self.failed = 0
        """How many statements have failed."""
        self.commits = 0

    def break_down(self, good: int = 0, times: int = 1) -> None:
        self._good, self._times = good, times

    def mend(self) -> None:
        self._times = 0

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, text: str, values: Any = ()) -> sqlite3.Cursor:
        self._stumble(text)
        cursor = self._connection.execute(text, values)
        self.commits += text == "COMMIT"
        return cursor

    def executemany(self, text: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        self._stumble(text)
        return self._connection.executemany(text, rows)

    def close(self) -> None:
        self._connection.close()

    def _stumble(self, text: str) -> None:
        if not self._times or text == "ROLLBACK":
            return
        if self._good:
            self._good -= 1
            return
        self._times -= 1
        self.failed += 1
        raise sqlite3.OperationalError("disk I/O error, as the test wants it")

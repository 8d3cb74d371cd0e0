"""What the writer tidies when nobody waits, a slice at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from lote.storage.blob import COLUMNS, blob_of_row, release_part, remove_blob
from lote.storage.database import Tx, open_reader

SLICE = 200
STAGED_MAX_AGE_US = 7 * 24 * 3600 * 1_000_000  # REST: Put Block, uncommitted blocks last a week


class Pins:
    """Contents that downloads are on their way to; these are not removed."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._lock = threading.Lock()

    def add(self, contents: Iterable[int]) -> None:
        """Hold contents."""
        with self._lock:
            self._counts.update(contents)

    def remove(self, contents: Iterable[int]) -> None:
        """Let contents go."""
        with self._lock:
            self._counts.subtract(contents)
            self._counts += Counter()  # drops those nobody holds

    def __contains__(self, content: int) -> bool:
        with self._lock:
            return content in self._counts


class Chores:
    """Removes deleted containers' blobs, forgotten staged blocks, contents nobody links to."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    def __call__(self, tx: Tx) -> bool:
        """Tidy one slice of each; says whether there may be more."""
        return any([_empty_containers(tx), _drop_old_staged(tx), self._drop_unused(tx)])

    def _drop_unused(self, tx: Tx) -> bool:
        unused = tx.execute("SELECT id, size, file FROM content WHERE links = 0")
        free = list(islice((row for row in unused if row[0] not in self._pins), SLICE))
        unused.close()
        tx.connection.executemany("DELETE FROM content WHERE id = ?", [(key,) for key, *_ in free])
        for _, size, file in free:
            tx.note_bytes(size, file)
            if file is not None:
                tx.unlink.append(file)
        return len(free) == SLICE


def _empty_containers(tx: Tx) -> bool:
    doomed = tx.execute("SELECT id FROM container WHERE account IS NULL LIMIT 1").fetchone()
    if doomed is None:
        return False
    rows = tx.execute(f"SELECT {COLUMNS} FROM blob WHERE container = ? LIMIT {SLICE}", doomed)
    blobs = [blob_of_row(row) for row in rows]
    for blob in blobs:
        remove_blob(tx, blob)
    if len(blobs) < SLICE:
        tx.execute("DELETE FROM container WHERE id = ?", doomed)
    return True


def _drop_old_staged(tx: Tx) -> bool:
    rows = tx.execute(
        "SELECT blob, block, content FROM staged WHERE staged_us < ? LIMIT ?",
        (tx.now_us - STAGED_MAX_AGE_US, SLICE),
    ).fetchall()
    for blob, block, content in rows:
        tx.execute("DELETE FROM staged WHERE blob = ? AND block = ?", (blob, block))
        release_part(tx, content)
        tx.execute(
            "DELETE FROM blob WHERE id = ? AND etag IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.blob = blob.id)",
            (blob,),
        )
    return len(rows) == SLICE


def known_files(database: Path, names: Sequence[str]) -> set[str]:
    """Which of these content files a row names."""
    with closing(open_reader(database)) as connection:
        return {name for name in names if is_known(connection, name)}


def is_known(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a row names this content file."""
    return (
        connection.execute("SELECT 1 FROM content WHERE file = ?", (name,)).fetchone() is not None
    )

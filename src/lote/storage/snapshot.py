"""What of a storage folder belongs together, for those who copy it while it is served.

Content files are written once, whole and synced before a row names them, and removed only after
a commit has dropped their row. So a file that is missing is named by no newer snapshot.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from lote.storage.contents import content_path
from lote.storage.database import open_reader

DATABASE_NAME = "storage.sqlite"
CONTENTS_NAME = "contents"


class ContentName(NamedTuple):
    """A content file: its path in the storage folder and its size."""

    path: str
    size_bytes: int


def content_files(database: Path) -> Iterator[ContentName]:
    """The content files that the rows of a copied database name."""
    with closing(open_reader(database)) as connection:
        try:
            rows = connection.execute("SELECT file, size FROM content WHERE file IS NOT NULL")
        except sqlite3.OperationalError:  # no tables: its folder was made and never served
            return
        for name, size in rows:
            yield ContentName(content_path(CONTENTS_NAME, name), int(size))

"""Whether the rows of a storage folder agree with each other and with its content files."""

from __future__ import annotations

import contextlib
from pathlib import Path

from lote.storage.database import open_reader
from lote.storage.snapshot import CONTENTS_NAME, DATABASE_NAME

CHECKS = {
    "links": "SELECT id, links FROM content WHERE links != (SELECT count(*) FROM blob WHERE"
    " content = content.id) + (SELECT count(*) FROM part WHERE part.content = content.id)"
    " + (SELECT count(*) FROM staged WHERE staged.content = content.id)",
    "contents without links": "SELECT id FROM content WHERE links = 0",
    "contents that are not there": "SELECT blob, content FROM part WHERE content NOT IN"
    " (SELECT id FROM content) UNION SELECT blob, content FROM staged WHERE content NOT IN"
    " (SELECT id FROM content) UNION SELECT id, content FROM blob WHERE content IS NOT NULL"
    " AND content NOT IN (SELECT id FROM content)",
    "blobs that are not there": "SELECT blob FROM part WHERE blob NOT IN (SELECT id FROM blob)"
    " UNION SELECT blob FROM staged WHERE blob NOT IN (SELECT id FROM blob)",
    "sizes": "SELECT id, size FROM blob WHERE content IS NULL AND etag IS NOT NULL AND size !="
    " (SELECT coalesce(sum(part.size), 0) FROM part WHERE part.blob = blob.id)",
    "sizes of contents": "SELECT id FROM content WHERE file IS NULL AND size != length(bytes)",
    "files named twice": "SELECT file FROM content WHERE file IS NOT NULL"
    " GROUP BY file HAVING count(*) > 1",
}


def broken_rows(folder: Path) -> list[str]:
    """What is wrong with a storage folder that nobody serves and that was tidied."""
    with contextlib.closing(open_reader(folder / DATABASE_NAME)) as connection:
        found = [
            f"{what}: {rows[:5]}"
            for what, query in CHECKS.items()
            if (rows := connection.execute(query).fetchall())
        ]
        named = dict(connection.execute("SELECT file, size FROM content WHERE file IS NOT NULL"))
        found += [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    files = {
        path.name: path.stat().st_size
        for path in (folder / CONTENTS_NAME).rglob("*")
        if path.is_file()
    }
    found += [f"no file of {name}" for name in sorted(named.keys() - files.keys())]
    found += [f"nobody's file {name}" for name in sorted(files.keys() - named.keys())]
    found += [
        f"{name} has {files[name]} bytes and not {size}"
        for name, size in named.items()
        if name in files and files[name] != size
    ]
    return found

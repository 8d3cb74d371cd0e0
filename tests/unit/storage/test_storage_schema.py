"""The tables of the storage account, and that a folder of an earlier version is taken over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources

import pytest

from lote.storage.blob import BASE, find_blob
from lote.storage.database import (
    MIGRATIONS,
    SCHEMA_VERSION,
    OtherSchema,
    check_schema,
    open_database,
)


def shape_of(db):
    """Columns of every table, and what the indexes are over."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {table: db.execute(f"PRAGMA table_info({table})").fetchall() for table in tables}
    indexes = sorted(
        (table, *row[2:4], str(db.execute(f"PRAGMA index_info({row[1]})").fetchall()))
        for table in tables
        for row in db.execute(f"PRAGMA index_list({table})").fetchall()
    )
    texts = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    return columns, indexes, db.execute(texts).fetchall()


def folder_of(package="lote.storage"):
    return resources.files(package)


def test_the_tables_after_all_migrations_are_those_that_are_written_down(tmp_path):
    with closing(open_database(tmp_path / "migrated.sqlite")) as migrated:
        with closing(sqlite3.connect(":memory:")) as written:
            written.executescript(folder_of().joinpath("schema.sql").read_text())
            assert shape_of(migrated) == shape_of(written)
        assert migrated.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_blobs_of_the_first_version_are_still_there(tmp_path):
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(folder_of().joinpath("migrations", MIGRATIONS[0]).read_text())
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO container VALUES (1, 'a', 'c', 5, 6, '{}', '[]')")
        old.execute(
            """INSERT INTO blob VALUES (7, 1, x'61', 8, 9, 10, 11, NULL, '{"p":"v"}', '{}')"""
        )
        old.execute("INSERT INTO part VALUES (7, 0, 11, 'QQ==', 3)")
        old.commit()
    check_schema(path)
    with closing(open_database(path)) as db:
        found = find_blob(db, 1, b"a")
        assert found is not None
        assert (found.id, found.etag, found.size, found.snapshot) == (7, 8, 11, BASE)
        assert (found.kind, found.tags, found.lease) == ("BlockBlob", {}, None)
        assert found.properties == {"p": "v"}


def test_tables_of_a_newer_version_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "new.sqlite"
    with closing(open_database(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(OtherSchema, match="Use a newer one"):
        check_schema(path)
    with pytest.raises(OtherSchema, match="Use a newer one"):
        open_database(path)

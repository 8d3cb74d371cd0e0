"""Pages of a list against a plain model of what a list is."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.storage import blob
from lote.storage.database import open_database
from lote.storage.handlers import listing
from lote.storage.handlers.listing import Wish, after_prefix, find_page

NAMES = st.text(alphabet="ab/é\U0010ffff", min_size=1, max_size=6)


def model(names, prefix, delimiter):
    """All entries of a list: blobs and folded prefixes by name."""
    entries = set()
    for name in names:
        if not name.startswith(prefix):
            continue
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        entries.add(name if at < 0 else name[: at + len(delimiter)])
    return sorted(entries, key=str.encode)


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    connection = open_database(tmp_path_factory.mktemp("lists") / "rows.sqlite")
    yield connection
    connection.close()


def fill(connection: sqlite3.Connection, names):
    connection.execute("DELETE FROM blob")
    for name in names:
        connection.execute(
            "INSERT INTO blob (container, name, snapshot, kind, etag, created_us, modified_us,"
            " size, properties, metadata, tags, lease)"
            " VALUES (1, ?, ?, 'BlockBlob', 1, 0, 0, 0, '{}', '{}', '', '')",
            (name.encode(), blob.BASE),
        )


@given(
    names=st.sets(NAMES, max_size=12),
    prefix=st.text(alphabet="ab/é", max_size=2),
    delimiter=st.sampled_from(["", "/", "a", "b/"]),
    page=st.integers(1, 5),
    seek=st.integers(1, 4),
)
def test_pages_are_the_model_in_pieces(connection, names, prefix, delimiter, page, seek):
    fill(connection, names)
    listing.SEEK_ROWS = seek
    found, start = [], b""
    while start is not None:
        wish = Wish(prefix.encode(), delimiter.encode(), start, page, False)
        one = find_page(connection, 1, wish)
        assert len(one.entries) <= page
        found += [e if isinstance(e, bytes) else e.name for e in one.entries]
        start = one.next_start
    assert [name.decode() for name in found] == model(names, prefix, delimiter)


@given(prefix=st.binary(max_size=3), name=st.binary(max_size=4))
def test_the_end_of_a_prefix(prefix, name):
    end = after_prefix(prefix)
    inside = name.startswith(prefix)
    assert inside == (name >= prefix and (end is None or name < end))

"""Pages of a list against a plain model of what a list is."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lote.storage import blob
from lote.storage.database import open_database
from lote.storage.handlers.listing import Wish, after_prefix, find_page, marker_of, place_behind

NAMES = st.text(alphabet="ab/é! \n\U0010ffff", min_size=1, max_size=6)


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


@settings(deadline=None)  # of a busy machine
@given(
    names=st.sets(NAMES, max_size=12),
    prefix=st.text(alphabet="ab/é", max_size=2),
    delimiter=st.sampled_from(["", "/", "a", "b/"]),
    page=st.integers(1, 5),
)
def test_pages_are_the_model_in_pieces(connection, names, prefix, delimiter, page):
    fill(connection, names)
    wish = Wish(prefix.encode(), delimiter.encode(), blob.Place(b""), page, frozenset())
    found, marker = [], "begin"
    while marker:
        one = find_page(connection, 1, wish)
        assert len(one.entries) <= page
        found += [e if isinstance(e, bytes) else e.name for e in one.entries]
        marker = marker_of(one, wish.includes)
        wish = wish._replace(start=place_behind(marker, wish))
    assert [name.decode() for name in found] == model(names, prefix, delimiter)


@settings(deadline=None)  # of a busy machine
@given(
    taken=st.dictionaries(NAMES, st.sets(st.integers(1, 9), max_size=3), max_size=6),
    page=st.integers(1, 5),
)
def test_pages_with_snapshots_are_whole_too(connection, taken, page):
    fill(connection, taken)
    for name, times in taken.items():
        for time in times:
            connection.execute(
                "INSERT INTO blob (container, name, snapshot, kind, etag, created_us, modified_us,"
                " size, properties, metadata, tags, lease)"
                " SELECT container, name, ?, kind, etag, created_us, modified_us, size, properties,"
                " metadata, tags, lease FROM blob WHERE name = ? AND snapshot = ?",
                (time, name.encode(), blob.BASE),
            )
    wish = Wish(b"", b"", blob.Place(b""), page, frozenset(["snapshots"]))
    found, marker = [], "begin"
    while marker:
        one = find_page(connection, 1, wish)
        found += [(row.name.decode(), row.snapshot) for row in one.entries]
        marker = marker_of(one, wish.includes)
        wish = wish._replace(start=place_behind(marker, wish))
    expected = [(name, time) for name, times in taken.items() for time in {*times, blob.BASE}]
    assert found == sorted(expected, key=lambda row: (row[0].encode(), row[1]))


def test_a_list_walks_the_index(connection):
    asked = []
    connection.set_trace_callback(asked.append)
    start = blob.Place(b"a", 1)
    list(blob.list_blobs(connection, 1, start, b"b", uncommitted=False, snapshots=True))
    connection.set_trace_callback(None)
    plan = connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()
    assert len(plan) == 1  # no sorting besides
    assert "(container=? AND (name,snapshot)>(?,?) AND name<?)" in plan[0][3]


@settings(deadline=None)  # of a busy machine
@given(prefix=st.binary(max_size=3), name=st.binary(max_size=4))
def test_the_end_of_a_prefix(prefix, name):
    end = after_prefix(prefix)
    inside = name.startswith(prefix)
    assert inside == (name >= prefix and (end is None or name < end))

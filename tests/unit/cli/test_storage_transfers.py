"""What counts as the same, types by names, and work side by side."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from lote.blobs.failure import BlobError
from lote.blobs.remote import BlobEntry
from lote.cli.storage.crew import Tally, work_through
from lote.cli.storage.transfers import Stopped, Watch, guess_type, is_same, is_same_file

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOON_NS = int(NOON.timestamp()) * 10**9
MD5 = bytes(range(16))


def a_blob(md5: bytes | None = MD5, size: int = 3) -> BlobEntry:
    return BlobEntry("box", "name", size, NOON, "BlockBlob", "text/plain", md5, "0x1", "Hot")


def test_the_md5_decides_where_both_have_one():
    assert is_same(a_blob(), 3, NOON_NS + 10**12, MD5)
    assert not is_same(a_blob(), 3, 0, bytes(16))
    assert not is_same(a_blob(), 4, 0, MD5)


def test_else_the_time_decides():
    assert is_same(a_blob(md5=None), 3, NOON_NS, MD5)
    assert not is_same(a_blob(md5=None), 3, NOON_NS + 10**9, MD5)
    assert is_same(a_blob(), 3, NOON_NS - 10**9, None)


def test_a_file_is_compared_by_the_same_rule(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    watch = Watch(lambda size: None, threading.Event(), set())
    facts = path.stat()
    md5 = bytes.fromhex("900150983cd24fb0d6963f7d28e17f72")  # of "abc", RFC 1321
    assert is_same_file(a_blob(md5), str(path), facts, watch)
    assert not is_same_file(a_blob(), str(path), facts, watch)
    assert not is_same_file(a_blob(md5, size=4), str(path), facts, watch)
    older = a_blob(md5=None)._replace(modified=datetime(2001, 1, 1, tzinfo=UTC))
    newer = a_blob(md5=None)._replace(modified=datetime(2101, 1, 1, tzinfo=UTC))
    assert is_same_file(older, str(path), facts, watch)
    assert not is_same_file(newer, str(path), facts, watch)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a/b.html", "text/html"),
        ("b.JSON", "application/json"),
        ("b.tar.gz", "application/gzip"),
        ("b.txt.xz", "application/x-xz"),
        ("b", "application/octet-stream"),
        ("c.html/b", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
    ],
)
def test_types(name, kind):
    assert guess_type(name) == kind


def test_all_is_worked_through_whatever_fails():
    said = []
    tally = Tally(said.append)

    def work(number: int) -> None:
        if number % 10 == 0:
            tally.fail(str(number), BlobError("misc", "http://h/c", "broken"))
        else:
            tally.add(number % 2 == 0, number)

    work_through(range(1, 101), work, 7, threading.Event())
    assert (tally.done, tally.skipped, len(tally.problems)) == (40, 50, 10)
    assert tally.bytes == sum(n for n in range(1, 101) if n % 2 == 0 and n % 10)
    assert said == tally.problems


def test_a_bug_ends_the_work_and_is_told():
    done = []

    def work(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError
        done.append(number)

    with pytest.raises(ZeroDivisionError):
        work_through(iter(range(10**9)), work, 2, threading.Event())
    assert 3 not in done


def test_a_stop_is_seen_by_whoever_moves_bytes():
    stop, seen = threading.Event(), []
    watch = Watch(seen.append, stop, set())
    watch.moved(5)
    stop.set()
    with pytest.raises(Stopped):
        watch.moved(6)
    assert seen == [5]

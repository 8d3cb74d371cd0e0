"""Groups of changes: one commit, each refusal alone, no answer before its commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from lote.storage.database import Etags, NotPrompt, Transaction, open_database, open_reader
from lote.storage.errors import Refused
from lote.storage.reserve import Reserve
from lote.storage.times import TICKS_TO_1970
from lote.storage.writer import BUSY_S, CHANGE_PAGES, LOG_PAGES_MAX, PROMPT_S, Writer
from lote.world import World


@pytest.fixture
def connection(tmp_path):
    connection = open_database(tmp_path / "rows.sqlite")
    connection.execute("CREATE TABLE note (text TEXT UNIQUE)")
    return connection


@pytest.fixture
def writer(connection, tmp_path):
    unlinked = []
    reserve = Reserve(tmp_path / "reserve")
    writer = Writer(connection, World(), lambda tx: False, unlinked.extend, run_in_thread, reserve)
    writer.unlinked = unlinked
    writer.start()
    yield writer
    writer.close()


def run_in_thread(work):
    return asyncio.get_running_loop().run_in_executor(None, work)


def add(text):
    return lambda tx: tx.execute("INSERT INTO note VALUES (?)", (text,)).rowcount


def notes(tmp_path):
    with sqlite3.connect(tmp_path / "rows.sqlite") as reader:
        found = {text for (text,) in reader.execute("SELECT text FROM note")}
    reader.close()
    return found


async def in_one_group(writer, *changes):
    """Hold the thread until all changes wait, so that they share a transaction."""
    gate = threading.Event()
    held = asyncio.ensure_future(writer.apply(lambda tx: gate.wait(20)))
    waiting = [asyncio.ensure_future(writer.apply(change)) for change in changes]
    await asyncio.sleep(0)
    gate.set()
    await held
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_a_refusal_undoes_only_itself(writer, tmp_path):
    def refuse(tx):
        add("half")(tx)
        tx.unlink.append("file")
        raise Refused("BlobNotFound")

    results = asyncio.run(in_one_group(writer, add("a"), refuse, add("b")))
    assert [type(one) for one in results] == [int, Refused, int]
    assert notes(tmp_path) == {"a", "b"}
    assert writer.unlinked == []


def test_a_broken_change_does_not_break_its_neighbours(writer, tmp_path):
    def bug(tx):
        return {}["missing"]

    results = asyncio.run(in_one_group(writer, add("a"), add("a"), bug, add("b")))
    assert [type(one) for one in results] == [int, sqlite3.IntegrityError, KeyError, int]
    assert notes(tmp_path) == {"a", "b"}


def test_answers_come_after_the_commit(writer, tmp_path):
    async def check():
        await writer.apply(add("x"))
        return notes(tmp_path)

    assert asyncio.run(check()) == {"x"}


def test_chores_run_until_nothing_is_left(connection, tmp_path):
    left, done = [5], threading.Event()

    def chore(tx):
        left[0] -= 1
        if left[0] == 0:
            done.set()
        return left[0] > 0

    reserve = Reserve(tmp_path / "reserve")
    writer = Writer(connection, World(), chore, lambda names: None, run_in_thread, reserve)
    writer.start()
    assert done.wait(20)
    writer.close()
    assert left == [0]


def settle(writer):
    """Wait until the thread has done what there is at the start."""
    asyncio.run(writer.apply(lambda tx: None))


@pytest.fixture
def together(monkeypatch):
    """However slow the machine: changes of one turn of the loop are taken to have come together."""
    monkeypatch.setattr("lote.storage.writer.ALONE_S", 60.0)


class Threads:
    """Changes that note the threads they are made in."""

    def __init__(self):
        self.found = []

    def add(self, text, wait_s=0.0):
        def change(tx):
            self.found.append(threading.current_thread() is threading.main_thread())
            threading.Event().wait(wait_s)
            return add(text)(tx)

        return change


def test_a_prompt_change_alone_is_committed_in_the_loop(writer, tmp_path):
    settle(writer)
    threads = Threads()

    async def check():
        await writer.apply(threads.add("x"), prompt=True)
        return notes(tmp_path)

    assert asyncio.run(check()) == {"x"}
    assert threads.found == [True]


def test_changes_that_may_take_their_time_are_left_to_the_thread(writer, tmp_path):
    settle(writer)
    threads = Threads()
    asyncio.run(writer.apply(threads.add("x")))
    asyncio.run(writer.apply(threads.add("y"), prompt=True, frees=True))
    assert threads.found == [False, True]
    assert notes(tmp_path) == {"x", "y"}


def test_many_prompt_changes_at_once_share_a_commit_in_the_thread(writer, tmp_path, together):
    settle(writer)
    threads = Threads()

    async def check():
        await writer.apply(threads.add("first"), prompt=True)
        changes = [threads.add(text) for text in "abcdef"]
        await asyncio.gather(*[writer.apply(change, prompt=True) for change in changes])

    asyncio.run(check())
    assert threads.found == [True] + [False] * 6
    assert notes(tmp_path) == {"first", *"abcdef"}


def test_two_prompt_changes_at_once_share_a_commit_in_the_loop(writer, tmp_path, together):
    threads = Threads()

    def refuse(tx):
        threads.add("half")(tx)
        raise Refused("BlobNotFound")

    async def check():
        await writer.apply(threads.add("first"), prompt=True)
        pairs = [threads.add("a"), threads.add("b")], [refuse, threads.add("c")]
        return [
            await asyncio.gather(
                *[writer.apply(change, prompt=True) for change in pair], return_exceptions=True
            )
            for pair in pairs
        ]

    settle(writer)
    results = asyncio.run(check())
    assert [[type(one) for one in pair] for pair in results] == [[int, int], [Refused, int]]
    assert threads.found == [True] * 5
    assert notes(tmp_path) == {"first", "a", "b", "c"}


def test_a_refused_prompt_change_changes_nothing(writer, tmp_path):
    threads = Threads()

    def refuse(tx):
        threads.add("half")(tx)
        raise Refused("BlobNotFound")

    settle(writer)
    with pytest.raises(Refused):
        asyncio.run(writer.apply(refuse, prompt=True))
    asyncio.run(writer.apply(threads.add("next"), prompt=True))
    assert threads.found == [True, True]
    assert notes(tmp_path) == {"next"}


def test_a_prompt_change_does_not_overtake_what_the_thread_has(writer, connection, tmp_path):
    """It has taken it, and waits for the lock."""
    connection.execute("CREATE TABLE last (text TEXT)")
    settle(writer)
    taken, go_on = threading.Event(), threading.Event()
    take = writer._take

    def slow_take():
        found = take()
        taken.set()
        go_on.wait(20)
        return found

    def say(text):
        return lambda tx: tx.execute("INSERT INTO last VALUES (?)", (text,)).rowcount

    async def check():
        loop = asyncio.get_running_loop()
        before = asyncio.ensure_future(writer.apply(say("before")))
        await loop.run_in_executor(None, taken.wait, 20)
        after = asyncio.ensure_future(writer.apply(say("after"), prompt=True))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(before, after)

    writer._take = slow_take
    asyncio.run(writer.apply(lambda tx: None))  # the thread waits in the old one
    taken.clear()
    asyncio.run(check())
    found = connection.execute("SELECT text FROM last ORDER BY rowid").fetchall()
    assert found == [("before",), ("after",)]


def test_a_change_that_is_not_prompt_after_all_is_made_once_in_the_thread(writer, tmp_path):
    settle(writer)
    threads = Threads()

    def change(tx):
        found = threads.add("once")(tx)
        if tx.is_prompt:
            raise NotPrompt
        return found

    async def check():
        return await asyncio.gather(
            writer.apply(change, prompt=True), writer.apply(add("other"), prompt=True)
        )

    assert asyncio.run(check()) == [1, 1]
    assert threads.found == [True, False]
    assert notes(tmp_path) == {"once", "other"}


def test_after_a_slow_commit_the_loop_leaves_the_next_to_the_thread(writer):
    settle(writer)
    threads = Threads()

    async def check():
        await writer.apply(threads.add("slow", wait_s=2 * PROMPT_S), prompt=True)
        await writer.apply(threads.add("next"), prompt=True)

    asyncio.run(check())
    assert threads.found == [True, False]


def test_while_changes_queue_up_those_that_come_go_to_the_thread_too(writer, monkeypatch):
    threads, gate = Threads(), threading.Event()
    settle(writer)
    now_s = writer._world.monotonic() + 1
    monkeypatch.setattr(writer._world, "monotonic", lambda: now_s)

    async def check():
        waiting = [asyncio.ensure_future(writer.apply(lambda tx: gate.wait(20)))]
        for text in "abc":  # each in a turn of its own
            await asyncio.sleep(0)
            waiting.append(asyncio.ensure_future(writer.apply(threads.add(text), prompt=True)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*waiting)
        await writer.apply(threads.add("next"), prompt=True)
        monkeypatch.undo()
        monkeypatch.setattr(writer._world, "monotonic", lambda: now_s + 2 * BUSY_S)
        await writer.apply(threads.add("later"), prompt=True)

    asyncio.run(check())
    assert threads.found == [False] * 4 + [True]


def test_files_of_a_prompt_change_are_gone_before_its_answer(writer):
    threads = Threads()

    def change(tx):
        tx.unlink.append("file")
        return threads.add("x")(tx)

    settle(writer)
    asyncio.run(writer.apply(change, prompt=True))
    assert threads.found == [True]
    assert writer.unlinked == ["file"]


@pytest.mark.parametrize("prompt", [True, False])
def test_a_bug_in_the_writer_reaches_who_waits(writer, monkeypatch, prompt, tmp_path):
    def broken():
        raise RuntimeError("ours")

    settle(writer)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_demand_room", broken)
        with pytest.raises(RuntimeError, match="ours"):
            asyncio.run(writer.apply(add("lost"), prompt=prompt))
    asyncio.run(writer.apply(add("next"), prompt=prompt))
    assert notes(tmp_path) == {"next"}


def fill_log(writer, changes):
    async def fill():
        for number in range(changes):
            await writer.apply(add(f"{number:04}" * 500), prompt=True)

    asyncio.run(fill())


def test_the_log_is_written_back_by_the_thread(writer, tmp_path):
    rows = tmp_path / "rows.sqlite"
    settle(writer)
    size = rows.stat().st_size
    fill_log(writer, LOG_PAGES_MAX // CHANGE_PAGES + 1)
    settle(writer)  # it was told before this
    assert rows.stat().st_size > size


def test_no_commit_writes_the_log_back_however_long_it_is(writer, tmp_path, monkeypatch):
    """One that would is the loop's."""
    monkeypatch.setattr("lote.storage.writer.LOG_PAGES_MAX", 1 << 30)
    rows = tmp_path / "rows.sqlite"
    settle(writer)
    size = rows.stat().st_size
    fill_log(writer, 500)  # SQLite's own bound is a thousand pages
    assert (tmp_path / "rows.sqlite-wal").stat().st_size > 1000 * 4096
    assert rows.stat().st_size == size


def test_a_log_that_a_reader_held_is_written_back_after_it(writer, tmp_path):
    rows = tmp_path / "rows.sqlite"
    with closing(open_reader(rows)) as reader:
        settle(writer)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM note").fetchone()
        fill_log(writer, 2 * LOG_PAGES_MAX // CHANGE_PAGES)
        settle(writer)
        held = rows.stat().st_size  # what was there when the reader began
    asyncio.run(writer.apply(lambda tx: tx.execute("DELETE FROM note").rowcount))
    fill_log(writer, LOG_PAGES_MAX // CHANGE_PAGES + 1)
    settle(writer)
    assert rows.stat().st_size > held


def test_no_etag_is_given_twice_over_a_restart_with_the_clock_set_back(connection):
    def given(etags, now_us):
        with Transaction(connection, now_us, etags) as tx:
            return tx.new_etag()

    etags = Etags(connection)
    first = [given(etags, 1_000_000_000), given(etags, 1_000_000_500), given(etags, 500_000_000)]
    again = Etags(connection)
    then = [given(again, 400_000_000), given(again, 1_000_000_600)]
    assert sorted({*first, *then}) == [*first, *then]
    assert given(Etags(connection), 9_000_000_000) == TICKS_TO_1970 + 90_000_000_000


class FullDisk:
    """A connection whose commits fail while ``is_full``."""

    def __init__(self, connection):
        self._connection = connection
        self.is_full = False

    def execute(self, sql, *values):
        if sql == "COMMIT" and self.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(sql, *values)

    @property
    def in_transaction(self):
        return self._connection.in_transaction


def test_etags_of_a_commit_that_failed_are_not_taken_for_written_down(connection):
    disk = FullDisk(connection)
    etags = Etags(disk)

    def given(etags, now_us):
        with Transaction(disk, now_us, etags) as tx:
            return tx.new_etag()

    disk.is_full = True
    with pytest.raises(sqlite3.OperationalError):
        given(etags, 9_000_000)
    disk.is_full = False
    kept = given(etags, 9_000_000)
    assert given(Etags(disk), 1_000_000) > kept  # a new start, with the clock set back

"""Groups of changes: one commit, each refusal alone, no answer before its commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from lote.storage.database import Etags, NotPrompt, Transaction, open_database
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


def test_many_prompt_changes_at_once_share_a_commit_in_the_thread(writer, tmp_path):
    settle(writer)
    threads = Threads()

    async def check():
        await writer.apply(threads.add("first"), prompt=True)
        changes = [threads.add(text) for text in "abcdef"]
        await asyncio.gather(*[writer.apply(change, prompt=True) for change in changes])

    asyncio.run(check())
    assert threads.found == [True] + [False] * 6
    assert notes(tmp_path) == {"first", *"abcdef"}


def test_a_refused_prompt_change_changes_nothing(writer, tmp_path):
    def refuse(tx):
        add("half")(tx)
        raise Refused("BlobNotFound")

    with pytest.raises(Refused):
        asyncio.run(writer.apply(refuse, prompt=True))
    asyncio.run(writer.apply(add("next"), prompt=True))
    assert notes(tmp_path) == {"next"}


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
    asyncio.run(writer.apply(lambda tx: tx.unlink.append("file"), prompt=True))
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


def test_the_log_is_written_back_by_the_thread(writer, connection, tmp_path):
    """Before it is so long that a commit would."""
    rows = tmp_path / "rows.sqlite"
    connection.execute("PRAGMA wal_autocheckpoint = 0")

    async def fill():
        for number in range(LOG_PAGES_MAX // CHANGE_PAGES + 1):
            await writer.apply(add(f"{number:04}" * 500), prompt=True)

    settle(writer)
    size = rows.stat().st_size
    asyncio.run(fill())
    settle(writer)  # it was told before this
    assert rows.stat().st_size > size


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


def test_an_etag_of_a_transaction_that_failed_is_written_down_by_the_next(connection):
    etags = Etags(connection)
    lost = []

    def fail():
        with Transaction(connection, 1_000_000, etags) as tx:
            lost.append(tx.new_etag())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with Transaction(connection, 1_000_000, etags) as tx:
        kept = tx.new_etag()
    assert kept > lost[0]
    with Transaction(connection, 1_000_000, Etags(connection)) as tx:
        assert tx.new_etag() > kept

"""Groups of changes: one commit, each refusal alone, no answer before its commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from lote.storage.database import open_database
from lote.storage.errors import Refused
from lote.storage.reserve import Reserve
from lote.storage.writer import Writer
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
    writer = Writer(connection, World(), lambda tx: False, unlinked.extend, reserve)
    writer.unlinked = unlinked
    writer.start()
    yield writer
    writer.close()


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

    writer = Writer(connection, World(), chore, lambda names: None, Reserve(tmp_path / "reserve"))
    writer.start()
    assert done.wait(20)
    writer.close()
    assert left == [0]

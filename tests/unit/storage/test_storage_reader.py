"""Queries in threads."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextlib import closing

import pytest

from lote.storage.database import open_database
from lote.storage.reader import READERS, Reader
from lote.world import World


class Page:
    """Something large."""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rows.sqlite"
    open_database(path).close()
    return path


def test_every_query_gets_its_own_answer_or_error(path):
    def query(number):
        def look(connection):
            found = connection.execute("SELECT ?", (number,)).fetchone()[0]
            if found % 7 == 0:
                raise LookupError(str(found))
            return found

        return look

    async def ask(reader):
        return await asyncio.gather(
            *(reader.read(query(number)) for number in range(500)), return_exceptions=True
        )

    with closing(Reader(path, World())) as reader:
        for _ in range(2):  # event loops
            answers = asyncio.run(ask(reader))
            for number, answer in enumerate(answers):
                if number % 7 == 0:
                    assert isinstance(answer, LookupError)
                    answer = int(str(answer))
                assert answer == number


def test_slow_queries_run_beside_each_other_and_one_may_be_cancelled(path):
    together = threading.Barrier(READERS)

    async def ask(reader):
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def wait_for_all(_):
            loop.call_soon_threadsafe(begun.set)
            return together.wait(60)

        slow = [asyncio.ensure_future(reader.read(wait_for_all)) for _ in range(READERS)]
        async with asyncio.timeout(60):
            await begun.wait()
            slow[0].cancel()
            assert len(await asyncio.gather(*slow[1:])) == READERS - 1
            assert await reader.read(lambda _: "after") == "after"

    with closing(Reader(path, World())) as reader:
        asyncio.run(ask(reader))


def test_idle_threads_hold_no_answers(path):
    async def ask(reader):
        return [
            weakref.ref(page)
            for page in await asyncio.gather(
                *(reader.read(lambda _: Page()) for _ in range(READERS * 4))
            )
        ]

    with closing(Reader(path, World())) as reader:
        answers = asyncio.run(ask(reader))
        gc.collect()
        assert [answer() for answer in answers] == [None] * len(answers)


class Disk(World):
    """Time stands still but for what a query says it took."""

    def __init__(self):
        self.now_s = 100.0
        self.blocks = 0

    def monotonic(self):
        return self.now_s

    def take(self, seconds, blocks):
        """A query that takes so long and reads so many blocks; its answer is its thread."""

        def query(_):
            self.now_s += seconds
            self.blocks += blocks
            return threading.get_ident()

        return query


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()

    class Usage:
        @property
        def ru_inblock(self):
            return disk.blocks

    monkeypatch.setattr("lote.storage.reader.resource.getrusage", lambda _: Usage())
    return disk


def test_small_queries_are_made_at_once_but_not_for_a_while_after_one_waited_for_the_disk(
    path, disk
):
    here = threading.get_ident()

    async def ask(reader):
        assert await reader.glance(disk.take(0.0005, 8)) == here
        assert await reader.glance(disk.take(0.1, 0)) == here  # the blocks of before count now
        assert await reader.glance(disk.take(0.0, 0)) != here
        disk.now_s += 1.0
        assert await reader.glance(disk.take(0.1, 0)) == here  # slow for another reason
        assert await reader.glance(disk.take(0.1, 1)) == here
        assert await reader.glance(disk.take(0.0, 0)) != here
        disk.now_s += 1.1
        assert await reader.glance(disk.take(0.0, 0)) == here

    with closing(Reader(path, disk)) as reader:
        asyncio.run(ask(reader))


def test_what_a_small_query_refuses_is_raised_and_it_sees_the_last_commit(path):
    async def ask(reader, writer):
        def refuse(_):
            raise LookupError

        def count(connection):
            return connection.execute("SELECT starts FROM state").fetchone()[0]

        with pytest.raises(LookupError):
            await reader.glance(refuse)
        before = await reader.glance(count)
        writer.execute("UPDATE state SET starts = starts + 1")
        assert await reader.glance(count) == before + 1

    with closing(Reader(path, World())) as reader, closing(open_database(path)) as writer:
        asyncio.run(ask(reader, writer))

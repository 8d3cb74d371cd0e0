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

    with closing(Reader(path)) as reader:
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

    with closing(Reader(path)) as reader:
        asyncio.run(ask(reader))


def test_idle_threads_hold_no_answers(path):
    async def ask(reader):
        return [
            weakref.ref(page)
            for page in await asyncio.gather(
                *(reader.read(lambda _: Page()) for _ in range(READERS * 4))
            )
        ]

    with closing(Reader(path)) as reader:
        answers = asyncio.run(ask(reader))
        gc.collect()
        assert [answer() for answer in answers] == [None] * len(answers)

"""Coroutines that begin without a task and go on in one."""

from __future__ import annotations

import asyncio

import pytest

from lote.storage.protocol import Begun


def go_on(coroutine):
    """Run it as far as it needs no task, the rest in one."""
    return asyncio.get_running_loop().create_task(Begun(coroutine, coroutine.send(None)))


def test_it_goes_on_with_what_it_waited_for():
    async def check():
        loop, seen = asyncio.get_running_loop(), []
        first, second = loop.create_future(), loop.create_future()

        async def work():
            seen.append(await first)
            await asyncio.sleep(0)
            seen.append(await second)

        task = go_on(work())
        assert seen == []
        first.set_result("first")
        second.set_result("second")
        await task
        return seen

    assert asyncio.run(check()) == ["first", "second"]


def test_what_it_waited_for_may_be_there_before_the_task_is():
    async def check():
        first, seen = asyncio.get_running_loop().create_future(), []

        async def work():
            seen.append(await first)

        coroutine = work()
        awaited = coroutine.send(None)
        first.set_result("early")
        await asyncio.sleep(0)
        await asyncio.get_running_loop().create_task(Begun(coroutine, awaited))
        return seen

    assert asyncio.run(check()) == ["early"]


def test_a_bare_turn_of_the_loop_may_be_the_first_it_waits_for():
    async def check():
        seen = []

        async def work():
            await asyncio.sleep(0)
            seen.append("turned")

        await go_on(work())
        return seen

    assert asyncio.run(check()) == ["turned"]


def test_an_error_reaches_it_and_its_own_come_out():
    async def check():
        first = asyncio.get_running_loop().create_future()

        async def work():
            try:
                await first
            except OSError as error:
                raise ValueError("its own") from error

        task = go_on(work())
        first.set_exception(OSError("disk"))
        await task

    with pytest.raises(ValueError, match="its own"):
        asyncio.run(check())


@pytest.mark.parametrize("turns", [0, 1])
def test_a_cancellation_reaches_it_and_it_may_still_clean_up(turns):
    """Also before the task has begun."""

    async def check():
        loop, seen = asyncio.get_running_loop(), []
        first, cleaned = loop.create_future(), loop.create_future()

        async def work():
            try:
                await first
            finally:
                seen.append(await cleaned)

        task = go_on(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        cleaned.set_result("cleaned")
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    assert asyncio.run(check()) == ["cleaned"]


def test_a_cancellation_may_be_caught():
    async def check():
        first = asyncio.get_running_loop().create_future()

        async def work():
            try:
                await first
            except asyncio.CancelledError:
                return

        task = go_on(work())
        await asyncio.sleep(0)
        task.cancel()
        await task
        return task.cancelled()

    assert asyncio.run(check()) is False

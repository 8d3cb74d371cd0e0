"""What a job preparation task that was ended says of its retries."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from lote.agent import orders
from lote.agent.job_tasks import JobTask
from lote.agent.layout import Layout
from lote.agent.links import Links
from lote.agent.log import Log
from lote.agent.outbox import Outbox
from lote.agent.transfers import Transfers
from lote.agent.users import Users
from lote.wire.frames import JobFacts, Special, SpecialReport

KEY = -1
DEADLINE_S = 60.0
JOB = JobFacts(7, "job", "workitems/job/job-1", [], 0, "prep")
SPEC = {
    "id": "prep",
    "commandLine": "false",
    "constraints": {"maxTaskRetryCount": 3, "maxWallClockTime": "PT1H"},
}


class Spawners:
    """Orders go nowhere; tests say what becomes of them."""

    containers = None

    def __init__(self) -> None:
        self.asked: asyncio.Queue[orders.Order] = asyncio.Queue()
        self.killed: list[tuple[int, int]] = []

    def set_base(self, base_id: int, base: object) -> None:
        pass

    def send_direct(self, order: orders.Order) -> None:
        self.asked.put_nowait(order)

    def kill(self, key: int, run: int) -> None:
        self.killed.append((key, run))

    async def order(self) -> orders.Order:
        return await asyncio.wait_for(self.asked.get(), DEADLINE_S)


class Preparation:
    """One that fails each time."""

    def __init__(self, folder: Path) -> None:
        os.makedirs(folder / "node")
        self.spawners = Spawners()
        self.outbox = Outbox(lambda: 9.0)
        self.task = JobTask(
            Special(7, 0, 1, json.dumps(SPEC).encode()),
            KEY,
            Layout(str(folder / "node")),
            cast(Links, self.spawners),
            self.outbox,
            Users(None),
            cast(Transfers, None),
            Log(str(folder / "log"), lambda: 0),
            lambda: 5.0,
            lambda directory: None,
            lambda directory, retention_s, lasted_s: None,
            lambda: None,
        )

    def note_end(self, order: orders.Order, status: int = 1 << 8) -> None:
        key, run, attempt = order[:3]
        ended: Any = (orders.ENDED, key, run, attempt, 1.0, 2.0, status, 0.0, 0.0, None, 0, 0)
        self.task.note(ended)

    def told(self) -> SpecialReport:
        report = self.outbox.next_report()
        assert report is not None
        last = report.entries[-1]
        assert isinstance(last, SpecialReport)
        return last


@pytest.fixture
def preparation(tmp_path):
    return Preparation(tmp_path)


def test_a_retry_that_never_began_is_not_counted(preparation):
    async def scenario() -> SpecialReport:
        preparation.task.begin(JOB, {})
        preparation.note_end(await preparation.spawners.order())
        preparation.task.kill()
        return preparation.told()

    told = asyncio.run(scenario())
    assert (told.state, told.retries, told.last_retry_age_us) == ("completed", 0, None)
    assert told.failure is not None
    assert told.failure.code == "TaskEnded"


def test_a_retry_that_was_ended_is_counted(preparation):
    async def scenario() -> SpecialReport:
        preparation.task.begin(JOB, {})
        preparation.note_end(await preparation.spawners.order())
        again = await preparation.spawners.order()
        preparation.task.kill()
        assert preparation.spawners.killed == [(KEY, 1)]
        preparation.note_end(again, 9)
        return preparation.told()

    told = asyncio.run(scenario())
    assert (told.state, told.retries, told.last_retry_age_us) == ("completed", 1, 4_000_000)


def test_the_time_of_an_attempt_that_has_ended_ends_nothing(preparation):
    async def scenario() -> None:
        preparation.task.begin(JOB, {})
        order = await preparation.spawners.order()
        limit = preparation.task._limit
        preparation.note_end(order)
        assert limit.cancelled()
        await preparation.spawners.order()
        assert not preparation.task._limit.cancelled()
        preparation.task.close()

    asyncio.run(scenario())

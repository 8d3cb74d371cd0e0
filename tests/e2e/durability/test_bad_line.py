"""Tasks through a bad line between agents and server: each still ends, and only once.

Longer by ``scripts/endurance line``.
"""

from __future__ import annotations

import random
from urllib.parse import urlsplit

import pytest
from bad_line import BadLine
from endurance import LENGTH, SEED
from harness import Ledger, Reply, lote_service, until

TASKS = 2000 * LENGTH
FAULTY = 0.06  # of the pieces that pass
STRIKES = ("reset", "hang", "close", "hang one way")


@pytest.mark.timeout(120 + 120 * LENGTH)
def test_every_task_ends_once_through_a_bad_line() -> None:
    chance = random.Random(SEED)
    line = BadLine(SEED, FAULTY)
    with (
        line.running(),
        lote_service(environment={"LOTE_ADVERTISED_URL": line.url}) as lote,
    ):
        assert lote.ready is not None
        line.upstream_port = urlsplit(lote.ready.batch.endpoint).port or 0
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=2, slots=4)
        agents = lote.agents()
        assert line.faults["connections"] >= 2  # agents have no other way
        lote.add_job()
        # Every eighth takes a moment, so that some are under way whenever the line breaks.
        pauses = {n: "sleep 0.2" if n % 8 == 0 else ":" for n in range(TASKS)}
        lote.add_tasks({f"t{n}": ledger.line(f"echo {n}; {pauses[n]}") for n in range(TASKS)})
        done = 0
        for number in range(3 * LENGTH):
            done += chance.randrange(TASKS // (6 * LENGTH), TASKS // (4 * LENGTH))
            until(lambda d=done: lote.counts()["completed"] >= d, f"{done} tasks")
            line.strike(STRIKES[number % len(STRIKES)])
        lote.wait_for_counts(active=0, running=0, completed=TASKS)
        print(dict(line.faults))
        line.is_calm = True
        assert lote.counts()["succeeded"] == TASKS
        assert ledger.runs() == dict.fromkeys((f"t{n}" for n in range(TASKS)), 1)
        lote.wait_for_pool()
        assert lote.agents() == agents  # none was lost, none was started anew
        for number in chance.sample(range(TASKS), 20):
            reply = until(lambda n=number: _stdout(lote.file("stdout.txt", f"t{n}")))
            assert reply == str(number)
        until(lambda: lote.task_processes() == [], "no process of a task")


def _stdout(reply: Reply) -> str | None:
    assert reply.status in (200, 503, 409), reply
    return reply.body.decode().strip() if reply.status == 200 else None

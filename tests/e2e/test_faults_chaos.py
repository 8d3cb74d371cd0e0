"""Anything may be killed at any moment, several at once: every task still ends, and only once.

More of it: ``LOTE_CHAOS_SEEDS="$(seq -s' ' 50)" pytest tests/e2e/test_faults_chaos.py``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest
from harness import Json, Ledger, Lote, lote_service, until

TASKS = 300
KILLS = 6
SEEDS = [int(one) for one in os.environ.get("LOTE_CHAOS_SEEDS", "3").split()]


class Vandal:
    """Kills what it is told to, chosen by a seeded chance."""

    def __init__(self, lote: Lote, chance: random.Random) -> None:
        self._lote = lote
        self._chance = chance
        self.paused: int | None = None

    def strike(self) -> str:
        """Kill one or two kinds of processes; the server is started again. Says what it did."""
        targets = self._chance.choice(
            (
                "server",
                "agent",
                "spawner",
                "storage",
                "server agent",
                "agent server",
                "server all",
                "stop",
                "pause server",
            )
        ).split()
        for target in targets:
            getattr(self, f"_kill_{target}")()
        if self._lote.process is None:
            self._lote.check_record()
            self._lote.start()
        if self.paused is not None:
            os.kill(self.paused, signal.SIGCONT)
            self.paused = None
        return " and ".join(targets)

    def _kill_server(self) -> None:
        self._lote.kill()

    def _kill_stop(self) -> None:
        """In good order, but without the time for it."""
        process = self._lote.process
        assert process is not None
        self._lote.client.close()
        process.terminate()
        try:
            process.wait(self._chance.random() / 4)
        except subprocess.TimeoutExpired:
            self._lote.kill()
        else:
            self._lote.process = None

    def _kill_pause(self) -> None:
        """An agent hangs while the server goes, and comes to itself afterwards."""
        agents = sorted(self._lote.agents().values())
        if agents:
            self.paused = self._chance.choice(agents)
            os.kill(self.paused, signal.SIGSTOP)

    def _kill_storage(self) -> None:
        found = self._lote.storage_process()
        if found is not None:
            os.kill(found.pid, signal.SIGKILL)

    def _kill_agent(self) -> None:
        agents = sorted(self._lote.agents().values())
        if agents:
            os.kill(self._chance.choice(agents), signal.SIGKILL)

    def _kill_spawner(self) -> None:
        spawners = [pid for node in sorted(self._lote.agents()) for pid in self._spawners(node)]
        if spawners:
            os.kill(self._chance.choice(spawners), signal.SIGKILL)

    def _kill_all(self) -> None:
        """As a machine that crashes, but for its uptime."""
        for one in self._lote.everything():
            try:
                os.kill(one.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it went with one of the others

    def _spawners(self, node_id: str) -> list[int]:
        try:
            return self._lote.spawners(node_id)
        except KeyError:  # its agent has ended meanwhile
            return []


def task(ledger: Ledger, number: int) -> Json:
    """A short task; every fourth waits for the one before it."""
    line = {"commandLine": ledger.line("sleep 0.03")}
    return line | ({} if number % 4 < 3 else {"dependsOn": {"taskIds": [f"t{number - 1}"]}})


@pytest.mark.parametrize("seed", SEEDS)
def test_chaos(seed: int) -> None:
    chance = random.Random(seed)
    moments = sorted(chance.randrange(TASKS * 9 // 10) for _ in range(KILLS))
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        vandal = Vandal(lote, chance)
        lote.add_pool(nodes=2, slots=2)
        lote.add_job(usesTaskDependencies=True)
        lote.add_tasks({f"t{n}": task(ledger, n) for n in range(TASKS)})
        done = []
        for moment in moments:
            until(lambda m=moment: lote.counts()["completed"] >= m, f"{moment} after {done}")
            done.append(vandal.strike())
        print(done)
        lote.wait_for_counts(active=0, running=0, succeeded=TASKS)
        lote.wait_for_pool(nodes=2)
        with lote.database() as db:
            runs = {row[0]: row[1] for row in db.execute("SELECT id, run FROM task")}
        begun = ledger.runs()
        # A run may be given out and never begin; none begins that was not given out.
        assert {name: count for name, count in begun.items() if count > runs[name]} == {}
        assert set(begun) == set(runs)

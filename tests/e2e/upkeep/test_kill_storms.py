"""Kills in a row, at moments of their own: in the middle of a start, of an upload, of a report.

At length: ``scripts/endurance kills``. ``LOTE_ENDURANCE`` multiplies what is done, ``LOTE_SEED``
decides what is left to chance.
"""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
from harness import Container, Json, Ledger, Lote, lote_service, sh, until
from test_faults_chaos import Vandal

LENGTH = int(os.environ.get("LOTE_ENDURANCE", "1"))
SEED = int(os.environ.get("LOTE_SEED", "5"))
SERVER_KILLS = 4 + 2 * LENGTH  # 24 at the usual length of endurance
SERVER_TASKS = 500 if LENGTH == 1 else 2000
STRIKES = 4 + 2 * LENGTH
STRIKE_TASKS = 100 * LENGTH

pytestmark = pytest.mark.timeout(120 * LENGTH)


def a_moment(chance: random.Random, up_to_s: float) -> None:
    """Let some time go by; what happens in it is what the test is about."""
    threading.Event().wait(chance.random() * up_to_s)


def kill_while_it_starts(lote: Lote, chance: random.Random) -> None:
    process = lote.spawn()
    a_moment(chance, 0.8)
    process.kill()
    process.wait()


def test_a_server_that_is_killed_again_and_again_loses_and_repeats_nothing():
    chance = random.Random(SEED)
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=2, slots=4)
        agents = lote.agents()
        lote.add_job()
        kinds = ("/bin/true", ledger.line(), ledger.line("sleep 0.05"))
        tasks = {f"t{number}": kinds[number % 3] for number in range(SERVER_TASKS)}
        lote.add_tasks(tasks)
        for number in range(SERVER_KILLS):
            a_moment(chance, 0.3)
            lote.kill()
            if number % 3 == 2:
                kill_while_it_starts(lote, chance)
            lote.check_record()
            lote.start()
        lote.wait_for_counts(active=0, running=0, succeeded=SERVER_TASKS, failed=0)
        assert lote.agents() == agents
        wanted = {name for name in tasks if int(name[1:]) % 3}
        assert ledger.runs() == dict.fromkeys(wanted, 1)
        with lote.database() as db:
            row = db.execute("SELECT count(*), sum(reruns), sum(requeues) FROM task").fetchone()
        assert tuple(row) == (SERVER_TASKS, 0, 0)
        assert len(lote.wait_for_pool()) == 2
        until(lambda: lote.task_processes() == [], "no process of a task")


class Storm(Vandal):
    """Kills of all kinds, tasks' own processes too."""

    KINDS = ("server", "agent", "spawner", "storage", "task", "start", "all", "server all")

    def __init__(self, lote: Lote, chance: random.Random) -> None:
        super().__init__(lote, chance)
        self.tasks_killed = 0

    def strike(self) -> str:
        """Kill something; the server runs again afterwards. Says what it was."""
        targets = self._chance.choice(self.KINDS).split()
        for target in targets:
            getattr(self, f"_kill_{target}")()
        if self._lote.process is None:
            self._lote.check_record()
            self._lote.start()
        return " and ".join(targets)

    def _kill_all(self) -> None:
        """As a machine that crashes: the server at any place in the row."""
        super()._kill_all()
        if self._lote.process is not None:
            self._lote.client.close()
            self._lote.process.wait()
            self._lote.process = None

    def _kill_task(self) -> None:
        for one in self._lote.task_processes()[:2]:
            self.tasks_killed += 1
            try:
                os.kill(one.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended by itself

    def _kill_start(self) -> None:
        self._lote.kill()
        kill_while_it_starts(self._lote, self._chance)


def task(ledger: Ledger, out: Container, name: str) -> Json:
    """A task that is tried until it succeeds, and sends what it made."""
    made = {
        "filePattern": "made",
        "destination": {"container": {"containerUrl": out.signed, "path": name}},
        "uploadOptions": {"uploadCondition": "tasksuccess"},
    }
    line = f"echo $AZ_BATCH_TASK_ID >> {ledger.path}; sleep 0.05; echo $AZ_BATCH_TASK_ID > made"
    return {
        "commandLine": sh(line),
        "outputFiles": [made],
        "constraints": {"maxTaskRetryCount": -1},
    }


def test_whatever_is_killed_every_task_ends_once_with_its_output():
    chance = random.Random(SEED)
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        storm = Storm(lote, chance)
        out = lote.add_container("out")
        lote.add_pool(nodes=2, slots=2)
        lote.add_job()
        names = [f"t{number}" for number in range(STRIKE_TASKS)]
        lote.add_tasks({name: task(ledger, out, name) for name in names})
        strikes = []
        for number in range(STRIKES):
            moment = STRIKE_TASKS * number // STRIKES
            until(lambda m=moment: lote.counts()["completed"] >= m, f"{moment}; {strikes}")
            a_moment(chance, 0.1)
            strikes.append(storm.strike())
        until(lambda: lote.counts()["completed"] == STRIKE_TASKS, f"all; {strikes}")
        failed = [
            (one["id"], one["executionInfo"]["failureInfo"])
            for one in lote.client.each("list_tasks", {"job_id": "j"})
            if one["executionInfo"]["result"] != "success"
        ]
        assert failed == [], strikes
        for name in names:
            assert lote.fetch("GET", out.blob(name)).body == f"{name}\n".encode()
        with lote.database() as db:
            given = {row[0]: row[1] for row in db.execute("SELECT id, run FROM task")}
        runs = ledger.runs()
        assert set(runs) == set(names)
        # What was killed itself was tried again within its run; nothing else began but runs.
        more = {name: count for name, count in runs.items() if count > given[name]}
        assert sum(more.values()) - sum(given[name] for name in more) <= storm.tasks_killed, strikes
        assert len(lote.wait_for_pool()) == 2
        until(lambda: lote.task_processes() == [], "no process of a task")

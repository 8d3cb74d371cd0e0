"""The server dies, or its disk fills up: nothing acknowledged is lost, nothing runs twice."""

from __future__ import annotations

import contextlib
import random
import resource
import threading

import pytest
from harness import Ledger, Lote, lote_service, until

from lote.cli.client import BatchClient, BatchError, Unreachable
from lote.cli.ready import account_of

TASKS = 2000


def mixed_tasks(ledger: Ledger) -> dict[str, str]:
    """Bare programs, shells, and shells that stay a while."""
    kinds = ("/bin/true", ledger.line(), ledger.line("sleep 0.05"))
    return {f"t{number}": kinds[number % 3] for number in range(TASKS)}


@pytest.mark.parametrize("seed", [20])
def test_every_task_ends_once_however_often_the_server_is_killed(seed):
    chance = random.Random(seed)
    moments = sorted(chance.randrange(20, TASKS * 9 // 10) for _ in range(4))
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=2, slots=4)
        agents = lote.agents()
        lote.add_job()
        tasks = mixed_tasks(ledger)
        lote.add_tasks(tasks)
        for moment in moments:
            until(lambda m=moment: lote.counts()["completed"] >= m, f"{moment} tasks")
            lote.kill()
            lote.check_record()
            lote.start()
        lote.wait_for_counts(active=0, running=0)
        counts = lote.counts()
        assert (counts["succeeded"], counts["failed"]) == (TASKS, 0)
        assert lote.agents() == agents  # they reconnected, none was started anew
        wanted = {name for name in tasks if int(name[1:]) % 3}
        assert ledger.runs() == dict.fromkeys(wanted, 1)
        with lote.database() as db:
            row = db.execute("SELECT count(*), sum(reruns), sum(requeues) FROM task").fetchone()
            assert tuple(row) == (TASKS, 0, 0)
        lote.wait_for_pool()
        until(lambda: lote.task_processes() == [], "no process of a task")


class Writer(threading.Thread):
    """A client that adds jobs and tasks one by one and notes what was acknowledged."""

    def __init__(self, lote: Lote) -> None:
        super().__init__()
        self._client = BatchClient(account_of(lote.ready), lote.world, timeout_s=10)
        self.stop = threading.Event()
        self.acknowledged: list[tuple[str, str | None]] = []
        self.failures = 0

    def run(self) -> None:
        """Write until told to stop."""
        number = 0
        while not self.stop.is_set():
            job_id = f"j{number // 10}"
            if number % 10 == 0:
                self._write(job_id, None)
            else:
                self._write(job_id, f"t{number}")
            number += 1
        self._client.close()

    def _write(self, job_id: str, task_id: str | None) -> None:
        while not self.stop.is_set():
            try:
                if task_id is None:
                    body = {"id": job_id, "poolInfo": {"poolId": "none"}}
                    self._client.call("create_job", body=body)
                else:
                    body = {"id": task_id, "commandLine": "/bin/true"}
                    self._client.call("create_task", {"job_id": job_id}, body=body)
            except Unreachable:
                self.failures += 1
                self.stop.wait(0.02)
                continue
            except BatchError as error:
                # Done by the request whose answer the kill took.
                if error.code not in ("JobExists", "TaskExists"):
                    raise
            self.acknowledged.append((job_id, task_id))
            return


def test_what_was_acknowledged_is_there_after_kills():
    chance = random.Random(7)
    with lote_service() as lote:
        writer = Writer(lote)
        writer.start()
        try:
            for _ in range(3):
                wanted = len(writer.acknowledged) + chance.randrange(20, 60)
                until(lambda w=wanted: len(writer.acknowledged) >= w or not writer.is_alive())
                lote.kill()
                lote.start()
            wanted = len(writer.acknowledged) + 20
            until(lambda: len(writer.acknowledged) >= wanted or not writer.is_alive())
        finally:
            writer.stop.set()
            writer.join()
        assert writer.failures >= 3
        lote.kill()
        lote.start()
        jobs = {job["id"] for job in lote.client.each("list_jobs")}
        assert {job for job, task in writer.acknowledged if task is None} <= jobs
        for job_id in jobs:
            there = {task["id"] for task in lote.client.each("list_tasks", {"job_id": job_id})}
            assert {t for job, t in writer.acknowledged if job == job_id and t} <= there
            assert lote.counts(job_id)["active"] == len(there)


@contextlib.contextmanager
def full_disk(pid: int):
    """Let every write of a process beyond the first page of a file fail, as on a full disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_refuses_and_recovers():
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=1, slots=2)
        lote.add_job()
        lote.add_tasks({f"t{n}": ledger.line("sleep 0.2") for n in range(6)})
        lote.wait_for_state("t0", "running")
        task = {"id": "late", "commandLine": "/bin/true"}
        with full_disk(lote.pid):
            for _ in range(3):
                reply = lote.ask("POST", "/jobs/j/tasks", task)
                assert (reply.status, reply.code) == (503, "ServerBusy")
                assert int(reply.headers["retry-after"]) > 0
            # What needs no writing is still answered, and tasks go on where they are.
            assert lote.ask("GET", "/jobs/j/tasks/t0").status == 200
            until(lambda: ledger.runs()["t1"] == 1, "a task that has its slot already")
            assert lote.ask("GET", "/jobs/j/tasks/late").status == 404
        reply = until(lambda: _added(lote, task), "space again")
        lote.wait_for_counts(active=0, running=0, succeeded=7)
        assert set(ledger.runs().values()) == {1}


def _added(lote: Lote, task):
    reply = lote.ask("POST", "/jobs/j/tasks", task)
    if reply.status == 503:
        return None
    assert reply.status == 201, reply
    return reply

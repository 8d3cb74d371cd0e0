"""Requests that take their time, and a server that is killed right after it accepted them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Ledger, Lote, lote_service, pool_body, until

MANY = 1200  # more than is deleted in one transaction


def is_gone(lote: Lote, path: str) -> bool:
    return lote.ask("GET", path).status == 404


def job_state(lote: Lote, job_id: str = "j") -> str:
    return str(lote.call("get_job", job_id=job_id)["state"])


REQUESTS: dict[str, tuple[Callable[[Lote], object], Callable[[Lote], object]]] = {
    "delete_job": (
        lambda lote: lote.call("delete_job", job_id="j"),
        lambda lote: is_gone(lote, "/jobs/j"),
    ),
    "terminate_job": (
        lambda lote: lote.call("terminate_job", job_id="j"),
        lambda lote: job_state(lote) == "completed",
    ),
    "disable_requeue": (
        lambda lote: lote.call("disable_job", {"disableTasks": "requeue"}, job_id="j"),
        lambda lote: job_state(lote) == "disabled" and lote.counts()["running"] == 0,
    ),
    "disable_terminate": (
        lambda lote: lote.call("disable_job", {"disableTasks": "terminate"}, job_id="j"),
        lambda lote: job_state(lote) == "disabled" and lote.counts()["failed"] == 4,
    ),
    "delete_pool": (
        lambda lote: lote.call("delete_pool", pool_id="p"),
        lambda lote: is_gone(lote, "/pools/p") and job_state(lote) == "active",
    ),
    "grow": (
        lambda lote: lote.call("resize_pool", {"targetDedicatedNodes": 3}, pool_id="p"),
        lambda lote: len(lote.wait_for_pool(nodes=3)) == 3,
    ),
    "shrink": (
        lambda lote: lote.call("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p"),
        lambda lote: len(lote.wait_for_pool(nodes=1)) == 1,
    ),
    "shrink_terminate": (
        lambda lote: lote.call(
            "resize_pool",
            {"targetDedicatedNodes": 0, "nodeDeallocationOption": "terminate"},
            pool_id="p",
        ),
        lambda lote: lote.nodes() == [] and lote.counts()["failed"] == 4,
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_was_asked_is_finished_by_the_next_server(name: str) -> None:
    ask, is_done = REQUESTS[name]
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=2, slots=2)
        lote.add_job()
        lote.add_tasks({f"t{n}": ledger.line("exec sleep 600") for n in range(MANY)})
        until(lambda: len(ledger.runs()) == 4, "all slots taken")
        until(lambda: lote.counts()["running"] == 4)
        ask(lote)
        lote.kill()
        lote.check_record()
        lote.start()
        until(lambda: is_done(lote), name)
        if name == "delete_job":
            with lote.database() as db:
                assert db.execute("SELECT count(*) FROM task").fetchone()[0] == 0
        if "job" in name or "disable" in name or name == "delete_pool":
            until(lambda: lote.task_processes() == [], "no process of a task")
            lote.check_record()


def test_a_new_pool_comes_up_although_the_server_dies_meanwhile() -> None:
    with lote_service() as lote:
        lote.call("create_pool", pool_body("p", nodes=3))
        for _ in range(2):
            lote.kill()
            lote.start()
        lote.wait_for_pool(nodes=3)
        assert len(lote.agents()) == 3


def test_a_job_that_ends_with_its_tasks_ends_although_the_server_dies() -> None:
    with lote_service() as lote:
        lote.add_pool(nodes=1, slots=2)
        lote.add_job(onAllTasksComplete="noaction")
        wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
        ledger = Ledger(lote.folder / "runs")
        lote.add_tasks({f"t{n}": ledger.line(wait) for n in range(2)})
        lote.call("update_job", {"onAllTasksComplete": "terminatejob"}, job_id="j")
        until(lambda: len(ledger.runs()) == 2)
        lote.kill()
        (lote.folder / "go").touch()
        until(lambda: lote.task_processes() == [], "the tasks end meanwhile")
        lote.start()
        until(lambda: job_state(lote) == "completed")
        assert lote.counts()["succeeded"] == 2

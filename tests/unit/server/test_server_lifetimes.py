"""Tasks have 180 days to complete."""

from __future__ import annotations

import pytest
from bench import depends_on

from lote.server.lifetimes import CHUNK, LIFETIME_US, LOOK_US
from lote.store.tasks import list_old_tasks

DAY_S = 86_400
HOUR_S = LOOK_US / 1e6
LIFETIME_S = LIFETIME_US / 1e6
WITH_DEPENDENCIES = {"usesTaskDependencies": True}


def pass_by(bench, seconds):
    """Time in which nothing happens: the nodes are silent, and so is the clock's alarm."""
    bench.world.advance(seconds)
    bench.advance(1)


@pytest.mark.parametrize("restarts", [False, True])
def test_what_has_not_completed_in_180_days_is_ended(bench, restarts):
    bench.add_pool(slots=2)
    bench.add_job(**WITH_DEPENDENCIES)
    bench.add_task("works", commandLine=f"sh -c 'sleep {200 * DAY_S}; exit 0'")
    bench.add_task("blocked", **depends_on("nobody"))
    bench.add_task("wide", slots=3)
    bench.ask("update_job", {"onAllTasksComplete": "terminatejob"}, job_id="j")
    pass_by(bench, DAY_S)
    bench.add_task("young", **depends_on("nobody"))
    pass_by(bench, LIFETIME_S - DAY_S - 10)
    states = {"works": "running", "blocked": "active", "wide": "active", "young": "active"}
    assert bench.task_states() == states
    if restarts:
        bench.restart()
    pass_by(bench, HOUR_S)
    assert bench.task_states() == dict.fromkeys(states, "completed") | {"young": "active"}
    for task_id in ("works", "blocked", "wide"):
        info = bench.task(task_id)["executionInfo"]
        assert (info["result"], info["failureInfo"]["code"]) == ("failure", "TaskEnded")
        assert "180 days" in info["failureInfo"]["message"]
    assert bench.counts() == {
        "active": 1, "running": 0, "completed": 3, "succeeded": 0, "failed": 3
    }  # fmt: skip
    assert bench.node_states() == ["idle"]
    bench.check()
    pass_by(bench, DAY_S)
    assert bench.task("young")["state"] == "completed"
    assert bench.job()["state"] == "completed"


def test_what_depends_on_a_task_that_is_too_old_follows_its_conditions(bench):
    bench.add_pool()
    bench.add_job(**WITH_DEPENDENCIES)
    satisfies = {"exitConditions": {"default": {"dependencyAction": "satisfy"}}}
    bench.add_task("wide", slots=3, **satisfies)
    pass_by(bench, DAY_S)
    bench.add_task("child", seconds=1, **depends_on("wide"))
    pass_by(bench, LIFETIME_S - DAY_S + HOUR_S)
    bench.advance(2)
    assert bench.task("child")["executionInfo"]["exitCode"] == 0
    bench.check()


def test_a_task_that_is_reactivated_when_it_is_too_old_ends_again(bench):
    bench.add_job()
    bench.add_task("t")
    bench.ask("terminate_task", job_id="j", task_id="t")
    pass_by(bench, LIFETIME_S + DAY_S)
    bench.ask("reactivate_task", job_id="j", task_id="t")
    assert bench.task("t")["state"] == "active"
    pass_by(bench, HOUR_S)
    assert bench.task("t")["state"] == "completed"
    bench.check()


def test_many_are_ended_little_by_little(bench):
    bench.add_job(**WITH_DEPENDENCIES)
    bench.add_tasks(2 * CHUNK + 1)
    pass_by(bench, LIFETIME_S - HOUR_S)
    bench.add_task("young")
    commits = bench.owner.commits
    pass_by(bench, 2 * HOUR_S)
    counts = bench.counts()
    assert (counts["active"], counts["failed"]) == (1, 2 * CHUNK + 1)
    assert bench.owner.commits - commits >= 3
    bench.check()


def test_old_tasks_are_found_whatever_keys_are_missing(bench):
    bench.add_job()
    for day in range(6):
        bench.add_task(f"d{day}")
        pass_by(bench, DAY_S)
    for day in (0, 3):
        bench.ask("delete_task", job_id="j", task_id=f"d{day}")
    (job_key,) = bench.owner.memory.jobs
    for days in range(8):
        before_us = bench.world.now_us() - days * DAY_S * 1_000_000
        found = list_old_tasks(bench.reader, job_key, before_us, 100)
        assert [task.id for task in found] == [f"d{n}" for n in (1, 2, 4, 5) if n <= 6 - days]

"""Quotas of the account: off unless set, refused or partly given when they are reached."""

from __future__ import annotations

import pytest
from bench import a_job, a_pool

from lote.engines.script import NodeFate, Script

HOUR_S = 3600


def codes(pool):
    return [error["code"] for error in pool.get("resizeErrors", [])]


def test_pools(make_bench):
    bench = make_bench(pool_quota=2)
    bench.add_pool("a", nodes=0)
    bench.add_pool("b", nodes=0)
    assert bench.refusal("create_pool", a_pool("c")) == "PoolQuotaReached"
    assert bench.refusal("create_pool", a_pool("b")) == "PoolExists"
    bench.ask("delete_pool", pool_id="a")
    bench.add_pool("c", nodes=0)
    bench.check()


def test_jobs_and_schedules_that_are_not_completed(make_bench):
    bench = make_bench(active_job_and_schedule_quota=2)
    bench.add_job("a")
    schedule = {"id": "s", "schedule": {"doNotRunUntil": "2035-01-01T00:00:00Z"}}
    schedule["jobSpecification"] = {"poolInfo": {"poolId": "p"}}
    bench.ask("create_job_schedule", schedule)
    refusal = "ActiveJobAndScheduleQuotaReached"
    assert bench.refusal("create_job", a_job("b")) == refusal
    assert bench.refusal("create_job_schedule", schedule | {"id": "t"}) == refusal
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="a")
    assert bench.refusal("create_job", a_job("b")) == refusal  # a disabled one counts
    bench.ask("terminate_job", job_id="a")
    bench.add_job("b")
    bench.check()


def test_a_schedule_makes_its_job_when_there_is_room_again(make_bench):
    bench = make_bench(active_job_and_schedule_quota=2)
    bench.add_job("a")
    schedule = {"id": "s", "schedule": {"recurrenceInterval": "PT1H"}}
    schedule["jobSpecification"] = {"poolInfo": {"poolId": "p"}}
    bench.ask("create_job_schedule", schedule)
    assert bench.owner.memory.jobs.keys() == {1}
    bench.advance(HOUR_S / 2)
    assert len([timer for timer in bench.owner.memory.timers if timer[1] == "schedule"]) == 1
    bench.ask("terminate_job", job_id="a")
    bench.advance(31)
    assert bench.job("s:job-1")["state"] == "active"
    bench.check()


def test_a_start_window_that_passes_in_want_of_room_is_missed(make_bench):
    bench = make_bench(active_job_and_schedule_quota=2)
    bench.add_job("a")
    times = {"recurrenceInterval": "PT1H", "startWindow": "PT5M"}
    schedule = {"id": "s", "schedule": times}
    schedule["jobSpecification"] = {"poolInfo": {"poolId": "p"}}
    bench.ask("create_job_schedule", schedule)
    bench.advance(600)
    bench.ask("terminate_job", job_id="a")
    bench.advance(600)
    assert bench.refusal("get_job", job_id="s:job-1") == "JobNotFound"
    bench.advance(HOUR_S)
    assert bench.job("s:job-1")["state"] == "active"


def test_cores_of_each_kind(make_bench):
    bench = make_bench(dedicated_core_quota=10, low_priority_core_quota=3)
    bench.add_pool(nodes=3, targetLowPriorityNodes=1)  # of 4 cores each
    pool = bench.pool()
    assert (pool["currentDedicatedNodes"], pool["currentLowPriorityNodes"]) == (2, 0)
    assert (pool["targetDedicatedNodes"], pool["targetLowPriorityNodes"]) == (3, 1)
    assert pool["allocationState"] == "steady"
    assert codes(pool) == ["AccountCoreQuotaReached", "AccountLowPriorityCoreQuotaReached"]
    assert "10 dedicated cores" in pool["resizeErrors"][0]["message"]
    bench.add_pool("small", nodes=3, vmSize="standard_a1_v2")
    assert bench.pool("small")["currentDedicatedNodes"] == 2  # two cores were left
    bench.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    bench.ask("resize_pool", {"targetDedicatedNodes": 4}, pool_id="small")
    assert bench.pool("small")["currentDedicatedNodes"] == 4
    assert codes(bench.pool("small")) == []
    bench.check()


def test_a_lost_node_takes_no_cores_from_its_replacement(make_bench):
    bench = make_bench(dedicated_core_quota=4)
    bench.add_pool(nodes=1)
    bench.engine.kill_node(bench.nodes()[0]["id"])
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    pool = bench.pool()
    assert (pool["currentDedicatedNodes"], codes(pool)) == (1, [])
    assert bench.node_states() == ["idle"]
    bench.check()


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_node_keeps_its_cores_while_it_cannot_be_replaced(make_bench, lost):
    failing = set()

    def fate(order):
        is_failing = order.pool_id in failing
        return NodeFate(None, dies_after_s=1) if is_failing else NodeFate()

    bench = make_bench(Script(fate=fate), dedicated_core_quota=4 * lost)
    bench.add_pool(nodes=lost)
    failing.add("p")
    for node in bench.nodes():
        bench.engine.kill_node(node["id"])
    bench.advance(10)
    assert bench.node_states() == ["unusable"] * lost
    bench.add_pool("q", nodes=1)
    assert codes(bench.pool("q")) == ["AccountCoreQuotaReached"]
    assert bench.nodes("q") == []
    bench.check()
    failing.clear()
    bench.advance(120)
    assert bench.node_states() == ["idle"] * lost
    bench.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="q")
    assert (codes(bench.pool("q")), bench.node_states("q")) == ([], ["idle"])
    bench.check()


def test_cores_that_come_free_during_a_resize_are_used(make_bench):
    bench = make_bench(dedicated_core_quota=4)
    formula = "$TargetDedicatedNodes = time().minute < 5 ? 1 : time().minute < 10 ? 0 : 1;"
    formula += "$NodeDeallocationOption = taskcompletion;"
    scaling = {"enableAutoScale": True, "autoScaleEvaluationInterval": "PT5M"}
    bench.add_pool(targetDedicatedNodes=None, autoScaleFormula=formula, **scaling)
    bench.add_job()
    bench.add_task("t", seconds=660)
    bench.advance(630)
    assert bench.pool()["allocationState"] == "resizing"
    assert bench.node_states() == ["leavingpool"]  # and one that is wanted has no cores yet
    bench.advance(60)
    pool = bench.pool()
    assert (pool["allocationState"], codes(pool)) == ("steady", [])
    assert bench.node_states() == ["idle"]
    bench.check()


def test_without_quotas_nothing_is_counted(bench):
    bench.add_pool(nodes=20)
    assert bench.pool()["currentDedicatedNodes"] == 20
    for number in range(5):
        bench.add_job(f"j{number}")

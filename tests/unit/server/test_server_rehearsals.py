"""Failures that were asked for: what they do, how long, and that nothing is left of them."""

from __future__ import annotations

import pytest
from bench import a_job, a_pool

from lote.engines.script import NodeFate, Script
from lote.server.node_calls import resume_nodes
from lote.server.rehearsals import begin_rehearsal, list_rehearsals, stop_rehearsal
from lote.server.throttling import Throttle
from lote.store.events import list_events
from lote.wire.errors import Refused
from lote.wire.rehearsal import MEMBERS, RehearsalCreate

SPOT = {"nodes": 0, "targetLowPriorityNodes": 2}
START = {"commandLine": "sh -c 'sleep 3'", "waitForSuccess": True}


def begin(bench, kind, *, settled=True, **members):
    made = bench.owner.call(begin_rehearsal, RehearsalCreate(kind=kind, **members))
    if settled:
        bench.advance(0.1)
    return made


def refused(bench, kind, **members):
    with pytest.raises(Refused) as caught:
        begin(bench, kind, **members)
    return caught.value.code


def listed(bench):
    return bench.owner.call(list_rehearsals)


def codes(pool):
    return [error["code"] for error in pool.get("resizeErrors", [])]


# -- preempted ------------------------------------------------------------------------------


@pytest.fixture
def spot(bench):
    """Two low-priority nodes; one runs a task."""
    bench.add_pool(**SPOT)
    bench.add_job()
    bench.add_task("t", seconds=40)
    return bench


def test_a_preempted_node_keeps_its_id_and_comes_back(spot):
    node_id = spot.task("t")["nodeInfo"]["nodeId"]
    made = begin(spot, "preempt", pool_id="P", for_s=100.0, settled=False)
    assert made["nodeIds"] == [node_id]  # the one that runs a task
    node = spot.ask("get_node", pool_id="p", node_id=node_id, settled=False)
    assert node["state"] == "preempted"
    spot.advance(0.1)
    pool = spot.pool()
    assert (pool["currentLowPriorityNodes"], pool["allocationState"]) == (2, "steady")
    task = spot.task("t")
    assert (task["state"], task["nodeInfo"]["nodeId"] != node_id) == ("running", True)
    info = task["executionInfo"]
    assert (info["requeueCount"], info["retryCount"]) == (0, 0)
    spot.check()
    spot.advance(100)
    assert spot.node_states() == ["idle", "idle"]
    assert spot.task("t")["state"] == "completed"
    again = spot.ask("get_node", pool_id="p", node_id=node_id, settled=False)
    assert again["allocationTime"] == node["allocationTime"]
    assert again["lastBootTime"] > node["lastBootTime"]
    assert spot.trail[f"node {node_id}"][-3:] == ["preempted", "creating", "idle"]
    (one,) = listed(spot)
    assert (one["state"], one["endedBy"]) == ("ended", "time")
    spot.check()


def test_a_start_task_runs_again_after_a_preemption(bench):
    bench.add_pool(startTask=START, **SPOT)
    bench.advance(5)
    begin(bench, "preempt", pool_id="p", nodes=2, for_s=10.0)
    assert "startTaskInfo" not in bench.nodes()[0]
    bench.advance(12)
    assert bench.node_states() == ["waitingforstarttask"] * 2
    bench.advance(5)
    assert bench.node_states() == ["idle", "idle"]
    bench.check()


def test_only_low_priority_nodes_are_preempted(bench):
    bench.add_pool(nodes=1, targetLowPriorityNodes=1)
    dedicated, spot = bench.nodes()
    wrong = "OperationInvalidForCurrentState"
    assert refused(bench, "preempt", pool_id="p", node_id=dedicated["id"]) == wrong
    assert refused(bench, "preempt", pool_id="p", nodes=2) == wrong
    assert refused(bench, "preempt", pool_id="q") == "PoolNotFound"
    assert refused(bench, "preempt", pool_id="p", node_id="none") == "NodeNotFound"
    assert listed(bench) == []
    begin(bench, "preempt", pool_id="p", node_id=spot["id"].upper())
    assert bench.node_states() == ["idle", "preempted"]


def test_preempted_nodes_go_first_when_the_pool_shrinks(spot):
    begin(spot, "preempt", pool_id="p", for_s=1000.0)
    gone = spot.nodes()[spot.node_states().index("preempted")]["id"]
    spot.ask("resize_pool", {"targetLowPriorityNodes": 1}, pool_id="p")
    assert gone not in [node["id"] for node in spot.nodes()]
    spot.advance(1001)
    assert len(spot.nodes()) == 1
    spot.check()


@pytest.mark.parametrize("resume", ["before", "after"])
def test_a_preemption_goes_on_over_a_restart(spot, resume):
    begin(spot, "preempt", pool_id="p", for_s=50.0)
    spot.restart(resume=resume)
    spot.advance(20)
    assert sorted(spot.node_states()) == ["preempted", "running"]
    spot.check()
    spot.advance(40)
    assert "preempted" not in spot.node_states()
    spot.check()


def test_a_rehearsal_that_ended_while_the_server_was_away_is_undone(spot):
    begin(spot, "preempt", pool_id="p", for_s=50.0)
    spot.world.advance(100)
    spot.restart()
    spot.advance(1)
    assert "preempted" not in spot.node_states()
    spot.check()


def test_a_pool_with_preempted_nodes_can_be_deleted(spot):
    begin(spot, "preempt", pool_id="p", nodes=2)
    spot.ask("delete_pool", pool_id="p")
    assert spot.refusal("get_pool", pool_id="p") == "PoolNotFound"
    spot.advance(100)
    spot.check()


# -- low-priority nodes are sought ----------------------------------------------------------


def test_low_priority_nodes_are_sought_after_the_resize(make_bench):
    bench = make_bench(low_priority_core_quota=8)
    bench.add_pool("other", **SPOT)
    bench.add_pool(nodes=1, targetLowPriorityNodes=1)
    assert codes(bench.pool()) == ["AccountLowPriorityCoreQuotaReached"]
    bench.ask("resize_pool", {"targetLowPriorityNodes": 0}, pool_id="other")
    bench.advance(61)
    assert bench.node_states() == ["idle", "idle"]
    assert bench.pool()["allocationState"] == "steady"
    bench.check()


def test_a_stopped_resize_is_not_taken_up_again(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=None)))
    bench.add_pool(**SPOT)
    bench.ask("stop_pool_resize", pool_id="p")
    bench.advance(1000)  # the nodes that never call are given up
    assert codes(bench.pool())[-1] == "ResizeStopped"
    bench.advance(1000)
    assert bench.nodes() == []


# -- unusable, lost -------------------------------------------------------------------------


def test_an_unusable_node_says_why_and_recovers(bench):
    bench.add_pool()
    bench.add_job()
    made = begin(bench, "unusable", pool_id="p", error_code="ContainerInvalidImage")
    (node,) = bench.nodes()
    assert (node["state"], node["errors"][0]["code"]) == ("unusable", "ContainerInvalidImage")
    bench.add_task("t")
    assert bench.task_states() == {"t": "active"}
    bench.check()
    stopped = bench.owner.call(stop_rehearsal, int(made["id"]))
    assert (stopped["state"], stopped["endedBy"]) == ("ended", "request")
    bench.advance(0.1)
    (node,) = bench.nodes()
    assert (node["state"], "errors" in node) == ("running", False)
    bench.check()


def test_an_unusable_node_can_be_without_errors(bench):
    bench.add_pool()
    begin(bench, "unusable", pool_id="p", error_code="none", for_s=20.0)
    (node,) = bench.nodes()
    assert (node["state"], "errors" in node) == ("unusable", False)
    bench.engine.cut(node["id"])
    bench.engine.mend(node["id"])
    bench.settle()
    assert bench.node_states() == ["unusable"]  # that it calls does not make it well
    bench.advance(30)
    assert bench.node_states() == ["idle"]
    bench.check()


@pytest.mark.parametrize("for_s", [20.0, 2000.0])
def test_a_reboot_recovers_an_unusable_node(bench, for_s):
    bench.add_pool()
    begin(bench, "unusable", pool_id="p", for_s=for_s)
    bench.ask("reboot_node", pool_id="p", node_id=bench.nodes()[0]["id"])
    bench.advance(1)
    assert bench.node_states() == ["idle"]
    bench.advance(30)
    assert bench.node_states() == ["idle"]
    bench.check()


def test_an_unusable_node_recovers_after_a_restart(bench):
    bench.add_pool()
    begin(bench, "unusable", pool_id="p", for_s=20.0)
    bench.restart()
    assert bench.node_states() == ["unusable"]
    bench.advance(21)
    assert bench.node_states() == ["idle"]
    bench.check()


def test_an_offline_node_is_offline_again(bench):
    bench.add_pool()
    node_id = bench.nodes()[0]["id"]
    bench.ask("disable_node_scheduling", pool_id="p", node_id=node_id)
    begin(bench, "unusable", pool_id="p", for_s=5.0)
    bench.advance(6)
    assert bench.node_states() == ["offline"]
    bench.check()


def test_a_node_without_contact_is_unknown_and_keeps_its_task(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=30)
    begin(bench, "lost", pool_id="p", for_s=10.0, settled=False)
    assert bench.node_states() == ["unknown"]
    bench.advance(11)
    bench.engine.cut(bench.nodes()[0]["id"])
    bench.engine.mend(bench.nodes()[0]["id"])
    bench.advance(1)
    assert bench.node_states() == ["running"]
    bench.advance(30)
    assert bench.counts()["succeeded"] == 1
    assert bench.task("t")["executionInfo"]["requeueCount"] == 0
    bench.check()


def test_a_node_without_contact_for_longer_than_its_grace_is_lost(bench):
    bench.add_pool()
    (node,) = bench.nodes()
    begin(bench, "lost", pool_id="p", for_s=1000.0)
    bench.advance(61)
    assert [one["id"] for one in bench.nodes()] != [node["id"]]
    bench.check()


# -- start tasks, resizes, quotas -----------------------------------------------------------


def test_the_next_start_task_fails(bench):
    begin(bench, "start-task", pool_id="p", exit_code=7)
    bench.add_pool(startTask=START | {"maxTaskRetryCount": 2})
    bench.advance(5)
    (node,) = bench.nodes()
    assert node["state"] == "starttaskfailed"
    info = node["startTaskInfo"]
    assert (info["exitCode"], info["retryCount"], info["result"]) == (7, 2, "failure")
    assert info["failureInfo"]["code"] == "FailureExitCode"
    assert node["startTask"]["commandLine"] == START["commandLine"]
    assert [one["endedBy"] for one in listed(bench)] == ["count"]
    bench.ask("reboot_node", pool_id="p", node_id=node["id"])
    bench.advance(5)
    assert bench.node_states() == ["idle"]
    bench.check()


def test_a_start_task_of_another_pool_is_left_alone(bench):
    begin(bench, "start-task", pool_id="q")
    bench.add_pool(startTask=START)
    bench.advance(5)
    assert bench.node_states() == ["idle"]


@pytest.mark.parametrize("code", ["AllocationTimedout", "AllocationFailed"])
def test_the_next_resize_fails(bench, code):
    begin(bench, "resize", error_code=code, after_s=30.0)
    bench.add_pool(nodes=2, targetLowPriorityNodes=1)
    bench.advance(29)
    pool = bench.pool()
    assert (pool["allocationState"], pool["currentDedicatedNodes"]) == ("resizing", 0)
    bench.advance(2)
    pool = bench.pool()
    assert (pool["allocationState"], codes(pool)) == ("steady", [code, code])
    assert pool["targetDedicatedNodes"] == 2
    bench.check()
    bench.advance(70)
    pool = bench.pool()  # low-priority nodes are sought, dedicated ones are not
    assert (pool["currentDedicatedNodes"], pool["currentLowPriorityNodes"]) == (0, 1)
    bench.ask("resize_pool", {"targetDedicatedNodes": 2}, pool_id="p")
    pool = bench.pool()
    assert (pool["currentDedicatedNodes"], codes(pool)) == (2, [])


def test_a_resize_that_needs_no_node_does_not_fail(bench):
    bench.add_pool(nodes=2)
    begin(bench, "resize", pool_id="p")
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    assert codes(bench.pool()) == []
    bench.ask("resize_pool", {"targetDedicatedNodes": 3}, pool_id="p")
    bench.advance(3)
    assert codes(bench.pool()) == ["AllocationTimedout"]
    assert bench.pool()["currentDedicatedNodes"] == 1


def test_a_resize_goes_on_when_its_rehearsal_is_stopped(bench):
    made = begin(bench, "resize", after_s=100.0)
    bench.add_pool()
    assert bench.nodes() == []
    bench.owner.call(stop_rehearsal, int(made["id"]))
    bench.advance(1)
    assert bench.node_states() == ["idle"]
    bench.advance(200)
    assert codes(bench.pool()) == []
    bench.check()


def test_a_failing_resize_can_be_stopped(bench):
    begin(bench, "resize", after_s=100.0)
    bench.add_pool()
    bench.ask("stop_pool_resize", pool_id="p")
    assert codes(bench.pool()) == ["ResizeStopped"]
    bench.check()


def test_quotas_of_pools_and_jobs(bench):
    begin(bench, "quota", quota="pools", times=2)
    begin(bench, "quota", quota="jobs", for_s=60.0)
    assert bench.refusal("create_pool", a_pool()) == "PoolQuotaReached"
    assert bench.refusal("create_pool", a_pool()) == "PoolQuotaReached"
    bench.add_pool()
    for _ in range(3):
        refusal = bench.refusal("create_job", a_job())
        assert refusal == "ActiveJobAndScheduleQuotaReached"
    bench.advance(61)
    bench.add_job()
    jobs, pools = listed(bench)
    assert (jobs["endedBy"], jobs["timesActed"]) == ("time", 3)
    assert (pools["endedBy"], pools["timesLeft"]) == ("count", 0)
    bench.check()


def test_an_auto_pool_meets_the_quota(bench):
    begin(bench, "quota", quota="pools", times=1)
    spec = {name: value for name, value in a_pool().items() if name != "id"}
    auto = {"poolLifetimeOption": "job", "pool": spec}
    bench.ask("create_job", {"id": "j", "poolInfo": {"autoPoolSpecification": auto}})
    job = bench.job()
    assert job["state"] == "completed"
    code = job["executionInfo"]["schedulingError"]["code"]
    assert code == "AutoPoolCreationFailedWithQuotaReached"


@pytest.mark.parametrize(
    ("quota", "code"),
    [
        ("cores", "AccountCoreQuotaReached"),
        ("low-priority-cores", "AccountLowPriorityCoreQuotaReached"),
    ],
)
def test_quotas_of_cores(bench, quota, code):
    bench.add_pool("there", nodes=1)
    begin(bench, "quota", quota=quota, times=1)
    bench.add_pool(nodes=1, targetLowPriorityNodes=1)
    pool = bench.pool()
    assert codes(pool) == [code]
    assert pool["currentDedicatedNodes"] + pool["currentLowPriorityNodes"] == 1
    target = {"targetDedicatedNodes": 2, "targetLowPriorityNodes": 2}
    bench.ask("resize_pool", target, pool_id="p")
    assert codes(bench.pool()) == []
    bench.check()


# -- requests -------------------------------------------------------------------------------


def test_a_throttle_counts_and_is_told_again_after_a_restart(bench):
    throttle = bench.owner.memory.throttle = Throttle()
    noted = []
    throttle.note = noted.append
    begin(bench, "throttle", times=2, status=429, retry_after_s=7)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            throttle.check(bench.world.now_us())
        assert (caught.value.code, caught.value.status) == ("TooManyRequests", 429)
        assert caught.value.headers == {"Retry-After": "7"}
    throttle.check(bench.world.now_us())
    assert noted == [1, 1]
    begin(bench, "throttle", for_s=10.0)
    assert len(throttle.rules) == 2
    bench.restart()
    again = bench.owner.memory.throttle = Throttle()
    bench.owner.memory.clear()
    bench.owner.load()
    assert [rule.status for rule in again.rules] == [429, 503]
    bench.advance(11)
    assert [rule.status for rule in again.rules] == [429]


# -- all of them ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"kind": "earthquake"}, "InvalidPropertyValue"),
        ({"kind": "preempt"}, "MissingRequiredProperty"),
        ({"kind": "preempt", "pool_id": "p", "times": 1}, "UnsupportedProperty"),
        ({"kind": "preempt", "pool_id": "p", "nodes": 1, "node_id": "n"}, "InvalidPropertyValue"),
        ({"kind": "quota"}, "MissingRequiredProperty"),
        ({"kind": "quota", "quota": "tasks"}, "InvalidPropertyValue"),
        ({"kind": "quota", "quota": "jobs", "for_s": 1e9}, "InvalidPropertyValue"),
        ({"kind": "quota", "quota": "jobs", "for_s": float("nan")}, "InvalidPropertyValue"),
        ({"kind": "throttle", "status": 500}, "InvalidPropertyValue"),
        ({"kind": "resize", "error_code": "DiskFull"}, "InvalidPropertyValue"),
        ({"kind": "unusable", "pool_id": "p", "error_code": "no way"}, "InvalidPropertyValue"),
        ({"kind": "start-task", "exit_code": 0}, "InvalidPropertyValue"),
    ],
)
def test_what_makes_no_sense_is_refused(bench, members, code):
    bench.add_pool()
    assert refused(bench, **members) == code
    assert listed(bench) == []


def test_every_kind_says_what_it_does_and_is_an_event(bench):
    bench.add_pool(nodes=3, targetLowPriorityNodes=1)
    needed = {
        "preempt": {"pool_id": "p"},
        "unusable": {"pool_id": "p"},
        "lost": {"pool_id": "p"},
        "quota": {"quota": "cores"},
    }
    for kind in MEMBERS:
        begin(bench, kind, **needed.get(kind, {}))
    shown = listed(bench)
    assert [one["request"]["kind"] for one in shown] == list(reversed(MEMBERS))
    assert all(one["what"] and one["state"] == "active" for one in shown)
    began = [event for event in list_events(bench.reader) if event[1] == "rehearsal_began"]
    assert len(began) == len(MEMBERS)
    for one in shown:
        bench.owner.call(stop_rehearsal, int(one["id"]))
    bench.advance(5)
    assert not bench.owner.memory.rehearsals
    with pytest.raises(Refused, match="ResourceNotFound"):
        bench.owner.call(stop_rehearsal, 999)


def test_those_that_are_over_are_forgotten_at_last(bench):
    for _ in range(130):
        made = begin(bench, "quota", quota="jobs", settled=False)
        bench.owner.call(stop_rehearsal, int(made["id"]))
    kept = bench.reader.execute("SELECT count(*) FROM rehearsal").fetchone()[0]
    assert kept <= 101
    for _ in range(100):
        begin(bench, "quota", quota="jobs", settled=False)
    assert refused(bench, "quota", quota="jobs") == "OperationInvalidForCurrentState"


def test_a_node_given_back_at_the_start_is_ordered_once(make_bench):
    """The engine's list may be from before the node was asked for."""
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=5.0)))
    bench.add_pool(nodes=0, targetLowPriorityNodes=1)
    bench.advance(6)
    begin(bench, "preempt", pool_id="p", for_s=50.0)
    bench.world.advance(100)
    bench.restart()
    bench.tick()
    (node,) = bench.owner.memory.nodes.values()
    assert node.state == "creating"
    digest = node.secret_digest
    bench.owner.call(resume_nodes, "fake", {node.id: False})
    assert node.secret_digest == digest
    bench.advance(6)
    assert bench.node_states() == ["idle"]
    bench.check()

"""Rules of pools and nodes that other tests do not come by."""

from __future__ import annotations

import pytest
from bench import a_task

from lote.engines.script import NodeFate, Outcome, Script

START = {"commandLine": "sh -c 'sleep 3'", "waitForSuccess": True}
NEVER = Script(fate=lambda order: NodeFate(start_s=None))


def codes(pool):
    return [error["code"] for error in pool.get("resizeErrors", [])]


def resize(bench, dedicated=None, low_priority=None, **given):
    targets = {"targetDedicatedNodes": dedicated, "targetLowPriorityNodes": low_priority}
    body = {name: target for name, target in targets.items() if target is not None} | given
    bench.ask("resize_pool", body, pool_id="p")


def node_ids(bench, *states):
    return [node["id"] for node in bench.nodes() if node["state"] in states]


# -- resize ---------------------------------------------------------------------------------


def test_the_first_sizing_can_be_stopped(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=100.0)))
    bench.add_pool(nodes=2)
    assert bench.pool()["allocationState"] == "resizing"
    bench.ask("stop_pool_resize", pool_id="p", settled=False)
    assert bench.pool()["allocationState"] == "stopping"
    bench.advance(200)
    pool = bench.pool()
    assert (pool["allocationState"], codes(pool)) == ("steady", ["ResizeStopped"])
    assert pool["currentDedicatedNodes"] == 2  # they were under way
    bench.check()


def test_each_kind_of_nodes_has_an_error_of_its_own(make_bench):
    bench = make_bench(NEVER)
    bench.add_pool(nodes=1, targetLowPriorityNodes=1, resizeTimeout="PT5M")
    bench.advance(301)
    errors = bench.pool()["resizeErrors"]
    assert [error["code"] for error in errors] == ["AllocationTimedout"] * 2
    assert ["dedicated" in error["message"] for error in errors] == [True, False]
    assert "low-priority" in errors[1]["message"]
    resize(bench, 0, 0)
    assert codes(bench.pool()) == []


def test_a_pool_without_targets_has_no_nodes(bench):
    bench.add_pool(targetDedicatedNodes=None)
    pool = bench.pool()
    assert (pool["targetDedicatedNodes"], pool["targetLowPriorityNodes"]) == (0, 0)
    assert (pool["allocationState"], bench.nodes()) == ("steady", [])


def test_a_target_that_is_not_given_stays(bench):
    bench.add_pool(nodes=1, targetLowPriorityNodes=1)
    resize(bench, dedicated=2)
    pool = bench.pool()
    assert (pool["targetDedicatedNodes"], pool["targetLowPriorityNodes"]) == (2, 1)
    resize(bench, low_priority=0)
    pool = bench.pool()
    assert (pool["currentDedicatedNodes"], pool["currentLowPriorityNodes"]) == (2, 0)
    assert bench.refusal("resize_pool", {}, pool_id="p") == "MissingRequiredProperty"
    bench.check()


def test_a_pool_that_scales_itself_takes_no_resize(bench):
    bench.add_pool(
        targetDedicatedNodes=None,
        enableAutoScale=True,
        autoScaleFormula="$TargetDedicatedNodes = 1;",
    )
    body = {"targetDedicatedNodes": 2}
    assert bench.refusal("resize_pool", body, pool_id="p") == "OperationNotValidOnPool"


def test_tasks_begin_on_each_node_as_it_comes(make_bench):
    delays = [0.0, 50.0]
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=delays.pop(0))))
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(2)
    bench.advance(1)
    assert bench.running() == ["t0"]
    assert bench.pool()["allocationState"] == "resizing"
    bench.advance(50)
    assert bench.counts()["succeeded"] == 2


# -- which nodes go -------------------------------------------------------------------------


def test_the_order_in_which_nodes_go(bench):
    bench.add_pool(nodes=5, slots=2)
    bench.add_job(jobManagerTask={"id": "m", "commandLine": "sleep 1000"})
    bench.advance(1)
    manager = bench.task("m")["nodeInfo"]["nodeId"]
    free = [node["id"] for node in bench.nodes() if node["id"] != manager]
    broken, offline, idle, busy = free
    bench.add_job("k")
    affinity = {"affinityInfo": {"affinityId": f"TVM:{busy}"}}
    bench.ask("create_task", a_task("t", seconds=1000) | affinity, job_id="k")
    bench.ask("disable_node_scheduling", pool_id="p", node_id=offline)
    bench.ask("deallocate_node", pool_id="p", node_id=broken)
    bench.advance(1)
    assert set(node_ids(bench, "running")) == {manager, busy}
    gone = []
    for left in (4, 3, 2, 1):
        before = {node["id"] for node in bench.nodes()}
        resize(bench, left)
        (node,) = before - {one["id"] for one in bench.nodes()}
        gone.append(node)
    assert set(gone[:2]) == {broken, offline}
    assert gone[2:] == [idle, busy]
    assert node_ids(bench, "running") == [manager]
    bench.check()


def test_nodes_that_can_run_nothing_go_before_those_that_could(make_bench):
    fates = {"late": NodeFate(start_s=5000.0)}
    failing = ["failed"]

    def start(task, retries):
        return Outcome(0.0, 1 if failing and failing.pop() else 0)

    bench = make_bench(Script(fate=lambda order: fates.pop("due", NodeFate()), start_outcome=start))
    bench.add_pool(nodes=1, startTask={"commandLine": "x", "waitForSuccess": True})
    for count in (2, 3, 4):
        resize(bench, count)
    failed, offline, rebooting, idle = (node["id"] for node in bench.nodes())
    bench.ask("disable_node_scheduling", pool_id="p", node_id=offline)
    fates["due"] = fates["late"]
    bench.ask("reboot_node", pool_id="p", node_id=rebooting)
    assert bench.node_states() == ["starttaskfailed", "offline", "rebooting", "idle"]
    gone = []
    for left in (3, 2, 1):
        before = {node["id"] for node in bench.nodes()}
        resize(bench, left)
        gone += before - {node["id"] for node in bench.nodes()}
    assert gone == [failed, offline, rebooting]
    assert node_ids(bench, "idle") == [idle]
    bench.check()


def test_a_leaving_node_that_is_removed_is_not_counted_twice(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(2, seconds=5000)
    resize(bench, 1, nodeDeallocationOption="taskcompletion", resizeTimeout="PT5M")
    bench.advance(301)
    assert codes(bench.pool()) == ["AllocationTimedout"]
    (leaving,) = node_ids(bench, "leavingpool")
    bench.ask("remove_nodes", {"nodeList": [leaving]}, pool_id="p")
    bench.advance(1)
    assert bench.pool()["targetDedicatedNodes"] == 1
    assert len(bench.nodes()) == 1  # it did not drain to the end, as asked
    assert sorted(bench.task_states().values()) == ["active", "running"]
    bench.check()


# -- start tasks ----------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["cut", "restart"])
def test_a_start_task_that_comes_later_waits_for_the_next_boot(bench, change):
    bench.add_pool(nodes=1)
    bench.ask("update_pool", {"startTask": START}, pool_id="p")
    (node,) = bench.nodes()
    if change == "cut":
        bench.engine.cut(node["id"])
        bench.settle()
        bench.engine.mend(node["id"])
        bench.settle()
    else:
        bench.restart()
    (node,) = bench.nodes()
    assert (node["state"], "startTaskInfo" in node) == ("idle", False)
    bench.check()
    bench.ask("reboot_node", pool_id="p", node_id=node["id"])
    bench.advance(1)
    assert bench.node_states() == ["waitingforstarttask"]
    bench.advance(5)
    (node,) = bench.nodes()
    assert (node["state"], node["startTaskInfo"]["result"]) == ("idle", "success")
    bench.check()


@pytest.mark.parametrize(
    "change", [{"commandLine": "sleep 1", "waitForSuccess": False}, START, None]
)
def test_a_node_waits_for_the_start_task_it_booted_with(bench, change):
    bench.add_pool(startTask=START | {"commandLine": "sleep 20; exit 3"})
    bench.ask("replace_pool_properties", PROPERTIES | {"startTask": change}, pool_id="p")
    (node,) = bench.nodes()
    assert (node["state"], node["startTaskInfo"]["state"]) == ("waitingforstarttask", "running")
    bench.restart()
    away_and_back(bench, node["id"])
    assert bench.node_states() == ["waitingforstarttask"]
    bench.check()
    bench.advance(30)
    (node,) = bench.nodes()
    assert (node["state"], node["startTaskInfo"]["exitCode"]) == ("starttaskfailed", 3)
    bench.ask("reboot_node", pool_id="p", node_id=node["id"])
    bench.advance(5)
    (node,) = bench.nodes()
    assert (node["state"], "startTaskInfo" in node) == ("idle", change is not None)
    bench.check()


def test_a_node_that_did_not_wait_is_not_made_to_later(bench):
    bench.add_pool(startTask={"commandLine": "sleep 20; exit 3", "waitForSuccess": False})
    bench.add_job()
    bench.add_task("t", seconds=100)
    bench.ask("update_pool", {"startTask": START}, pool_id="p")
    (node,) = bench.nodes()
    away_and_back(bench, node["id"])
    assert bench.node_states() == ["running"]
    bench.advance(30)
    bench.restart()
    away_and_back(bench, node["id"])
    (node,) = bench.nodes()
    assert (node["state"], node["startTaskInfo"]["exitCode"]) == ("running", 3)
    assert bench.running() == ["t"]
    bench.check()


def away_and_back(bench, node_id):
    bench.engine.cut(node_id)
    bench.advance(1)
    bench.engine.mend(node_id)
    bench.advance(1)


@pytest.mark.parametrize("action", ["reboot_node", "reimage_node"])
def test_a_node_whose_start_task_failed_tries_again(bench, action):
    bench.add_pool(startTask=START | {"commandLine": "sleep 1; exit 1"})
    bench.advance(2)
    (node,) = bench.nodes()
    assert node["state"] == "starttaskfailed"
    bench.ask("replace_pool_properties", PROPERTIES | {"startTask": START}, pool_id="p")
    bench.ask(action, pool_id="p", node_id=node["id"])
    bench.advance(5)
    assert bench.node_states() == ["idle"]


PROPERTIES = {
    "applicationPackageReferences": [],
    "certificateReferences": [],
    "metadata": [],
}


def test_start_tasks_are_not_counted(bench):
    bench.add_pool(startTask=START)
    bench.advance(5)
    (node,) = bench.nodes()
    assert (node["totalTasksRun"], node["totalTasksSucceeded"]) == (0, 0)
    bench.add_job()
    bench.add_task("good", seconds=1)
    bench.add_task("bad", seconds=1, exits=1)
    bench.advance(5)
    (node,) = bench.nodes()
    assert (node["totalTasksRun"], node["totalTasksSucceeded"]) == (2, 1)
    assert "startTaskInfo" in node


# -- what is placed first -------------------------------------------------------------------


@pytest.mark.parametrize(("order", "first"), [("none", {"j", "k"}), ("creationtime", {"j"})])
def test_jobs_of_one_priority_take_turns_or_go_by_age(bench, order, first):
    bench.add_pool(slots=2, taskSchedulingPolicy={"jobDefaultOrder": order})
    for job_id in ("j", "k"):
        bench.ask("create_job", {"id": job_id, "poolInfo": {"poolId": "none"}})
        for number in range(2):
            bench.add_task(f"t{number}", job_id)
    bench.ask("delete_pool", pool_id="p")
    bench.add_pool("none", slots=2, taskSchedulingPolicy={"jobDefaultOrder": order})
    bench.advance(1)
    assert {job_id for job_id in ("j", "k") if bench.running(job_id)} == first


# -- nodes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "refusal"),
    [
        ("reboot_node", "OperationNotValidOnNode"),
        ("reimage_node", "OperationNotValidOnNode"),
        ("deallocate_node", "OperationNotValidOnNode"),
    ],
)
def test_a_leaving_node_takes_no_action(bench, action, refusal):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_task("t", seconds=1000)
    resize(bench, 0, nodeDeallocationOption="taskcompletion")
    (node,) = bench.nodes()
    assert node["state"] == "leavingpool"
    assert bench.refusal(action, pool_id="p", node_id=node["id"]) == refusal


def test_a_node_that_has_not_come_takes_no_action(make_bench):
    bench = make_bench(NEVER)
    bench.add_pool()
    (node,) = bench.nodes()
    for action in ("reboot_node", "reimage_node", "deallocate_node", "start_node"):
        assert bench.refusal(action, pool_id="p", node_id=node["id"]) == "NodeBeingCreated"


def test_nodes_that_never_came_are_given_up(make_bench):
    bench = make_bench(NEVER)
    bench.add_pool(resizeTimeout="PT5M")
    bench.advance(301)
    assert bench.nodes() == []
    bench.check()


def test_a_removal_does_not_go_on_with_a_growth_that_failed(make_bench):
    fates = [NodeFate(), NodeFate()]
    bench = make_bench(Script(fate=lambda order: fates.pop() if fates else NodeFate(None)))
    bench.add_pool(nodes=4, resizeTimeout="PT5M")
    bench.advance(301)
    assert codes(bench.pool()) == ["AllocationTimedout"]
    first, second = (node["id"] for node in bench.nodes())
    bench.ask("remove_nodes", {"nodeList": [first]}, pool_id="p")
    assert [node["id"] for node in bench.nodes()] == [second]
    pool = bench.pool()
    assert (pool["targetDedicatedNodes"], pool["allocationState"]) == (1, "steady")
    bench.check()


@pytest.mark.parametrize("kind", ["targetDedicatedNodes", "targetLowPriorityNodes"])
def test_a_removal_does_not_go_on_with_a_resize_that_was_stopped(bench, kind):
    bench.add_pool(**{"targetDedicatedNodes": 0, kind: 4})
    bench.add_job()
    bench.add_tasks(4, seconds=1000)
    drained = {kind: 0, "nodeDeallocationOption": "taskcompletion", "resizeTimeout": "PT5M"}
    bench.ask("resize_pool", drained, pool_id="p")
    bench.advance(301)
    bench.engine._script = NEVER
    bench.ask("resize_pool", {kind: 3}, pool_id="p")
    bench.ask("stop_pool_resize", pool_id="p")
    bench.advance(1000)
    assert "ResizeStopped" in codes(bench.pool())
    assert bench.nodes() == []
    bench.engine._script = Script()
    bench.ask("resize_pool", {kind: 2}, pool_id="p")
    first, second = (node["id"] for node in bench.nodes())
    bench.engine._script = NEVER
    bench.ask("resize_pool", {kind: 5, "resizeTimeout": "PT5M"}, pool_id="p")
    bench.ask("stop_pool_resize", pool_id="p")
    bench.advance(301)
    bench.ask("remove_nodes", {"nodeList": [first]}, pool_id="p")
    bench.advance(100)
    assert [node["id"] for node in bench.nodes()] == [second]
    assert (bench.pool()[kind], bench.pool()["allocationState"]) == (1, "steady")
    bench.check()


def test_low_priority_nodes_are_sought_after_a_removal_too(make_bench):
    fates = [NodeFate(), NodeFate(), NodeFate(None)]
    bench = make_bench(Script(fate=lambda order: fates.pop(0) if fates else NodeFate()))
    bench.add_pool(nodes=0, targetLowPriorityNodes=3, resizeTimeout="PT5M")
    bench.advance(301)
    first = bench.nodes()[0]["id"]
    bench.ask("remove_nodes", {"nodeList": [first]}, pool_id="p")
    bench.advance(1)
    assert bench.pool()["targetLowPriorityNodes"] == 2
    assert bench.node_states() == ["idle", "idle"]
    bench.check()


@pytest.mark.parametrize("which", ["lost", "replacement", "both"])
def test_a_lost_node_and_its_replacement_are_one_node_of_the_target(make_bench, which):
    delays = [0.0, 0.0, 30.0]
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=delays.pop(0))))
    bench.add_pool(nodes=2)
    lost, well = (node["id"] for node in bench.nodes())
    bench.engine.kill_node(lost)
    bench.settle()
    (replacement,) = node_ids(bench, "creating")
    named = {"lost": [lost], "replacement": [replacement], "both": [lost, replacement]}[which]
    bench.ask("remove_nodes", {"nodeList": named}, pool_id="p")
    bench.advance(40)
    left = [well, replacement] if which == "lost" else [well]
    assert [node["id"] for node in bench.nodes()] == left
    pool = bench.pool()
    assert (pool["targetDedicatedNodes"], pool["currentDedicatedNodes"]) == (len(left), len(left))
    bench.check()

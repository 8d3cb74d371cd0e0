"""What may be done to nodes in each of their states, and to pools in each of their allocation."""

from __future__ import annotations

import pytest

from lote.engines.script import NodeFate, Script
from lote.server.rehearsals import begin_rehearsal
from lote.wire.errors import Refused
from lote.wire.rehearsal import RehearsalCreate

NODE = {"pool_id": "p"}
SLOW = Script(fate=lambda order: NodeFate(start_s=50.0))
WAITING = {"startTask": {"commandLine": "sleep 50", "waitForSuccess": True}}
FAILING = {"startTask": {"commandLine": "exit 3", "waitForSuccess": True}}
SPOT = {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 1}
DRAIN = {
    "rebooting": ("reboot_node", "nodeRebootOption"),
    "reimaging": ("reimage_node", "nodeReimageOption"),
    "deallocating": ("deallocate_node", "nodeDeallocateOption"),
}
ACTIONS = ("reboot_node", "reimage_node", "deallocate_node", "start_node")
# By state what refuses each of the actions; a blank where it is taken.
REFUSALS = {
    "creating": ("NodeBeingCreated",) * 4,
    "waitingforstarttask": ("", *("NodeBeingStarted",) * 3),
    "starttaskfailed": ("", "", *("OperationNotValidOnNode",) * 2),
    "idle": ("", "", "", "OperationNotValidOnNode"),
    "running": ("", "", "", "OperationNotValidOnNode"),
    "offline": ("", "", *("OperationNotValidOnNode",) * 2),
    "rebooting": ("NodeBeingRebooted",) * 4,
    "reimaging": ("NodeBeingReimaged",) * 4,
    "deallocating": ("OperationNotValidOnNode",) * 4,
    "deallocated": (*("OperationNotValidOnNode",) * 3, ""),
    "preempted": ("OperationNotValidOnNode",) * 4,
    "unknown": ("", "", *("OperationNotValidOnNode",) * 2),
    "unusable": ("", "", *("NodeStateUnusable",) * 2),
    "leavingpool": ("OperationNotValidOnNode",) * 4,
}
STATES = tuple(REFUSALS)
AT_WORK = frozenset({"running", "leavingpool", *DRAIN})  # with a task of 40 s


def rehearse(bench, kind, **members):
    bench.owner.call(begin_rehearsal, RehearsalCreate(kind=kind, pool_id="p", **members))


@pytest.fixture(params=STATES)
def staged(request, make_bench):
    """A bench whose pool has one node, in one of the states; and that state."""
    state = request.param
    given = {"preempted": SPOT, "waitingforstarttask": WAITING, "starttaskfailed": FAILING}
    bench = make_bench(SLOW if state == "creating" else None)
    bench.add_pool(**given.get(state, {}))
    bench.add_job()
    (node,) = bench.nodes()
    if state in AT_WORK:
        bench.add_task("t", seconds=40)
    if state == "offline":
        bench.ask("disable_node_scheduling", node_id=node["id"], **NODE)
    elif state in DRAIN:
        name, option = DRAIN[state]
        bench.ask(name, {option: "taskcompletion"}, node_id=node["id"], **NODE)
    elif state == "deallocated":
        bench.ask("deallocate_node", node_id=node["id"], **NODE)
    elif state == "preempted":
        rehearse(bench, "preempt", for_s=1000.0)
    elif state == "unusable":
        rehearse(bench, "unusable", for_s=1000.0)
    elif state == "unknown":
        bench.engine.cut(node["id"])
    elif state == "leavingpool":
        body = {"targetDedicatedNodes": 0, "nodeDeallocationOption": "taskcompletion"}
        bench.ask("resize_pool", body, **NODE)
    bench.advance(0.5)
    assert bench.node_states() == [state]
    return bench, state, node["id"]


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_in_each_state(staged, action):
    bench, state, node_id = staged
    refusal = REFUSALS[state][ACTIONS.index(action)]
    if refusal:
        assert bench.refusal(action, node_id=node_id, **NODE) == refusal
        assert bench.node_states() == [state]
    else:
        bench.ask(action, node_id=node_id, **NODE)
        bench.advance(5)
        assert bench.node_states() == [came_to(state, action)]
    bench.check()


def came_to(state, action):
    if action == "deallocate_node":
        return "deallocated"
    stays = {"offline", "starttaskfailed", "waitingforstarttask"}
    if state in stays:
        return state
    return "running" if state in AT_WORK else "idle"


def test_scheduling_off_and_on_in_each_state(staged):
    bench, state, node_id = staged
    if state == "leavingpool":
        code = bench.refusal("disable_node_scheduling", node_id=node_id, **NODE)
        assert code == "OperationNotValidOnNode"
        return
    is_off = state == "offline"
    off, on = "disable_node_scheduling", "enable_node_scheduling"
    there = "NodeAlreadyInTargetSchedulingState"
    assert bench.refusal(off if is_off else on, node_id=node_id, **NODE) == there
    body = None if is_off else {"nodeDisableSchedulingOption": "taskcompletion"}
    bench.ask(on if is_off else off, body, node_id=node_id, **NODE)
    assert bench.refusal(on if is_off else off, node_id=node_id, **NODE) == there
    (node,) = bench.nodes()
    changed = {"offline": "idle", "idle": "offline"}
    assert node["state"] == changed.get(state, state)
    assert node["schedulingState"] == ("enabled" if is_off else "disabled")
    bench.check()


@pytest.mark.parametrize("how", ["delete", "shrink", "remove"])
def test_a_node_in_each_state_can_be_given_back(staged, how):
    bench, state, node_id = staged
    if how == "delete":
        bench.ask("delete_pool", pool_id="p")
        assert bench.refusal("get_pool", pool_id="p") == "PoolNotFound"
    elif state in ("creating", "leavingpool"):
        targets = {"targetDedicatedNodes": 0}
        assert bench.refusal("resize_pool", targets, pool_id="p") == "PoolBeingResized"
        return
    elif how == "shrink":
        targets = {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 0}
        bench.ask("resize_pool", targets, pool_id="p")
        assert bench.nodes() == []
    else:
        bench.ask("remove_nodes", {"nodeList": [node_id]}, pool_id="p")
        assert bench.nodes() == []
        pool = bench.pool()
        names = ("targetDedicatedNodes", "targetLowPriorityNodes", "currentDedicatedNodes")
        assert [pool[name] for name in names] == [0, 0, 0]
        assert pool["allocationState"] == "steady"
    if state in AT_WORK:
        assert bench.task_states() == {"t": "active"}
    bench.check()


# -- a pool that is resizing, stopping, steady -------------------------------------------------

HARMLESS = (
    ("update_pool", {"metadata": [{"name": "a", "value": "b"}]}),
    ("update_pool", {"startTask": {"commandLine": "x"}}),
    ("replace_pool_properties", {"applicationPackageReferences": [], "metadata": []}),
    ("disable_pool_auto_scale", None),
)
FOR_EMPTY_POOLS = ("displayName", "n"), ("taskSlotsPerNode", 2), ("vmSize", "standard_d2_v2")
FOR_STEADY_POOLS = (
    ("resize_pool", {"targetDedicatedNodes": 2}),
    ("remove_nodes", {"nodeList": ["any"]}),
    ("enable_pool_auto_scale", {"autoScaleFormula": "$TargetDedicatedNodes = 2;"}),
)


@pytest.mark.parametrize("state", ["resizing", "stopping", "steady"])
def test_a_pool_can_be_changed_whatever_its_allocation(make_bench, state):
    bench = make_bench(SLOW)
    bench.add_pool(nodes=2)
    if state == "stopping":
        bench.ask("stop_pool_resize", pool_id="p")
    elif state == "steady":
        bench.advance(60)
    assert bench.pool()["allocationState"] == state
    for name, body in HARMLESS:
        bench.ask(name, body, pool_id="p")
    for name, value in FOR_EMPTY_POOLS:
        code = bench.refusal("update_pool", {name: value}, pool_id="p")
        assert code == "OperationInvalidForCurrentState"
    for name, body in FOR_STEADY_POOLS:
        if state != "steady":
            assert bench.refusal(name, body, pool_id="p") == "PoolBeingResized"
    bench.ask("stop_pool_resize", pool_id="p")
    assert bench.pool()["allocationState"] == ("steady" if state == "steady" else "stopping")
    bench.advance(60)
    assert bench.pool()["allocationState"] == "steady"
    bench.check()
    bench.ask("delete_pool", pool_id="p")
    assert bench.refusal("get_pool", pool_id="p") == "PoolNotFound"


@pytest.mark.parametrize("state", ["resizing", "stopping"])
def test_a_pool_can_be_deleted_while_nodes_come(make_bench, state):
    bench = make_bench(SLOW)
    bench.add_pool(nodes=2)
    if state == "stopping":
        bench.ask("stop_pool_resize", pool_id="p")
    assert bench.pool()["allocationState"] == state
    bench.ask("delete_pool", pool_id="p")
    assert bench.refusal("get_pool", pool_id="p") == "PoolNotFound"
    bench.advance(100)
    bench.check()


# -- two things at once ------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["reboot_node", "reimage_node", "deallocate_node"])
@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
def test_a_pool_shrinks_by_a_node_that_restarts(bench, action, option):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_task("t", seconds=40)
    node_id = bench.task("t")["nodeInfo"]["nodeId"]
    name = {"reboot_node": "Reboot", "reimage_node": "Reimage"}.get(action, "Deallocate")
    bench.ask(action, {f"node{name}Option": "taskcompletion"}, node_id=node_id, **NODE)
    body = {"targetDedicatedNodes": 1, "nodeDeallocationOption": option}
    bench.ask("resize_pool", body, pool_id="p")
    bench.advance(1)
    if option == "taskcompletion":
        assert sorted(bench.node_states()) == ["idle", "leavingpool"]
        assert bench.running() == ["t"]
    else:
        assert len(bench.nodes()) == 1
    bench.advance(60)
    assert [node["id"] == node_id for node in bench.nodes()] == [False]
    info = bench.task("t")["executionInfo"]
    assert info["result"] == ("failure" if option == "terminate" else "success")
    assert info["requeueCount"] == (option == "requeue")
    assert bench.pool()["allocationState"] == "steady"
    bench.check()


def test_a_node_that_rests_counts_in_the_size_of_its_pool(bench):
    bench.add_pool(nodes=2)
    first, _ = (node["id"] for node in bench.nodes())
    bench.ask("deallocate_node", node_id=first, **NODE)
    bench.ask("resize_pool", {"targetDedicatedNodes": 3}, pool_id="p")
    assert bench.node_states() == ["deallocated", "idle", "idle"]
    assert bench.pool()["currentDedicatedNodes"] == 3
    bench.ask("resize_pool", {"targetDedicatedNodes": 2}, pool_id="p")
    assert bench.node_states() == ["idle", "idle"]
    bench.check()


@pytest.mark.parametrize("option", ["requeue", "taskcompletion"])
def test_a_preemption_during_a_resize_is_no_part_of_it(bench, option):
    bench.add_pool(nodes=1, targetLowPriorityNodes=2)
    bench.add_job()
    bench.add_tasks(3, seconds=50)
    bench.engine._script = Script(fate=lambda order: NodeFate(start_s=20.0))
    body = {
        "targetDedicatedNodes": 2,
        "targetLowPriorityNodes": 1,
        "nodeDeallocationOption": option,
    }
    bench.ask("resize_pool", body, pool_id="p")
    rehearse(bench, "preempt", for_s=30.0)
    bench.advance(0.1)
    assert bench.node_states().count("preempted") == 1
    assert bench.pool()["allocationState"] == "resizing"
    bench.check()
    bench.advance(150)
    pool = bench.pool()
    assert (pool["currentDedicatedNodes"], pool["currentLowPriorityNodes"]) == (2, 1)
    assert (pool["allocationState"], pool.get("resizeErrors")) == ("steady", None)
    assert bench.counts()["succeeded"] == 3
    bench.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
def test_scheduling_off_twice_then_a_reboot(bench, option):
    bench.add_pool(slots=2)
    (node,) = bench.nodes()
    bench.add_job()
    bench.add_task("done", seconds=0)
    for task_id in ("one", "two", "waits"):
        bench.add_task(task_id, seconds=30)
    body = {"nodeDisableSchedulingOption": option}
    bench.ask("disable_node_scheduling", body, node_id=node["id"], **NODE)
    with pytest.raises(Refused, match="NodeAlreadyInTargetSchedulingState"):
        bench.ask("disable_node_scheduling", node_id=node["id"], **NODE)
    after = {"requeue": "active", "terminate": "completed", "taskcompletion": "running"}[option]
    states = {"done": "completed", "one": after, "two": after, "waits": "active"}
    assert bench.task_states() == states
    body = {"nodeRebootOption": "taskcompletion"}
    bench.ask("reboot_node", body, node_id=node["id"], **NODE)
    bench.advance(40)
    assert bench.node_states() == ["offline"]
    assert bench.task_states()["waits"] == "active"
    bench.check()
    bench.ask("enable_node_scheduling", node_id=node["id"], **NODE)
    bench.advance(100)
    assert set(bench.task_states().values()) == {"completed"}
    assert bench.counts()["failed"] == (2 if option == "terminate" else 0)
    bench.check()


def test_an_offline_node_is_offline_after_a_reimage(bench):
    bench.add_pool()
    (node,) = bench.nodes()
    bench.ask("disable_node_scheduling", node_id=node["id"], **NODE)
    bench.ask("reimage_node", node_id=node["id"], **NODE)
    bench.restart()
    bench.advance(5)
    (again,) = bench.nodes()
    assert (again["state"], again["schedulingState"]) == ("offline", "disabled")
    assert again["lastBootTime"] != node["lastBootTime"]
    assert again["allocationTime"] == node["allocationTime"]
    bench.check()

"""What is done to nodes: reboot, reimage, deallocate, start, scheduling off and on."""

from __future__ import annotations

import pytest

from lote.engines.script import NodeFate, Script
from lote.store.nodes import save_node

NODE = {"pool_id": "p"}
OPTIONS = {
    "reboot_node": "nodeRebootOption",
    "reimage_node": "nodeReimageOption",
    "deallocate_node": "nodeDeallocateOption",
    "disable_node_scheduling": "nodeDisableSchedulingOption",
}


def act(bench, name, node_id, option=None, **given):
    body = {OPTIONS[name]: option} if option else None
    return bench.ask(name, body, node_id=node_id, **NODE, **given)


@pytest.fixture
def busy(bench):
    """Two nodes that each run a task, and a third task that waits."""
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(3)
    assert sorted(bench.running()) == ["t0", "t1"]
    return bench


def node_of(bench, task_id):
    return bench.task(task_id)["nodeInfo"]["nodeId"]


def states_of(bench, node_id):
    return bench.trail[f"node {node_id}"]


def boot_of(bench, node_id):
    return bench.owner.memory.node_of_id(node_id).boot


@pytest.mark.parametrize(
    ("name", "state"), [("reboot_node", "rebooting"), ("reimage_node", "reimaging")]
)
def test_what_runs_is_requeued_and_the_node_comes_back(busy, name, state):
    node_id = node_of(busy, "t0")
    boot = boot_of(busy, node_id)
    act(busy, name, node_id, settled=False)
    assert busy.ask("get_node", node_id=node_id, settled=False, **NODE)["state"] == state
    busy.advance(5)
    assert boot_of(busy, node_id) not in (None, boot)
    passed = states_of(busy, node_id)
    assert passed[passed.index(state) :][-1] in ("idle", "running")
    assert busy.task("t0")["executionInfo"]["requeueCount"] == 1
    busy.advance(60)
    assert busy.counts()["succeeded"] == 3
    busy.check()


def test_terminate_ends_what_runs(busy):
    node_id = node_of(busy, "t0")
    act(busy, "reboot_node", node_id, "terminate")
    shown = busy.task("t0")
    assert shown["state"] == "completed"
    assert shown["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    busy.advance(60)
    assert busy.counts()["succeeded"] == 2
    busy.check()


def test_taskcompletion_waits_and_takes_nothing_new(busy):
    node_id = node_of(busy, "t0")
    act(busy, "reboot_node", node_id, "taskcompletion")
    busy.advance(5)
    assert busy.ask("get_node", node_id=node_id, settled=False, **NODE)["state"] == "rebooting"
    assert busy.task("t0")["state"] == "running"
    busy.advance(6)
    assert busy.task("t0")["executionInfo"]["requeueCount"] == 0
    assert busy.task("t0")["state"] == "completed"
    busy.advance(30)
    assert busy.counts()["succeeded"] == 3
    assert busy.node_states() == ["idle", "idle"]
    busy.check()


def test_a_reboot_is_refused_while_one_goes_on(busy):
    node_id = node_of(busy, "t0")
    act(busy, "reboot_node", node_id, "taskcompletion")
    assert busy.refusal("reboot_node", node_id=node_id, **NODE) == "NodeBeingRebooted"
    assert busy.refusal("reimage_node", node_id=node_id, **NODE) == "NodeBeingRebooted"
    assert busy.refusal("start_node", node_id=node_id, **NODE) == "NodeBeingRebooted"


def test_the_start_task_runs_again(bench):
    bench.add_pool(startTask={"commandLine": "sh -c 'sleep 3'", "waitForSuccess": True})
    bench.advance(10)
    (node,) = bench.nodes()
    first = node["startTaskInfo"]["startTime"]
    act(bench, "reboot_node", node["id"])
    bench.advance(1)
    assert bench.node_states() == ["waitingforstarttask"]
    bench.advance(10)
    (node,) = bench.nodes()
    assert node["state"] == "idle"
    assert node["startTaskInfo"]["startTime"] > first
    bench.check()


def test_deallocate_and_start(busy):
    node_id = node_of(busy, "t0")
    act(busy, "deallocate_node", node_id)
    busy.advance(1)
    shown = busy.ask("get_node", node_id=node_id, settled=False, **NODE)
    assert shown["state"] == "deallocated"
    assert busy.pool()["currentDedicatedNodes"] == 2, "it stays in its pool"
    busy.advance(100)
    assert busy.counts()["succeeded"] == 3, "the other node did it all"
    assert busy.refusal("reboot_node", node_id=node_id, **NODE) == "OperationNotValidOnNode"
    busy.restart()
    busy.advance(100)
    assert sorted(busy.node_states()) == ["deallocated", "idle"], "it rests over a restart"
    act(busy, "start_node", node_id)
    busy.advance(1)
    assert busy.node_states() == ["idle", "idle"]
    busy.check()


def test_a_deallocated_node_leaves_when_the_pool_shrinks(busy):
    node_id = node_of(busy, "t0")
    act(busy, "deallocate_node", node_id)
    busy.advance(1)
    busy.ask("delete_pool", pool_id="p")
    busy.advance(5)
    assert busy.refusal("get_pool", pool_id="p") == "PoolNotFound"
    busy.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
def test_scheduling_off_and_on(busy, option):
    node_id = node_of(busy, "t0")
    act(busy, "disable_node_scheduling", node_id, option)
    shown = busy.ask("get_node", node_id=node_id, settled=False, **NODE)
    assert shown["schedulingState"] == "disabled"
    code = busy.refusal("disable_node_scheduling", node_id=node_id, **NODE)
    assert code == "NodeAlreadyInTargetSchedulingState"
    assert shown["state"] == ("running" if option == "taskcompletion" else "offline")
    busy.advance(60)
    assert busy.ask("get_node", node_id=node_id, settled=False, **NODE)["state"] == "offline"
    busy.add_task("later")
    assert node_of(busy, "later") != node_id
    act(busy, "enable_node_scheduling", node_id)
    assert busy.ask("get_node", node_id=node_id, settled=False, **NODE)["state"] == "idle"
    code = busy.refusal("enable_node_scheduling", node_id=node_id, **NODE)
    assert code == "NodeAlreadyInTargetSchedulingState"
    busy.check()


def test_a_disabled_node_stays_so_over_a_reboot_and_a_restart(busy):
    node_id = node_of(busy, "t0")
    act(busy, "disable_node_scheduling", node_id)
    act(busy, "reboot_node", node_id)
    busy.advance(2)
    assert busy.ask("get_node", node_id=node_id, settled=False, **NODE)["state"] == "offline"
    busy.restart()
    busy.advance(2)
    shown = busy.ask("get_node", node_id=node_id, settled=False, **NODE)
    assert (shown["state"], shown["schedulingState"]) == ("offline", "disabled")
    busy.check()


@pytest.mark.parametrize("name", ["reboot_node", "reimage_node", "deallocate_node"])
def test_what_a_node_restarts_with_outlives_scheduling_off_and_on(busy, name):
    node_id = node_of(busy, "t0")
    act(busy, name, node_id, "taskcompletion")
    act(busy, "disable_node_scheduling", node_id, "taskcompletion")
    busy.ask("enable_node_scheduling", node_id=node_id, **NODE)
    busy.restart()
    busy.advance(1)
    assert busy.task("t0")["state"] == "running"
    busy.check()
    busy.advance(60)
    assert busy.task("t0")["executionInfo"]["requeueCount"] == 0
    assert busy.counts()["succeeded"] == 3
    busy.check()


def option_of(bench, node_id):
    return bench.owner.memory.node_of_id(node_id).deallocation


def run_through_broken_connections(bench, task_id="long"):
    """A task of a node in the pool that calls again and again, and again after a restart."""
    bench.add_job()
    bench.add_task(task_id, seconds=100)
    (node,) = bench.nodes()
    assert (node["state"], node["schedulingState"]) == ("running", "enabled")
    for _ in range(2):
        bench.engine.cut(node["id"])
        bench.advance(1)
        bench.engine.mend(node["id"])
        bench.advance(1)
    bench.restart()
    bench.advance(1)
    task = bench.task(task_id)
    assert task["state"] == "running"
    assert task["executionInfo"]["requeueCount"] == 0
    bench.check()


@pytest.mark.parametrize("name", ["reboot_node", "reimage_node"])
@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
def test_scheduling_on_while_a_node_comes_back_leaves_nothing_behind(make_bench, name, option):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=5)))
    bench.add_pool()
    bench.advance(6)
    (node,) = bench.nodes()
    act(bench, "disable_node_scheduling", node["id"], option)
    act(bench, name, node["id"], option)
    bench.advance(1)
    assert boot_of(bench, node["id"]) is None, "it is off, and its agent is being started"
    bench.ask("enable_node_scheduling", node_id=node["id"], **NODE)
    assert option_of(bench, node["id"]) is None
    bench.check()
    bench.advance(10)
    run_through_broken_connections(bench)


@pytest.mark.parametrize("name", ["reboot_node", "reimage_node", "deallocate_node"])
def test_a_node_that_cannot_be_switched_off_keeps_no_option(bench, name):
    bench.add_pool()
    (node,) = bench.nodes()
    bench.desk.holds = "it hangs"
    act(bench, name, node["id"], "requeue")
    assert bench.node_states() == ["unusable"]
    assert option_of(bench, node["id"]) is None
    bench.check()
    bench.desk.holds = None
    bench.engine.close(leave_nodes=False)  # as a stop of the whole service
    bench.restart()
    bench.advance(1)
    run_through_broken_connections(bench)


def test_an_option_that_an_earlier_version_left_is_not_followed(bench):
    bench.add_pool()
    key = bench.owner.memory.node_of_id(bench.nodes()[0]["id"]).key
    bench.owner.call(lambda tx: save_node(tx.db, key, deallocation="requeue"))
    bench.restart()
    run_through_broken_connections(bench)


def test_scheduling_off_hastens_a_restart(busy):
    node_id = node_of(busy, "t0")
    act(busy, "reboot_node", node_id, "taskcompletion")
    act(busy, "disable_node_scheduling", node_id, "requeue")
    busy.advance(2)
    assert busy.ask("get_node", node_id=node_id, settled=False, **NODE)["state"] == "offline"
    assert busy.task("t0")["state"] == "active"
    busy.check()


@pytest.mark.parametrize("name", ["reboot_node", "reimage_node", "deallocate_node"])
def test_a_restart_in_the_middle_loses_nothing(busy, name):
    node_id = node_of(busy, "t0")
    act(busy, name, node_id, "taskcompletion")
    busy.restart()
    busy.advance(60)
    state = busy.ask("get_node", node_id=node_id, settled=False, **NODE)["state"]
    assert state == ("deallocated" if name == "deallocate_node" else "idle")
    assert busy.counts()["succeeded"] == 3
    busy.check()


def test_a_lost_agent_can_be_rebooted_into_life(bench):
    bench.add_pool()
    (node,) = bench.nodes()
    bench.engine.cut(node["id"])
    bench.advance(1)
    assert bench.node_states() == ["unknown"]
    act(bench, "reboot_node", node["id"])
    bench.advance(2)
    assert bench.node_states() == ["idle"]
    bench.check()


def test_users_are_gone_with_the_disk(bench):
    bench.add_pool()
    (node,) = bench.nodes()
    bench.ask("create_node_user", {"name": "u"}, node_id=node["id"], **NODE)
    act(bench, "reboot_node", node["id"])
    bench.advance(1)
    assert bench.refusal("create_node_user", {"name": "u"}, node_id=node["id"], **NODE) == (
        "NodeUserExists"
    )
    act(bench, "reimage_node", node["id"])
    bench.advance(1)
    bench.ask("create_node_user", {"name": "u"}, node_id=node["id"], **NODE)


# -- out of contact -------------------------------------------------------------------------


def leave_or_disable(bench, node_id, how, option):
    if how == "leave":
        body = {"nodeList": [node_id], "nodeDeallocationOption": option}
        bench.ask("remove_nodes", body, pool_id="p")
    else:
        act(bench, "disable_node_scheduling", node_id, option)


@pytest.fixture
def away(bench):
    """One node of one slot that is out of contact, and runs a task."""
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=40)
    bench.engine.cut(bench.nodes()[0]["id"])
    bench.advance(1)
    assert bench.node_states() == ["unknown"]
    return bench


@pytest.mark.parametrize("how", ["leave", "disable"])
def test_a_node_that_is_away_may_finish_what_it_runs(away, how):
    node_id = node_of(away, "t")
    leave_or_disable(away, node_id, how, "taskcompletion")
    away.advance(5)
    away.restart()
    assert away.task_states() == {"t": "running"}
    away.check()
    away.engine.mend(node_id)
    away.advance(60)
    info = away.task("t")["executionInfo"]
    assert (info["result"], info["requeueCount"]) == ("success", 0)
    assert away.node_states() == ([] if how == "leave" else ["offline"])
    away.check()


@pytest.mark.parametrize("how", ["leave", "disable"])
def test_what_an_away_node_was_to_finish_is_run_again_once_it_is_lost(away, how):
    node_id = node_of(away, "t")
    leave_or_disable(away, node_id, how, "taskcompletion")
    away.advance(away.settings.node_grace_s + 1)
    if how == "leave":
        assert away.task_states() == {"t": "active"}
        assert away.nodes() == []
    else:
        assert node_of(away, "t") != node_id  # that of its replacement
    away.check()


@pytest.mark.parametrize("how", ["leave", "disable", "reboot_node"])
@pytest.mark.parametrize("option", ["requeue", "terminate"])
def test_what_an_away_node_runs_is_ended_or_requeued_as_asked(away, how, option):
    node_id = node_of(away, "t")
    if how == "reboot_node":
        act(away, how, node_id, option, settled=False)
    else:
        leave_or_disable(away, node_id, how, option)
    task = away.task("t")
    if option == "terminate":
        assert task["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    else:
        assert (task["state"], task["executionInfo"]["requeueCount"]) == ("active", 1)
        assert "lastRequeueTime" in task["executionInfo"]
    if how == "disable":
        away.engine.mend(node_id)
        away.advance(1)
        assert away.node_states() == ["offline"]
        assert away.engine.count_running(node_id) == 0
    away.advance(60)
    assert away.counts()["failed"] == (option == "terminate")
    away.check()


def test_what_an_away_node_had_been_told_to_kill_is_not_waited_for(bench):
    bench.add_pool(slots=2)
    bench.add_job()
    bench.add_tasks(2, seconds=40)
    (node,) = bench.nodes()
    bench.engine.cut(node["id"])  # which the server has not seen when it sends its orders
    act(bench, "disable_node_scheduling", node["id"], settled=False)
    leave_or_disable(bench, node["id"], "leave", "taskcompletion")
    assert set(bench.task_states().values()) == {"active"}
    assert bench.nodes() == []
    bench.check()

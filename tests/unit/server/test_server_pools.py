"""Pools grow, shrink, stop, give up and go; the states seen on the way are those of the tables."""

from __future__ import annotations

import pytest
from bench import a_pool

from lote.engines.script import NodeFate, Script
from lote.server.fleet import ORDER_FAILURES_MAX
from lote.store.events import list_events

SLOW = Script(fate=lambda order: NodeFate(start_s=30))
MUTE = Script(fate=lambda order: NodeFate(start_s=None))


def resize(bench, nodes, *, option=None, low_priority=None, timeout=None):
    body = {"targetDedicatedNodes": nodes}
    if option:
        body["nodeDeallocationOption"] = option
    if low_priority is not None:
        body["targetLowPriorityNodes"] = low_priority
    if timeout:
        body["resizeTimeout"] = timeout
    bench.ask("resize_pool", body, pool_id="p")


def codes(errors):
    return [error["code"] for error in errors]


def test_a_pool_grows_from_creating_to_idle(make_bench):
    bench = make_bench(SLOW)
    bench.add_pool(nodes=2, targetLowPriorityNodes=1)
    assert bench.node_states() == ["creating"] * 3
    assert bench.pool()["allocationState"] == "resizing"
    bench.advance(31)
    assert bench.node_states() == ["idle"] * 3
    shown = bench.pool()
    assert (shown["currentDedicatedNodes"], shown["currentLowPriorityNodes"]) == (2, 1)
    assert [node["isDedicated"] for node in bench.nodes()] == [True, True, False]
    assert bench.trail["allocation p"] == ["resizing", "steady"]
    assert "resizeErrors" not in shown
    bench.check()


def test_a_pool_shrinks_by_the_idle_first(bench):
    bench.add_pool(nodes=3)
    bench.add_job()
    bench.add_task("busy")
    (busy,) = [node["id"] for node in bench.nodes() if node["state"] == "running"]
    resize(bench, 1)
    assert [node["id"] for node in bench.nodes()] == [busy]
    assert bench.running() == ["busy"]
    assert bench.pool()["currentDedicatedNodes"] == 1
    gone = [states for name, states in bench.trail.items() if name.startswith("node ")]
    assert ["creating", "idle", "leavingpool"] in gone
    bench.check()


def test_requeue_moves_what_runs_on_a_leaving_node(bench):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_task("t")
    resize(bench, 0, option="requeue")
    assert bench.nodes() == []
    shown = bench.task("t")
    assert (shown["state"], shown["executionInfo"]["requeueCount"]) == ("active", 1)
    assert "startTime" not in shown["executionInfo"]
    resize(bench, 1)
    bench.advance(11)
    assert bench.task("t")["executionInfo"]["result"] == "success"
    bench.check()


def test_terminate_ends_what_runs_on_a_leaving_node(bench):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_task("t")
    resize(bench, 0, option="terminate")
    shown = bench.task("t")["executionInfo"]
    assert (shown["result"], shown["failureInfo"]["code"]) == ("failure", "TaskEnded")
    assert bench.counts()["failed"] == 1
    assert bench.nodes() == []
    bench.check()


@pytest.mark.parametrize("option", ["taskcompletion", "retaineddata"])
def test_a_node_that_drains_takes_nothing_new(bench, option):
    bench.add_pool(nodes=1, slots=2)
    bench.add_job()
    bench.add_tasks(1)
    resize(bench, 0, option=option)
    bench.add_task("late")
    assert bench.node_states() == ["leavingpool"]
    assert bench.task_states() == {"t0": "running", "late": "active"}
    assert bench.pool()["allocationState"] == "resizing"
    bench.advance(10)
    assert bench.task("t0")["executionInfo"]["result"] == "success"
    assert bench.nodes() == []
    assert bench.pool()["allocationState"] == "steady"
    assert bench.task_states()["late"] == "active"
    bench.check()


def test_a_draining_node_gives_its_backlog_back(bench):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_tasks(3, seconds=0.004)
    bench.advance(1)
    bench.add_tasks(60, job_id=add_second_job(bench), seconds=0.004)
    bench.owner.drain()
    resize(bench, 0, option="taskcompletion")
    bench.advance(1)
    assert bench.nodes() == []
    assert set(bench.task_states("k").values()) <= {"active", "completed"}
    bench.check()


def add_second_job(bench):
    bench.add_job("k")
    return "k"


def test_one_resize_at_a_time(make_bench):
    bench = make_bench(SLOW)
    bench.add_pool(nodes=1)
    assert bench.refusal("resize_pool", {"targetDedicatedNodes": 2}, pool_id="p") == (
        "PoolBeingResized"
    )
    body = {"nodeList": [bench.nodes()[0]["id"]]}
    assert bench.refusal("remove_nodes", body, pool_id="p") == "PoolBeingResized"


def test_a_stopped_resize_keeps_what_has_come(make_bench):
    bench = make_bench(SLOW)
    bench.add_pool(nodes=2)
    bench.ask("stop_pool_resize", pool_id="p")
    assert bench.pool()["allocationState"] == "stopping"
    bench.advance(31)
    shown = bench.pool()
    assert codes(shown["resizeErrors"]) == ["ResizeStopped"]
    assert bench.node_states() == ["idle", "idle"]
    assert bench.trail["allocation p"] == ["resizing", "stopping", "steady"]
    bench.check()


def test_stopping_a_steady_pool_changes_nothing(bench):
    bench.add_pool(nodes=1)
    before = bench.pool()
    bench.ask("stop_pool_resize", pool_id="p")
    assert bench.pool() == before


def test_nodes_that_never_call_are_given_up(make_bench):
    bench = make_bench(MUTE)
    bench.add_pool(nodes=2, resizeTimeout="PT5M")
    bench.advance(299)
    assert bench.pool()["allocationState"] == "resizing"
    bench.advance(2)
    shown = bench.pool()
    assert shown["allocationState"] == "steady"
    assert codes(shown["resizeErrors"]) == ["AllocationTimedout"]
    assert (bench.nodes(), shown["currentDedicatedNodes"]) == ([], 0)
    bench.check()


def test_a_stop_too_gives_up_nodes_that_never_call(make_bench):
    bench = make_bench(MUTE)
    bench.add_pool(nodes=1, resizeTimeout="PT5M")
    bench.ask("stop_pool_resize", pool_id="p")
    bench.advance(301)
    shown = bench.pool()
    assert shown["allocationState"] == "steady"
    assert "ResizeStopped" in codes(shown["resizeErrors"])
    assert bench.nodes() == []
    bench.check()


def test_a_time_out_survives_a_restart(make_bench):
    bench = make_bench(MUTE)
    bench.add_pool(nodes=1, resizeTimeout="PT5M")
    bench.advance(200)
    bench.restart()
    bench.advance(101)
    assert codes(bench.pool()["resizeErrors"]) == ["AllocationTimedout"]
    bench.check()


def test_a_slow_drain_ends_the_resize_and_goes_on(bench):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_task("long", seconds=1000)
    resize(bench, 0, option="taskcompletion", timeout="PT5M")
    bench.advance(301)
    assert codes(bench.pool()["resizeErrors"]) == ["AllocationTimedout"]
    assert bench.node_states() == ["leavingpool"]
    bench.advance(700)
    assert bench.nodes() == []
    assert bench.task("long")["executionInfo"]["result"] == "success"
    bench.check()


def test_an_engine_that_refuses_ends_the_resize(bench):
    bench.desk.refuses = "no machines left"
    bench.add_pool(nodes=2)
    shown = bench.pool()
    assert shown["allocationState"] == "steady"
    assert codes(shown["resizeErrors"]) == ["AllocationFailed"]
    assert shown["resizeErrors"][0]["values"] == [{"name": "Message", "value": "no machines left"}]
    assert bench.nodes() == []
    bench.check()
    bench.desk.refuses = None
    resize(bench, 2)
    assert bench.node_states() == ["idle", "idle"]
    assert "resizeErrors" not in bench.pool()


def test_agents_that_die_before_they_call_are_not_ordered_for_ever(make_bench):
    orders = []

    def fate(order):
        orders.append(order)
        return NodeFate(start_s=None, dies_after_s=1)

    bench = make_bench(Script(fate=fate))
    bench.add_pool(nodes=1)
    bench.advance(60)
    assert len(orders) == ORDER_FAILURES_MAX
    assert codes(bench.pool()["resizeErrors"]) == ["AllocationFailed"]
    assert bench.nodes() == []
    bench.check()


def test_named_nodes_leave_and_targets_follow(bench):
    bench.add_pool(nodes=2, targetLowPriorityNodes=1)
    first, second, spot = (node["id"] for node in bench.nodes())
    bench.ask("remove_nodes", {"nodeList": [second.upper(), spot]}, pool_id="p")
    assert [node["id"] for node in bench.nodes()] == [first]
    shown = bench.pool()
    assert (shown["targetDedicatedNodes"], shown["targetLowPriorityNodes"]) == (1, 0)
    assert shown["allocationState"] == "steady"
    assert bench.refusal("remove_nodes", {"nodeList": [second]}, pool_id="p") == "NodeNotFound"
    bench.check()


def test_a_removed_node_is_named_by_the_tasks_that_ran_on_it(bench):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_task("t", seconds=0)
    (node,) = bench.nodes()
    resize(bench, 0)
    assert bench.task("t")["nodeInfo"]["nodeId"] == node["id"]


def test_a_deleted_pool_leaves_its_tasks_to_the_next_of_its_name(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(3)
    bench.ask("delete_pool", pool_id="P")
    assert bench.refusal("get_pool", pool_id="p") == "PoolNotFound"
    assert set(bench.task_states().values()) == {"active"}
    assert bench.job()["state"] == "active"
    assert bench.trail["allocation p"] == ["resizing", "steady", "resizing"]
    bench.check()
    bench.add_pool(nodes=1)
    bench.advance(40)
    assert set(bench.task_states().values()) == {"completed"}
    assert "pool_deleted" in [event[1] for event in list_events(bench.reader)]
    bench.check()


def test_a_pool_that_is_being_deleted_refuses_everything(bench):
    bench.add_pool(nodes=1)
    bench.ask("delete_pool", pool_id="p", settled=False)
    assert bench.pool()["state"] == "deleting"
    for name, body in (
        ("resize_pool", {"targetDedicatedNodes": 1}),
        ("stop_pool_resize", None),
        ("update_pool", {"metadata": []}),
        ("delete_pool", None),
        ("remove_nodes", {"nodeList": ["x"]}),
    ):
        assert bench.refusal(name, body, pool_id="p", settled=False) == "PoolBeingDeleted"
    assert bench.refusal("create_pool", a_pool("p"), settled=False) == "PoolBeingDeleted"
    bench.settle()
    assert bench.refusal("delete_pool", pool_id="p") == "PoolNotFound"


def test_a_pool_deleted_while_its_nodes_are_away_goes_at_once(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_task("t", seconds=100)
    for node in bench.nodes():
        bench.engine.cut(node["id"])
    bench.ask("delete_pool", pool_id="p")
    assert bench.refusal("get_pool", pool_id="p") == "PoolNotFound"
    assert bench.task_states() == {"t": "active"}
    bench.check()


def test_a_deletion_does_not_wait_for_what_drains(bench):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_task("long", seconds=1000)
    resize(bench, 0, option="taskcompletion")
    bench.ask("delete_pool", pool_id="p")
    assert bench.refusal("get_pool", pool_id="p") == "PoolNotFound"
    assert bench.task_states() == {"long": "active"}
    bench.check()


def test_a_restart_in_the_middle_of_a_resize_goes_on(make_bench):
    bench = make_bench(SLOW)
    bench.add_pool(nodes=2)
    bench.restart()
    bench.advance(40)
    assert bench.node_states() == ["idle", "idle"]
    assert bench.pool()["allocationState"] == "steady"
    bench.check()


def test_a_changed_pool_follows_its_new_rules(bench):
    bench.add_pool(nodes=0)
    bench.ask(
        "update_pool",
        {"taskSlotsPerNode": 2, "taskSchedulingPolicy": {"nodeFillType": "pack"}},
        pool_id="p",
    )
    resize(bench, 2)
    bench.add_job()
    bench.add_tasks(2)
    assert sorted(bench.node_states()) == ["idle", "running"]
    bench.check()
    assert (
        bench.refusal("update_pool", {"taskSlotsPerNode": 1}, pool_id="p")
        == "OperationInvalidForCurrentState"
    )


@pytest.mark.parametrize(("fill", "busy"), [("pack", 1), ("spread", 2)])
def test_nodes_are_filled_as_the_pool_says(bench, fill, busy):
    bench.add_pool(nodes=2, slots=2, taskSchedulingPolicy={"nodeFillType": fill})
    bench.add_job()
    bench.add_tasks(2)
    assert bench.node_states().count("running") == busy
    shown = [node["runningTasksCount"] for node in bench.nodes()]
    assert sorted(shown) == ([0, 2] if fill == "pack" else [1, 1])

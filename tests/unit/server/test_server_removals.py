"""Nodes that their engine cannot end: the resize fails, the pool and its tasks go on."""

from __future__ import annotations

import msgspec
import pytest

from lote.engines.script import Script
from lote.store.events import list_events
from lote.store.nodes import get_node


@pytest.fixture
def held():
    """Ids of nodes that cannot be ended."""
    return set()


@pytest.fixture
def bench(make_bench, held):
    return make_bench(Script(removal=lambda node_id: "it hangs" if node_id in held else None))


def resize(bench, dedicated, **given):
    bench.ask("resize_pool", {"targetDedicatedNodes": dedicated} | given, pool_id="p")


def codes(bench):
    pool = bench.pool()
    assert pool["allocationState"] == "steady"
    return [error["code"] for error in pool.get("resizeErrors", [])]


def told(bench):
    return [event[3] for event in list_events(bench.reader) if event[1] == "node_not_removed"]


def test_a_shrink_that_cannot_remove_a_node_says_so(bench, held):
    bench.add_pool(nodes=2, targetLowPriorityNodes=1)
    bench.add_job()
    bench.add_tasks(3, seconds=100)
    keeps, hangs = (node["id"] for node in bench.nodes()[:2])
    held.add(hangs)
    resize(bench, 1, targetLowPriorityNodes=0)
    assert codes(bench) == ["RemoveNodesFailed"]
    (error,) = bench.pool()["resizeErrors"]
    values = [(one["name"], one["value"]) for one in error["values"]]
    assert values == [("NodeId", hangs), ("Message", f"node {hangs}: it hangs")]
    assert "dedicated" in error["message"]
    shown = {node["id"]: node for node in bench.nodes()}
    assert shown.keys() == {keeps, hangs}  # the low-priority one has gone
    assert shown[hangs]["state"] == "leavingpool"
    assert shown[hangs]["errors"][0]["code"] == "NodeNotRemoved"
    assert bench.pool()["currentDedicatedNodes"] == 2
    # The work of the nodes that were to leave is done by the others.
    bench.advance(350)
    assert set(bench.task_states().values()) == {"completed"}
    assert {task["executionInfo"]["exitCode"] for task in bench.tasks().values()} == {0}
    bench.check()


def test_it_is_tried_again_until_it_works(bench, held):
    bench.add_pool(nodes=2)
    ids = {node["id"] for node in bench.nodes()}
    held |= ids
    resize(bench, 0)
    assert codes(bench) == ["RemoveNodesFailed"]
    bench.advance(150)
    assert {node["id"] for node in bench.nodes()} == ids
    assert len(told(bench)) == 2, "once a node, not once an attempt"
    held.clear()
    bench.advance(61)
    assert bench.nodes() == []
    assert codes(bench) == ["RemoveNodesFailed"], "until the next resize"
    resize(bench, 1)
    assert codes(bench) == []
    bench.check()


def test_the_next_resize_tries_at_once(bench, held):
    bench.add_pool(nodes=1)
    held.add(bench.nodes()[0]["id"])
    resize(bench, 0)
    resize(bench, 2)
    assert codes(bench) == ["RemoveNodesFailed"]
    assert sorted(bench.node_states()) == ["idle", "idle", "leavingpool"]
    held.clear()
    resize(bench, 3)
    assert codes(bench) == []
    assert bench.node_states() == ["idle"] * 3
    bench.check()


def test_nodes_removed_by_name(bench, held):
    bench.add_pool(nodes=3)
    bench.add_job()
    bench.add_tasks(3, seconds=20)
    named = [node["id"] for node in bench.nodes()[:2]]
    held.add(named[0])
    bench.ask("remove_nodes", {"nodeList": named}, pool_id="p")
    assert codes(bench) == ["RemoveNodesFailed"]
    assert bench.pool()["targetDedicatedNodes"] == 1
    bench.advance(70)
    assert set(bench.task_states().values()) == {"completed"}
    held.clear()
    bench.advance(61)
    assert [node["state"] for node in bench.nodes()] == ["idle"]
    bench.check()


def test_a_pool_is_deleted_when_its_last_node_could_be_removed(bench, held):
    bench.add_pool(nodes=2)
    held.add(bench.nodes()[0]["id"])
    bench.ask("delete_pool", pool_id="p")
    assert bench.pool()["state"] == "deleting"
    assert bench.node_states() == ["leavingpool"]
    bench.advance(61)
    assert bench.pool()["state"] == "deleting"
    held.clear()
    bench.advance(61)
    assert bench.refusal("get_pool", pool_id="p") == "PoolNotFound"
    bench.check()


def test_a_lost_node_that_cannot_be_cleared_away_is_replaced_all_the_same(bench, held):
    bench.add_pool(nodes=1)
    lost = bench.nodes()[0]["id"]
    held.add(lost)
    bench.engine.kill_node(lost)
    bench.advance(5)
    assert sorted(bench.node_states()) == ["idle", "leavingpool"]
    assert bench.pool()["currentDedicatedNodes"] == 2
    assert codes(bench) == []
    bench.check()
    held.clear()
    bench.advance(61)
    assert bench.node_states() == ["idle"]
    bench.check()


@pytest.mark.parametrize("resume", ["before", "after"])
def test_a_new_server_tries_again(bench, held, resume):
    bench.add_pool(nodes=2)
    hangs = bench.nodes()[0]["id"]
    held.add(hangs)
    bench.ask("remove_nodes", {"nodeList": [hangs]}, pool_id="p")
    bench.restart(resume=resume)
    assert codes(bench) == ["RemoveNodesFailed"]
    record = get_node(bench.reader, "p", hangs)
    assert msgspec.json.decode(record.errors)[0]["code"] == "NodeNotRemoved"
    held.clear()
    bench.advance(61)
    assert bench.node_states() == ["idle"]
    bench.check()


def test_a_stopped_resize_has_both_errors(make_bench, held):
    script = Script(removal=lambda node_id: "it hangs" if node_id in held else None)
    bench = make_bench(script)
    bench.add_pool(nodes=2)
    held.add(bench.nodes()[1]["id"])
    bench.add_job()
    bench.add_tasks(2, seconds=10)
    resize(bench, 0, nodeDeallocationOption="taskcompletion")
    bench.ask("stop_pool_resize", pool_id="p")
    bench.advance(20)
    assert codes(bench) == ["ResizeStopped", "RemoveNodesFailed"]
    assert bench.node_states() == ["leavingpool"]
    bench.check()


def test_nothing_is_heard_of_what_prepared_a_job_there(bench, held):
    bench.add_pool()
    bench.add_job(jobPreparationTask={"commandLine": "sleep 2"})
    bench.add_task("t", seconds=5)
    (node,) = bench.nodes()
    held.add(node["id"])
    bench.engine.cut(node["id"])
    bench.advance(61)
    bench.check()
    assert sorted(bench.node_states()) == ["leavingpool", "running"]
    bench.advance(10)
    assert bench.task_states() == {"t": "completed"}
    bench.restart()
    bench.check()
    assert sorted(bench.node_states()) == ["idle", "leavingpool"]
    assert len(told(bench)) == 1, "a new server need not say it again"

"""Which runs count as requeued: those that had begun, when a user wanted them elsewhere."""

from __future__ import annotations

import pytest

PREPARATION = {"commandLine": "sh -c 'sleep 60'", "waitForSuccess": True}


def requeues(bench):
    """By task: how often it was requeued, and whether it says when."""
    infos = {task_id: task["executionInfo"] for task_id, task in bench.tasks().items()}
    return {
        task_id: (info["requeueCount"], "lastRequeueTime" in info)
        for task_id, info in infos.items()
    }


def disable(bench, **given):
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="j", **given)


def leave(bench):
    nodes = [node["id"] for node in bench.nodes()]
    bench.ask("remove_nodes", {"nodeList": nodes}, pool_id="p")


@pytest.mark.parametrize("act", [disable, leave])
def test_what_waits_for_a_slot_of_its_node_has_not_run(bench, act):
    bench.add_pool()
    bench.add_job()
    bench.add_tasks(30, seconds=0.01)
    bench.advance(20)
    bench.add_task("first", seconds=5)
    bench.add_task("second", seconds=5)
    (node,) = bench.owner.memory.nodes.values()
    held = {one.key: one.is_prefetched for one in node.placed.values()}
    assert sorted(held.values()) == [False, True]
    act(bench)
    assert bench.task_states()["first"] == bench.task_states()["second"] == "active"
    found = requeues(bench)
    assert (found["first"], found["second"]) == ((1, True), (0, False))
    bench.check()


@pytest.mark.parametrize("act", [disable, leave])
def test_a_task_that_waits_for_the_preparation_has_not_run(bench, act):
    bench.add_pool()
    bench.add_job(jobPreparationTask=PREPARATION)
    bench.add_task("t")
    assert bench.task_states() == {"t": "preparing"}
    act(bench)
    assert bench.task_states() == {"t": "active"}
    assert requeues(bench) == {"t": (0, False)}
    bench.check()


def test_one_whose_beginning_was_not_told_yet_has_run(bench):
    bench.add_pool()
    bench.add_job()
    bench.ask("create_task", {"id": "t", "commandLine": "sleep 9"}, job_id="j", settled=False)
    bench.settle()
    assert bench.task_states() == {"t": "active"}  # its agent has not reported
    disable(bench)
    assert bench.task_states() == {"t": "active"}
    assert requeues(bench) == {"t": (1, True)}
    bench.check()

"""Directories of deleted tasks and jobs: every node is told, also one that was away."""

from __future__ import annotations

import pytest


@pytest.fixture
def away(bench):
    """A job whose task ran on a node that is out of reach now; another node is there."""
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_task("t", seconds=1)
    bench.advance(3)
    bench.engine.cut(node_of(bench))
    bench.settle()
    return bench


def node_of(bench):
    return bench.task("t")["nodeInfo"]["nodeId"]


def told(bench):
    """What each node was told to remove."""
    return {name: node.cleaned for name, node in bench.engine._nodes.items()}


def owed(bench):
    return bench.reader.execute("SELECT directory FROM cleaning").fetchall()


@pytest.mark.parametrize("what", ["task", "job"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_node_that_was_away_is_told_when_it_is_back(away, what, restarts):
    node_id = node_of(away)
    directory = "workitems/j/job-1" + ("/t" if what == "task" else "")
    if what == "task":
        away.ask("delete_task", job_id="j", task_id="t")
    else:
        away.ask("delete_job", job_id="j")
    assert owed(away) == [(directory,)]
    assert told(away)[node_id] == []
    away.check()
    if restarts:
        away.restart()
    else:
        away.engine.mend(node_id)
    away.advance(0.1)
    assert told(away)[node_id] == [directory]
    assert owed(away) == []
    away.check()


def test_who_is_there_is_told_at_once(away):
    node_id = node_of(away)
    (other,) = told(away).keys() - {node_id}
    away.ask("delete_job", job_id="j")
    assert told(away)[other] == ["workitems/j/job-1"]


def test_a_node_that_never_comes_back_is_owed_nothing(away):
    away.ask("delete_job", job_id="j")
    assert owed(away)
    away.advance(120)
    away.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    away.advance(120)
    assert owed(away) == []
    away.check()


def test_all_nodes_where_a_task_may_have_been(bench):
    bench.add_pool(nodes=3)
    bench.add_job()
    bench.add_task("t", seconds=100)
    first = node_of(bench)
    option = {"nodeDisableSchedulingOption": "requeue"}
    bench.ask("disable_node_scheduling", option, pool_id="p", node_id=first)
    bench.advance(1)
    assert bench.running() == ["t"]
    assert node_of(bench) != first
    bench.ask("delete_task", job_id="j", task_id="t")
    assert set(map(tuple, told(bench).values())) == {("workitems/j/job-1/t",)}
    bench.check()


def test_a_node_of_the_pool_that_a_job_had_before(bench):
    bench.add_pool("p")
    bench.add_pool("q")
    bench.add_job(jobPreparationTask={"commandLine": "true"})
    bench.add_task("t", seconds=1)
    bench.advance(3)
    first = node_of(bench)
    bench.ask("disable_job", {"disableTasks": "wait"}, job_id="j")
    bench.ask("update_job", {"poolInfo": {"poolId": "q"}}, job_id="j")
    bench.ask("delete_job", job_id="j")
    assert set(told(bench)[first]) == {"workitems/j/job-1"}
    bench.check()

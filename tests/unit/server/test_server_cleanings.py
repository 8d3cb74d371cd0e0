"""Directories of deleted tasks and jobs: every node is told, also one that was away."""

from __future__ import annotations

import pytest

from lote.engines.script import NodeFate, Script


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


@pytest.fixture
def slow(make_bench):
    """A job that ran on a node whose agent takes a while to start."""
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=5)))
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=1)
    bench.advance(10)
    return bench


@pytest.mark.parametrize("how", ["reboot_node", "deallocate_node", "stop of the service"])
def test_a_node_without_an_agent_has_its_disk(slow, how):
    node_id = node_of(slow)
    if how == "stop of the service":
        slow.engine.close(leave_nodes=False)
        slow.restart()
    else:
        slow.ask(how, pool_id="p", node_id=node_id)
        slow.advance(1)
    assert slow.owner.memory.node_of_id(node_id).boot is None
    slow.ask("delete_job", job_id="j")
    slow.advance(1)
    assert owed(slow) == [("workitems/j/job-1",)]
    slow.check()
    if how == "deallocate_node":
        slow.restart()
        slow.advance(100)
        slow.ask("start_node", pool_id="p", node_id=node_id)
    slow.advance(10)
    assert slow.node_states() == ["idle"]
    assert told(slow)[node_id] == ["workitems/j/job-1"]
    assert owed(slow) == []
    slow.check()


def test_a_node_that_never_called_is_owed_nothing(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=5)))
    bench.add_pool()
    bench.add_job()
    bench.ask("delete_job", job_id="j")
    assert owed(bench) == []


def test_a_node_that_cannot_be_removed_is_owed_nothing(make_bench):
    bench = make_bench(Script(removal=lambda node_id: "it hangs"))
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=1)
    bench.advance(3)
    bench.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    assert bench.node_states() == ["leavingpool"]
    bench.ask("delete_job", job_id="j")
    bench.advance(1)
    assert owed(bench) == []
    bench.check()


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


def test_a_task_that_was_asked_back_before_it_began_was_on_one_node(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(30, seconds=0.01)
    bench.advance(20)
    for number in range(4):
        bench.add_task(f"long{number}", seconds=5)
    held = [one for one in bench.owner.memory.placed.values() if one.is_prefetched]
    assert held
    bench.ask("disable_job", {"disableTasks": "wait"}, job_id="j")
    bench.advance(6)
    assert not [one for one in bench.owner.memory.placed.values() if one.is_prefetched]
    bench.ask("enable_job", job_id="j")
    bench.advance(20)
    runs = dict(bench.reader.execute("SELECT id, run FROM task WHERE id LIKE 'long%'"))
    assert max(runs.values()) > 1
    for task_id in runs:
        bench.ask("delete_task", job_id="j", task_id=task_id)
    directories = sorted(directory for names in told(bench).values() for directory in names)
    assert directories == [f"workitems/j/job-1/{task_id}" for task_id in sorted(runs)]
    assert bench.desk.forgotten == []
    bench.check()


def test_a_task_that_was_killed_before_it_began_was_on_no_node(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_tasks(30, seconds=0.01)
    bench.advance(20)
    bench.add_task("begun", seconds=5)
    bench.add_task("waits", seconds=5)
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    assert bench.task_states()["begun"] == bench.task_states()["waits"] == "active"
    bench.ask("delete_task", job_id="j", task_id="waits")
    assert [*told(bench).values()] == [[]]
    bench.ask("delete_task", job_id="j", task_id="begun")
    assert [*told(bench).values()] == [["workitems/j/job-1/begun"]]
    bench.check()


def test_a_reactivated_task_was_where_it_ran_before(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_task("t", seconds=1, exits=1)
    bench.advance(3)
    first = node_of(bench)
    option = {"nodeDisableSchedulingOption": "requeue"}
    bench.ask("disable_node_scheduling", option, pool_id="p", node_id=first)
    bench.ask("reactivate_task", job_id="j", task_id="t")
    bench.advance(3)
    assert node_of(bench) != first
    bench.ask("delete_task", job_id="j", task_id="t")
    assert set(map(tuple, told(bench).values())) == {("workitems/j/job-1/t",)}
    bench.check()


def test_a_reactivated_task_that_never_ran_was_on_no_node(bench):
    bench.add_pool()
    bench.add_job()
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    bench.add_task("t")
    bench.ask("terminate_task", job_id="j", task_id="t")
    bench.ask("enable_job", job_id="j")
    bench.ask("disable_node_scheduling", None, pool_id="p", node_id=bench.nodes()[0]["id"])
    bench.ask("reactivate_task", job_id="j", task_id="t")
    bench.ask("delete_task", job_id="j", task_id="t")
    assert [*told(bench).values()] == [[]]
    bench.check()


def test_where_a_task_was_lost_nobody_knows_whether_it_had_begun(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.ask("create_task", {"id": "t", "commandLine": "sleep 9"}, job_id="j", settled=False)
    bench.settle()
    (placed,) = bench.owner.memory.placed.values()
    assert not placed.is_running
    node = bench.owner.memory.nodes[placed.node_key]
    bench.engine.cut(node.id)
    bench.settle()
    bench.advance(600)
    bench.ask("delete_task", job_id="j", task_id="t")
    assert bench.desk.forgotten == ["workitems/j/job-1/t"]
    bench.check()

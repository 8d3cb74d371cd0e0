"""Jobs that allow preemption make room for higher priorities; nothing is taken off in vain."""

from __future__ import annotations

import pytest

from lote.engines.script import Script, outcome_of_command

YIELDS = {"allowTaskPreemption": True}


class Ran:
    """Counts attempts at tasks, by id."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def outcome(self, task, retries):
        self.counts[task.id] = self.counts.get(task.id, 0) + 1
        return outcome_of_command(task, retries)


@pytest.fixture
def ran():
    return Ran()


@pytest.fixture
def rig(make_bench, ran):
    bench = make_bench(Script(outcome=ran.outcome))
    bench.add_pool(nodes=2, slots=2)
    return bench


def add(rig, job_id, priority, tasks, seconds=100, slots=1, **given):
    rig.add_job(job_id, priority=priority, **given)
    for number in range(tasks):
        rig.add_task(f"{job_id}{number}", job_id, seconds=seconds, slots=slots)


def states(rig, job_id):
    return sorted(rig.task_states(job_id).values())


def test_a_higher_priority_takes_what_it_needs_and_no_more(rig, ran):
    add(rig, "low", 0, 6, **YIELDS)
    assert len(rig.running("low")) == 4
    add(rig, "high", 5, 1)
    rig.advance(1)
    assert rig.running("high") == ["high0"]
    assert states(rig, "low") == ["active"] * 3 + ["running"] * 3
    assert rig.task("low3", "low")["executionInfo"]["requeueCount"] == 1
    assert "failureInfo" not in rig.task("low3", "low")["executionInfo"]
    rig.check()
    rig.advance(400)
    assert states(rig, "low") == ["completed"] * 6
    assert ran.counts == {"high0": 1, "low3": 2} | {f"low{n}": 1 for n in (0, 1, 2, 4, 5)}
    rig.check()


@pytest.mark.parametrize(
    ("allows", "priority"), [(False, 5), (True, 0), (True, -5)], ids=["not allowed", "same", "less"]
)
def test_nothing_is_taken_off_otherwise(rig, ran, allows, priority):
    add(rig, "low", 0, 4, allowTaskPreemption=allows)
    add(rig, "other", priority, 2)
    rig.advance(50)
    assert rig.running("other") == []
    assert set(ran.counts.values()) == {1}


def test_free_slots_come_first(rig, ran):
    add(rig, "low", 0, 3, **YIELDS)
    add(rig, "high", 5, 1)
    assert (len(rig.running("low")), len(rig.running("high"))) == (3, 1)


def test_the_lowest_priority_and_the_youngest_go_first(rig):
    add(rig, "middle", 3, 2, **YIELDS)
    add(rig, "low", 0, 2, **YIELDS)
    add(rig, "high", 5, 3)
    assert states(rig, "low") == ["active", "active"]
    assert rig.running("middle") == ["middle0"]
    rig.check()


def test_a_task_of_several_slots_takes_one_node(rig, ran):
    add(rig, "low", 0, 4, **YIELDS)
    add(rig, "high", 5, 1, slots=2)
    assert rig.running("high") == ["high0"]
    left = [rig.task(name, "low")["nodeInfo"]["nodeId"] for name in rig.running("low")]
    assert len(left) == 2
    assert set(left).isdisjoint({rig.task("high0", "high")["nodeInfo"]["nodeId"]})
    rig.check()


def test_what_does_not_yield_keeps_a_node(rig):
    add(rig, "fixed", 0, 2)  # one on each node
    add(rig, "low", 0, 2, **YIELDS)
    add(rig, "high", 5, 1, slots=2)
    rig.advance(50)
    assert rig.running("high") == []
    assert len(rig.running("low")) == 2  # taking them off would not have helped


def test_max_parallel_tasks_bounds_it(rig):
    add(rig, "low", 0, 4, **YIELDS)
    rig.add_job("high", priority=5, maxParallelTasks=1)
    rig.ask(
        "create_task_collection",
        {"value": [{"id": f"h{n}", "commandLine": "sleep 100"} for n in range(3)]},
        job_id="high",
    )
    rig.advance(10)
    assert (len(rig.running("high")), len(rig.running("low"))) == (1, 3)
    rig.ask("update_job", {"maxParallelTasks": 2}, job_id="high")
    rig.advance(1)
    assert (len(rig.running("high")), len(rig.running("low"))) == (2, 2)
    rig.check()


def test_a_change_of_priority_or_of_the_permission_acts_at_once(rig):
    add(rig, "low", 0, 4)
    add(rig, "high", 0, 1)
    rig.ask("update_job", {"priority": 9}, job_id="high")
    assert rig.running("high") == []
    rig.ask("update_job", {"allowTaskPreemption": True}, job_id="low")
    rig.advance(1)
    assert rig.running("high") == ["high0"]
    rig.check()
    rig.ask("update_job", {"allowTaskPreemption": False}, job_id="low")
    add(rig, "higher", 10, 1)
    rig.advance(10)
    assert rig.running("higher") == []
    rig.check()
    assert rig.job("low")["allowTaskPreemption"] is False


def test_a_manager_is_not_taken_off(rig):
    rig.add_job("low", jobManagerTask={"id": "boss", "commandLine": "sleep 500"}, **YIELDS)
    rig.add_task("t", "low", seconds=100, slots=2)
    add(rig, "high", 5, 2, slots=2)
    rig.advance(1)
    assert rig.running("low") == ["boss"]
    assert len(rig.running("high")) == 1


@pytest.mark.parametrize("resume", ["before", "after"])
def test_a_restart_while_a_task_is_taken_off(rig, ran, resume):
    add(rig, "low", 0, 4, **YIELDS)
    node_id = rig.task("low3", "low")["nodeInfo"]["nodeId"]
    rig.engine.cut(node_id)  # its answer does not arrive
    add(rig, "high", 5, 1)
    rig.restart(resume=resume)
    rig.check()
    rig.engine.mend(node_id)
    rig.advance(1)
    assert rig.running("high") == ["high0"]
    assert states(rig, "low") == ["active"] + ["running"] * 3
    rig.check()
    rig.advance(500)
    assert states(rig, "low") == ["completed"] * 4
    assert all(task["executionInfo"]["result"] == "success" for task in rig.tasks("low").values())
    rig.check()


def test_what_ends_by_itself_meanwhile_has_ended(rig, ran):
    add(rig, "low", 0, 4, seconds=10, **YIELDS)
    rig.advance(9.9)
    node_id = rig.task("low3", "low")["nodeInfo"]["nodeId"]
    rig.engine.cut(node_id)
    rig.advance(1)
    add(rig, "high", 5, 1)
    rig.engine.mend(node_id)
    rig.advance(5)
    assert states(rig, "low") == ["completed"] * 4
    assert ran.counts["low3"] == 1
    rig.check()


def test_nobody_is_taken_off_twice_for_the_same_task(rig, ran):
    """Many of both: each of the higher ones costs one run of a lower one, at most."""
    add(rig, "low", 0, 8, seconds=30, **YIELDS)
    for number in range(10):
        if number == 0:
            rig.add_job("high", priority=5)
        rig.add_task(f"high{number}", "high", seconds=7)
        rig.advance(3)
        rig.check()
    rig.advance(600)
    lost = sum(ran.counts[f"low{number}"] - 1 for number in range(8))
    assert lost <= 10
    assert all(ran.counts[f"high{number}"] == 1 for number in range(10))
    assert states(rig, "low") == ["completed"] * 8
    requeues = [task["executionInfo"]["requeueCount"] for task in rig.tasks("low").values()]
    assert sum(requeues) == lost
    rig.check()


def test_a_manager_that_lost_its_node_makes_room_for_itself(rig, ran):
    """REST: a restarted manager may take a slot of the same or a lower priority."""
    add(rig, "same", 0, 2, slots=1)
    manager = {"id": "boss", "commandLine": "sleep 60", "runExclusive": False}
    rig.add_job("led", jobManagerTask=manager)
    add(rig, "above", 5, 1)
    assert rig.running("led") == ["boss"]
    node_id = rig.task("boss", "led")["nodeInfo"]["nodeId"]
    body = {"nodeList": [node_id], "nodeDeallocationOption": "requeue"}
    rig.ask("remove_nodes", body, pool_id="p")
    rig.advance(1)
    assert rig.running("led") == ["boss"]
    assert rig.running("same") == []
    assert (ran.counts["boss"], ran.counts["above0"]) == (2, 1)
    rig.check()
    rig.advance(100)
    assert ran.counts["same1"] == 2


def test_a_manager_that_has_not_run_makes_no_room(rig, ran):
    add(rig, "same", 0, 4)
    rig.add_job("led", jobManagerTask={"id": "boss", "commandLine": "sleep 60"})
    rig.advance(50)
    assert rig.running("led") == []
    assert set(ran.counts.values()) == {1}


def test_a_manager_makes_no_room_for_others(rig, ran):
    """What came free would go to the higher priority that waits."""
    add(rig, "same", 0, 2)
    manager = {"id": "boss", "commandLine": "sleep 60", "runExclusive": False}
    rig.add_job("led", jobManagerTask=manager)
    add(rig, "above", 5, 1)
    node_id = rig.task("boss", "led")["nodeInfo"]["nodeId"]
    left = [
        name
        for name in ("same0", "same1")
        if rig.task(name, "same")["nodeInfo"]["nodeId"] != node_id
    ]
    add(rig, "wide", 5, 1, slots=2)
    rig.ask("remove_nodes", {"nodeList": [node_id]}, pool_id="p")
    rig.advance(50)
    assert rig.running("led") == []
    assert rig.running("same") == left


def test_an_exclusive_manager_gets_a_whole_node_again(rig, ran):
    rig.add_job("led", jobManagerTask={"id": "boss", "commandLine": "sleep 60"})
    add(rig, "same", 0, 2)
    node_id = rig.task("boss", "led")["nodeInfo"]["nodeId"]
    rig.engine.kill_node(node_id)
    rig.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    rig.advance(2)
    assert rig.running("led") == ["boss"]
    assert (ran.counts, rig.running("same")) == ({"boss": 2, "same0": 1, "same1": 1}, [])
    rig.check()


def test_what_would_be_kept_for_a_multi_instance_task_is_not_taken_off_for_others(make_bench, ran):
    bench = make_bench(Script(outcome=ran.outcome))
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    add(bench, "fixed", 0, 1, seconds=1000)
    add(bench, "low", 0, 2, seconds=1000, **YIELDS)
    bench.add_job("gang", priority=5)
    settings = {"numberOfInstances": 3, "coordinationCommandLine": "true"}
    bench.add_task("g", "gang", multiInstanceSettings=settings)
    assert len(bench.running("low")) == 2  # two nodes would not be enough for it
    add(bench, "middle", 3, 1)
    bench.advance(50)
    assert (len(bench.running("low")), bench.running("middle")) == (2, [])
    assert ran.counts == {"fixed0": 1, "low0": 1, "low1": 1}
    bench.ask("terminate_task", job_id="fixed", task_id="fixed0")
    bench.advance(2)
    assert bench.running("gang") == ["g"]
    bench.check()

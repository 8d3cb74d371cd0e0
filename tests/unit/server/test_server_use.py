"""What tasks used that is told beside their ends. Scripted processes compute all the time."""

from __future__ import annotations

import pytest

from lote.engines.script import Outcome, Script
from lote.wire.formats import parse_duration

ASKS = {"api-version": "2024-07-01.20.0", "expand": "stats"}
BRIEFLY_S = 1.0  # for reports to come


def gang(**given):
    settings = {"numberOfInstances": 3, "coordinationCommandLine": "sh -c 'sleep 1'"}
    return {"multiInstanceSettings": settings} | given


@pytest.fixture
def rig(bench):
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job()
    return bench


def used_s(bench, name, **where):
    """Processor and wall clock time."""
    stats = bench.ask(name, job_id="j", query=ASKS, settled=False, **where)["stats"]
    return [parse_duration(stats[of]) for of in ("userCPUTime", "wallClockTime")]


def of_task_and_job(bench):
    """Those of the one task of the job, which are those of the job."""
    used = used_s(bench, "get_task", task_id="t")
    assert used == used_s(bench, "get_job")
    return used


def test_a_terminated_task_is_counted_once_its_node_has_ended_it(rig):
    rig.add_task("t", seconds=60)
    rig.advance(20)
    rig.ask("terminate_task", job_id="j", task_id="t")
    assert of_task_and_job(rig) == pytest.approx([20, 20], abs=BRIEFLY_S)


def test_a_node_that_tells_it_after_a_restart_is_not_heard(rig):
    rig.add_task("t", **gang())
    rig.advance(5)
    task = rig.task("t")
    (victim,) = [one["id"] for one in rig.nodes()][-1:]
    assert task["nodeInfo"]["nodeId"] != victim
    rig.engine.cut(victim)
    rig.advance(7)
    assert rig.task("t")["state"] == "completed"
    rig.restart()
    rig.engine.mend(victim)
    rig.advance(20)
    assert of_task_and_job(rig) == pytest.approx([22, 11], abs=2 * BRIEFLY_S)
    rig.check()


def test_all_instances_are_counted_and_the_time_of_the_primary(rig):
    rig.add_task("t", **gang())
    rig.advance(13)
    assert rig.task("t")["state"] == "completed"
    assert of_task_and_job(rig) == pytest.approx([33, 11], abs=BRIEFLY_S)


def test_all_attempts_of_all_instances_are_counted(rig):
    rig.add_task("t", exits=3, **gang(constraints={"maxTaskRetryCount": 2}))
    rig.advance(40)
    assert rig.task("t")["executionInfo"]["retryCount"] == 2
    assert of_task_and_job(rig) == pytest.approx([99, 33], abs=3 * BRIEFLY_S)


def test_a_subtask_that_fails_is_counted_with_the_others(make_bench):
    script = Script(coordination=lambda task, number: Outcome(10.0, 1 if number == 2 else 0))
    bench = make_bench(script)
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job()
    bench.add_task("t", **gang())
    bench.advance(13)
    assert bench.task("t")["state"] == "completed"
    assert of_task_and_job(bench) == pytest.approx([30, 10], abs=BRIEFLY_S)


def test_a_reactivated_task_begins_anew_and_its_job_keeps_what_it_used(rig):
    rig.add_task("t", exits=3, **gang())
    rig.advance(13)
    rig.ask("reactivate_task", job_id="j", task_id="t")
    rig.advance(13)
    assert used_s(rig, "get_task", task_id="t") == pytest.approx([33, 11], abs=BRIEFLY_S)
    assert used_s(rig, "get_job") == pytest.approx([66, 22], abs=2 * BRIEFLY_S)

"""Jobs: every state and refusal, and what happens to their tasks on the way."""

from __future__ import annotations

import pytest
from bench import a_task, depends_on

from lote.server.job_ends import DELETE_CHUNK
from lote.server.request import Conditions

DISABLE = {"disableTasks": "requeue"}
TERMINATE_LAST = {"onAllTasksComplete": "terminatejob"}


@pytest.fixture
def busy(bench):
    """A job with two tasks that run and one that waits."""
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(3)
    assert sorted(bench.running()) == ["t0", "t1"]
    return bench


def info(bench, task_id, job_id="j"):
    return bench.task(task_id, job_id)["executionInfo"]


# -- disable and enable ---------------------------------------------------------------------


def test_disable_requeue_stops_what_runs(busy):
    busy.ask("disable_job", DISABLE, job_id="j", settled=False)
    assert busy.job()["state"] == "disabling"
    busy.advance(0.1)
    assert busy.job()["state"] == "disabled"
    assert set(busy.task_states().values()) == {"active"}
    assert [info(busy, f"t{n}")["requeueCount"] for n in range(3)] == [1, 1, 0]
    assert busy.node_states() == ["idle", "idle"]
    busy.check()
    busy.ask("enable_job", job_id="j")
    assert sorted(busy.running()) == ["t0", "t1"]
    busy.advance(21)
    assert busy.counts()["succeeded"] == 3
    assert busy.trail["job j"] == ["active", "disabling", "disabled", "active"]
    busy.check()


def test_disable_terminate_ends_what_runs(busy):
    busy.ask("disable_job", {"disableTasks": "terminate"}, job_id="j")
    assert busy.job()["state"] == "disabled"
    assert busy.task_states() == {"t0": "completed", "t1": "completed", "t2": "active"}
    assert info(busy, "t0")["failureInfo"]["code"] == "TaskEnded"
    busy.check()


def test_disable_wait_lets_what_runs_finish(busy):
    busy.ask("disable_job", {"disableTasks": "wait"}, job_id="j")
    busy.advance(9)
    assert busy.job()["state"] == "disabling"
    assert sorted(busy.running()) == ["t0", "t1"]
    busy.advance(2)
    assert busy.job()["state"] == "disabled"
    assert busy.counts() == {
        "active": 1,
        "running": 0,
        "completed": 2,
        "succeeded": 2,
        "failed": 0,
    }
    busy.check()


def test_who_waits_may_lose_patience(busy):
    busy.ask("disable_job", {"disableTasks": "wait"}, job_id="j")
    busy.ask("disable_job", DISABLE, job_id="j")
    assert busy.job()["state"] == "disabled"
    assert busy.counts()["active"] == 3
    busy.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "wait"])
def test_disabling_reaches_tasks_that_wait_on_their_nodes(bench, option):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_tasks(1, seconds=0.004)
    bench.advance(1)
    value = [a_task(f"more{n}", seconds=0.004) for n in range(50)]
    bench.ask("create_task_collection", {"value": value}, job_id="j", settled=False)
    bench.settle()
    backlog = [one for one in bench.owner.memory.placed.values() if one.is_prefetched]
    assert len(backlog) > 5
    bench.ask("disable_job", {"disableTasks": option}, job_id="j")
    bench.advance(1)
    assert bench.job()["state"] == "disabled"
    assert not bench.owner.memory.placed
    assert bench.counts()["active"] > 40
    assert bench.counts()["running"] == 0
    bench.check()
    bench.ask("enable_job", job_id="j")
    bench.advance(5)
    assert bench.counts()["active"] == 0
    bench.check()


def test_tasks_added_to_a_disabled_job_wait(bench):
    bench.add_pool()
    bench.add_job()
    bench.ask("disable_job", DISABLE, job_id="j")
    bench.add_task("t")
    bench.advance(5)
    assert bench.task_states() == {"t": "active"}
    bench.ask("enable_job", job_id="j")
    assert bench.running() == ["t"]


def test_a_disabled_job_can_move_to_another_pool(busy):
    busy.add_pool("q", nodes=1)
    body = {"poolInfo": {"poolId": "q"}}
    refused = busy.refusal("update_job", body, job_id="j")
    assert refused == "OperationInvalidForCurrentState"
    busy.ask("disable_job", DISABLE, job_id="j")
    busy.ask("update_job", body, job_id="j")
    busy.ask("enable_job", job_id="j")
    assert busy.node_states("q") == ["running"]
    assert busy.node_states("p") == ["idle", "idle"]
    busy.advance(31)
    assert busy.counts()["succeeded"] == 3
    busy.check()


# -- terminate ------------------------------------------------------------------------------


def test_terminate_ends_what_runs_and_leaves_what_waits(busy):
    busy.ask("terminate_job", {"terminateReason": "enough"}, job_id="j", settled=False)
    shown = busy.job()
    assert (shown["state"], shown["executionInfo"]["terminateReason"]) == ("terminating", "enough")
    busy.advance(0.1)
    shown = busy.job()
    assert (shown["state"], shown["previousState"]) == ("completed", "terminating")
    assert "endTime" in shown["executionInfo"]
    assert busy.task_states() == {"t0": "completed", "t1": "completed", "t2": "active"}
    assert info(busy, "t0")["failureInfo"]["code"] == "TaskEnded"
    assert busy.node_states() == ["idle", "idle"]
    busy.check()


def test_terminating_waits_for_nodes_unless_it_is_forced(busy):
    for node in busy.nodes():
        busy.engine.cut(node["id"])
    busy.settle()
    busy.ask("terminate_job", job_id="j")
    assert busy.job()["state"] == "terminating"
    refused = busy.refusal("terminate_job", job_id="j", query={"force": "true"})
    assert refused == "JobBeingTerminated"
    busy.add_job("k")
    busy.advance(61)
    assert busy.job()["state"] == "completed"
    busy.check()


def test_a_forced_end_does_not_wait_for_nodes(busy):
    for node in busy.nodes():
        busy.engine.cut(node["id"])
    busy.settle()
    busy.ask("terminate_job", job_id="j", query={"force": "true"}, settled=False)
    busy.settle()
    assert busy.job()["state"] == "completed"
    assert not busy.owner.memory.placed
    busy.check()
    for node in busy.nodes():
        busy.engine.mend(node["id"])
    busy.advance(20)
    assert busy.counts()["failed"] == 2
    assert [busy.engine.count_running(node["id"]) for node in busy.nodes()] == [0, 0]
    busy.check()


def test_a_forced_deletion_leaves_nothing(busy):
    busy.ask("delete_job", job_id="j", query={"force": "true"}, settled=False)
    assert busy.reader.execute("SELECT * FROM job_count").fetchall() == []
    busy.check()
    busy.advance(20)
    assert [busy.engine.count_running(node["id"]) for node in busy.nodes()] == [0, 0]
    busy.check()


@pytest.mark.parametrize("name", ["terminate_job", "delete_job"])
def test_an_odd_force_is_refused_and_changes_nothing(busy, name):
    refused = busy.refusal(name, job_id="j", query={"force": "perhaps"})
    assert refused == "InvalidQueryParameterValue"
    assert busy.job()["state"] == "active"
    busy.check()


def test_an_odd_force_on_a_completed_job_leaves_it_out_of_memory(bench):
    bench.add_job()
    bench.ask("terminate_job", job_id="j")
    bench.refusal("delete_job", job_id="j", query={"force": "perhaps"})
    assert not bench.owner.memory.jobs
    bench.check()


def test_the_wall_clock_ends_a_job(bench):
    bench.add_pool()
    bench.add_job(constraints={"maxWallClockTime": "PT5M"})
    bench.add_task("t", seconds=1000)
    bench.advance(290)
    assert bench.job()["state"] == "active"
    bench.restart()
    bench.advance(11)
    shown = bench.job()
    assert shown["state"] == "completed"
    assert shown["executionInfo"]["terminateReason"] == "MaxWallClockTimeExpiry"
    assert bench.task_states() == {"t": "completed"}
    bench.check()


def test_the_wall_clock_can_be_set_later_and_taken_away(bench):
    bench.add_job(constraints={"maxWallClockTime": "PT1M"})
    bench.ask("update_job", {"constraints": {"maxWallClockTime": "PT10M"}}, job_id="j")
    bench.advance(70)
    assert bench.job()["state"] == "active"
    bench.ask("replace_job", {"poolInfo": {"poolId": "p"}}, job_id="j")
    bench.advance(700)
    assert bench.job()["state"] == "active"
    bench.ask("update_job", {"constraints": {"maxWallClockTime": "PT15M"}}, job_id="j")
    bench.advance(200)
    assert bench.job()["state"] == "completed"
    bench.check()


# -- the last task --------------------------------------------------------------------------


def test_a_job_ends_with_its_last_task(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_tasks(2)
    bench.ask("update_job", TERMINATE_LAST, job_id="j")
    bench.advance(11)
    assert bench.job()["state"] == "active"
    bench.advance(10)
    shown = bench.job()
    assert shown["state"] == "completed"
    assert shown["executionInfo"]["terminateReason"] == "AllTasksComplete"
    bench.check()


def test_a_job_without_tasks_ends_as_soon_as_it_may(bench):
    bench.add_job("now", **TERMINATE_LAST)
    assert bench.job("now")["state"] == "completed"
    bench.add_job("later")
    bench.ask("update_job", TERMINATE_LAST, job_id="later")
    assert bench.job("later")["state"] == "completed"


def test_terminatejob_cannot_be_taken_back(busy):
    busy.ask("update_job", TERMINATE_LAST, job_id="j")
    for body in ({"onAllTasksComplete": "noaction"}, {"onAllTasksComplete": "noAction"}):
        refused = busy.refusal("update_job", body, job_id="j")
        assert refused == "InvalidPropertyValue"
    busy.check()


@pytest.mark.parametrize("way", ["delete_task", "terminate_task"])
def test_the_last_task_may_go_by_request(bench, way):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=500)
    bench.ask("update_job", TERMINATE_LAST, job_id="j")
    bench.ask(way, job_id="j", task_id="t")
    assert bench.job()["state"] == "completed"
    assert bench.node_states() == ["idle"]
    bench.check()


# -- failures -------------------------------------------------------------------------------


def acting_job(bench, **given):
    bench.add_pool()
    bench.add_job(onTaskFailure="performExitOptionsJobAction", **given)


def test_a_failure_ends_the_job_if_it_is_to(bench):
    acting_job(bench)
    bench.add_task("good", seconds=1)
    bench.add_task("bad", seconds=1, exits=3)
    bench.add_task("never")
    bench.advance(3)
    shown = bench.job()
    assert (shown["state"], shown["executionInfo"]["terminateReason"]) == (
        "completed",
        "TaskFailed",
    )
    assert bench.task_states()["never"] == "active"
    bench.check()


@pytest.mark.parametrize(
    ("exits", "state"), [(0, "active"), (1, "active"), (2, "disabled"), (7, "completed")]
)
def test_exit_conditions_choose_what_becomes_of_the_job(bench, exits, state):
    acting_job(bench)
    conditions = {
        "exitCodes": [{"code": 1, "exitOptions": {"jobAction": "none"}}],
        "exitCodeRanges": [{"start": 2, "end": 5, "exitOptions": {"jobAction": "disable"}}],
        "default": {"jobAction": "terminate"},
    }
    bench.add_task("t", seconds=1, exits=exits, exitConditions=conditions)
    bench.add_task("other", seconds=0.5)
    bench.advance(5)
    assert bench.job()["state"] == state
    bench.check()


def test_a_task_ended_by_request_fails_its_job_too(bench):
    acting_job(bench)
    bench.add_tasks(2)
    bench.ask("terminate_task", job_id="j", task_id="t1")
    assert bench.job()["executionInfo"]["terminateReason"] == "TaskFailed"
    bench.check()


def test_jobs_that_do_not_act_do_not_mind(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("bad", seconds=1, exits=3)
    bench.advance(2)
    assert bench.job()["state"] == "active"
    assert info(bench, "bad")["failureInfo"]["code"] == "FailureExitCode"


# -- deletion -------------------------------------------------------------------------------


def test_a_deleted_job_vanishes_with_its_tasks(busy):
    busy.ask("delete_job", job_id="j", settled=False)
    assert busy.job()["state"] == "deleting"
    assert busy.refusal("create_job", {"id": "J", "poolInfo": {"poolId": "p"}}, settled=False) == (
        "JobBeingDeleted"
    )
    busy.advance(0.1)
    assert busy.refusal("get_job", job_id="j") == "JobNotFound"
    assert busy.reader.execute("SELECT count(*) FROM task_spec").fetchone() == (0,)
    assert busy.node_states() == ["idle", "idle"]
    assert busy.desk.forgotten == ["workitems/j/job-1"]
    busy.check()
    busy.add_job()
    assert busy.tasks() == {}


def test_a_large_job_is_deleted_piece_by_piece(bench):
    bench.add_job(usesTaskDependencies=True)
    bench.add_tasks(DELETE_CHUNK + 100)
    bench.ask("create_task", a_task("x") | depends_on("t1", ranges=[(1, 3)]), job_id="j")
    begun = bench.trail["job j"]
    bench.ask("delete_job", job_id="j", settled=False)
    rows = bench.reader.execute("SELECT count(*) FROM task").fetchone()
    assert rows == (101,)
    assert begun[-1] == "deleting"
    bench.restart()
    assert bench.refusal("get_job", job_id="j") == "JobNotFound"
    for table in ("task", "task_spec", "dependency", "dependency_range", "job_count"):
        assert bench.reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    bench.check()


def test_a_completed_job_can_be_deleted(busy):
    busy.ask("terminate_job", job_id="j")
    busy.ask("delete_job", job_id="j")
    assert busy.refusal("get_job", job_id="j") == "JobNotFound"
    assert not busy.owner.memory.jobs
    busy.check()


def test_deletion_waits_for_nodes_that_are_away(busy):
    for node in busy.nodes():
        busy.engine.cut(node["id"])
    busy.settle()
    busy.ask("delete_job", job_id="j")
    assert busy.job()["state"] == "deleting"
    busy.check()
    busy.advance(61)
    assert busy.refusal("get_job", job_id="j") == "JobNotFound"
    busy.check()


# -- refusals -------------------------------------------------------------------------------

BODIES = {
    "disable_job": DISABLE,
    "create_task": a_task("new"),
    "update_job": {"priority": 5},
}
REFUSED = {
    "terminating": "JobBeingTerminated",
    "completed": "JobCompleted",
    "deleting": "JobBeingDeleted",
}


@pytest.mark.parametrize("state", sorted(REFUSED))
@pytest.mark.parametrize(
    "name", ["disable_job", "enable_job", "terminate_job", "update_job", "create_task"]
)
def test_a_job_at_its_end_refuses(busy, state, name):
    if state == "completed":
        busy.ask("terminate_job", job_id="j")
    else:
        end = "terminate_job" if state == "terminating" else "delete_job"
        busy.ask(end, job_id="j", settled=False)
    assert busy.job()["state"] == state
    refused = busy.refusal(name, BODIES.get(name), job_id="j", settled=False)
    assert refused == REFUSED[state]
    busy.settle()
    busy.check()


def test_what_a_living_job_refuses(busy):
    assert busy.refusal("enable_job", job_id="j") == "OperationInvalidForCurrentState"
    assert busy.refusal("create_job", {"id": "J", "poolInfo": {"poolId": "p"}}) == "JobExists"
    assert busy.refusal("get_job", job_id="other") == "JobNotFound"
    assert busy.refusal("enable_job", job_id="other") == "JobNotFound"
    busy.check()


def test_conditions_are_tested_before_anything_changes(busy):
    stale = Conditions(if_match="0x1")
    for name, body in (("disable_job", DISABLE), ("terminate_job", None), ("delete_job", None)):
        assert busy.refusal(name, body, job_id="j", conditions=stale) == "ConditionNotMet"
    assert busy.job()["state"] == "active"
    busy.check()


# -- priorities and limits ------------------------------------------------------------------


def test_a_higher_priority_goes_first(bench):
    bench.add_pool()
    bench.add_job("low")
    bench.add_job("high", priority=10)
    bench.add_task("first", "low", seconds=5)
    bench.add_task("second", "low")
    bench.add_task("urgent", "high")
    bench.advance(5)
    assert bench.running("high") == ["urgent"]
    assert bench.running("low") == []
    bench.check()


def test_priorities_can_change(bench):
    bench.add_pool()
    bench.add_job("a")
    bench.add_job("b")
    bench.add_task("busy", "a", seconds=5)
    bench.add_task("next", "a")
    bench.add_task("rival", "b")
    bench.ask("update_job", {"priority": 7}, job_id="b")
    bench.advance(5.1)
    assert (bench.running("a"), bench.running("b")) == ([], ["rival"])
    bench.check()


def test_a_job_runs_no_more_than_it_may(bench):
    bench.add_pool(nodes=3)
    bench.add_job(maxParallelTasks=2)
    bench.add_tasks(4)
    assert len(bench.running()) == 2
    bench.ask("update_job", {"maxParallelTasks": 3}, job_id="j")
    assert len(bench.running()) == 3
    bench.ask("update_job", {"maxParallelTasks": 1}, job_id="j")
    bench.advance(11)
    assert len(bench.running()) == 1
    bench.check()
    bench.advance(30)
    assert bench.counts()["succeeded"] == 4


def test_a_higher_priority_takes_back_what_was_lent(bench):
    """Prefetched tasks are revoked when more urgent ones come; each task still ends once."""
    bench.add_pool(nodes=2)
    bench.add_job("low")
    bench.add_job("high", priority=100)
    bench.add_tasks(4, "low", seconds=0.004)
    bench.advance(1)
    value = [a_task(f"more{n}", seconds=0.004) for n in range(99)]
    bench.ask("create_task_collection", {"value": value}, job_id="low", settled=False)
    bench.settle()
    assert [one for one in bench.owner.memory.placed.values() if one.is_prefetched]
    value = [a_task(f"now{n}", seconds=0.004) for n in range(4)]
    bench.ask("create_task_collection", {"value": value}, job_id="high", settled=False)
    bench.settle()
    for node in bench.owner.memory.view.nodes.values():
        assert node.returning == node.backlog.keys()
    bench.check()
    bench.advance(0.05)
    assert bench.counts("high")["active"] == 0
    bench.advance(10)
    assert bench.counts("low")["succeeded"] == 103
    assert bench.counts("high")["succeeded"] == 4
    bench.check()


def test_a_slot_that_falls_free_elsewhere_takes_over_a_backlog(bench):
    bench.add_pool(nodes=1)
    bench.add_job()
    bench.add_tasks(1, seconds=0.1)
    bench.advance(1)
    bench.add_task("blocks", seconds=0.1)
    value = [a_task(f"more{n}", seconds=0.1) for n in range(20)]
    bench.ask("create_task_collection", {"value": value}, job_id="j")
    bench.ask("resize_pool", {"targetDedicatedNodes": 3}, pool_id="p")
    bench.advance(0.02)
    assert len(bench.running()) == 3
    bench.advance(2)
    assert bench.counts()["succeeded"] == 22
    bench.check()


def test_a_job_that_has_run_dry_holds_up_no_other(make_bench):
    bench = make_bench(window_tasks=3)
    bench.add_pool(nodes=0, slots=2)
    bench.add_job("high", priority=100, maxParallelTasks=2)
    bench.add_job("low")
    bench.add_tasks(6, "high", seconds=0)
    bench.add_tasks(1, "low", seconds=0)
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    bench.advance(1)
    assert (bench.counts("high")["active"], bench.counts("low")["active"]) == (0, 0)
    bench.check()


def test_large_tasks_do_not_hide_what_lies_beyond_the_window(make_bench):
    """Tasks too large for any node fill the window; those behind them run all the same."""
    bench = make_bench(window_tasks=5)
    bench.add_pool(slots=2)
    bench.add_job()
    value = [a_task(f"large{n}", slots=3) for n in range(12)]
    bench.ask("create_task_collection", {"value": value}, job_id="j")
    bench.add_tasks(20, seconds=1)
    bench.advance(15)
    assert bench.counts() == {
        "active": 12,
        "running": 0,
        "completed": 20,
        "succeeded": 20,
        "failed": 0,
    }
    bench.check()


def test_what_is_being_killed_is_not_called_back_by_a_milder_disable(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=1000)
    bench.engine.cut(bench.nodes()[0]["id"])
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    bench.ask("disable_job", {"disableTasks": "wait"}, job_id="j")
    bench.check()
    bench.restart()
    bench.advance(1)
    assert bench.job()["state"] == "disabled"
    assert bench.task_states() == {"t": "active"}
    bench.check()

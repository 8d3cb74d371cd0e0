"""Tasks: dependencies, ends by request in every phase, reactivation, retries, windows."""

from __future__ import annotations

import itertools

import pytest
from bench import a_task, depends_on

from lote.store.records import BLOCKED, PLACED, READY, RUNNING


@pytest.fixture
def tree(bench):
    """A job whose tasks may depend on each other, and plenty of room."""
    bench.add_pool(nodes=4, slots=4)
    bench.add_job(usesTaskDependencies=True)
    return bench


def add(bench, task_id, *parents, ranges=None, **given):
    more = depends_on(*parents, ranges=ranges) if parents or ranges else {}
    bench.add_task(task_id, **(given | more))


def info(bench, task_id):
    return bench.task(task_id)["executionInfo"]


def phases(bench):
    rows = bench.reader.execute("SELECT id, phase FROM task ORDER BY key")
    return dict(rows.fetchall())


# -- dependencies ---------------------------------------------------------------------------


def test_a_diamond_runs_from_top_to_bottom(tree):
    add(tree, "top", seconds=2)
    add(tree, "left", "top", seconds=2)
    add(tree, "right", "TOP", seconds=4)
    add(tree, "bottom", "left", "right", seconds=2)
    assert phases(tree) == {"top": RUNNING, "left": BLOCKED, "right": BLOCKED, "bottom": BLOCKED}
    tree.advance(3)
    assert sorted(tree.running()) == ["left", "right"]
    tree.check()
    tree.advance(2)
    assert tree.task_states()["bottom"] == "active"
    tree.advance(3)
    tree.restart()
    tree.advance(3)
    assert tree.counts()["succeeded"] == 4
    assert info(tree, "bottom")["startTime"] >= info(tree, "right")["endTime"]
    tree.check()


def test_a_range_waits_for_each_of_its_numbers(tree):
    add(tree, "sum", ranges=[(1, 3)], seconds=1)
    add(tree, "1", seconds=1)
    add(tree, "03", seconds=1)
    add(tree, "3", seconds=1)
    tree.advance(5)
    assert tree.task_states()["sum"] == "active"
    tree.check()
    add(tree, "2", seconds=1)
    tree.advance(3)
    assert tree.task_states()["sum"] == "completed"
    tree.check()


def test_what_has_been_done_is_not_waited_for(tree):
    add(tree, "1", seconds=0)
    add(tree, "2", seconds=0)
    add(tree, "late", "1", ranges=[(1, 2)], seconds=5)
    assert tree.running() == ["late"]
    rows = tree.reader.execute("SELECT count(*) FROM dependency_range").fetchone()
    assert rows == (0,)
    tree.check()


@pytest.mark.parametrize(("action", "state"), [("satisfy", "completed"), ("block", "active")])
def test_a_failed_parent_blocks_unless_it_may_not(tree, action, state):
    add(tree, "bad", exits=1, seconds=1, exitConditions={"default": {"dependencyAction": action}})
    add(tree, "child", "bad", seconds=1)
    tree.advance(4)
    assert tree.task_states() == {"bad": "completed", "child": state}
    tree.check()


def test_an_exit_code_of_its_own_beats_the_default(tree):
    conditions = {
        "exitCodes": [{"code": 4, "exitOptions": {"dependencyAction": "satisfy"}}],
        "default": {"dependencyAction": "block"},
    }
    add(tree, "four", exits=4, seconds=1, exitConditions=conditions)
    add(tree, "five", exits=5, seconds=1, exitConditions=conditions)
    add(tree, "after4", "four", seconds=1)
    add(tree, "after5", "five", seconds=1)
    tree.advance(4)
    assert (tree.task_states()["after4"], tree.task_states()["after5"]) == ("completed", "active")


def test_a_blocked_child_runs_once_its_parent_has_run_again(make_bench):
    from lote.engines.script import Outcome, Script

    codes = itertools.chain([1], itertools.repeat(0))
    bench = make_bench(Script(outcome=lambda task, retries: Outcome(1, next(codes))))
    bench.add_pool(nodes=1)
    bench.add_job(usesTaskDependencies=True)
    add(bench, "parent")
    add(bench, "child", "parent")
    bench.advance(3)
    assert bench.task_states() == {"parent": "completed", "child": "active"}
    bench.ask("reactivate_task", job_id="j", task_id="parent")
    bench.advance(3)
    assert bench.task_states() == {"parent": "completed", "child": "completed"}
    assert bench.counts()["failed"] == 0
    bench.check()


@pytest.mark.parametrize("way", ["reactivate_task", "delete_task"])
def test_a_number_counts_once_however_often_its_task_ends(tree, way):
    """The member of a range that goes and comes again does not stand for another one."""
    satisfied = {"default": {"dependencyAction": "satisfy"}}
    add(tree, "sum", ranges=[(1, 2)], seconds=1)
    add(tree, "1", seconds=1, exits=1, exitConditions=satisfied)
    tree.advance(2)
    tree.ask(way, job_id="j", task_id="1")
    tree.check()
    if way == "delete_task":
        add(tree, "1", seconds=1)
    tree.advance(2)
    assert tree.task_states()["sum"] == "active"
    tree.check()
    add(tree, "2", seconds=1)
    tree.advance(3)
    assert tree.task_states()["sum"] == "completed"
    tree.check()


@pytest.mark.parametrize("by", ["id", "range"])
@pytest.mark.parametrize("way", ["reactivate_task", "delete_task"])
def test_what_was_satisfied_stays_so_for_those_that_waited_for_it(tree, way, by):
    """Whoever is added afterwards waits for the task that has the id by then."""
    satisfied = {"default": {"dependencyAction": "satisfy"}}
    both = {"parents": ("1", "2")} if by == "id" else {"ranges": [(1, 2)]}
    one = {"parents": ("1",)} if by == "id" else {"ranges": [(1, 1)]}
    add(tree, "before", *both.pop("parents", ()), seconds=1, **both)
    add(tree, "1", seconds=1, exits=1, exitConditions=satisfied)
    tree.advance(2)
    tree.ask(way, job_id="j", task_id="1")
    if way == "delete_task":
        add(tree, "1", seconds=50)
    add(tree, "after", *one.pop("parents", ()), seconds=1, **one)
    assert tree.task_states()["1"] != "completed"
    tree.check()
    add(tree, "2", seconds=0)
    tree.advance(0.5)
    assert (tree.task_states()["before"], tree.task_states()["after"]) == ("running", "active")
    tree.advance(100)
    assert tree.task_states() == dict.fromkeys(("before", "after", "1", "2"), "completed")
    starts = {name: info(tree, name)["startTime"] for name in ("before", "after")}
    assert starts["before"] < starts["after"]
    tree.check()


def test_two_tasks_of_one_number_stand_for_each_other(tree):
    add(tree, "sum", ranges=[(4, 5)], seconds=1)
    add(tree, "4", seconds=1)
    add(tree, "04", seconds=1)
    tree.advance(2)
    tree.ask("delete_task", job_id="j", task_id="4")
    tree.check()
    add(tree, "5", seconds=1)
    tree.advance(3)
    assert tree.task_states()["sum"] == "completed"
    tree.check()


def test_dependencies_need_a_job_that_has_them(bench):
    bench.add_job()
    body = a_task("t") | depends_on("other")
    assert bench.refusal("create_task", body, job_id="j").startswith("TaskDep")
    bench.check()


def test_a_wide_fan_is_let_go_at_once(make_bench):
    bench = make_bench(window_tasks=5)
    bench.add_pool(nodes=2, slots=4)
    bench.add_job(usesTaskDependencies=True)
    add(bench, "root", seconds=1)
    bench.add_tasks(150, **depends_on("root"), seconds=1)
    assert bench.counts()["active"] == 150
    bench.advance(1.1)
    bench.check()
    bench.advance(30)
    assert bench.counts()["succeeded"] == 151
    bench.check()


# -- ended, deleted, reactivated in every phase ---------------------------------------------

PHASES = {"blocked": BLOCKED, "ready": READY, "placed": PLACED, "running": RUNNING}


def in_phase(bench, phase):
    """A task ``t`` in this phase, beside others; the record may be ahead of the agent."""
    bench.add_pool(nodes=1)
    bench.add_job(usesTaskDependencies=True)
    if phase == "blocked":
        add(bench, "t", "nobody")
    elif phase == "ready":
        add(bench, "first")
        add(bench, "t")
    elif phase == "running":
        add(bench, "t")
    else:
        add(bench, "warm", seconds=0.004)
        value = [a_task(name, seconds=0.004) for name in ("first", "second", "t")]
        bench.ask("create_task_collection", {"value": value}, job_id="j", settled=False)
        bench.settle()
    assert phases(bench)["t"] == PHASES[phase]
    bench.check()


@pytest.mark.parametrize("phase", PHASES)
def test_a_task_is_terminated_in_any_phase(bench, phase):
    in_phase(bench, phase)
    bench.ask("terminate_task", job_id="j", task_id="t", settled=False)
    shown = bench.task("t")
    assert shown["state"] == "completed"
    assert shown["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    assert shown["executionInfo"]["result"] == "failure"
    bench.check()
    bench.advance(30)
    counts = bench.counts()
    assert (counts["failed"], counts["running"]) == (1, 0)
    assert "exitCode" not in info(bench, "t")
    assert bench.refusal("terminate_task", job_id="j", task_id="t") == "TaskCompleted"
    assert not bench.owner.memory.placed
    bench.check()


@pytest.mark.parametrize("phase", PHASES)
def test_a_task_is_deleted_in_any_phase(bench, phase):
    in_phase(bench, phase)
    bench.ask("delete_task", job_id="j", task_id="t", settled=False)
    assert bench.refusal("get_task", job_id="j", task_id="t", settled=False) == "TaskNotFound"
    bench.check()
    bench.advance(30)
    assert bench.counts()["failed"] == 0
    assert not bench.owner.memory.placed
    bench.check()
    bench.add_task("t", seconds=1)
    bench.advance(3)
    assert info(bench, "t")["result"] == "success"
    bench.check()


@pytest.mark.parametrize("phase", PHASES)
def test_a_task_is_reactivated_after_an_end_in_any_phase(bench, phase):
    in_phase(bench, phase)
    assert bench.refusal("reactivate_task", job_id="j", task_id="t", settled=False) == (
        "TaskNotCompleted"
    )
    bench.ask("terminate_task", job_id="j", task_id="t")
    bench.ask("reactivate_task", job_id="j", task_id="t", settled=False)
    shown = bench.task("t")
    assert (shown["state"], shown["previousState"]) == ("active", "completed")
    assert set(shown["executionInfo"]) == {"retryCount", "requeueCount"}
    bench.check()
    bench.advance(40)
    assert bench.task_states()["t"] == ("active" if phase == "blocked" else "completed")
    assert bench.counts()["failed"] == 0
    bench.check()


def test_a_task_whose_process_is_still_being_ended_is_not_reactivated(bench):
    in_phase(bench, "running")
    (node,) = bench.nodes()
    bench.engine.cut(node["id"])
    bench.settle()
    bench.ask("terminate_task", job_id="j", task_id="t")
    assert bench.refusal("reactivate_task", job_id="j", task_id="t") == "TaskNotCompleted"
    bench.engine.mend(node["id"])
    bench.advance(0.1)
    bench.ask("reactivate_task", job_id="j", task_id="t")
    bench.advance(11)
    assert info(bench, "t")["result"] == "success"
    bench.check()


def test_a_success_is_not_reactivated(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=0)
    assert bench.refusal("reactivate_task", job_id="j", task_id="t") == "TaskSucceeded"


def test_what_ended_in_a_completed_job_is_counted(bench):
    bench.add_job()
    bench.add_tasks(3)
    bench.ask("terminate_job", job_id="j")
    bench.ask("terminate_task", job_id="j", task_id="t0")
    bench.ask("delete_task", job_id="j", task_id="t1")
    bench.ask("delete_task", job_id="j", task_id="t0")
    bench.ask("terminate_task", job_id="j", task_id="t2")
    assert (bench.counts()["failed"], bench.counts()["active"]) == (1, 0)
    assert bench.refusal("reactivate_task", job_id="j", task_id="t2") == "JobCompleted"
    bench.check()


def test_files_of_deleted_tasks_are_cleared_away(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_tasks(2, seconds=0)
    bench.ask("delete_task", job_id="j", task_id="t0")
    assert bench.desk.forgotten == []  # the node still there is told
    bench.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    bench.ask("delete_task", job_id="j", task_id="t1")
    assert bench.desk.forgotten == ["workitems/j/job-1/t1"]


# -- retries, changes, keys -----------------------------------------------------------------


def test_retries_are_counted_and_have_an_end(bench):
    bench.add_pool()
    bench.add_job(constraints={"maxTaskRetryCount": 1})
    bench.add_task("as_job", seconds=1, exits=1)
    bench.add_task("own", seconds=1, exits=1, constraints={"maxTaskRetryCount": 3})
    bench.advance(10)
    assert (info(bench, "as_job")["retryCount"], info(bench, "own")["retryCount"]) == (1, 3)
    assert info(bench, "own")["failureInfo"]["code"] == "FailureExitCode"
    assert "lastRetryTime" in info(bench, "own")
    bench.check()


def test_a_waiting_task_takes_new_constraints(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("first", seconds=1)
    bench.add_task("t", seconds=1, exits=1)
    bench.ask("replace_task", {"constraints": {"maxTaskRetryCount": 2}}, job_id="j", task_id="t")
    bench.advance(6)
    assert info(bench, "t")["retryCount"] == 2
    refused = bench.refusal("replace_task", {"constraints": {}}, job_id="j", task_id="t")
    assert refused == "TaskCompleted"
    bench.check()


def test_new_limits_of_a_job_reach_nodes_that_know_it(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("before", seconds=1, exits=1)
    bench.add_task("after", seconds=1, exits=1)
    bench.ask("update_job", {"constraints": {"maxTaskRetryCount": 1}}, job_id="j")
    bench.advance(5)
    assert (info(bench, "before")["retryCount"], info(bench, "after")["retryCount"]) == (0, 1)


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_running_task_takes_new_constraints(bench, is_heard):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=5, exits=1)
    node_id = bench.nodes()[0]["id"]
    if not is_heard:
        bench.engine.cut(node_id)
    bench.ask("replace_task", {"constraints": {"maxTaskRetryCount": 2}}, job_id="j", task_id="t")
    if not is_heard:
        bench.engine.mend(node_id)
    bench.advance(20)
    assert info(bench, "t")["retryCount"] == 2
    bench.check()


def test_keys_of_tasks_are_never_used_again(bench):
    bench.add_job()
    bench.add_tasks(3)
    (last,) = bench.reader.execute("SELECT max(key) FROM task").fetchone()
    bench.ask("delete_job", job_id="j")
    bench.restart()
    bench.add_job()
    bench.add_tasks(1)
    (key,) = bench.reader.execute("SELECT max(key) FROM task").fetchone()
    assert key > last


def test_a_collection_says_of_each_task_what_became_of_it(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("there")
    value = [
        a_task("new"),
        a_task("THERE"),
        a_task("new"),
        a_task("odd", requiredSlots=0),
        {"id": "empty"},
    ]
    shown = bench.ask("create_task_collection", {"value": value}, job_id="j")["value"]
    codes = [one.get("error", {}).get("code", one["status"]) for one in shown]
    assert codes == [
        "success",
        "TaskExists",
        "TaskExists",
        "InvalidPropertyValue",
        "MissingRequiredProperty",
    ]
    assert [one["taskId"] for one in shown] == ["new", "THERE", "new", "odd", "empty"]
    assert bench.counts()["active"] + bench.counts()["running"] == 2
    bench.check()


def test_a_queue_longer_than_the_window_runs_in_order(make_bench):
    bench = make_bench(window_tasks=10)
    bench.add_pool()
    bench.add_job()
    ids = bench.add_tasks(105, seconds=1)
    bench.check()
    assert len(bench.owner.memory.view.jobs[1].window.lanes) == 1
    assert bench.owner.memory.view.jobs[1].ready_count <= 10
    bench.advance(120)
    rows = bench.reader.execute("SELECT id FROM task ORDER BY start_us, key").fetchall()
    assert [row[0] for row in rows] == ids
    assert bench.counts()["succeeded"] == 105
    bench.check()


def test_a_task_goes_to_the_node_it_would_like(bench):
    bench.add_pool(nodes=3)
    bench.add_job()
    for node in reversed(bench.nodes()):
        name = f"on-{node['id']}"[:64]
        bench.add_task(name, affinityInfo={"affinityId": node["affinityId"]})
        assert bench.task(name)["nodeInfo"]["nodeId"] == node["id"]
    bench.add_task("stray", affinityInfo={"affinityId": "TVM:gone"}, seconds=0)
    bench.advance(11)
    assert bench.task_states()["stray"] == "completed"
    bench.check()

"""The server is killed in the middle of everything: every task ends exactly once."""

from __future__ import annotations

from collections import Counter

import pytest
from bench import a_task, depends_on

from lote.engines.script import Script, outcome_of_command


class Work:
    """A script that remembers how often each task was begun."""

    def __init__(self):
        self.begun = Counter()
        self.script = Script(outcome=self.outcome)

    def outcome(self, task, retries):
        self.begun[task.id] += 1
        return outcome_of_command(task, retries)


class Ends:
    """Counts the moments at which a task's row becomes completed, over all servers of a bench."""

    def __init__(self):
        self.seen = Counter()

    def watch(self, bench):
        connection = bench.database._connection
        connection.create_function("note_end", 1, self.note)
        connection.execute(
            "CREATE TEMP TRIGGER ended AFTER UPDATE OF phase ON task WHEN NEW.phase = 5"
            " BEGIN SELECT note_end(NEW.id); END"
        )

    def note(self, task_id):
        self.seen[task_id] += 1


def begin(make_bench):
    work, ends = Work(), Ends()
    bench = make_bench(work.script, window_tasks=10)
    ends.watch(bench)
    bench.add_pool(nodes=3, slots=2)
    bench.add_job(usesTaskDependencies=True)
    value = [a_task(f"quick{n}", seconds=0.004) for n in range(40)]
    value += [a_task(f"slow{n}", seconds=3) for n in range(6)]
    value += [a_task(f"large{n}", seconds=1, slots=2) for n in range(4)]
    value += [a_task("last", seconds=1) | depends_on("quick0", "slow5", "large3")]
    bench.ask("create_task_collection", {"value": value}, job_id="j")
    return bench, work, ends, [one["id"] for one in value]


@pytest.mark.parametrize("resume", ["before", "after"])
@pytest.mark.parametrize("step_s", [0.003, 0.05, 0.7])
def test_every_task_runs_once_over_many_restarts(make_bench, resume, step_s):
    bench, work, ends, ids = begin(make_bench)
    for _ in range(12):
        bench.advance(step_s)
        bench.restart(resume=resume)
        ends.watch(bench)
        bench.check()
    bench.advance(30)
    assert bench.counts()["succeeded"] == len(ids)
    assert work.begun == Counter(ids)
    assert ends.seen == Counter(ids)
    bench.check()


@pytest.mark.parametrize("step_s", [0.01, 0.4])
def test_every_task_ends_once_over_restarts_and_lost_nodes(make_bench, step_s):
    bench, _, ends, ids = begin(make_bench)
    for number in range(9):
        bench.advance(step_s)
        alive = [node.node_id for node in bench.engine.list_nodes() if node.alive]
        bench.engine.kill_node(alive[number % len(alive)])
        if number % 3 == 1:
            bench.settle()
        bench.restart()
        ends.watch(bench)
        bench.check()
    bench.advance(60)
    assert bench.counts()["succeeded"] == len(ids)
    assert ends.seen == Counter(ids)
    assert bench.node_states() == ["idle"] * 3
    bench.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "wait"])
@pytest.mark.parametrize("resume", ["before", "after"])
def test_a_disabling_goes_on_after_a_restart(make_bench, option, resume):
    bench, work, ends, ids = begin(make_bench)
    bench.advance(0.01)
    for node in bench.nodes():
        bench.engine.cut(node["id"])
    bench.settle()
    begun = work.begun.total()
    bench.ask("disable_job", {"disableTasks": option}, job_id="j", settled=False)
    bench.restart(resume=resume)
    ends.watch(bench)
    bench.check()
    bench.advance(0.1 if option != "wait" else 5)
    assert bench.job()["state"] == "disabled"
    assert bench.counts()["running"] == 0
    assert work.begun.total() == begun
    bench.check()
    bench.ask("enable_job", job_id="j")
    bench.advance(30)
    counts = bench.counts()
    # "last" waits for ever if a task it depends on was ended.
    assert counts["completed"] + counts["active"] == len(ids)
    assert counts["active"] <= (option == "terminate")
    assert max(ends.seen.values()) == 1
    bench.check()


@pytest.mark.parametrize("name", ["terminate_job", "delete_job"])
def test_an_end_goes_on_after_a_restart(make_bench, name):
    bench, work, _, _ = begin(make_bench)
    bench.advance(0.01)
    for node in bench.nodes():
        bench.engine.cut(node["id"])
    bench.settle()
    bench.ask(name, job_id="j", settled=False)
    begun = work.begun.total()
    bench.restart()
    bench.check()
    bench.advance(0.1)
    assert work.begun.total() <= begun + 6  # what stood in line on nodes may have begun
    if name == "terminate_job":
        assert bench.job()["state"] == "completed"
    else:
        assert bench.refusal("get_job", job_id="j") == "JobNotFound"
    assert [bench.engine.count_running(node["id"]) for node in bench.nodes()] == [0, 0, 0]
    assert bench.node_states() == ["idle"] * 3
    bench.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
def test_nodes_that_were_leaving_leave_after_a_restart(make_bench, option):
    bench, _, ends, ids = begin(make_bench)
    bench.advance(0.01)
    body = {"targetDedicatedNodes": 1, "nodeDeallocationOption": option}
    bench.ask("resize_pool", body, pool_id="p", settled=False)
    bench.restart()
    ends.watch(bench)
    bench.check()
    bench.advance(40)
    assert bench.node_states() == ["idle"]
    assert bench.pool()["allocationState"] == "steady"
    assert max(ends.seen.values()) == 1
    counts = bench.counts()
    assert counts["completed"] + counts["active"] == len(ids)
    assert counts["active"] <= (option == "terminate")
    bench.check()


def test_nodes_that_died_while_the_server_was_away_come_back_under_their_names(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(2)
    before = bench.nodes()
    bench.engine.close(leave_nodes=False)  # as a stop of the whole service
    bench.restart()
    after = bench.nodes()
    assert [node["id"] for node in after] == [node["id"] for node in before]
    assert set(bench.task_states().values()) == {"active"}
    bench.advance(0.1)
    assert bench.node_states() == ["running", "running"]
    bench.advance(11)
    assert bench.counts()["succeeded"] == 2
    bench.check()


def test_nodes_that_the_record_does_not_know_are_ended(bench):
    bench.add_pool(nodes=1)
    stray = next(iter(bench.engine._nodes.values())).order
    bench.ask("delete_pool", pool_id="p")
    bench.engine.start_nodes([stray])
    bench.restart()
    assert bench.engine.list_nodes() == []
    bench.check()


def test_a_restart_of_an_idle_server_changes_nothing_that_shows(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(2, seconds=0)
    before = bench.pool(), bench.job(), bench.tasks(), bench.node_states()
    bench.restart()
    assert (bench.pool(), bench.job(), bench.tasks(), bench.node_states()) == before
    bench.check()

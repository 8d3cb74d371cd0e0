"""Nodes come up with their start tasks, get lost, come back, and are replaced."""

from __future__ import annotations

import msgspec
import pytest

from lote.engines.script import NodeFate, Outcome, Script
from lote.server.fleet import ORDER_FAILURES_MAX
from lote.server.node_calls import admit_node, take_node_entry
from lote.server.node_orders import CALL_WITHIN_S
from lote.server.reports import apply_report
from lote.server.runs import RERUNS_MAX
from lote.store.events import list_events
from lote.wire.frames import Ack, Confirm, Ended, Failure, NodeTrouble, Report, Started

START = {"commandLine": "sleep 20", "waitForSuccess": True}
FAILING = START | {"commandLine": "sleep 20; exit 3"}


def only_node(bench):
    (node,) = bench.nodes()
    return node


def states_of(bench, node_id):
    return bench.trail[f"node {node_id}"]


# -- start tasks ----------------------------------------------------------------------------


def test_a_node_waits_for_its_start_task(bench):
    bench.add_pool(startTask=START)
    bench.add_job()
    bench.add_task("t")
    node = only_node(bench)
    assert (node["state"], node["startTaskInfo"]["state"]) == ("waitingforstarttask", "running")
    assert bench.task_states() == {"t": "active"}
    assert bench.pool()["allocationState"] == "steady"
    bench.advance(20.1)
    assert bench.running() == ["t"]
    info = only_node(bench)["startTaskInfo"]
    assert (info["state"], info["result"], info["exitCode"]) == ("completed", "success", 0)
    assert states_of(bench, node["id"]) == ["creating", "waitingforstarttask", "running"]
    bench.check()


def test_a_start_task_that_nobody_waits_for(bench):
    bench.add_pool(startTask=START | {"waitForSuccess": False})
    bench.add_job()
    bench.add_task("t")
    assert bench.running() == ["t"]
    assert only_node(bench)["startTaskInfo"]["state"] == "running"


def test_a_failed_start_task_keeps_tasks_away(bench):
    bench.add_pool(startTask=FAILING | {"maxTaskRetryCount": 2})
    bench.add_job()
    bench.add_task("t")
    bench.advance(59)
    assert bench.node_states() == ["waitingforstarttask"]
    bench.advance(2)
    node = only_node(bench)
    assert node["state"] == "starttaskfailed"
    info = node["startTaskInfo"]
    assert (info["result"], info["exitCode"], info["retryCount"]) == ("failure", 3, 2)
    assert info["failureInfo"]["code"] == "FailureExitCode"
    assert bench.task_states() == {"t": "active"}
    bench.restart()
    assert bench.node_states() == ["starttaskfailed"]
    bench.check()


def test_a_failed_start_task_does_no_harm_where_nobody_waits(bench):
    bench.add_pool(startTask=FAILING | {"waitForSuccess": False})
    bench.advance(21)
    assert bench.node_states() == ["idle"]
    assert only_node(bench)["startTaskInfo"]["result"] == "failure"


def test_a_start_task_runs_once_however_often_the_node_calls(make_bench):
    begun = []

    def start(task, retries):
        begun.append(task)
        return Outcome(5)

    bench = make_bench(Script(start_outcome=start))
    bench.add_pool(startTask=START)
    bench.advance(6)
    bench.engine.cut(only_node(bench)["id"])
    bench.settle()
    bench.engine.mend(only_node(bench)["id"])
    bench.settle()
    bench.restart()
    assert bench.node_states() == ["idle"]
    assert len(begun) == 1


def test_contact_lost_during_the_start_task_is_found_again(bench):
    bench.add_pool(startTask=START)
    node_id = only_node(bench)["id"]
    bench.engine.cut(node_id)
    bench.advance(5)
    assert bench.node_states() == ["unknown"]
    bench.engine.mend(node_id)
    bench.advance(0.1)
    assert bench.node_states() == ["waitingforstarttask"]
    bench.advance(20)
    assert bench.node_states() == ["idle"]
    bench.check()


# -- lost for good --------------------------------------------------------------------------


def test_a_dead_node_is_shown_until_its_replacement_has_called(make_bench):
    delays = [0.0, 30.0]
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=delays.pop(0))))
    bench.add_pool()
    bench.add_job()
    bench.add_task("t")
    dead = only_node(bench)["id"]
    bench.engine.kill_node(dead, "power cut")
    bench.settle()
    first, second = bench.nodes()
    assert (first["state"], second["state"]) == ("unusable", "creating")
    assert first["errors"][0]["code"] == "NodeLost"
    assert first["errors"][0]["errorDetails"] == [{"name": "Message", "value": "power cut"}]
    assert bench.pool()["currentDedicatedNodes"] == 1
    assert bench.task_states() == {"t": "active"}
    bench.check()
    bench.restart()
    assert [node["state"] for node in bench.nodes()] == ["unusable", "creating"]
    bench.check()
    bench.advance(31)
    assert [node["id"] for node in bench.nodes()] == [second["id"]]
    assert bench.running() == ["t"]
    assert ("node_lost", dead) in [event[1:3] for event in list_events(bench.reader)]
    bench.advance(11)
    info = bench.task("t")["executionInfo"]
    assert (info["result"], info["requeueCount"], info["retryCount"]) == ("success", 0, 0)
    bench.check()


def test_a_lost_node_of_a_shrunken_pool_is_not_replaced(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_tasks(2)
    first, second = (node["id"] for node in bench.nodes())
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p", settled=False)
    for node_id in (first, second):
        bench.engine.kill_node(node_id)
    bench.settle()
    bench.advance(30)
    assert bench.pool()["currentDedicatedNodes"] == 1
    assert bench.counts()["succeeded"] == 2
    bench.check()


def test_replacements_that_die_are_ordered_a_few_times(make_bench):
    fates = [NodeFate(0.0)] + [NodeFate(None, dies_after_s=1)] * 20
    bench = make_bench(Script(fate=lambda order: fates.pop(0)))
    bench.add_pool()
    bench.engine.kill_node(only_node(bench)["id"])
    bench.advance(40)
    assert len(fates) == 17
    assert bench.pool()["allocationState"] == "steady"
    bench.check()


@pytest.mark.parametrize("resize", [False, True])
def test_a_lost_node_that_cannot_be_replaced_is_tried_again(make_bench, resize):
    """Three times at once, and then every minute; a pool does not shrink by what failed."""
    bench = make_bench()
    bench.add_pool(nodes=2)
    bench.add_job()
    first, second = (node["id"] for node in bench.nodes())
    bench.desk.refuses = "no processes left"
    for node_id in (first, second):
        bench.engine.kill_node(node_id)
        bench.settle()
    bench.add_task("t")
    bench.advance(200)
    assert [(node["id"], node["state"]) for node in bench.nodes()] == [
        (first, "unusable"),
        (second, "unusable"),
    ]
    assert bench.nodes()[0]["errors"][0]["code"] == "NodeLost"
    bench.check()
    bench.desk.refuses = None
    if resize:
        bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    else:
        bench.advance(61)
    assert len(bench.nodes()) == (1 if resize else 2)
    bench.advance(11)
    assert set(bench.node_states()) == {"idle"}
    assert bench.counts()["succeeded"] == 1
    bench.check()


def test_a_task_that_always_loses_its_node_ends_at_last(bench):
    bench.add_pool()
    bench.add_job(usesTaskDependencies=True)
    bench.add_task("t", exitConditions={"default": {"dependencyAction": "satisfy"}})
    bench.add_task("child", seconds=0, dependsOn={"taskIds": ["t"]})
    for _ in range(RERUNS_MAX + 1):
        assert bench.running() == ["t"]
        node_id = next(one["id"] for one in bench.nodes() if one["state"] == "running")
        bench.engine.kill_node(node_id)
        bench.advance(0.1)
    info = bench.task("t")["executionInfo"]
    assert (info["result"], info["failureInfo"]["code"]) == (
        "failure",
        "MaxInternalRetryCountReached",
    )
    assert bench.task_states()["child"] == "completed"
    bench.ask("reactivate_task", job_id="j", task_id="t")
    assert bench.running() == ["t"]
    node_id = next(one["id"] for one in bench.nodes() if one["state"] == "running")
    bench.engine.kill_node(node_id)  # it counts anew
    bench.advance(12)
    assert bench.task("t")["executionInfo"]["exitCode"] == 0
    bench.check()


def test_a_node_that_is_gone_may_not_call_again(bench):
    bench.add_pool()
    node = next(iter(bench.owner.memory.nodes.values()))
    secret = next(iter(bench.engine._nodes.values())).order.secret
    assert bench.owner.call(admit_node, node.id, secret) == node.key
    with pytest.raises(PermissionError):
        bench.owner.call(admit_node, node.id, secret + "x")
    bench.engine.kill_node(node.id)
    bench.settle()
    with pytest.raises(PermissionError):
        bench.owner.call(admit_node, node.id, secret)


# -- out of contact -------------------------------------------------------------------------


def test_a_node_cut_off_for_a_moment_keeps_its_tasks(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=30)
    node_id = only_node(bench)["id"]
    bench.engine.cut(node_id)
    bench.advance(20)
    assert bench.node_states() == ["unknown"]
    assert bench.running() == ["t"]
    bench.check()
    bench.engine.mend(node_id)
    bench.advance(0.1)
    assert bench.node_states() == ["running"]
    bench.advance(10)
    assert bench.task("t")["executionInfo"]["result"] == "success"
    ways = "creating idle running unknown running idle"
    assert states_of(bench, node_id) == ways.split()
    bench.check()


def test_what_ends_while_a_node_is_away_is_reported_once_it_is_back(bench):
    bench.add_pool(slots=2)
    bench.add_job()
    bench.add_tasks(4)
    bench.advance(1)
    node_id = only_node(bench)["id"]
    bench.engine.cut(node_id)
    bench.advance(30)
    assert bench.counts()["completed"] == 0
    bench.engine.mend(node_id)
    bench.advance(0.1)
    assert bench.counts()["succeeded"] == 2
    end = bench.task("t0")["executionInfo"]["endTime"]
    assert end < bench.task("t2")["executionInfo"]["startTime"]
    assert sorted(bench.running()) == ["t2", "t3"]
    bench.check()


def test_a_node_away_past_its_grace_is_lost(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=300)
    node_id = only_node(bench)["id"]
    bench.engine.cut(node_id)
    bench.advance(bench.settings.node_grace_s + 1)
    assert node_id not in [node["id"] for node in bench.nodes()]
    assert bench.running() == ["t"]
    bench.check()
    bench.engine.stop_nodes([])  # the old agent is ended with its node
    assert node_id not in [node.node_id for node in bench.engine.list_nodes()]
    bench.advance(300)
    assert bench.counts() == {
        "active": 0,
        "running": 0,
        "completed": 1,
        "succeeded": 1,
        "failed": 0,
    }
    bench.check()


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("why", ["replacement", "reboot_node", "deallocate_node"])
def test_a_node_that_never_calls_does_not_keep_its_place(make_bench, why, restarts):
    fates = [NodeFate(0.0), NodeFate(None)]  # any others are well
    bench = make_bench(Script(fate=lambda order: fates.pop(0) if fates else NodeFate()))
    bench.add_pool()
    first = only_node(bench)["id"]
    if why == "replacement":
        bench.engine.kill_node(first)
        bench.settle()
    else:
        bench.ask(why, pool_id="p", node_id=first)
    if why == "deallocate_node":
        bench.ask("start_node", pool_id="p", node_id=first)
    bench.advance(30)
    if restarts:
        bench.restart()
    assert bench.node_states()[-1] in ("creating", "rebooting", "starting")
    bench.advance(CALL_WITHIN_S)
    assert bench.node_states() == ["idle"]
    assert only_node(bench)["id"] != first
    assert bench.engine.list_nodes()[0].node_id == only_node(bench)["id"]
    bench.check()


def test_a_failed_resize_leaves_no_node_waiting_for_ever(make_bench):
    fates = [NodeFate(None)] + [NodeFate(None, dies_after_s=1)] * ORDER_FAILURES_MAX
    bench = make_bench(Script(fate=lambda order: fates.pop(0) if fates else NodeFate()))
    bench.add_pool(nodes=2)
    bench.advance(10)
    assert bench.pool()["resizeErrors"][0]["code"] == "AllocationFailed"
    assert bench.node_states() == ["creating"]
    bench.advance(CALL_WITHIN_S + 61)
    assert bench.node_states() == ["idle"]
    bench.check()


def test_a_late_report_of_an_old_run_changes_nothing(bench):
    """The node ran its task to the end while away; the task was given to another meanwhile."""
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_task("t", seconds=100)
    (away,) = [node["id"] for node in bench.nodes() if node["state"] == "running"]
    old = bench.engine._nodes[away]
    bench.engine.cut(away)
    bench.advance(61)
    assert bench.running() == ["t"]
    started = bench.task("t")["executionInfo"]["startTime"]
    bench.engine._nodes[away] = old  # as if its engine could not end it
    old.alive = True
    bench.engine.mend(away)
    bench.advance(50)
    assert bench.task("t")["executionInfo"]["startTime"] == started
    assert not old.alive
    bench.advance(100)
    assert bench.counts()["succeeded"] == 1
    bench.check()


class Recorder:
    """A connection that remembers what was sent on it."""

    def __init__(self):
        self.frames = []

    def deliver(self, frames):
        self.frames += frames

    def close(self):
        self.frames.append("closed")


def test_reports_of_other_runs_and_of_old_connections_are_refused(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("t", seconds=100)
    memory = bench.owner.memory
    (run,) = memory.placed.values()
    link = Recorder()
    stale = [Ended(run.key, run.run + 1, 0, 0, 0), Started(99, 1, 0), Confirm(run.key, 0)]
    bench.owner.call(apply_report, run.node_key, link, Report(1, stale))
    assert link.frames == []  # not the connection that the node has now
    memory.links[run.node_key] = link
    bench.owner.call(apply_report, run.node_key, link, Report(2, stale))
    assert link.frames == [Ack(2, [(run.key, run.run + 1), (99, 1), (run.key, 0)])]
    assert bench.running() == ["t"]
    bench.owner.call(apply_report, run.node_key, link, Report(3, [Confirm(run.key, run.run)]))
    assert link.frames[1] == Ack(3, [])
    bench.ask("terminate_task", job_id="j", task_id="t", settled=False)
    bench.owner.call(apply_report, run.node_key, link, Report(4, [Confirm(run.key, run.run)]))
    assert link.frames[-1] == Ack(4, [(run.key, run.run)])


def test_troubles_keep_tasks_away_until_they_are_over(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_task("first", seconds=5)
    node = next(iter(bench.owner.memory.nodes.values()))
    full = Failure("servererror", "DiskFull", "No space is left.", [("Disk", "/")])

    def report(tx, *errors):
        take_node_entry(tx, tx.memory.nodes[node.key], NodeTrouble(list(errors)))

    bench.owner.call(report, full)
    bench.add_task("second", seconds=5)
    shown = only_node(bench)
    assert (shown["state"], shown["errors"][0]["code"]) == ("unusable", "DiskFull")
    bench.advance(6)
    assert bench.task_states() == {"first": "completed", "second": "active"}
    bench.check()
    bench.owner.call(report)
    bench.advance(6)
    assert "errors" not in only_node(bench)
    assert bench.task_states() == {"first": "completed", "second": "completed"}
    bench.check()


def test_a_node_remembers_what_it_ran(bench):
    bench.add_pool()
    bench.add_job()
    bench.add_tasks(3, seconds=0)
    bench.add_task("bad", seconds=0, exits=1)
    bench.add_task("now")
    shown = bench.ask("get_node", pool_id="p", node_id=only_node(bench)["id"])
    assert (shown["totalTasksRun"], shown["totalTasksSucceeded"]) == (4, 3)
    assert shown["runningTasksCount"] == 1
    recent = [(one["taskId"], one["taskState"]) for one in shown["recentTasks"]]
    assert recent[:2] == [("now", "running"), ("bad", "completed")]
    assert sorted(one for one, _ in recent[2:]) == ["t0", "t1", "t2"]


def test_a_node_remembers_what_it_ran_over_a_restart(bench):
    bench.add_pool(nodes=2, enableInterNodeCommunication=True)
    bench.add_job()
    bench.add_tasks(25, seconds=0)
    settings = {"numberOfInstances": 2, "coordinationCommandLine": "true"}
    bench.add_task("both", seconds=1, multiInstanceSettings=settings)
    bench.advance(2)

    def recent():
        return [node["recentTasks"] for node in bench.nodes()]

    before = recent()
    assert [one[0]["taskId"] for one in before] == ["both", "both"]
    assert [one[0].get("subtaskId") for one in before] in ([None, 1], [1, None])
    assert [len(one) for one in before] == [10, 10]
    bench.restart()
    assert recent() == before
    bench.ask("delete_task", job_id="j", task_id="both")
    bench.restart()
    assert recent() == [one[1:] for one in before]
    bench.check()


def test_secrets_of_nodes_are_kept_as_digests_alone(bench):
    bench.add_pool()
    secret = next(iter(bench.engine._nodes.values())).order.secret
    row = bench.reader.execute("SELECT * FROM node").fetchone()
    assert secret not in msgspec.json.encode([str(value) for value in row]).decode()

"""Multi-instance tasks: begun together, ended together, whatever happens to one of them."""

from __future__ import annotations

import pytest

from lote.engines.script import Outcome, Script

MULTI = "multiInstanceSettings"


def gang(instances=3, coordination="sh -c 'sleep 1'", **given):
    settings = {"numberOfInstances": instances, "coordinationCommandLine": coordination}
    return {MULTI: settings} | given


def subtasks(bench, task_id="g"):
    return bench.ask("list_subtasks", job_id="j", task_id=task_id, settled=False)["value"]


def states(bench, task_id="g"):
    return [one["state"] for one in subtasks(bench, task_id)]


def busy(bench):
    return sum(state == "running" for state in bench.node_states())


@pytest.fixture
def rig(bench):
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job()
    return bench


def test_all_instances_coordinate_before_the_primary_begins_its_command(rig):
    rig.add_task("g", **gang())
    assert rig.task("g")["state"] == "running"
    assert (states(rig), busy(rig)) == (["running"] * 2, 3)
    assert rig.counts()["running"] == 1
    rig.check()
    rig.advance(10.5)  # a second of coordination, ten of work
    assert rig.task("g")["state"] == "running"
    rig.advance(1)
    task = rig.task("g")
    assert (task["state"], task["executionInfo"]["exitCode"]) == ("completed", 0)
    assert task["executionInfo"]["result"] == "success"
    rig.advance(1)
    assert busy(rig) == 0
    shown = subtasks(rig)
    assert [(one["id"], one["exitCode"], one["result"]) for one in shown] == [
        (1, 0, "success"),
        (2, 0, "success"),
    ]
    nodes = {one["nodeInfo"]["nodeId"] for one in shown} | {task["nodeInfo"]["nodeId"]}
    assert nodes == {node["id"] for node in rig.nodes()}
    rig.check()


def test_an_ordinary_task_has_no_subtasks(rig):
    rig.add_task("g")
    assert subtasks(rig) == []


def test_one_instance_is_a_gang_too(rig):
    rig.add_task("g", **gang(1))
    rig.advance(12)
    assert (rig.task("g")["state"], states(rig)) == ("completed", [])
    rig.check()


def test_the_slowest_coordination_holds_the_primary_up(make_bench):
    script = Script(coordination=lambda task, number: Outcome(20.0 if number == 2 else 0.0))
    bench = make_bench(script)
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job()
    bench.add_task("g", seconds=1, **gang())
    bench.advance(20)
    assert bench.task("g")["state"] == "running"
    bench.advance(2)
    assert bench.task("g")["state"] == "completed"
    bench.check()


@pytest.mark.parametrize(
    "given", [{}, {"enableInterNodeCommunication": True, "slots": 2}], ids=["closed", "two slots"]
)
def test_elsewhere_it_waits_for_ever_and_others_pass_it(bench, given):
    bench.add_pool(nodes=3, **given)
    bench.add_job()
    bench.add_task("g", **gang(2))
    bench.add_task("t")
    bench.advance(60)
    assert bench.task_states() == {"g": "active", "t": "completed"}
    bench.check()


def test_it_runs_once_its_pool_may(bench):
    bench.add_pool(nodes=2)
    bench.add_job()
    bench.add_task("g", **gang(2))
    bench.advance(60)
    bench.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    bench.advance(60)
    bench.ask("update_pool", {"enableInterNodeCommunication": True}, pool_id="p")
    bench.ask("resize_pool", {"targetDedicatedNodes": 2}, pool_id="p")
    bench.advance(60)
    assert bench.task("g")["state"] == "completed"
    bench.check()


def failed_by_a_subtask(make_bench):
    """A bench whose task ``g`` of three instances ended, as the first subtask exited with 7."""
    script = Script(coordination=lambda task, number: Outcome(1.0, 7 if number == 1 else 0))
    bench = make_bench(script)
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job()
    bench.add_task("g", **gang())
    bench.advance(3)
    return bench


def test_a_failed_coordination_fails_all_of_it(make_bench):
    bench = failed_by_a_subtask(make_bench)
    info = bench.task("g")["executionInfo"]
    assert (bench.task("g")["state"], info["exitCode"]) == ("completed", 7)
    assert info["failureInfo"]["code"] == "FailureExitCode"
    assert {"name": "SubtaskId", "value": "1"} in info["failureInfo"]["details"]
    first, second = subtasks(bench)
    assert (first["exitCode"], first["failureInfo"]["code"]) == (7, "FailureExitCode")
    assert (second["result"], second["failureInfo"]["code"]) == ("failure", "TaskEnded")
    assert busy(bench) == 0
    bench.check()


def test_nodes_remember_a_task_that_a_subtask_failed(make_bench):
    bench = failed_by_a_subtask(make_bench)
    primary = bench.task("g")["nodeInfo"]["nodeId"]
    for node in bench.nodes():
        (recent,) = node["recentTasks"]
        is_primary = node["id"] == primary
        assert (recent["taskId"], "subtaskId" in recent) == ("g", not is_primary)
        assert (node["totalTasksRun"], node["totalTasksSucceeded"]) == (int(is_primary), 0)
    assert [len(node.recent) for node in bench.owner.memory.nodes.values()] == [1, 1, 1]
    bench.check()


def test_it_is_retried_as_one(make_bench):
    failures = [1, 2]

    def coordinate(task, number):
        return Outcome(1.0, 1 if number in failures and failures.pop() else 0)

    bench = make_bench(Script(coordination=coordinate))
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job()
    bench.add_task("g", **gang(constraints={"maxTaskRetryCount": 5}))
    bench.advance(1.5)
    info = bench.task("g")["executionInfo"]
    assert info["retryCount"] in (1, 2)
    bench.advance(20)
    info = bench.task("g")["executionInfo"]
    assert (info["result"], info["requeueCount"]) == ("success", 0)
    assert "lastRetryTime" in info
    assert failures == []
    bench.check()


def test_the_primary_is_retried_with_its_subtasks_until_its_retries_are_used_up(rig):
    rig.add_task("g", exits=3, **gang(constraints={"maxTaskRetryCount": 2}))
    rig.advance(40)
    info = rig.task("g")["executionInfo"]
    assert (info["exitCode"], info["retryCount"], info["result"]) == (3, 2, "failure")
    assert [one["result"] for one in subtasks(rig)] == ["success"] * 2
    rig.check()


@pytest.mark.parametrize("victim", [0, 2])
def test_a_lost_node_runs_all_of_it_again(rig, victim):
    rig.add_task("g", **gang())
    rig.advance(5)
    nodes = rig.nodes()
    rig.engine.kill_node(nodes[victim]["id"])
    rig.advance(1)
    rig.check()
    rig.advance(30)
    info = rig.task("g")["executionInfo"]
    assert (rig.task("g")["state"], info["result"]) == ("completed", "success")
    assert (info["requeueCount"], info["retryCount"]) == (0, 0)
    rig.check()


def test_what_fails_while_a_node_is_out_of_contact_is_run_again(rig):
    rig.add_task("g", exits=1, seconds=5, **gang())
    rig.advance(2)
    rig.engine.cut(rig.nodes()[2]["id"])
    rig.advance(5)
    assert rig.task("g")["state"] == "running"  # until that node is lost, or calls again
    rig.engine.mend(rig.nodes()[2]["id"])
    rig.advance(20)
    assert rig.task("g")["executionInfo"]["exitCode"] == 1
    rig.check()


@pytest.mark.parametrize("moment_s", [0.1, 5])
def test_a_terminated_one_ends_at_once_and_its_subtasks_with_it(rig, moment_s):
    rig.add_task("g", **gang())
    rig.advance(moment_s)
    rig.ask("terminate_task", job_id="j", task_id="g")
    assert rig.task("g")["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    assert [one["failureInfo"]["code"] for one in subtasks(rig)] == ["TaskEnded"] * 2
    assert busy(rig) == 0
    rig.check()


def test_a_deleted_one_leaves_nothing(rig):
    rig.add_task("g", **gang())
    rig.ask("delete_task", job_id="j", task_id="g")
    assert rig.refusal("list_subtasks", job_id="j", task_id="g") == "TaskNotFound"
    rig.add_task("g", seconds=1, **gang())
    rig.advance(5)
    assert rig.task("g")["state"] == "completed"
    rig.check()
    rig.ask("delete_job", job_id="j")
    rig.advance(5)
    rig.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "wait"])
def test_disabling_its_job(rig, option):
    rig.add_task("g", **gang())
    rig.advance(2)
    rig.ask("disable_job", {"disableTasks": option}, job_id="j")
    rig.advance(1)
    expected = {"requeue": "active", "terminate": "completed", "wait": "running"}[option]
    assert rig.task("g")["state"] == expected
    rig.check()
    rig.ask("enable_job", job_id="j") if option != "wait" else rig.advance(20)
    rig.advance(20)
    info = rig.task("g")["executionInfo"]
    assert rig.task("g")["state"] == "completed"
    assert info["requeueCount"] == (option == "requeue")
    rig.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_node_that_leaves_takes_all_of_it_along(rig, option, victim):
    rig.add_task("g", **gang())
    rig.advance(2)
    node_id = rig.nodes()[victim]["id"]
    rig.ask("reboot_node", {"nodeRebootOption": option}, pool_id="p", node_id=node_id)
    rig.advance(1)
    expected = {"requeue": "active", "terminate": "completed", "taskcompletion": "running"}
    assert rig.task("g")["state"] in (expected[option], "running" if option == "requeue" else "")
    rig.check()
    rig.advance(40)
    info = rig.task("g")["executionInfo"]
    assert rig.task("g")["state"] == "completed"
    assert info["result"] == ("failure" if option == "terminate" else "success")
    assert info["requeueCount"] == (option == "requeue")
    rig.check()


@pytest.mark.parametrize("moment_s", [0.2, 5, 11.2])
def test_a_restart_of_the_server_loses_nothing(rig, moment_s):
    rig.add_task("g", **gang())
    rig.advance(moment_s)
    before = rig.task("g")["executionInfo"]
    rig.restart()
    rig.check()
    rig.advance(20)
    info = rig.task("g")["executionInfo"]
    assert (rig.task("g")["state"], info["result"]) == ("completed", "success")
    assert info["startTime"] == before["startTime"]  # the same run
    assert (info["requeueCount"], states(rig)) == (0, ["completed"] * 2)
    rig.check()


def test_agents_that_ended_while_the_server_was_away_have_it_run_again(rig):
    rig.add_task("g", **gang())
    rig.advance(5)
    rig.engine.watch = lambda node_id, why: None
    rig.engine.kill_node(rig.nodes()[1]["id"])
    rig.restart(resume="before")
    rig.advance(40)
    assert rig.task("g")["executionInfo"]["result"] == "success"
    rig.check()


def test_a_transaction_that_fails_loses_no_instance(rig):
    good, has_failed = 0, True
    while has_failed:
        failed = rig.database.failed
        task_id = f"g{good}"
        rig.add_task(task_id, seconds=0.2, **gang(coordination="sleep 0.2"))
        rig.database.break_down(good)  # somewhere between coordination and end
        rig.advance(5)
        rig.database.mend()
        info = rig.task(task_id)["executionInfo"]
        assert (info["result"], info["requeueCount"]) == ("success", 0)
        rig.check()
        has_failed = rig.database.failed > failed
        good += 2
    assert good > 10


def test_it_counts_once_against_the_jobs_limit_and_for_its_counts(bench):
    bench.add_pool(nodes=4, enableInterNodeCommunication=True)
    bench.add_job(maxParallelTasks=2)
    bench.add_task("g", **gang(3))
    bench.add_tasks(2)
    assert sorted(bench.running()) == ["g", "t0"]
    assert bench.counts()["running"] == 2
    bench.check()
    bench.advance(30)
    assert bench.counts()["succeeded"] == 3
    bench.check()


def test_instances_wait_for_the_preparation_of_their_nodes(bench):
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job(jobPreparationTask={"commandLine": "sleep 5"})
    bench.add_task("g", **gang())
    assert (bench.task("g")["state"], states(bench)) == ("preparing", ["preparing"] * 2)
    bench.check()
    bench.restart()
    bench.check()
    bench.advance(7)
    assert (bench.task("g")["state"], states(bench)) == ("running", ["running"] * 2)
    bench.advance(20)
    assert bench.task("g")["state"] == "completed"
    bench.check()


def test_a_failed_preparation_gives_all_of_it_back(make_bench):
    failing = [True]

    def outcome(task, retries):
        if task.id == "jobpreparation":
            return Outcome(1.0, 1 if failing and failing.pop() else 0)
        return Outcome(5.0)

    bench = make_bench(Script(outcome=outcome))
    bench.add_pool(nodes=3, enableInterNodeCommunication=True)
    bench.add_job(jobPreparationTask={"commandLine": "true"})
    bench.add_task("g", **gang(2))
    bench.advance(30)
    assert bench.task("g")["executionInfo"]["result"] == "success"
    bench.check()


def test_two_gangs_and_a_stream_of_tasks_all_come_to_their_turn(bench):
    bench.add_pool(nodes=4, enableInterNodeCommunication=True)
    bench.add_job()
    bench.add_job("k")
    bench.add_tasks(60, seconds=3)
    bench.ask("create_task", {"id": "g", "commandLine": "sleep 5"} | gang(4), job_id="k")
    bench.ask("create_task", {"id": "h", "commandLine": "sleep 5"} | gang(3), job_id="k")
    bench.advance(30)
    ended = {task["id"]: task["state"] for task in bench.tasks("k").values()}
    assert ended["g"] == "completed"
    assert len([state for state in bench.task_states().values() if state == "active"]) > 10
    bench.advance(30)
    assert bench.tasks("k")["h"]["state"] == "completed"
    bench.advance(200)
    assert bench.counts()["succeeded"] == 60
    bench.check()


def test_a_higher_priority_empties_as_many_nodes_as_it_lacks(bench):
    bench.add_pool(nodes=4, enableInterNodeCommunication=True)
    bench.add_job("low", priority=-1, allowTaskPreemption=True)
    bench.add_tasks(6, "low", seconds=100)
    bench.add_job(priority=5)
    bench.add_task("g", **gang(3))
    bench.advance(1)
    assert bench.task("g")["state"] == "running"
    assert len(bench.running("low")) == 1
    bench.check()
    bench.advance(300)
    requeued = [task["executionInfo"]["requeueCount"] for task in bench.tasks("low").values()]
    assert sorted(requeued) == [0, 0, 0, 1, 1, 1]  # each that made room, once
    assert bench.task_states("low") == dict.fromkeys(bench.task_states("low"), "completed")
    bench.check()


def test_dependents_and_exit_conditions_follow_its_end(bench):
    bench.add_pool(nodes=2, enableInterNodeCommunication=True)
    bench.add_job(usesTaskDependencies=True)
    bench.add_task(
        "g",
        exits=4,
        **gang(2),
        exitConditions={"exitCodes": [{"code": 4, "exitOptions": {"dependencyAction": "satisfy"}}]},
    )
    bench.add_task("t", dependsOn={"taskIds": ["g"]})
    bench.ask("update_job", {"onAllTasksComplete": "terminatejob"}, job_id="j")
    bench.advance(40)
    assert bench.task("t")["state"] == "completed"
    assert bench.job()["state"] == "completed"
    bench.check()


def test_formulas_count_each_instance(bench):
    bench.add_pool(
        nodes=0,
        enableInterNodeCommunication=True,
    )
    bench.add_job()
    bench.add_task("g", seconds=300, **gang(3))
    formula = "$TargetDedicatedNodes = $PendingTasks.GetSample(1);"
    bench.ask(
        "enable_pool_auto_scale",
        {"autoScaleFormula": formula, "autoScaleEvaluationInterval": "PT5M"},
        pool_id="p",
    )
    bench.advance(60)
    assert (len(bench.nodes()), bench.task("g")["state"]) == (3, "running")
    bench.advance(200)
    assert (len(bench.nodes()), bench.task("g")["state"]) == (3, "running")
    bench.advance(900)
    assert bench.task("g")["executionInfo"]["requeueCount"] == 0
    assert bench.task("g")["state"] == "completed"
    bench.check()


def test_nodes_of_one_machine_have_addresses_of_their_own(rig):
    addresses = [node["ipAddress"] for node in rig.nodes()]
    assert len(set(addresses)) == 3
    assert all(one.startswith("127.64.") for one in addresses)

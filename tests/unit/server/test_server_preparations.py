"""Job preparation tasks: once a node, before its tasks, and what their ends mean."""

from __future__ import annotations

import pytest

from lote.engines.script import Outcome, Script, outcome_of_command


def preparation(command="sleep 5", **given):
    return {"jobPreparationTask": {"commandLine": command} | given}


class Ran:
    """Counts attempts at preparations, and may make some fail."""

    def __init__(self) -> None:
        self.count = 0
        self.tasks = 0
        self.fails = False

    def outcome(self, task, retries):
        if task.id != "jobpreparation":
            self.tasks += 1
            return outcome_of_command(task, retries)
        self.count += 1
        found = outcome_of_command(task, retries)
        return Outcome(found.seconds, 1) if self.fails else found


@pytest.fixture
def ran():
    return Ran()


@pytest.fixture
def rig(make_bench, ran):
    bench = make_bench(Script(outcome=ran.outcome))
    bench.add_pool(slots=2)
    return bench


def states(bench):
    return sorted(bench.task_states().values())


def test_tasks_wait_for_the_preparation_of_their_node(rig, ran):
    rig.add_job(**preparation())
    rig.add_tasks(3)
    assert states(rig) == ["active", "preparing", "preparing"]
    assert rig.counts()["running"] == 2
    rig.check()
    rig.advance(6)
    assert states(rig) == ["active", "running", "running"]
    task = rig.task("t0")
    assert (task["previousState"], ran.count) == ("preparing", 1)
    rig.check()
    rig.advance(30)
    assert states(rig) == ["completed"] * 3
    assert (ran.count, ran.tasks) == (1, 3)
    rig.check()


def test_each_node_is_prepared_when_a_task_comes_to_it(make_bench, ran):
    bench = make_bench(Script(outcome=ran.outcome))
    bench.add_pool(nodes=3)
    bench.add_job(**preparation())
    bench.add_task("a")
    bench.advance(20)
    assert ran.count == 1
    bench.add_tasks(3)
    bench.advance(20)
    assert ran.count == 3
    bench.check()


def test_other_jobs_are_not_concerned(rig):
    rig.add_job(**preparation())
    rig.add_task("a")
    rig.add_job("k")
    rig.add_task("b", "k")
    assert rig.running("k") == ["b"]
    assert rig.task("a")["state"] == "preparing"


def test_a_failure_bars_the_node_for_the_job_only(rig, ran):
    ran.fails = True
    rig.add_job(**preparation())
    rig.add_tasks(2)
    rig.advance(20)
    assert states(rig) == ["active", "active"]
    assert rig.task("t0")["executionInfo"]["requeueCount"] == 0
    assert (ran.count, ran.tasks) == (1, 0)
    rig.check()
    rig.restart()
    rig.advance(20)
    assert (ran.count, states(rig)) == (1, ["active", "active"])
    rig.check()
    ran.fails = False
    node_id = rig.nodes()[0]["id"]
    rig.ask("reimage_node", pool_id="p", node_id=node_id)
    rig.advance(30)
    assert states(rig) == ["completed", "completed"]
    assert ran.count == 2
    rig.check()


def test_tasks_go_to_nodes_that_are_not_barred(make_bench):
    failed = []

    def outcome(task, retries):
        if task.id == "jobpreparation" and not failed:
            failed.append(task)
            return Outcome(1, 1)
        return outcome_of_command(task, retries)

    bench = make_bench(Script(outcome=outcome))
    bench.add_pool(nodes=2)
    bench.add_job(**preparation())
    bench.add_tasks(4)
    bench.advance(100)
    assert states(bench) == ["completed"] * 4
    assert len({task["nodeInfo"]["nodeId"] for task in bench.tasks().values()}) == 1
    bench.check()


def test_tasks_may_begin_without_waiting_for_success(rig, ran):
    ran.fails = True
    rig.add_job(**preparation(waitForSuccess=False))
    rig.add_tasks(2)
    assert states(rig) == ["running", "running"]
    rig.advance(30)
    assert states(rig) == ["completed", "completed"]
    rig.check()


@pytest.mark.parametrize(("reruns", "times"), [(True, 2), (False, 1)])
def test_again_after_a_reboot_if_so_wanted(rig, ran, reruns, times):
    rig.add_job(**preparation(rerunOnNodeRebootAfterSuccess=reruns))
    rig.add_task("a")
    rig.advance(30)
    rig.ask("reboot_node", pool_id="p", node_id=rig.nodes()[0]["id"])
    rig.advance(5)
    assert ran.count == 1  # no task has come
    rig.add_task("b")
    rig.advance(30)
    assert (ran.count, states(rig)) == (times, ["completed"] * 2)
    rig.check()


@pytest.mark.parametrize("resume", ["before", "after"])
@pytest.mark.parametrize("after_s", [0, 1, 4.99, 5.01, 5.2])
def test_a_restart_of_the_server_in_the_middle(rig, ran, resume, after_s):
    rig.add_job(**preparation())
    rig.add_tasks(3)
    rig.advance(after_s)
    rig.restart(resume=resume)
    rig.advance(0.5)
    rig.check()
    rig.advance(60)
    assert (ran.count, states(rig)) == (1, ["completed"] * 3)
    rig.check()


@pytest.mark.parametrize("after_s", [0, 1, 4.9, 5.2])
def test_a_lost_node_in_the_middle(rig, ran, after_s):
    rig.add_job(**preparation())
    rig.add_tasks(3)
    rig.advance(after_s)
    rig.engine.kill_node(rig.nodes()[0]["id"])
    rig.advance(0.5)
    rig.check()
    rig.advance(100)
    assert (ran.count, states(rig)) == (2, ["completed"] * 3)
    rig.check()


def test_a_cut_connection_in_the_middle(rig, ran):
    rig.add_job(**preparation())
    rig.add_tasks(3)
    node_id = rig.nodes()[0]["id"]
    rig.engine.cut(node_id)
    rig.advance(7)
    rig.check()
    rig.engine.mend(node_id)
    rig.advance(60)
    assert (ran.count, states(rig)) == (1, ["completed"] * 3)
    rig.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "wait"])
def test_disabling_a_job_that_prepares(rig, option):
    rig.add_job(**preparation())
    rig.add_tasks(2)
    rig.ask("disable_job", {"disableTasks": option}, job_id="j")
    expected = {"requeue": "active", "terminate": "completed", "wait": "preparing"}[option]
    assert states(rig) == [expected] * 2
    rig.check()
    rig.advance(30)
    assert rig.job()["state"] == "disabled"
    rig.check()
    rig.ask("enable_job", job_id="j")
    rig.advance(30)
    assert states(rig) == ["completed"] * 2
    rig.check()


@pytest.mark.parametrize("end", ["terminate_job", "delete_job"])
@pytest.mark.parametrize("after_s", [0, 1, 6])
def test_a_job_that_ends_while_it_prepares(rig, end, after_s):
    rig.add_job(**preparation())
    rig.add_tasks(3)
    rig.advance(after_s)
    rig.ask(end, job_id="j")
    rig.advance(1)
    if end == "terminate_job":
        assert rig.job()["state"] == "completed"
        assert states(rig) == ["active", "completed", "completed"]
    else:
        assert rig.refusal("get_job", job_id="j") == "JobNotFound"
    rig.check()


@pytest.mark.parametrize("operation", ["terminate_task", "delete_task"])
def test_ending_a_task_that_waits(rig, operation):
    rig.add_job(**preparation())
    rig.add_tasks(2)
    rig.ask(operation, job_id="j", task_id="t0")
    rig.check()
    rig.advance(30)
    assert rig.task("t1")["state"] == "completed"
    rig.check()


@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
def test_shrinking_the_pool_meanwhile(rig, option):
    rig.add_job(**preparation())
    rig.add_tasks(2)
    body = {"targetDedicatedNodes": 0, "nodeDeallocationOption": option}
    rig.ask("resize_pool", body, pool_id="p")
    rig.advance(30)
    assert rig.nodes() == []
    expected = "active" if option == "requeue" else "completed"
    assert states(rig) == [expected] * 2
    rig.check()


def test_a_manager_waits_for_the_preparation_too(rig):
    manager = {"id": "boss", "commandLine": "sleep 10"}
    rig.add_job(jobManagerTask=manager, **preparation())
    assert rig.task("boss")["state"] == "preparing"
    rig.add_task("t")
    rig.advance(6)
    assert rig.task_states() == {"boss": "running", "t": "active"}
    rig.check()
    rig.advance(10)
    assert rig.job()["executionInfo"]["terminateReason"] == "JMComplete"


def test_retries(rig, ran):
    rig.add_job(**preparation("sleep 1; exit 1", constraints={"maxTaskRetryCount": 3}))
    rig.add_task("a")
    rig.advance(3.9)
    assert rig.task("a")["state"] == "preparing"
    rig.advance(1)
    assert rig.task("a")["state"] == "active"
    rig.check()


def test_its_id_is_no_tasks(rig):
    rig.add_job(**preparation(id="prep"))
    body = {"id": "PREP", "commandLine": "true"}
    refused = rig.refusal("create_task", body, job_id="j")
    assert refused == "TaskIdSameAsJobPreparationTask"


def test_many_restarts_and_lost_nodes_lose_nothing(make_bench, ran):
    bench = make_bench(Script(outcome=ran.outcome))
    bench.add_pool(nodes=3, slots=2)
    bench.add_job(**preparation("sleep 3"))
    bench.add_tasks(40, seconds=4)
    for step in range(12):
        bench.advance(1.7 + step / 10)
        if step % 3 == 0:
            bench.engine.kill_node(bench.nodes()[0]["id"])
        else:
            bench.restart(resume=("before", "after")[step % 2])
        bench.advance(0.1)
        bench.check()
    bench.advance(300)
    assert states(bench) == ["completed"] * 40
    assert bench.counts()["succeeded"] == 40
    bench.check()


STATUS = "list_job_preparation_and_release_task_status"


def test_where_it_stands_is_listed_by_node(rig):
    rig.add_job(**preparation("sleep 5; exit 2", constraints={"maxTaskRetryCount": 1}))
    assert rig.ask(STATUS, job_id="j")["value"] == []
    rig.add_task("a")
    node_id = rig.nodes()[0]["id"]
    (row,) = rig.ask(STATUS, job_id="j")["value"]
    assert (row["poolId"], row["nodeId"]) == ("p", node_id)
    assert row["nodeUrl"].endswith(f"/pools/p/nodes/{node_id}")
    info = row["jobPreparationTaskExecutionInfo"]
    directory = "workitems/j/job-1/jobpreparation"
    assert (info["state"], info["retryCount"]) == ("running", 0)
    assert info["taskRootDirectory"] == directory
    assert info["taskRootDirectoryUrl"] == f"{row['nodeUrl']}/files/{directory}"
    assert "endTime" not in info
    rig.advance(20)
    (row,) = rig.ask(STATUS, job_id="j")["value"]
    info = row["jobPreparationTaskExecutionInfo"]
    assert (info["state"], info["result"], info["exitCode"]) == ("completed", "failure", 2)
    assert (info["retryCount"], info["failureInfo"]["code"]) == (1, "FailureExitCode")


def test_the_list_keeps_nodes_that_have_gone_and_can_be_filtered(make_bench):
    bench = make_bench()
    bench.add_pool(nodes=2)
    bench.add_job(**preparation())
    bench.add_tasks(2)
    bench.advance(30)
    first, second = sorted(node["id"] for node in bench.nodes())
    bench.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    bench.ask("terminate_job", job_id="j")
    rows = bench.ask(STATUS, job_id="j")["value"]
    assert [row["nodeId"] for row in rows] == [first, second]

    def asked(**query):
        return bench.ask(STATUS, job_id="j", query=query)["value"]

    assert [row["nodeId"] for row in asked(filter=f"nodeId eq '{second}'")] == [second]
    assert asked(filter="jobPreparationTaskExecutionInfo/exitCode ne 0") == []
    assert asked(select="nodeId") == [{"nodeId": first}, {"nodeId": second}]
    assert [row["nodeId"] for row in asked(maxresults="1")] == [first]

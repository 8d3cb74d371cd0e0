"""Job release tasks: once on each node that was prepared, when the job ends for whatever reason."""

from __future__ import annotations

import pytest

from lote.engines.script import Outcome, Script, outcome_of_command

STATUS = "list_job_preparation_and_release_task_status"


def special(release="sleep 5", preparation="sleep 1", **given):
    return {
        "jobPreparationTask": {"commandLine": preparation},
        "jobReleaseTask": {"commandLine": release} | given,
    }


class Ran:
    """Counts attempts at release tasks, and may make preparations fail."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = False

    def outcome(self, task, retries):
        found = outcome_of_command(task, retries)
        if task.id == "jobrelease":
            self.count += 1
        if task.id == "jobpreparation" and self.fails:
            return Outcome(found.seconds, 1)
        return found


@pytest.fixture
def ran():
    return Ran()


@pytest.fixture
def rig(make_bench, ran):
    bench = make_bench(Script(outcome=ran.outcome))
    bench.add_pool(nodes=3)
    return bench


def begin(rig, nodes=2, **given):
    """A job whose tasks run on so many nodes of three."""
    rig.add_job(**({**special()} | given))
    rig.add_tasks(nodes, seconds=100)
    rig.advance(5)
    assert sorted(rig.task_states().values()) == ["running"] * nodes


def rows(rig):
    return rig.ask(STATUS, job_id="j", settled=False)["value"]


def released(rig):
    """The release task by node, of those that have one."""
    member = "jobReleaseTaskExecutionInfo"
    return {row["nodeId"]: row[member] for row in rows(rig) if member in row}


def test_on_each_node_that_was_prepared_after_the_tasks_have_ended(rig, ran):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    assert (rig.job()["state"], ran.count) == ("terminating", 2)
    assert sorted(rig.task_states().values()) == ["completed", "completed"]
    assert {info["state"] for info in released(rig).values()} == {"running"}
    assert released(rig).keys() == {row["nodeId"] for row in rows(rig)}
    rig.check()
    rig.advance(4)
    assert rig.job()["state"] == "terminating"
    rig.advance(2)
    assert rig.job()["state"] == "completed"
    assert {info["result"] for info in released(rig).values()} == {"success"}
    assert all("retryCount" not in info for info in released(rig).values())
    assert released(rig).popitem()[1]["taskRootDirectory"] == "workitems/j/job-1/jobrelease"
    rig.ask("delete_job", job_id="j")
    rig.advance(20)
    assert ran.count == 2
    assert rig.refusal("get_job", job_id="j") == "JobNotFound"
    rig.check()


def test_it_takes_no_slot(rig, ran):
    begin(rig, nodes=3)
    rig.ask("terminate_job", job_id="j")
    rig.add_job("k")
    rig.add_task("other", "k")
    assert (ran.count, rig.running("k")) == (3, ["other"])


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        ("MaxWallClockTimeExpiry", {"constraints": {"maxWallClockTime": "PT50S"}}),
        ("AllTasksComplete", {"onAllTasksComplete": "terminatejob"}),
        ("TaskFailed", {"onTaskFailure": "performexitoptionsjobaction"}),
        ("JMComplete", {"jobManagerTask": {"id": "boss", "commandLine": "sleep 20"}}),
    ],
)
def test_whatever_ends_the_job(rig, ran, reason, given):
    tasks = {"onAllTasksComplete": "terminatejob"}
    if given == tasks:
        rig.add_job(**special())
    else:
        rig.add_job(**special(), **given)
    rig.add_task("t", seconds=100 if reason == "MaxWallClockTimeExpiry" else 10, exits=3)
    rig.advance(15)
    if given == tasks:
        rig.ask("update_job", tasks, job_id="j")
    rig.advance(50)
    job = rig.job()
    assert (job["state"], job["executionInfo"]["terminateReason"]) == ("completed", reason)
    assert ran.count == len(rows(rig)) > 0
    rig.check()


def test_a_job_that_is_deleted_while_active(rig, ran):
    begin(rig)
    rig.ask("delete_job", job_id="j")
    assert (rig.job()["state"], ran.count) == ("deleting", 2)
    rig.check()
    rig.advance(6)
    assert rig.refusal("get_job", job_id="j") == "JobNotFound"
    assert ran.count == 2
    rig.check()


def test_a_job_that_is_deleted_while_it_is_released(rig, ran):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    rig.advance(2)
    rig.ask("delete_job", job_id="j")
    assert rig.job()["state"] == "deleting"
    rig.restart()
    rig.check()
    rig.advance(6)
    assert rig.refusal("get_job", job_id="j") == "JobNotFound"
    assert ran.count == 2
    rig.check()


def test_a_job_that_had_ended_is_not_released_again_after_a_restart(rig, ran):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    rig.advance(10)
    rig.ask("delete_job", job_id="j", settled=False)
    rig.restart()
    rig.advance(20)
    assert ran.count == 2
    assert rig.refusal("get_job", job_id="j") == "JobNotFound"


def test_a_job_of_a_schedule(rig, ran):
    specification = {"poolInfo": {"poolId": "p"}} | special()
    specification["jobManagerTask"] = {"id": "boss", "commandLine": "sleep 100"}
    body = {"id": "s", "schedule": {}, "jobSpecification": specification}
    rig.ask("create_job_schedule", body)
    rig.advance(10)
    rig.ask("terminate_job_schedule", job_schedule_id="s")
    assert rig.job("s:job-1")["state"] == "terminating"
    assert rig.ask("get_job_schedule", job_schedule_id="s")["state"] == "terminating"
    rig.advance(10)
    assert rig.job("s:job-1")["executionInfo"]["terminateReason"] == "TerminateJobSchedule"
    assert rig.ask("get_job_schedule", job_schedule_id="s")["state"] == "completed"
    assert ran.count == 1
    rig.check()


@pytest.mark.parametrize("force", ["false", "true"])
@pytest.mark.parametrize("end", ["terminate_job", "delete_job"])
def test_force_waits_for_nothing_and_begins_nothing(rig, ran, end, force):
    begin(rig)
    node_id = rig.tasks()["t0"]["nodeInfo"]["nodeId"]
    rig.engine.cut(node_id)
    rig.ask(end, job_id="j", query={"force": force})
    if force == "false":
        assert rig.job()["state"] == {"terminate_job": "terminating"}.get(end, "deleting")
        assert ran.count == 1  # where the node is there
    elif end == "terminate_job":
        assert rig.job()["state"] == "completed"
        assert ran.count == 0
    else:
        assert rig.refusal("get_job", job_id="j") == "JobNotFound"
    rig.check()
    rig.engine.mend(node_id)
    rig.advance(20)
    assert ran.count == (2 if force == "false" else 0)
    rig.check()


def test_force_while_it_is_released(rig, ran):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    rig.ask("delete_job", job_id="j", query={"force": "true"})
    assert rig.refusal("get_job", job_id="j") == "JobNotFound"
    rig.advance(20)
    assert ran.count == 2
    rig.check()


def test_a_failure_keeps_nothing(rig, ran):
    begin(rig, **special("sleep 1; exit 4"))
    rig.ask("terminate_job", job_id="j")
    rig.advance(3)
    assert rig.job()["state"] == "completed"
    assert ran.count == 2  # it is not tried again
    for info in released(rig).values():
        assert (info["result"], info["exitCode"]) == ("failure", 4)
        assert info["failureInfo"]["code"] == "FailureExitCode"
    rig.check()


def test_only_where_the_preparation_succeeded(rig, ran):
    ran.fails = True
    rig.add_job(**special())
    rig.add_task("t")
    rig.advance(60)
    rig.ask("terminate_job", job_id="j")
    assert rig.job()["state"] == "completed"
    assert (ran.count, len(rows(rig)), released(rig)) == (0, 3, {})
    rig.check()


def test_also_where_a_failed_preparation_held_no_task_back(rig, ran):
    ran.fails = True
    given = special()
    given["jobPreparationTask"]["waitForSuccess"] = False
    begin(rig, **given)
    rig.ask("terminate_job", job_id="j")
    rig.advance(10)
    assert (rig.job()["state"], ran.count) == ("completed", 2)
    rig.check()


def test_a_preparation_at_work_is_ended_and_not_released(rig, ran):
    rig.add_job(**special(preparation="sleep 100"))
    rig.add_task("t")
    rig.ask("terminate_job", job_id="j")
    rig.advance(1)
    assert (rig.job()["state"], ran.count) == ("completed", 0)
    rig.check()


@pytest.mark.parametrize("resume", ["before", "after"])
@pytest.mark.parametrize("after_s", [0, 1, 4.95, 5.2])
def test_a_restart_of_the_server_in_the_middle(rig, ran, resume, after_s):
    begin(rig)
    rig.ask("terminate_job", job_id="j", settled=False)
    rig.advance(after_s)
    rig.restart(resume=resume)
    rig.advance(0.5)
    rig.check()
    rig.advance(20)
    assert (rig.job()["state"], ran.count) == ("completed", 2)
    rig.check()


def test_a_node_that_is_lost_in_the_middle_is_not_waited_for(rig, ran):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    node_id = next(iter(released(rig)))
    rig.engine.kill_node(node_id)
    rig.advance(20)
    assert (rig.job()["state"], ran.count) == ("completed", 2)
    assert released(rig)[node_id]["failureInfo"]["code"] == "TaskEnded"
    rig.check()


def test_a_node_that_is_rebooted_in_the_middle_begins_again(rig, ran):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    rig.ask("reboot_node", pool_id="p", node_id=next(iter(released(rig))))
    rig.advance(20)
    assert (rig.job()["state"], ran.count) == ("completed", 3)
    assert {info["result"] for info in released(rig).values()} == {"success"}
    rig.check()


@pytest.mark.parametrize("action", ["reboot_node", "deallocate_node"])
def test_a_node_that_lets_tasks_finish_is_switched_off_after_its_release(rig, ran, action):
    begin(rig, nodes=1)
    rig.ask("terminate_job", job_id="j")
    node_id = next(iter(released(rig)))
    member = {"reboot_node": "nodeRebootOption", "deallocate_node": "nodeDeallocateOption"}[action]
    rig.ask(action, {member: "taskcompletion"}, pool_id="p", node_id=node_id)
    rig.advance(20)
    assert (rig.job()["state"], ran.count) == ("completed", 1)
    assert released(rig)[node_id]["result"] == "success"
    state = {node["id"]: node["state"] for node in rig.nodes()}[node_id]
    assert state == ("idle" if action == "reboot_node" else "deallocated")
    rig.check()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("action", ["reimage_node", "deallocate_node"])
def test_a_node_that_is_wiped_or_rests_is_passed_over(rig, ran, action, when):
    begin(rig)
    node_id = rig.tasks()["t0"]["nodeInfo"]["nodeId"]
    if when == "meanwhile":
        rig.ask("terminate_job", job_id="j")
    else:
        rig.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    rig.ask(action, pool_id="p", node_id=node_id)
    if when == "before":
        rig.advance(5)
        rig.ask("terminate_job", job_id="j")
    rig.advance(20)
    assert rig.job()["state"] == "completed"
    assert ran.count == (2 if when == "meanwhile" else 1)
    rig.check()


def test_a_node_that_was_wiped_and_prepared_again_is_released(rig, ran):
    rig.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    begin(rig, nodes=1)
    rig.ask("reimage_node", pool_id="p", node_id=rig.nodes()[0]["id"])
    rig.advance(10)
    assert rig.task("t0")["state"] == "running"
    rig.ask("terminate_job", job_id="j")
    rig.advance(10)
    assert (rig.job()["state"], ran.count) == ("completed", 1)


@pytest.mark.parametrize("option", ["requeue", "taskcompletion"])
def test_a_node_that_leaves_waits_for_it_only_if_it_lets_tasks_finish(rig, ran, option):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    body = {"targetDedicatedNodes": 0, "nodeDeallocationOption": option}
    rig.ask("resize_pool", body, pool_id="p")
    rig.advance(1)
    assert len(rig.nodes()) == (2 if option == "taskcompletion" else 0)
    rig.check()
    rig.advance(10)
    assert (rig.nodes(), rig.job()["state"]) == ([], "completed")
    results = {info["result"] for info in released(rig).values()}
    assert results == ({"success"} if option == "taskcompletion" else {"failure"})
    rig.check()


def test_a_node_that_drains_is_released_when_its_last_task_ends_the_job(rig, ran):
    begin(rig, nodes=1)
    rig.ask("update_job", {"onAllTasksComplete": "terminatejob"}, job_id="j")
    body = {"targetDedicatedNodes": 0, "nodeDeallocationOption": "taskcompletion"}
    rig.ask("resize_pool", body, pool_id="p")
    rig.advance(200)
    assert (rig.job()["state"], ran.count, rig.nodes()) == ("completed", 1, [])
    rig.check()


def test_an_own_pool_lives_until_its_job_is_released(rig, ran):
    spec = {name: value for name, value in rig.pool().items() if name in (
        "vmSize", "virtualMachineConfiguration", "targetDedicatedNodes")}  # fmt: skip
    auto_pool = {"poolLifetimeOption": "job", "pool": spec}
    rig.add_job(poolInfo={"autoPoolSpecification": auto_pool}, **special())
    rig.add_task("t", seconds=100)
    rig.advance(5)
    pool_id = rig.job()["executionInfo"]["poolId"]
    rig.ask("terminate_job", job_id="j")
    assert rig.pool(pool_id)["state"] == "active"
    rig.advance(10)
    assert ran.count == 1
    assert rig.refusal("get_pool", pool_id=pool_id) == "PoolNotFound"
    assert {info["result"] for info in released(rig).values()} == {"success"}


def test_a_node_that_never_says_how_it_ended_keeps_the_job_for_so_long(rig, ran):
    begin(rig, **special("sleep 5000", maxWallClockTime="PT2M"))
    rig.ask("terminate_job", job_id="j")
    rig.advance(170)
    assert rig.job()["state"] == "terminating"
    rig.restart()
    rig.advance(20)
    assert rig.job()["state"] == "completed"
    assert {info["result"] for info in released(rig).values()} == {"failure"}
    rig.check()


def test_a_disabled_job_that_ends(rig, ran):
    begin(rig)
    rig.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    assert (rig.job()["state"], ran.count) == ("disabled", 0)
    rig.ask("terminate_job", job_id="j")
    rig.advance(10)
    assert (rig.job()["state"], ran.count) == ("completed", 2)


def test_its_list_can_be_filtered(rig):
    begin(rig)
    rig.ask("terminate_job", job_id="j")
    rig.advance(10)
    member = "jobReleaseTaskExecutionInfo"
    found = rig.ask(STATUS, job_id="j", query={"filter": f"{member}/state eq 'completed'"})
    assert len(found["value"]) == 2
    found = rig.ask(STATUS, job_id="j", query={"filter": f"{member}/exitCode ne 0"})
    assert found["value"] == []


def test_its_id_is_no_tasks(rig):
    rig.add_job(**special())
    body = {"id": "JobRelease", "commandLine": "true"}
    assert rig.refusal("create_task", body, job_id="j") == "TaskIdSameAsJobReleaseTask"


def test_many_restarts_and_lost_nodes(rig, ran):
    begin(rig, nodes=3, **special("sleep 4"))
    rig.ask("terminate_job", job_id="j", settled=False)
    for step in range(8):
        rig.advance(0.4)
        if step % 4 == 1:
            rig.engine.kill_node(rig.nodes()[0]["id"])
        else:
            rig.restart(resume=("before", "after")[step % 2])
        rig.advance(0.1)
        rig.check()
    rig.advance(60)
    assert rig.job()["state"] == "completed"
    assert ran.count == 3
    rig.check()

"""Job manager tasks: made with their job, placed first, alone on a node; what their end does."""

from __future__ import annotations

import pytest
from bench import a_job, a_task

from lote.wire.errors import Refused


def manager(*, seconds: float = 10, exits: int = 0, **given: object) -> dict[str, object]:
    command = a_task("x", seconds=seconds, exits=exits)["commandLine"]
    return {"id": "boss", "commandLine": command} | given


def add(bench, job_id="j", *, job=None, **given):
    bench.add_job(job_id, jobManagerTask=manager(**given), **(job or {}))


def test_the_manager_is_a_task_of_the_job_and_its_end_ends_the_job(bench):
    bench.add_pool()
    add(bench, displayName="Boss")
    assert bench.task("boss")["state"] == "running"
    assert bench.task("boss")["displayName"] == "Boss"
    assert bench.counts() == {
        "active": 0,
        "running": 1,
        "completed": 0,
        "succeeded": 0,
        "failed": 0,
    }
    bench.add_task("t")
    bench.advance(11)
    job = bench.job()
    assert job["state"] == "completed"
    assert job["executionInfo"]["terminateReason"] == "JMComplete"
    assert bench.task_states() == {"boss": "completed", "t": "active"}
    bench.check()


def test_a_manager_that_fails_ends_the_job_after_its_retries(bench):
    bench.add_pool()
    add(bench, exits=3, job={"constraints": {"maxTaskRetryCount": 2}})
    bench.advance(29)
    assert bench.job()["state"] == "active"
    bench.advance(2)
    assert bench.job()["executionInfo"]["terminateReason"] == "JMComplete"
    assert bench.task("boss")["executionInfo"]["retryCount"] == 2


def test_its_limit_of_retries_is_the_jobs_at_its_making(bench):
    add(bench, job={"constraints": {"maxTaskRetryCount": 2}})
    bench.ask("update_job", {"constraints": {"maxTaskRetryCount": 5}}, job_id="j")
    assert bench.task("boss")["constraints"]["maxTaskRetryCount"] == 2


def test_what_it_started_is_killed_when_it_ends(bench):
    bench.add_pool(nodes=2)
    add(bench)
    bench.add_task("long", seconds=1000)
    assert bench.running() == ["boss", "long"]
    bench.advance(11)
    assert bench.job()["state"] == "completed"
    assert bench.task("long")["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    bench.check()


def test_a_manager_whose_end_means_nothing(bench):
    bench.add_pool()
    add(bench, killJobOnCompletion=False)
    bench.add_task("t", seconds=1000)
    bench.advance(11)
    assert bench.job()["state"] == "active"
    assert bench.task_states() == {"boss": "completed", "t": "running"}
    bench.check()


def test_the_job_completes_by_its_manager_first(bench):
    bench.add_pool()
    add(bench, job={"onAllTasksComplete": "terminatejob"})
    assert bench.job()["state"] == "active"
    bench.advance(11)
    assert bench.job()["executionInfo"]["terminateReason"] == "JMComplete"


def test_all_tasks_complete_counts_the_manager(bench):
    bench.add_pool()
    add(bench, killJobOnCompletion=False, job={"onAllTasksComplete": "terminatejob"})
    bench.advance(11)
    assert bench.job()["executionInfo"]["terminateReason"] == "AllTasksComplete"


def test_terminating_the_manager_ends_the_job(bench):
    bench.add_pool(nodes=0)
    add(bench)
    bench.ask("terminate_task", job_id="j", task_id="boss")
    assert bench.job()["executionInfo"]["terminateReason"] == "JMComplete"
    bench.check()


def test_nothing_shares_its_node(bench):
    bench.add_pool(nodes=1, slots=4)
    add(bench, killJobOnCompletion=False)
    bench.add_tasks(3, seconds=5)
    assert bench.running() == ["boss"]
    assert bench.nodes()[0]["runningTaskSlotsCount"] == 1
    assert bench.ask("get_job_task_counts", job_id="j")["taskSlotCounts"]["running"] == 1
    bench.check()
    bench.advance(11)
    assert sorted(bench.running()) == ["t0", "t1", "t2"]
    bench.check()


def test_it_waits_for_an_empty_node_and_gets_one(bench):
    bench.add_pool(nodes=1, slots=2)
    bench.add_job("other")
    bench.add_task("first", "other", seconds=20)
    add(bench)
    for number in range(30):
        bench.add_task(f"t{number}", "other", seconds=20)
    assert bench.task("boss")["state"] == "active"
    for _ in range(40):
        bench.advance(10)
        if bench.job()["state"] == "completed":
            break
    assert bench.job()["state"] == "completed"
    assert bench.counts("other")["active"] > 0  # it did not wait for all of them
    bench.check()


def test_a_manager_that_shares(bench):
    bench.add_pool(nodes=1, slots=4)
    add(bench, runExclusive=False, requiredSlots=2)
    bench.add_tasks(3, seconds=5)
    assert sorted(bench.running()) == ["boss", "t0", "t1"]
    assert bench.nodes()[0]["runningTaskSlotsCount"] == 4
    bench.check()


def test_its_pool_may_come_later(bench):
    add(bench, "j")
    bench.add_pool(nodes=1, slots=4)
    bench.add_tasks(1)
    assert bench.running() == ["boss"]
    bench.check()


def test_its_job_may_move_to_a_pool_of_larger_nodes(bench):
    bench.add_pool("q", nodes=1, slots=4)
    add(bench, job={"poolInfo": {"poolId": "none"}})
    bench.add_tasks(2)
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    bench.ask("update_job", {"poolInfo": {"poolId": "q"}}, job_id="j")
    bench.ask("enable_job", job_id="j")
    assert bench.running() == ["boss"]
    bench.check()


def test_not_on_low_priority_nodes(bench):
    bench.add_pool(nodes=0, targetLowPriorityNodes=1)
    add(bench, allowLowPriorityNode=False)
    assert bench.task("boss")["state"] == "active"
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    assert bench.task("boss")["state"] == "running"
    dedicated = {node["id"] for node in bench.nodes() if node["isDedicated"]}
    assert bench.task("boss")["nodeInfo"]["nodeId"] in dedicated
    bench.check()


def test_its_node_leaves_last(bench):
    bench.add_pool(nodes=3)
    bench.add_job("other")
    bench.add_task("t", "other", seconds=1000)
    add(bench, seconds=1000)
    node_id = bench.task("boss")["nodeInfo"]["nodeId"]
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    assert [node["id"] for node in bench.nodes()] == [node_id]
    assert bench.task("boss")["executionInfo"]["requeueCount"] == 0


@pytest.mark.parametrize("resume", ["before", "after"])
def test_a_restart_of_the_server_changes_nothing(bench, resume):
    bench.add_pool(nodes=1, slots=4)
    add(bench)
    bench.add_tasks(3)
    bench.restart(resume=resume)
    bench.advance(1)
    assert bench.running() == ["boss"]
    bench.check()
    bench.advance(11)
    assert bench.job()["executionInfo"]["terminateReason"] == "JMComplete"
    bench.check()


def test_a_waiting_manager_survives_a_restart(bench):
    bench.add_pool(nodes=0, slots=4)
    add(bench)
    bench.add_tasks(3)
    bench.restart()
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    assert bench.running() == ["boss"]
    bench.check()


def test_a_manager_whose_node_is_lost_runs_again_first(bench):
    bench.add_pool(nodes=1, slots=2)
    add(bench)
    bench.add_tasks(2)
    bench.engine.kill_node(bench.nodes()[0]["id"])
    bench.advance(5)
    assert bench.running() == ["boss"]
    bench.check()


def test_each_job_of_a_schedule_has_its_manager(bench):
    bench.add_pool()
    specification = {"poolInfo": {"poolId": "p"}, "jobManagerTask": manager(seconds=60)}
    schedule = {"recurrenceInterval": "PT1H"}
    body = {"id": "s", "schedule": schedule, "jobSpecification": specification}
    bench.ask("create_job_schedule", body)
    bench.advance(2 * 3600 + 120)
    for number in (1, 2, 3):
        job = bench.job(f"s:job-{number}")
        assert (job["state"], job["executionInfo"]["terminateReason"]) == (
            "completed",
            "JMComplete",
        )
    bench.check()


def test_its_id_is_taken(bench):
    add(bench)
    with pytest.raises(Refused) as refused:
        bench.add_task("BOSS")
    assert refused.value.code == "TaskExists"


def test_what_no_task_can_have_no_manager_can(bench):
    bench.add_pool()
    for member, code in (
        ({"containerSettings": {"imageName": "i"}}, "InvalidPropertyValue"),
        (
            {"applicationPackageReferences": [{"applicationId": "a"}]},
            "InvalidApplicationPackageReferences",
        ),
    ):
        body = a_job(jobManagerTask=manager() | member)
        assert bench.refusal("create_job", body) == code


def test_tasks_of_its_job_do_not_wait_behind_it(bench):
    """Short tasks are sent ahead to nodes, but not to one that a manager holds."""
    bench.add_pool(nodes=2)
    add(bench, seconds=1000)
    bench.add_tasks(100, seconds=0.01)
    bench.advance(30)
    assert bench.counts()["succeeded"] == 100
    bench.check()

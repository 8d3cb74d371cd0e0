"""Auto pools: made with their job or schedule, found by it, gone with it unless kept."""

from __future__ import annotations

import pytest
from bench import a_pool

HOUR_S = 3600


def specification(**given):
    pool = a_pool()
    del pool["id"]
    return pool | given


def auto(lifetime="job", *, prefix=None, keep=None, **pool):
    shown = {"poolLifetimeOption": lifetime, "pool": specification(**pool)}
    if prefix is not None:
        shown["autoPoolIdPrefix"] = prefix
    if keep is not None:
        shown["keepAlive"] = keep
    return {"poolInfo": {"autoPoolSpecification": shown}}


def pools(bench):
    return [pool["id"] for pool in bench.ask("list_pools")["value"]]


def schedule(bench, *, keep=None, lifetime="jobschedule", **times):
    info = auto(lifetime, prefix="s", keep=keep) | {"onAllTasksComplete": "terminatejob"}
    bench.ask("create_job_schedule", {"id": "s", "schedule": times, "jobSpecification": info})


def pool_of(bench, job_id="j"):
    return bench.job(job_id)["executionInfo"]["poolId"]


def test_the_pool_is_made_with_the_job_and_runs_its_tasks(bench):
    bench.add_job(**auto(prefix="mine"))
    job = bench.job()
    pool_id = job["executionInfo"]["poolId"]
    prefix, _, guid = pool_id.partition("_")
    assert (prefix, len(guid), guid) == ("mine", 36, guid.upper())
    assert "poolId" not in job["poolInfo"]
    assert job["poolInfo"]["autoPoolSpecification"]["keepAlive"] is False
    bench.add_task("t")
    assert bench.running() == ["t"]
    assert bench.task("t")["nodeInfo"]["poolId"] == pool_id
    bench.check()


def test_without_a_prefix_the_id_is_a_guid(bench):
    bench.add_job(**auto())
    assert len(pool_of(bench)) == 36


@pytest.mark.parametrize("end", ["terminate_job", "delete_job"])
def test_it_goes_with_its_job(bench, end):
    bench.add_job(**auto())
    bench.add_task("t")
    bench.ask(end, job_id="j")
    bench.advance(1)
    assert pools(bench) == []
    bench.check()


def test_it_goes_when_all_tasks_are_complete_and_after_a_restart(bench):
    bench.add_job(**auto())
    bench.add_task("t")
    bench.ask("update_job", {"onAllTasksComplete": "terminatejob"}, job_id="j")
    bench.restart()
    bench.advance(11)
    assert bench.job()["state"] == "completed"
    assert pools(bench) == []
    bench.check()


def test_deleting_a_completed_job_leaves_other_pools(bench):
    bench.add_job(**auto(keep=True))
    bench.ask("terminate_job", job_id="j")
    pool_id = pool_of(bench)
    bench.ask("delete_job", job_id="j")
    assert pools(bench) == [pool_id]
    bench.check()


def test_keep_alive_can_be_patched_and_nothing_else(bench):
    bench.add_job(**auto(prefix="a"))
    new = {"poolLifetimeOption": "job"}

    def patch(**members):
        return {"poolInfo": {"autoPoolSpecification": new | members}}

    for wrong in (
        {"poolInfo": {"poolId": "p"}},
        patch(autoPoolIdPrefix="b"),
        patch(pool=specification(targetDedicatedNodes=7)),
    ):
        assert bench.refusal("update_job", wrong, job_id="j") == "InvalidPropertyValue"
    bench.ask("update_job", patch(keepAlive=True), job_id="j")
    assert bench.job()["poolInfo"]["autoPoolSpecification"]["keepAlive"] is True
    assert bench.job()["poolInfo"]["autoPoolSpecification"]["autoPoolIdPrefix"] == "a"
    pool_id = pool_of(bench)
    bench.ask("terminate_job", job_id="j")
    bench.advance(1)
    assert pools(bench) == [pool_id]


def test_what_is_read_can_be_replaced(bench):
    bench.add_job(**auto(prefix="a", keep=True))
    info = bench.job()["poolInfo"]
    bench.ask("replace_job", {"poolInfo": info, "priority": 5}, job_id="j")
    assert bench.job()["poolInfo"] == info
    bench.check()


def test_a_job_with_a_pool_cannot_have_an_auto_pool_later(bench):
    bench.add_job()
    assert bench.refusal("update_job", auto(), job_id="j") == "InvalidPropertyValue"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"taskSlotsPerNode": 200}, "InvalidAutoPoolSettings"),
        (
            {
                "enableAutoScale": True,
                "autoScaleFormula": "$TargetDedicatedNodes = (",
                "targetDedicatedNodes": None,
            },
            "InvalidAutoScaleFormulaInAutoPool",
        ),
        (
            {"applicationPackageReferences": [{"applicationId": "a"}]},
            "InvalidApplicationPackageReferencesInAutoPool",
        ),
        (
            {"certificateReferences": [{"thumbprint": "a" * 40, "thumbprintAlgorithm": "sha1"}]},
            "InvalidCertificatesInAutoPool",
        ),
    ],
)
def test_a_pool_that_cannot_be_made_completes_the_job(bench, given, code):
    bench.add_job(**auto(**given))
    job = bench.job()
    assert job["state"] == "completed"
    error = job["executionInfo"]["schedulingError"]
    assert (error["category"], error["code"]) == ("usererror", code)
    assert "poolId" not in job["executionInfo"]
    assert "endTime" in job["executionInfo"]
    assert pools(bench) == []
    bench.check()


def test_no_room_for_another_pool_completes_the_job(make_bench):
    bench = make_bench(pool_quota=1)
    bench.add_job("a", **auto())
    bench.add_job("b", **auto(), jobManagerTask={"id": "m", "commandLine": "true"})
    assert bench.job("a")["state"] == "active"
    error = bench.job("b")["executionInfo"]["schedulingError"]
    assert error["code"] == "AutoPoolCreationFailedWithQuotaReached"
    assert bench.task_states("b") == {"m": "active"}
    bench.check()


def test_its_size_may_follow_a_formula(bench):
    formula = "$TargetDedicatedNodes = 2;"
    bench.add_job(**auto(enableAutoScale=True, autoScaleFormula=formula, targetDedicatedNodes=None))
    bench.advance(1)
    assert bench.node_states(pool_of(bench)) == ["idle", "idle"]
    bench.check()


def test_a_manager_with_a_pool_of_its_own(bench):
    manager = {"id": "m", "commandLine": "sleep 5"}
    bench.add_job(**auto(taskSlotsPerNode=4), jobManagerTask=manager)
    assert bench.running() == ["m"]
    bench.advance(6)
    assert bench.job()["executionInfo"]["terminateReason"] == "JMComplete"
    assert pools(bench) == []
    bench.check()


def test_jobs_of_a_schedule_share_one_pool(bench):
    schedule(bench, recurrenceInterval="PT1H")
    first = pool_of(bench, "s:job-1")
    bench.restart()
    bench.advance(1.5 * HOUR_S)
    assert pool_of(bench, "s:job-2") == first
    assert pools(bench) == [first]
    bench.check()
    bench.ask("terminate_job_schedule", job_schedule_id="s")
    bench.advance(1)
    assert pools(bench) == []
    bench.check()


def test_a_shared_pool_that_somebody_deleted_is_made_again(bench):
    schedule(bench, recurrenceInterval="PT1H")
    first = pool_of(bench, "s:job-1")
    bench.ask("delete_pool", pool_id=first)
    bench.advance(1.5 * HOUR_S)
    second = pool_of(bench, "s:job-2")
    assert second != first
    assert pools(bench) == [second]


@pytest.mark.parametrize(("keep", "left"), [(False, 0), (True, 1)])
def test_a_shared_pool_goes_with_a_deleted_schedule(bench, keep, left):
    schedule(bench, keep=keep, recurrenceInterval="PT1H")
    bench.ask("delete_job_schedule", job_schedule_id="s")
    bench.advance(1)
    assert len(pools(bench)) == left
    bench.check()


def test_a_schedule_of_one_job_ends_with_its_pool(bench):
    schedule(bench)
    bench.advance(1)
    assert bench.ask("get_job_schedule", job_schedule_id="s")["state"] == "completed"
    assert pools(bench) == []
    bench.check()


def test_each_job_of_a_schedule_may_have_its_own(bench):
    schedule(bench, lifetime="job", recurrenceInterval="PT1H")
    bench.advance(1.5 * HOUR_S)
    assert pool_of(bench, "s:job-1") != pool_of(bench, "s:job-2")
    assert pools(bench) == []  # both jobs had nothing to do
    bench.check()


def test_a_schedule_whose_pool_cannot_be_made_goes_on(make_bench):
    bench = make_bench(pool_quota=0)
    schedule(bench, recurrenceInterval="PT1H")
    bench.advance(1.5 * HOUR_S)
    for job_id in ("s:job-1", "s:job-2"):
        assert bench.job(job_id)["state"] == "completed"
        assert "schedulingError" in bench.job(job_id)["executionInfo"]
    bench.check()

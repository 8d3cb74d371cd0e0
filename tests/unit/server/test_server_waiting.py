"""Why a task does not run yet."""

from __future__ import annotations

import pytest
from bench import depends_on

from lote.engines.script import NodeFate, Script


@pytest.fixture
def linked(bench):
    bench.add_pool()
    bench.add_job(usesTaskDependencies=True)
    return bench


def why(bench, task_id, job_id="j"):
    """Codes of the reasons; the first with the tasks that it names."""
    shown = bench.ask("explain_task", job_id=job_id, task_id=task_id)
    assert shown["state"] == bench.task(task_id, job_id)["state"]
    assert all(one["text"].endswith(".") for one in shown["reasons"])
    named = shown["reasons"][0].get("tasks", []) if shown["reasons"] else []
    return [one["code"] for one in shown["reasons"]], named


def test_nothing_is_to_be_explained_of_what_runs_or_ran(linked):
    linked.add_task("t", seconds=5)
    assert why(linked, "t") == ([], [])
    linked.advance(6)
    assert why(linked, "t") == ([], [])


def test_slots(linked):
    linked.add_task("wide", slots=2)
    assert why(linked, "wide") == (["needs_more_slots_than_any_node"], [])
    linked.add_task("t", seconds=60)
    linked.add_task("next", seconds=60)
    assert why(linked, "next") == (["all_slots_busy"], [])


def test_pools_jobs_and_nodes(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=600)))
    bench.add_job()
    bench.add_task("t")
    assert why(bench, "t") == (["pool_missing"], [])
    bench.add_pool(nodes=0)
    assert why(bench, "t") == (["no_nodes"], [])
    body = {"targetDedicatedNodes": 1, "targetLowPriorityNodes": 0}
    bench.ask("resize_pool", body, pool_id="p")
    assert why(bench, "t") == (["node_not_ready"], [])
    bench.ask("disable_job", {"disableTasks": "requeue"}, job_id="j")
    assert why(bench, "t") == (["job_disabled"], [])
    bench.ask("terminate_job", job_id="j")
    assert why(bench, "t") == (["job_missing"], [])


def test_dependencies(linked):
    linked.add_task("q", seconds=50)
    linked.add_task("7", seconds=50)
    linked.add_task("child", **depends_on("p", "q", ranges=[(1, 9)]))
    assert why(linked, "child") == (["waiting_for_dependencies"], ["p", "q", "1-9"])
    linked.add_task("p", exits=1, seconds=1)
    linked.advance(200)
    assert why(linked, "child") == (["blocked"], ["p"])
    linked.ask("delete_task", job_id="j", task_id="p")
    assert why(linked, "child") == (["waiting_for_dependencies"], ["p", "1-9"])
    linked.add_task("004", exits=1, seconds=1)
    linked.add_task("44", exits=1, seconds=1)
    linked.advance(5)
    assert why(linked, "child") == (["blocked"], ["004"])
    linked.add_task("4", seconds=1)  # stands for it
    linked.advance(5)
    assert why(linked, "child") == (["waiting_for_dependencies"], ["p", "1-9"])
    linked.check()


def test_who_is_not_there(linked):
    assert linked.refusal("explain_task", job_id="none", task_id="t") == "JobNotFound"
    assert linked.refusal("explain_task", job_id="j", task_id="t") == "TaskNotFound"

"""The view: what its changes refuse and how they are counted."""

from __future__ import annotations

import pytest
from scheduler_model import check_indexes

from lote.scheduler.place import place
from lote.scheduler.revoke import reclaim, reclaim_job
from lote.scheduler.view import ReadyTask, StalePlan, View

POOL, JOB, NODE = 1, 10, 5


def a_view(*, mean_run_s: float | None = None) -> View:
    view = View()
    view.add_pool(POOL)
    view.add_node(NODE, POOL, 2)
    view.add_job(JOB, POOL, created_us=0, mean_run_s=mean_run_s)
    return view


def tasks(*keys: int) -> list[ReadyTask]:
    return [ReadyTask(key) for key in keys]


def test_the_window_is_in_creation_order_whatever_comes_back() -> None:
    view = a_view()
    view.push_ready(JOB, tasks(20, 30), more=False)
    view.push_ready(JOB, [ReadyTask(25, slots=2)], more=True)
    view.push_front(JOB, ReadyTask(10))
    assert [task.key for task in view.jobs[JOB].head] == [10, 20, 25, 30]
    assert view.jobs[JOB].ready_count == 4
    with pytest.raises(ValueError, match="ready already"):
        view.push_front(JOB, ReadyTask(20))


def test_a_stale_plan_changes_nothing() -> None:
    view = a_view()
    view.push_ready(JOB, tasks(20, 30), more=False)
    plan = place(view, POOL)
    view.drop_ready(JOB, 20)
    with pytest.raises(StalePlan):
        view.apply(plan)
    assert view.nodes[NODE].free == 2
    assert [task.key for task in view.jobs[JOB].head] == [30]
    view.drop_pool(POOL)
    with pytest.raises(StalePlan):
        view.apply(plan)


def test_a_plan_cannot_be_applied_twice() -> None:
    view = a_view()
    view.push_ready(JOB, tasks(20), more=False)
    plan = place(view, POOL)
    view.apply(plan)
    with pytest.raises(StalePlan):
        view.apply(plan)


def test_a_backlog_holds_the_slots_it_is_about_to_take() -> None:
    view = a_view(mean_run_s=0.02)
    view.push_ready(JOB, tasks(*range(100, 120)), more=False)
    view.apply(place(view, POOL))
    node = view.nodes[NODE]
    first = next(iter(node.backlog))
    view.release(NODE, JOB, 100, 1)
    assert (node.free, node.open) == (1, 0)
    view.begin(NODE, first)
    view.begin(NODE, first)
    assert (node.free, node.open, node.running) == (0, 0, 2)
    check_indexes(view)


def test_a_job_joins_its_pool_when_that_appears() -> None:
    view = View()
    view.add_job(JOB, 7, created_us=0)
    view.push_ready(JOB, tasks(1), more=False)
    view.add_pool(7)
    view.add_node(NODE, 7, 1)
    assert len(place(view, 7).assignments) == 1
    view.drop_pool(7)
    assert view.jobs[JOB].pool is None
    assert not view.nodes
    assert not place(view, 7)


def test_a_job_may_move_to_another_pool() -> None:
    view = a_view()
    view.add_pool(2)
    view.add_node(6, 2, 1)
    view.push_ready(JOB, tasks(1), more=False)
    view.set_job(JOB, active=False)
    view.set_job(JOB, pool_key=2)
    view.set_job(JOB, active=True)
    assert not place(view, POOL)
    assert [one.node_key for one in place(view, 2).assignments] == [6]
    check_indexes(view)


def test_policy_changes_take_effect() -> None:
    view = a_view()
    view.add_job(11, POOL, created_us=1)
    view.push_ready(JOB, tasks(1, 2), more=False)
    view.push_ready(11, tasks(3, 4), more=False)
    assert [one.job_key for one in place(view, POOL).assignments] == [JOB, 11]
    view.set_pool(POOL, creation_order=True, spread=False, slots_per_node=3)
    assert [one.job_key for one in place(view, POOL).assignments] == [JOB, JOB]
    check_indexes(view)


def test_the_mean_follows_the_runs() -> None:
    view = a_view()
    for _ in range(60):
        view.observe_run(JOB, 2.0)
    assert not view.jobs[JOB].quick
    for _ in range(60):
        view.observe_run(JOB, 0.1)
    assert view.jobs[JOB].quick
    assert view.jobs[JOB].mean_run_s == pytest.approx(0.1, rel=0.01)
    view.observe_run(99, 1.0)
    assert 99 not in view.jobs


def test_owners_revocations_are_marked_once() -> None:
    view = a_view(mean_run_s=0.02)
    view.push_ready(JOB, tasks(*range(100, 120)), more=False)
    view.apply(place(view, POOL))
    found = reclaim(view, NODE)
    assert found == reclaim_job(view, JOB)
    assert [one.task_key for one in found] == list(view.nodes[NODE].backlog)
    assert all(view.mark_revoked(*one) for one in found)
    assert not view.mark_revoked(*found[0])
    assert not view.mark_revoked(NODE, 100)
    assert reclaim(view, NODE) == []
    check_indexes(view)


def test_a_dropped_node_still_owes_its_releases() -> None:
    view = a_view(mean_run_s=0.02)
    view.push_ready(JOB, tasks(*range(100, 120)), more=False)
    view.apply(place(view, POOL))
    held = view.jobs[JOB].placed
    view.drop_node(NODE)
    assert view.jobs[JOB].placed == held
    for key in range(100, 100 + held):
        view.release(NODE, JOB, key, 1)
    assert view.jobs[JOB].placed == 0
    check_indexes(view)

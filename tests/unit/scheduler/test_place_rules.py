"""The rules of placement, one example each."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from scheduler_model import POOL, Model

from lote.scheduler.guard import PASSES_MAX
from lote.scheduler.place import Collecting, Plan, place
from lote.scheduler.view import ReadyTask, View


def a_model(
    *slots: int, spread: bool = True, creation_order: bool = False
) -> tuple[Model, list[int]]:
    model = Model(spread=spread, creation_order=creation_order)
    return model, [model.add_node(count) for count in slots]


def where(plan: Plan) -> list[tuple[int, int]]:
    return [(one.task_key, one.node_key) for one in plan.assignments]


def nodes_of(plan: Plan) -> list[int]:
    return [one.node_key for one in plan.assignments]


def test_spread_takes_the_emptiest_node_and_pack_the_fullest_that_fits() -> None:
    for spread, pattern in ((True, [1, 0, 1, 0, 1]), (False, [0, 0, 1, 1, 1])):
        model, nodes = a_model(2, 3, spread=spread)
        job = model.add_job()
        model.add_tasks(job, 5)
        plan = place(model.view, POOL)
        assert nodes_of(plan) == [nodes[at] for at in pattern]


def test_higher_priority_goes_first() -> None:
    model, _ = a_model(2)
    low, high = model.add_job(priority=-5), model.add_job(priority=5)
    model.add_tasks(low, 2)
    wanted = model.add_tasks(high, 2)
    plan = place(model.view, POOL)
    assert [one.task_key for one in plan.assignments] == wanted


def test_equal_jobs_take_turns_across_events() -> None:
    model, (node,) = a_model(1)
    jobs = [model.add_job() for _ in range(3)]
    for job in jobs:
        model.add_tasks(job, 20)
    order = []
    for _ in range(30):
        plan = model.place()
        (one,) = plan.assignments
        order.append(one.job_key)
        model.end(model.nodes[node], one.task_key)
    assert order == jobs * 10


def test_a_job_that_comes_late_does_not_make_up_for_its_absence() -> None:
    model, (node,) = a_model(1)
    first = model.add_job()
    model.add_tasks(first, 30)
    served = []
    for step in range(20):
        if step == 10:
            late = model.add_job()
            model.add_tasks(late, 20)
        (one,) = model.place().assignments
        served.append(one.job_key)
        model.end(model.nodes[node], one.task_key)
    assert Counter(served[10:]) == {first: 5, late: 5}


def test_creation_order_serves_the_older_job_first() -> None:
    model, _ = a_model(3, creation_order=True)
    old, new = model.add_job(), model.add_job()
    model.add_tasks(new, 3)
    model.add_tasks(old, 2)
    plan = place(model.view, POOL)
    assert [one.job_key for one in plan.assignments] == [old, old, new]


def test_what_does_not_fit_is_skipped() -> None:
    model, (node,) = a_model(4)
    job = model.add_job()
    first = model.add_tasks(job, 1)
    model.add_tasks(job, 1, slots=4)
    rest = model.add_tasks(job, 2)
    plan = place(model.view, POOL)
    assert where(plan) == [(key, node) for key in first + rest]


def test_a_requeued_task_keeps_its_place() -> None:
    model, (node,) = a_model(1)
    job = model.add_job()
    keys = model.add_tasks(job, 3)
    model.place()
    model.view.release(node, job, keys[0], 1)
    del model.nodes[node].begun[keys[0]]
    model.requeue(keys[0])
    assert where(place(model.view, POOL)) == [(keys[0], node)]


def test_affinity_beats_the_policy_but_never_waits() -> None:
    model, (first, second) = a_model(4, 1)
    job = model.add_job()
    model.add_tasks(job, 2, affinity=second)
    assert nodes_of(place(model.view, POOL)) == [second, first]
    gone = model.add_job(priority=1)
    model.add_tasks(gone, 1, affinity=999)
    assert nodes_of(place(model.view, POOL))[0] == first


def test_dedicated_only_tasks_avoid_spot_nodes() -> None:
    model = Model()
    model.add_node(4, dedicated=False)
    job = model.add_job()
    model.add_tasks(job, 1, dedicated_only=True)
    plan = place(model.view, POOL)
    assert not plan.assignments
    assert [reason.code for reason in plan.reasons[job]] == ["needs_dedicated_node"]
    dedicated = model.add_node(1)
    assert nodes_of(place(model.view, POOL)) == [dedicated]


def test_barred_nodes_are_left_out_until_reimaged() -> None:
    model, (node,) = a_model(1)
    job = model.add_job()
    model.add_tasks(job, 1)
    model.view.bar(job, node)
    assert not place(model.view, POOL)
    model.view.unbar(node)
    assert nodes_of(place(model.view, POOL)) == [node]


def test_max_parallel_counts_prefetched_tasks() -> None:
    model, _ = a_model(1)
    job = model.add_job(max_parallel=3, mean_run_s=0.001)
    model.add_tasks(job, 10)
    plan = model.place()
    assert [one.prefetched for one in plan.assignments] == [False, True, True]
    assert [reason.code for reason in plan.reasons[job]] == ["job_at_max_parallel"]


def test_prefetch_depth_follows_the_mean_run_time() -> None:
    for mean, depth in ((None, 0), (0.0001, 64), (0.001, 50), (0.02, 2), (0.3, 1), (0.6, 0)):
        model, _ = a_model(1)
        job = model.add_job(mean_run_s=mean)
        model.add_tasks(job, 100)
        assert sum(one.prefetched for one in model.place().assignments) == depth, mean


def test_a_backlog_is_refilled_at_its_half() -> None:
    model, (node_key,) = a_model(1)
    node = model.nodes[node_key]
    job = model.add_job(mean_run_s=0.005)  # ten deep
    model.add_tasks(job, 100)
    model.place()
    assert len(node.backlog) == 10
    refills = []
    for _ in range(10):
        model.end(node, min(node.begun))
        model.begin(node)
        refills.append(len(model.place().assignments))
    assert refills == [0, 0, 0, 0, 5, 0, 0, 0, 0, 5]


def test_only_the_backlog_that_fell_to_its_own_half_is_refilled() -> None:
    model, (large, small) = a_model(4, 1)
    job = model.add_job(mean_run_s=0.005)  # forty deep on the large node, ten on the small one
    model.add_tasks(job, 100)
    model.place()
    for node_key, ended in ((large, 20), (small, 3)):
        node = model.nodes[node_key]
        for _ in range(ended):
            model.end(node, min(node.begun))
            model.begin(node)
    assert nodes_of(model.place()) == [large] * 20


def test_nodes_that_long_tasks_hold_get_no_backlog() -> None:
    model, nodes = a_model(1, 1)
    long, quick = model.add_job(priority=1, mean_run_s=60), model.add_job(mean_run_s=0.01)
    model.add_tasks(long, 1)
    model.add_tasks(quick, 50)
    plan = model.place()
    assert {one.node_key for one in plan.assignments if one.prefetched} == {nodes[1]}


def test_lower_priority_is_not_prefetched_past_higher() -> None:
    model, _ = a_model(2)
    high, low = model.add_job(priority=1), model.add_job(mean_run_s=0.001)
    model.add_tasks(high, 3)
    model.add_tasks(low, 3)
    plan = model.place()
    assert [one.job_key for one in plan.assignments] == [high, high]


def test_higher_priority_asks_lower_backlogs_back_once() -> None:
    model, (node,) = a_model(1)
    low = model.add_job(mean_run_s=0.01)
    model.add_tasks(low, 20)
    model.place()
    assert len(model.nodes[node].backlog) == 5
    high = model.add_job(priority=1)
    model.add_tasks(high, 1)
    plan = place(model.view, POOL)
    assert [one.task_key for one in plan.revocations] == model.nodes[node].backlog
    model.apply(plan)
    assert not place(model.view, POOL)
    assert model.view.nodes[node].in_revocation == set(model.nodes[node].backlog)


def test_an_idle_slot_takes_its_share_of_the_longest_backlog() -> None:
    model, (busy,) = a_model(1)
    job = model.add_job(mean_run_s=0.01)
    keys = model.add_tasks(job, 6)
    model.place()
    idle = model.add_node(1)
    plan = model.place()
    assert [tuple(one) for one in plan.revocations] == [(busy, key) for key in keys[:2:-1]]
    for key in sorted(model.nodes[busy].asked):
        model.give_back(model.nodes[busy], key)
    plan = model.place()
    assert (keys[3], idle) in where(plan)
    assert {one.node_key for one in plan.assignments if one.prefetched} == {idle}


def test_what_begins_at_once_is_not_moved() -> None:
    model, _ = a_model(1)
    job = model.add_job(mean_run_s=0.001)
    model.add_tasks(job, 2)
    model.place()
    model.add_node(1)
    assert not model.place().revocations


def test_a_window_that_runs_out_stops_the_plan() -> None:
    model, _ = a_model(4)
    high, low = model.add_job(priority=1), model.add_job()
    model.add_tasks(high, 1, stored=5)
    model.add_tasks(low, 5)
    plan = place(model.view, POOL)
    assert plan.starved == [high]
    assert [one.job_key for one in plan.assignments] == [high]


def test_slots_are_collected_for_a_large_task() -> None:
    model, (first, second) = a_model(4, 4)
    job = model.add_job()
    small = model.add_tasks(job, 7)
    (large,) = model.add_tasks(job, 1, slots=4)
    model.add_tasks(job, 60)
    model.place()
    running = [key for key in small if key in model.nodes[first].begun]
    for _ in range(12):
        node = model.nodes[second]
        model.end(node, min(node.begun))
        plan = model.place()
    assert plan.collecting is not None
    kept = plan.collecting.node_key
    assert plan.collecting.task_key == large
    others = {first: second, second: first}
    while large in model.ready[job]:
        node = model.nodes[kept]
        model.end(node, min(node.begun))
        model.end(model.nodes[others[kept]], min(model.nodes[others[kept]].begun))
        plan = model.place()
    assert (large, kept) in where(plan)
    assert running


def test_a_requeued_task_of_the_same_kind_goes_before_the_protected_one() -> None:
    model, (node,) = a_model(4)
    job = model.add_job()
    older, protected = model.add_tasks(job, 2, slots=2)
    # As a plan left it before the older task was requeued and the last slots came free.
    pool = model.view.pools[POOL]
    pool.collecting = Collecting(protected, job, 2, PASSES_MAX, node)
    plan = model.place()
    assert where(plan) == [(older, node), (protected, node)]
    assert pool.collecting is None


def test_the_backlog_of_a_kept_node_is_asked_back() -> None:
    model, (node_key,) = a_model(2)
    node = model.nodes[node_key]
    quick = model.add_job(mean_run_s=0.01)
    model.add_tasks(quick, 50)
    model.place()
    large = model.add_job()
    (key,) = model.add_tasks(large, 1, slots=2)
    while (plan := model.place()).collecting is None or not plan.collecting.node_key:
        model.end(node, min(node.begun))
        model.begin(node)
    assert not plan.assignments
    assert {one.task_key for one in plan.revocations} == set(node.backlog) == node.asked
    for task in sorted(node.asked):
        model.give_back(node, task)
    for task in sorted(node.begun):
        model.end(node, task)
        model.place()
    assert key in node.begun


def test_the_last_place_under_the_cap_is_left_to_a_large_task() -> None:
    model, nodes = a_model(2, 2)
    job, other = model.add_job(max_parallel=1), model.add_job()
    model.add_tasks(job, 1)
    (large,) = model.add_tasks(job, 1, slots=2)
    model.add_tasks(job, 200)
    model.add_tasks(other, 200)
    for _ in range(60):
        model.place()
        if any(large in model.nodes[key].begun for key in nodes):
            return
        # The first begun ends on each node, so that one slot opens here and one there, and the
        # job is at its cap whenever a kept node would be free.
        for key in nodes:
            if model.nodes[key].begun:
                model.end(model.nodes[key], next(iter(model.nodes[key].begun)))
    raise AssertionError("the large task starves")


def test_no_node_is_kept_for_a_job_at_its_cap() -> None:
    model, (node,) = a_model(4)
    job, other = model.add_job(max_parallel=2), model.add_job()
    model.add_tasks(job, 1)
    model.place()
    (large,) = model.add_tasks(job, 1, slots=4)
    (small,) = model.add_tasks(job, 1)
    others = model.add_tasks(other, 2)
    model.view.set_job(other, priority=-1)  # so that it comes after
    model.view.pools[POOL].collecting = Collecting(large, job, 4, PASSES_MAX - 1, 0)
    assert [key for key, _ in where(model.place())] == [small, *others]
    assert len(model.nodes[node].begun) == 4


def test_higher_priority_may_use_collected_slots() -> None:
    model, (node,) = a_model(2)
    low = model.add_job()
    model.add_tasks(low, 1)
    model.add_tasks(low, 1, slots=2)
    model.add_tasks(low, 20)
    model.place()
    for _ in range(8):
        model.end(model.nodes[node], max(model.nodes[node].begun))
        plan = model.place()
    assert plan.collecting is not None
    assert plan.collecting.node_key == node
    assert model.nodes[node].free == 1
    high = model.add_job(priority=1)
    (urgent,) = model.add_tasks(high, 1)
    assert where(model.place()) == [(urgent, node)]


def test_unknown_pool_and_empty_pool() -> None:
    view = View()
    assert not place(view, 7)
    view.add_pool(7)
    view.add_job(1, 7, created_us=0)
    view.push_ready(1, [ReadyTask(1)], more=False)
    assert not place(view, 7)


ROWS = st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=6)
JOBS = st.lists(
    st.tuples(
        st.integers(0, 1),  # priority
        st.sampled_from([-1, 3]),  # max_parallel
        st.sampled_from([None, 0.01]),  # mean
        st.integers(0, 2),  # created
        st.lists(st.integers(1, 3), max_size=12),  # slots of the tasks
    ),
    min_size=1,
    max_size=5,
)


@given(rows=ROWS, jobs=JOBS, spread=st.booleans(), old_first=st.booleans(), seed=st.integers(0, 99))
def test_the_order_of_additions_does_not_matter(
    rows: list[tuple[int, bool]],
    jobs: list[tuple[int, int, float | None, int, list[int]]],
    spread: bool,
    old_first: bool,
    seed: int,
) -> None:
    plans = []
    for shuffled in (False, True):
        view = View()
        view.add_pool(POOL, spread=spread, creation_order=old_first)
        steps = [("node", key, row) for key, row in enumerate(rows, 1)]
        steps += [("job", key, job) for key, job in enumerate(jobs, 100)]  # type: ignore[misc]
        if shuffled:
            Random(seed).shuffle(steps)
        for kind, key, row in steps:
            if kind == "node":
                view.add_node(key, POOL, row[0], dedicated=row[1])
                continue
            priority, cap, mean, created, slots = row  # type: ignore[misc]
            view.add_job(
                key,
                POOL,
                created_us=created,
                priority=priority,
                max_parallel=cap,
                mean_run_s=mean,
            )
            tasks = [ReadyTask(1000 * key + n, slots=s) for n, s in enumerate(slots)]
            view.push_ready(key, tasks, more=False)
        plan = place(view, POOL)
        plans.append((plan.assignments, plan.revocations, plan.collecting, plan.starved))
    assert plans[0] == plans[1]

"""Preemption: only lower priorities, only what is needed, never twice, and always to some end."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from scheduler_model import POOL, Model

from lote.scheduler.preempt import LOOKS_MAX, find_preemptions

slots = st.integers(1, 3)
jobs = st.tuples(
    st.integers(0, 4),  # priority
    st.booleans(),  # allows preemption
    st.integers(-1, 3).filter(bool),  # max parallel
    st.lists(slots, max_size=6),
)


def add(model: Model, yields: set[int], priority: int, allows: bool, most: int, sizes: list[int]):
    job = model.add_job(priority=priority, max_parallel=most)
    for size in sizes:
        model.add_tasks(job, 1, slots=size)
    if allows:
        yields.add(job)
    return job


def settle(model: Model, yields: set[int]) -> None:
    """Place what can be, and say what may be taken off."""
    model.place()
    yielding = model.view.pools[POOL].yielding
    for node in model.nodes.values():
        for task, size in node.begun.items():
            job = model.job_of[task]
            if job in yields and task not in yielding:
                model.view.let_yield(node.key, job, task, size)


def take_off(model: Model, tasks: list[int]) -> None:
    for node in model.nodes.values():
        for task in [task for task in tasks if task in node.begun]:
            size = node.begun.pop(task)
            model.view.release(node.key, model.job_of[task], task, size)
            model.requeue(task)


def running(model: Model) -> dict[int, int]:
    """Jobs of what runs, by task."""
    return {task: model.job_of[task] for node in model.nodes.values() for task in node.begun}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(jobs, max_size=4),
    st.lists(jobs, min_size=1, max_size=3),
)
@example(
    [3, 4],
    [(0, False, 1, [1]), (0, True, -1, [2, 1, 1])],
    [(1, False, -1, [2, 3])],
)
def test_whatever_comes(sizes, first, later):
    model, yields = Model(), set()
    nodes = [model.add_node(size) for size in sizes]
    for job in first:
        add(model, yields, *job)
    settle(model, yields)
    for job in later:
        add(model, yields, *job)
    settle(model, yields)
    view = model.view
    for _ in range(60):
        before = running(model)
        found, promises = find_preemptions(view, POOL)
        assert find_preemptions(view, POOL) == (found, promises)  # nothing was changed
        if not found:
            break
        assert len(set(found)) == len(found)
        top = -view.pools[POOL].ranked[0]
        for task in found:
            assert before[task] in yields
            assert view.jobs[before[task]].priority < top
            node = next(node for node in model.nodes.values() if task in node.begun)
            view.mark_leaving(node.key, task)
        view.promise(POOL, promises)
        assert find_preemptions(view, POOL).task_keys == []  # nobody is asked for twice
        take_off(model, found)
        settle(model, yields)
        new = {task: job for task, job in running(model).items() if task not in before}
        # What was taken off served somebody of a higher priority.
        lowest = min(view.jobs[before[task]].priority for task in found)
        assert any(view.jobs[job].priority > lowest for job in new.values())
        model.check()
    else:
        raise AssertionError("it never ends")
    assert nodes


def test_one_node_is_cleared_rather_than_two():
    model, yields = Model(), set()
    for _ in range(2):
        model.add_node(2)
    add(model, yields, 0, True, -1, [1] * 4)
    settle(model, yields)
    add(model, yields, 1, False, -1, [2])
    settle(model, yields)
    found = find_preemptions(model.view, POOL).task_keys
    held = [len(set(node.begun) & set(found)) for node in model.nodes.values()]
    assert sorted(held) == [0, 2]


def test_the_fewest_slots_are_freed():
    model, yields = Model(), set()
    model.add_node(4)
    job = add(model, yields, 0, True, -1, [3, 1])
    settle(model, yields)
    add(model, yields, 1, False, -1, [1])
    settle(model, yields)
    (found,) = find_preemptions(model.view, POOL).task_keys
    assert model.tasks[found].slots == 1
    assert model.job_of[found] == job


def test_a_kept_node_is_cleared_for_the_task_it_is_kept_for():
    model, yields = Model(), set()
    for _ in range(3):
        model.add_node(2)
    add(model, yields, 0, True, -1, [1] * 40)
    settle(model, yields)
    wide = add(model, yields, 5, False, -1, [2])
    settle(model, yields)
    found = find_preemptions(model.view, POOL).task_keys
    take_off(model, found)
    settle(model, yields)
    assert wide in running(model).values()


def test_one_look_is_bounded():
    model, yields = Model(), set()
    for _ in range(3):
        model.add_node(200)
    add(model, yields, 0, True, -1, [1] * 600)
    settle(model, yields)
    add(model, yields, 5, False, -1, [1] * 600)
    settle(model, yields)
    assert len(find_preemptions(model.view, POOL).task_keys) == LOOKS_MAX

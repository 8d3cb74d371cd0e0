"""Which task runs when and where, as far as the protocol promises it."""

from __future__ import annotations

import pytest
from azure.batch import models as m

from .conftest import add_task, create_pool, fresh, until, wait_steady, wait_task

QUICK = {"polling_interval": 0.02}


@pytest.fixture(scope="module")
def narrow(batch):
    """One node with one slot."""
    pool_id = fresh("narrow")
    create_pool(batch, pool_id, 1)
    wait_steady(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, **QUICK)


def new_job(batch, pool_id: str, **members: object) -> str:
    job_id = fresh("ordered")
    info = m.BatchPoolInfo(pool_id=pool_id)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info, **members))
    return job_id


def starts(batch, *tasks: tuple[str, str]) -> list[object]:
    return [batch.get_task(*task).execution_info.start_time for task in tasks]


def test_higher_priority_first(batch, narrow, gate):
    low = new_job(batch, narrow, priority=-10)
    high = new_job(batch, narrow, priority=10)
    add_task(batch, low, "holds", gate.waits)
    wait_task(batch, low, "holds", "running")
    add_task(batch, low, "l")
    add_task(batch, high, "h")
    gate.open()
    wait_task(batch, low, "l")
    first, second = starts(batch, (high, "h"), (low, "l"))
    assert first < second


def test_a_patch_of_the_priority_acts_on_what_waits(batch, narrow, gate):
    one, two = new_job(batch, narrow, priority=5), new_job(batch, narrow, priority=1)
    add_task(batch, one, "holds", gate.waits)
    wait_task(batch, one, "holds", "running")
    add_task(batch, one, "a")
    add_task(batch, two, "b")
    batch.update_job(two, m.BatchJobUpdateOptions(priority=9))
    gate.open()
    wait_task(batch, one, "a")
    first, second = starts(batch, (two, "b"), (one, "a"))
    assert first < second


def test_a_job_that_allows_preemption_makes_room(batch, narrow, gate):
    low = new_job(batch, narrow, priority=1, allow_task_preemption=True)
    high = new_job(batch, narrow, priority=2)
    add_task(batch, low, "l", gate.waits)
    wait_task(batch, low, "l", "running")
    add_task(batch, high, "h")
    wait_task(batch, high, "h")
    gate.open()
    task = wait_task(batch, low, "l")
    assert (task.execution_info.requeue_count, task.execution_info.result) == (1, "success")


def test_in_order_of_creation(batch, narrow, gate):
    job_id = new_job(batch, narrow)
    add_task(batch, job_id, "holds", gate.waits)
    wait_task(batch, job_id, "holds", "running")
    names = ["c", "a", "d", "b"]
    for name in names:
        add_task(batch, job_id, name)
    gate.open()
    for name in names:
        wait_task(batch, job_id, name)
    found = starts(batch, *((job_id, name) for name in names))
    assert found == sorted(found)


def test_a_task_too_wide_for_its_pool_waits_and_blocks_nobody(batch, narrow):
    job_id = new_job(batch, narrow)
    add_task(batch, job_id, "wide", required_slots=2)
    add_task(batch, job_id, "fits")
    wait_task(batch, job_id, "fits")
    assert batch.get_task(job_id, "wide").state == "active"
    batch.begin_delete_job(job_id, **QUICK).result()


def test_slots_of_a_node_are_respected(batch, pool, job, gate):
    for number in range(3):
        add_task(batch, job, f"t{number}", gate.waits, required_slots=2)
    until(lambda: batch.get_job_task_counts(job).task_counts.running == 2)
    nodes = list(batch.list_nodes(pool))
    assert [(node.running_tasks_count, node.running_task_slots_count) for node in nodes] == [
        (1, 2),
        (1, 2),
    ]
    add_task(batch, job, "small")
    assert batch.get_job_task_counts(job).task_counts.active == 2
    gate.open()
    for name in ("t0", "t1", "t2", "small"):
        wait_task(batch, job, name)


@pytest.mark.parametrize(("fill", "used"), [("pack", 1), ("spread", 2)])
def test_fill_type(batch, gate, fill, used):
    pool_id = fresh(fill)
    create_pool(
        batch,
        pool_id,
        2,
        task_slots_per_node=2,
        task_scheduling_policy=m.BatchTaskSchedulingPolicy(node_fill_type=fill),
    )
    wait_steady(batch, pool_id)
    job_id = new_job(batch, pool_id)
    for number in range(2):
        add_task(batch, job_id, f"t{number}", gate.waits)
        wait_task(batch, job_id, f"t{number}", "running")
    nodes = {batch.get_task(job_id, f"t{number}").node_info.node_id for number in range(2)}
    assert len(nodes) == used
    gate.open()
    batch.begin_delete_job(job_id, **QUICK).result()
    batch.begin_delete_pool(pool_id, **QUICK).result()


def test_affinity_is_soft(batch, pool, job, gate):
    node = list(batch.list_nodes(pool))[1]
    for number in range(3):
        add_task(
            batch,
            job,
            f"t{number}",
            gate.waits,
            required_slots=1,
            affinity_info=m.BatchAffinityInfo(affinity_id=node.affinity_id),
        )
        wait_task(batch, job, f"t{number}", "running")
    nodes = [batch.get_task(job, f"t{n}").node_info.node_id for n in range(3)]
    assert nodes[:2] == [node.id, node.id]
    assert nodes[2] != node.id
    gate.open()


def test_widening_max_parallel_tasks_starts_more(batch, pool, gate):
    job_id = new_job(batch, pool, max_parallel_tasks=1)
    for number in range(3):
        add_task(batch, job_id, f"t{number}", gate.waits)
    until(lambda: batch.get_job_task_counts(job_id).task_counts.running == 1)
    batch.update_job(job_id, m.BatchJobUpdateOptions(max_parallel_tasks=-1))
    until(lambda: batch.get_job_task_counts(job_id).task_counts.running == 3)
    gate.open()
    until(lambda: batch.get_job_task_counts(job_id).task_counts.succeeded == 3)
    batch.begin_delete_job(job_id, **QUICK)


def test_a_disabled_job_starts_nothing(batch, pool, job):
    batch.begin_disable_job(job, m.BatchJobDisableOptions(disable_tasks="wait"), **QUICK).result()
    add_task(batch, job, "t")
    other = new_job(batch, pool)
    add_task(batch, other, "u")
    wait_task(batch, other, "u")
    assert batch.get_task(job, "t").state == "active"
    assert batch.get_task(job, "t").node_info is None


def test_a_job_made_before_its_pool(batch):
    pool_id = fresh("late")
    job_id = new_job(batch, pool_id.upper())
    add_task(batch, job_id, "t")
    create_pool(batch, pool_id, 1)
    wait_task(batch, job_id, "t")
    batch.begin_delete_pool(pool_id, **QUICK)

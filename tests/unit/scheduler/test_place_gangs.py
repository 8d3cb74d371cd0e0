"""Multi-instance tasks: all their nodes at once, in their turn, and why they wait."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_model import check_indexes

from lote.scheduler.explain import explain
from lote.scheduler.guard import PASSES_MAX
from lote.scheduler.place import Plan, place
from lote.scheduler.view import ReadyTask, View

POOL = 1
ROUNDS_MAX = 400


class Rig:
    """A pool of nodes with one slot, its owner and its agents."""

    def __init__(self, nodes: int, *, inter_node: bool = True) -> None:
        self.view = View()
        self.view.add_pool(POOL, slots_per_node=1, inter_node=inter_node)
        self._key = 100
        self.begun: dict[int, list[int]] = {}  # task -> its nodes
        self.backlog: dict[int, list[int]] = {}  # node -> tasks
        self.tasks: dict[int, tuple[int, ReadyTask]] = {}  # with their jobs, until they end
        self.nodes = [self.add_node() for _ in range(nodes)]

    def key(self) -> int:
        self._key += 1
        return self._key

    def add_node(self) -> int:
        key = self.key()
        self.view.add_node(key, POOL, 1)
        self.backlog[key] = []
        return key

    def add_job(self, **given: object) -> int:
        key = self.key()
        self.view.add_job(key, POOL, created_us=key, **given)  # type: ignore[arg-type]
        return key

    def add(self, job: int, count: int = 1, instances: int = 0, **given: int) -> list[int]:
        made = [
            ReadyTask(self.key(), single=not instances, instances=instances, **given)  # type: ignore[arg-type]
            for _ in range(count)
        ]
        self.tasks |= {task.key: (job, task) for task in made}
        self.view.push_ready(job, made, more=False)
        return [task.key for task in made]

    def place(self) -> Plan:
        plan = place(self.view, POOL)
        again = place(self.view, POOL)
        assert (plan.assignments, plan.revocations) == (again.assignments, again.revocations)
        self.view.apply(plan)
        for one in plan.assignments:
            nodes = [one.node_key, *one.others]
            _, task = self.tasks[one.task_key]
            assert len(set(nodes)) == max(1, task.instances)
            if one.prefetched:
                self.backlog[one.node_key].append(one.task_key)
                continue
            taken = {node for held in self.begun.values() for node in held}
            assert taken.isdisjoint(nodes)
            assert not any(self.backlog[node] for node in nodes)
            self.begun[one.task_key] = nodes
        for node, task_key in plan.revocations:
            self.backlog[node].remove(task_key)
            job, task = self.tasks[task_key]
            self.view.release(node, job, task_key, 1)
            self.view.push_front(job, task)
        check_indexes(self.view)
        return plan

    def end(self, task_key: int) -> None:
        job, _ = self.tasks.pop(task_key)
        nodes = self.begun.pop(task_key)
        for number, node in enumerate(nodes, start=1):
            self.view.release(node, job, task_key, 1, counts=number == len(nodes))
        for node in nodes:
            if self.backlog[node]:
                first = self.backlog[node].pop(0)
                self.view.begin(node, first)
                self.begun[first] = [node]

    def why(self, task_key: int) -> list[str]:
        job, task = self.tasks[task_key]
        return [reason.code for reason in explain(self.view, POOL, job, task)]


def test_it_takes_empty_nodes_all_at_once_and_counts_once() -> None:
    rig = Rig(4)
    job = rig.add_job()
    (first,) = rig.add(job)
    rig.place()
    (gang,) = rig.add(job, instances=3)
    (one,) = rig.place().assignments
    assert (one.task_key, one.node_key, one.others) == (gang, rig.nodes[1], (*rig.nodes[2:],))
    assert rig.view.jobs[job].placed == 2
    rig.end(gang)
    assert rig.view.jobs[job].placed == 1
    rig.end(first)
    assert rig.view.jobs[job].placed == 0


def test_its_affinity_is_for_the_primary() -> None:
    rig = Rig(3)
    rig.add(rig.add_job(), instances=2, affinity=rig.nodes[2])
    (one,) = rig.place().assignments
    assert (one.node_key, one.others) == (rig.nodes[2], (rig.nodes[0],))


@pytest.mark.parametrize(
    ("pool", "instances", "code"),
    [
        ({"inter_node": False}, 2, "pool_without_inter_node_communication"),
        ({"slots_per_node": 2}, 2, "pool_with_several_slots_per_node"),
        ({}, 4, "needs_more_nodes_than_the_pool_has"),
    ],
)
def test_where_it_can_never_run_others_pass_it(
    pool: dict[str, bool], instances: int, code: str
) -> None:
    rig = Rig(3)
    rig.view.set_pool(POOL, **pool)  # type: ignore[arg-type]
    job = rig.add_job()
    (gang,) = rig.add(job, instances=instances)
    assert rig.why(gang) == [code]
    for _ in range(5 * PASSES_MAX):
        (small,) = rig.add(job)
        (one,) = rig.place().assignments
        assert one.task_key == small
        rig.end(small)


def test_fewer_free_nodes_are_left_to_others_until_it_was_passed_too_often() -> None:
    rig = Rig(3)
    long_job, job = rig.add_job(), rig.add_job()
    (holder,) = rig.add(long_job)
    rig.place()
    (gang,) = rig.add(job, instances=3)
    passed = 0
    while True:
        (small,) = rig.add(rig.add_job())
        if not rig.place().assignments:
            break
        passed += 1
        rig.end(small)
    assert passed == PASSES_MAX
    assert rig.why(gang) == ["gathering_nodes", "needs_more_open_nodes"]
    assert rig.why(small) == ["nodes_kept_for_multi_instance_task"]
    rig.end(holder)
    assert [one.task_key for one in rig.place().assignments] == [gang]
    rig.end(gang)
    assert [one.task_key for one in rig.place().assignments] == [small]


def test_no_more_nodes_are_kept_than_it_needs() -> None:
    rig = Rig(5)
    rig.add(rig.add_job(), 4)
    rig.place()
    held = list(rig.begun)
    (gang,) = rig.add(rig.add_job(), instances=2)
    small = rig.add_job()
    for _ in range(PASSES_MAX):
        (one,) = rig.add(small)
        rig.place()
        rig.end(one)
    waiting = rig.add(small, 3)
    assert not rig.place().assignments
    rig.end(held.pop())
    assert [one.task_key for one in rig.place().assignments] == [gang]
    rig.end(held.pop())
    assert [one.task_key for one in rig.place().assignments] == waiting[:1]


def test_a_higher_priority_may_pass_it_for_ever() -> None:
    rig = Rig(2)
    urgent = rig.add_job(priority=5)
    rig.add(urgent, 2)
    rig.place()
    (gang,) = rig.add(rig.add_job(), instances=2)
    rig.add(urgent)
    for _ in range(4 * PASSES_MAX):
        rig.add(urgent)
        rig.end(next(iter(rig.begun)))
        assert len(rig.place().assignments) == 1
    assert gang in rig.tasks
    assert "higher_priority_first" in rig.why(gang)


def test_short_tasks_that_are_sent_ahead_do_not_hold_it_up() -> None:
    rig = Rig(3)
    quick = rig.add_job(mean_run_s=0.005)
    rig.add(quick, 500)
    rig.place()
    sent_ahead = sum(map(len, rig.backlog.values()))
    assert sent_ahead
    (gang,) = rig.add(rig.add_job(), instances=3)
    ended = 0
    while gang not in rig.begun:
        rig.place()
        if gang in rig.begun:
            break
        rig.end(next(iter(rig.begun)))
        ended += 1
    assert ended <= 3 + sent_ahead  # nothing was sent after those
    assert len(rig.view.jobs[quick].head) > 400
    assert not any(rig.backlog.values())


def test_the_last_place_under_its_jobs_limit_is_left_to_it() -> None:
    rig = Rig(2)
    job = rig.add_job(max_parallel=2)
    rig.add(job, 2)
    rig.place()
    (gang,) = rig.add(job, instances=2)
    rig.add(job, 10 * PASSES_MAX)
    for _ in range(2 * PASSES_MAX):
        if gang in rig.begun:
            break
        rig.end(next(iter(rig.begun)))
        rig.place()
    assert gang in rig.begun


def test_a_pool_that_lost_a_node_keeps_none_until_it_is_back() -> None:
    rig = Rig(3)
    (holder,) = rig.add(rig.add_job())
    rig.place()
    (gang,) = rig.add(rig.add_job(), instances=3)
    small = rig.add_job()
    for _ in range(PASSES_MAX):
        (one,) = rig.add(small)
        rig.place()
        rig.end(one)
    rig.add(small)
    assert not rig.place().assignments
    rig.view.set_node(rig.nodes[2], eligible=False)
    assert len(rig.place().assignments) == 1
    rig.view.set_node(rig.nodes[2], eligible=True)
    rig.add(small)
    assert not rig.place().assignments
    for one in list(rig.begun):
        rig.end(one)
    assert [one.task_key for one in rig.place().assignments][:1] == [gang]
    assert holder not in rig.begun


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_whatever_comes_every_task_that_can_run_does(seed: int) -> None:
    random = Random(seed)
    rig = Rig(random.randint(2, 5))
    jobs = [
        rig.add_job(
            priority=random.randint(0, 1),
            max_parallel=random.choice((-1, -1, 1, 3)),
            mean_run_s=random.choice((None, 0.01, 2.0)),
        )
        for _ in range(3)
    ]
    size = len(rig.nodes)
    for _ in range(60):
        job = random.choice(jobs)
        if random.random() < 0.3:
            rig.add(job, instances=random.randint(1, size + 1))
        elif random.random() < 0.5:
            rig.add(job, random.randint(1, 4))
        rig.place()
        if rig.begun and random.random() < 0.7:
            rig.end(random.choice(sorted(rig.begun)))
    for _ in range(ROUNDS_MAX):
        rig.place()
        if not rig.begun:
            break
        rig.end(min(rig.begun))
    assert not any(rig.backlog.values())
    assert all(task.instances > size for _, task in rig.tasks.values())

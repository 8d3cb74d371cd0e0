"""Long walks: a busy account from its first task to its last, every plan checked on the way."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_model import POOL, Model

from lote.scheduler.revoke import reclaim

SHAPES: list[dict[str, object]] = [{}, {}, {}, {"slots": 2}, {"slots": 3}, {"single": False}]
MEANS = (None, 0.0005, 0.004, 0.02, 0.2, 3.0)


class Walk:
    """One account and what chance makes of it."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.model = Model(spread=self.rng.random() < 0.5, creation_order=self.rng.random() < 0.3)
        for _ in range(self.rng.randint(1, 4)):
            self.model.add_node(self.rng.choice((1, 2, 4)))
        self.model.add_node(4)  # so that every shape fits somewhere
        self.seconds: dict[int, float] = {}
        for _ in range(self.rng.randint(1, 3)):
            self.add_job()

    def add_job(self) -> None:
        mean = self.rng.choice(MEANS)
        job = self.model.add_job(
            priority=self.rng.choice((0, 0, 0, 5)),
            max_parallel=self.rng.choice((-1, -1, -1, 3, 12)),
            mean_run_s=mean,
        )
        self.seconds[job] = mean or 1.0
        self.add_tasks(job)

    def add_tasks(self, job: int) -> None:
        for _ in range(self.rng.randint(1, 4)):
            shape = self.rng.choice(SHAPES)
            self.model.add_tasks(
                job, self.rng.randint(1, 20), stored=self.rng.choice((0, 9)), **shape
            )

    def work(self) -> bool:
        """Every node moves on a little; False when nothing is left on any."""
        moved = False
        for node in list(self.model.nodes.values()):
            for task in sorted(node.asked):
                if self.rng.random() < 0.7:
                    self.model.give_back(node, task)
                    moved = True
            for task in sorted(node.begun):
                if self.rng.random() < 0.5:
                    self.model.end(node, task, self.seconds[self.model.job_of[task]])
                    if self.rng.random() < 0.8:
                        self.model.begin(node)
                    moved = True
            if self.rng.random() < 0.5:
                self.model.begin(node)
            moved = moved or bool(node.begun or node.backlog)
        return moved

    def surprise(self) -> None:
        """Something else happens."""
        model, rng = self.model, self.rng
        job = rng.choice(sorted(model.ready))
        node_key = rng.choice(sorted(model.nodes))
        match rng.randrange(7):
            case 0:
                self.add_job()
            case 1 | 2:
                self.add_tasks(job)
            case 3:
                model.add_node(rng.choice((1, 2, 4)))
            case 4 if len(model.nodes) > 2:
                model.drop_node(node_key)
            case 5:
                model.view.set_job(job, priority=rng.choice((0, 5)), max_parallel=-1)
            case 6:
                eligible = not model.view.nodes[node_key].eligible
                model.view.set_node(node_key, eligible=eligible)
                for one in reclaim(model.view, node_key) if not eligible else ():
                    assert model.view.mark_revoked(*one)
                    model.nodes[node_key].asked.add(one.task_key)

    def finish(self) -> None:
        """No more surprises: all nodes in service, no caps, one large enough for everything."""
        self.model.add_node(4)
        for key in self.model.nodes:
            self.model.view.set_node(key, eligible=True)
        for key in self.model.ready:
            self.model.view.set_job(key, max_parallel=-1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_task_comes_to_its_end(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(25):
        walk.model.place()
        walk.work()
        walk.model.check()
        if walk.rng.random() < 0.3:
            walk.surprise()
    walk.finish()
    for _ in range(3000):
        walk.model.place()
        if not walk.work() and not walk.model.tasks:
            break
    walk.model.check()
    assert not walk.model.tasks
    pool = walk.model.view.pools[POOL]
    assert not pool.lent
    assert pool.returning_count == 0
    assert pool.open_total == sum(node.slots for node in walk.model.nodes.values())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_plan_applied_leaves_nothing_to_decide(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(8):
        walk.model.place()
        again = walk.model.place()
        assert not again.assignments
        # A large task that came up among those just prefetched may have its node kept only now.
        if again.revocations:
            assert {one.node_key for one in again.revocations} == {again.collecting.node_key}
        assert not walk.model.place()
        walk.work()


@pytest.mark.parametrize("spread", [True, False])
def test_a_task_of_many_slots_is_not_passed_for_ever(spread: bool) -> None:
    model = Model(spread=spread)
    for _ in range(3):
        model.add_node(4)
    job = model.add_job()
    model.add_tasks(job, 12)
    (big,) = model.add_tasks(job, 1, slots=4)
    rounds = 0
    while big in model.ready[job]:
        model.add_tasks(job, 4)
        model.place()
        # One task ends at a time and nodes take it in turn, so four slots never open by luck.
        node = sorted(model.nodes.values(), key=lambda n: n.key)[rounds % 3]
        if node.begun:
            model.end(node, min(node.begun))
        rounds += 1
        assert rounds < 60

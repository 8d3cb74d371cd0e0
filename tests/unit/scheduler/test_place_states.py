"""Anything may happen in any order: slots, caps and order hold, and nothing that fits waits."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scheduler_model import Model, ModelNode

from lote.scheduler.revoke import reclaim, reclaim_job

MEANS = st.sampled_from([None, 0.0, 0.001, 0.01, 0.1, 0.45, 2.0])
SHAPES = st.sampled_from(
    [
        {},
        {},
        {"slots": 2},
        {"slots": 4},
        {"slots": 9},
        {"single": False},
        {"dedicated_only": True, "single": False},
    ]
)


class Account(RuleBasedStateMachine):
    """An owner and its agents."""

    @initialize(
        spread=st.booleans(),
        creation_order=st.booleans(),
        nodes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
        jobs=st.lists(st.tuples(st.integers(0, 1), MEANS, SHAPES), min_size=1, max_size=3),
    )
    def start(
        self,
        spread: bool,
        creation_order: bool,
        nodes: list[int],
        jobs: list[tuple[int, float | None, dict[str, object]]],
    ) -> None:
        """Begin with something to do, so that steps are not lost on it."""
        self.model = Model(spread=spread, creation_order=creation_order)
        for slots in nodes:
            self.model.add_node(slots)
        for priority, mean, shape in jobs:
            job = self.model.add_job(priority=priority, mean_run_s=mean)
            self.model.add_tasks(job, 3, **shape)
            self.model.add_tasks(job, 20, stored=10)

    def pick(self, draw: int, rows: dict[int, object]) -> int:
        return sorted(rows)[draw % len(rows)]

    def node(self, draw: int) -> ModelNode:
        return self.model.nodes[self.pick(draw, self.model.nodes)]

    @rule(slots=st.integers(1, 4), dedicated=st.booleans(), count=st.integers(1, 3))
    def add_nodes(self, slots: int, dedicated: bool, count: int) -> None:
        for _ in range(count):
            self.model.add_node(slots, dedicated=dedicated)

    @rule(priority=st.integers(-1, 1), cap=st.sampled_from([-1, -1, 0, 2, 7]), mean=MEANS)
    def add_job(self, priority: int, cap: int, mean: float | None) -> None:
        self.model.add_job(priority=priority, max_parallel=cap, mean_run_s=mean)

    @precondition(lambda self: self.model.ready)
    @rule(draw=st.integers(0, 99), count=st.integers(1, 25), stored=st.integers(0, 12), s=SHAPES)
    def add_tasks(self, draw: int, count: int, stored: int, s: dict[str, object]) -> None:
        self.model.add_tasks(self.pick(draw, self.model.ready), count, stored=stored, **s)

    @precondition(lambda self: self.model.ready and self.model.nodes)
    @rule(draw=st.integers(0, 99), at=st.integers(0, 99), count=st.integers(1, 4))
    def add_affine_tasks(self, draw: int, at: int, count: int) -> None:
        job = self.pick(draw, self.model.ready)
        self.model.add_tasks(job, count, affinity=self.node(at).key)

    @rule(limit=st.sampled_from([10_000, 10_000, 1, 3]))
    def place(self, limit: int) -> None:
        self.model.place(limit)
        again = self.model.place()
        if limit == 10_000:
            assert not again.assignments
        assert not self.model.place()

    @precondition(lambda self: self.model.nodes)
    @rule(draw=st.integers(0, 99), count=st.integers(1, 5), mean=MEANS)
    def run_some(self, draw: int, count: int, mean: float | None) -> None:
        """Tasks of a node end one after the other; its backlog moves up."""
        node = self.node(draw)
        for _ in range(count):
            if node.begun:
                self.model.end(node, min(node.begun), mean)
            self.model.begin(node)

    @precondition(lambda self: self.model.nodes)
    @rule(draw=st.integers(0, 99))
    def end_without_begin(self, draw: int) -> None:
        """A short run's start and end arrive as one."""
        node = self.node(draw)
        if node.backlog and node.free > 0:
            task = node.backlog.pop(0)
            node.asked.discard(task)
            self.model.view.release(node.key, self.model.job_of[task], task, 1)
            self.model.forget(task)

    @precondition(lambda self: self.model.nodes)
    @rule(draw=st.integers(0, 99))
    def end_only(self, draw: int) -> None:
        """An end is reported before the next begin is."""
        node = self.node(draw)
        if node.begun:
            self.model.end(node, max(node.begun), 0.01)

    @precondition(lambda self: self.model.nodes)
    @rule(draw=st.integers(0, 99))
    def answer_revocations(self, draw: int) -> None:
        node = self.node(draw)
        for task in sorted(node.asked):
            self.model.give_back(node, task)

    @precondition(lambda self: self.model.nodes)
    @rule(draw=st.integers(0, 99), eligible=st.booleans())
    def set_node(self, draw: int, eligible: bool) -> None:
        node = self.node(draw)
        self.model.view.set_node(node.key, eligible=eligible)
        if not eligible:
            for one in reclaim(self.model.view, node.key):
                assert self.model.view.mark_revoked(*one)
                node.asked.add(one.task_key)

    @precondition(lambda self: self.model.nodes)
    @rule(draw=st.integers(0, 99))
    def drop_node(self, draw: int) -> None:
        self.model.drop_node(self.node(draw).key)

    @precondition(lambda self: self.model.ready)
    @rule(
        draw=st.integers(0, 99),
        priority=st.none() | st.integers(-1, 1),
        cap=st.sampled_from([None, -1, 1, 5]),
        active=st.sampled_from([None, True, False]),
    )
    def set_job(
        self, draw: int, priority: int | None, cap: int | None, active: bool | None
    ) -> None:
        job = self.pick(draw, self.model.ready)
        self.model.view.set_job(job, priority=priority, max_parallel=cap, active=active)
        for one in reclaim_job(self.model.view, job) if active is False else ():
            assert self.model.view.mark_revoked(*one)
            self.model.nodes[one.node_key].asked.add(one.task_key)

    @precondition(lambda self: len(self.model.ready) > 2)
    @rule(draw=st.integers(0, 99))
    def drop_job(self, draw: int) -> None:
        job = self.pick(draw, self.model.ready)
        for task in (*self.model.ready.pop(job), *self.model.stored.pop(job)):
            self.model.forget(task)
        self.model.view.drop_job(job)

    @precondition(lambda self: self.model.ready and self.model.nodes)
    @rule(draw=st.integers(0, 99), at=st.integers(0, 99), lift=st.booleans())
    def bar(self, draw: int, at: int, lift: bool) -> None:
        if lift:
            self.model.view.unbar(self.node(at).key)
        else:
            self.model.view.bar(self.pick(draw, self.model.ready), self.node(at).key)

    @precondition(lambda self: any(self.model.ready.values()))
    @rule(draw=st.integers(0, 99))
    def delete_task(self, draw: int) -> None:
        keys = {key: None for ready in self.model.ready.values() for key in ready}
        task = self.pick(draw, keys)
        job = self.model.job_of[task]
        self.model.ready[job].remove(task)
        assert self.model.view.drop_ready(job, task)
        assert not self.model.view.drop_ready(job, task)
        self.model.forget(task)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "model"):
            self.model.check()


TestAccount = Account.TestCase
TestAccount.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

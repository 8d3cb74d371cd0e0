"""A slow and simple account beside the view: what must hold of it, and of every plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from lote.scheduler.guard import PASSES_MAX
from lote.scheduler.place import Plan
from lote.scheduler.prefetch import BACKLOG_MAX, depth_of
from lote.scheduler.revoke import MOVE_COST_S
from lote.scheduler.view import JobView, NodeView, ReadyTask, View

POOL = 1


@dataclass
class ModelNode:
    """A node as its agent knows it."""

    key: int
    slots: int
    begun: dict[int, int] = field(default_factory=dict)  # task -> slots
    backlog: list[int] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)

    @property
    def free(self) -> int:
        return self.slots - sum(self.begun.values())


class Model:
    """A view with its owner and agents; keeps each task in exactly one place."""

    def __init__(self, *, spread: bool = True, creation_order: bool = False) -> None:
        self.view = View()
        self.view.add_pool(POOL, slots_per_node=4, spread=spread, creation_order=creation_order)
        self.nodes: dict[int, ModelNode] = {}
        self.tasks: dict[int, ReadyTask] = {}  # every live task
        self.job_of: dict[int, int] = {}
        self.ready: dict[int, set[int]] = {}  # job -> tasks in the window
        self.stored: dict[int, list[int]] = {}  # job -> tasks beyond the window
        self._next_key = 100

    # -- what happens -----------------------------------------------------------------------

    def add_node(self, slots: int, *, dedicated: bool = True, eligible: bool = True) -> int:
        key = self.new_key()
        self.nodes[key] = ModelNode(key, slots)
        self.view.add_node(key, POOL, slots, dedicated=dedicated, eligible=eligible)
        return key

    def add_job(
        self, *, priority: int = 0, max_parallel: int = -1, mean_run_s: float | None = None
    ) -> int:
        key = self.new_key()
        self.ready[key], self.stored[key] = set(), []
        self.view.add_job(
            key,
            POOL,
            created_us=key,
            priority=priority,
            max_parallel=max_parallel,
            mean_run_s=mean_run_s,
        )
        return key

    def add_tasks(self, job: int, count: int, *, stored: int = 0, **shape: object) -> list[int]:
        tasks = [ReadyTask(self.new_key(), **shape) for _ in range(count + stored)]  # type: ignore[arg-type]
        for task in tasks:
            self.tasks[task.key] = task
            self.job_of[task.key] = job
        if self.stored[job]:
            count = 0  # a window is a prefix of the queue
        self.ready[job] |= {task.key for task in tasks[:count]}
        self.stored[job] += [task.key for task in tasks[count:]]
        self.view.push_ready(job, tasks[:count], more=bool(self.stored[job]))
        return [task.key for task in tasks]

    def place(self, limit: int = 10_000) -> Plan:
        """Place, check the plan, apply it, refill, until it is done; returns the last plan."""
        while True:
            plan = place_checked(self, limit)
            self.apply(plan)
            for job in plan.starved:
                self.refill(job)
            if not plan.starved and len(plan.assignments) < limit:
                return plan

    def apply(self, plan: Plan) -> None:
        self.view.apply(plan)
        for one in plan.assignments:
            self.ready[one.job_key].remove(one.task_key)
            node = self.nodes[one.node_key]
            if one.prefetched:
                node.backlog.append(one.task_key)
            else:
                node.begun[one.task_key] = one.slots
        for node_key, task_key in plan.revocations:
            self.nodes[node_key].asked.add(task_key)

    def refill(self, job: int) -> None:
        batch, self.stored[job] = self.stored[job][:5], self.stored[job][5:]
        self.ready[job] |= set(batch)
        tasks = [self.tasks[key] for key in batch]
        self.view.push_ready(job, tasks, more=bool(self.stored[job]))

    def begin(self, node: ModelNode) -> None:
        """The agent begins what its slots allow, in order, and reports it."""
        while node.free > 0 and node.backlog:
            task = node.backlog.pop(0)
            node.asked.discard(task)
            node.begun[task] = 1
            self.view.begin(node.key, task)

    def end(self, node: ModelNode, task: int, seconds: float | None = None) -> None:
        self.view.release(node.key, self.job_of[task], task, node.begun.pop(task))
        if seconds is not None:
            self.view.observe_run(self.job_of[task], seconds)
        self.forget(task)

    def give_back(self, node: ModelNode, task: int) -> None:
        """The agent returns a task of its backlog."""
        node.backlog.remove(task)
        node.asked.discard(task)
        self.view.release(node.key, self.job_of[task], task, 1)
        self.requeue(task)

    def requeue(self, task: int) -> None:
        job = self.job_of[task]
        if job in self.ready:
            self.ready[job].add(task)
            self.view.push_front(job, self.tasks[task])
        else:
            self.forget(task)

    def drop_node(self, key: int) -> None:
        node = self.nodes.pop(key)
        self.view.drop_node(key)
        for task in (*node.begun, *node.backlog):
            self.view.release(key, self.job_of[task], task, self.tasks[task].slots)
            self.requeue(task)

    def forget(self, task: int) -> None:
        del self.tasks[task], self.job_of[task]

    def new_key(self) -> int:
        self._next_key += 1
        return self._next_key

    # -- what must hold ---------------------------------------------------------------------

    def check(self) -> None:
        """The view says what the model says, and its indexes say what its values say."""
        for node in self.nodes.values():
            seen = self.view.nodes[node.key]
            assert node.free >= 0
            assert (seen.free, seen.running) == (node.free, len(node.begun))
            assert list(seen.backlog) == node.backlog
            assert seen.returning == node.asked
        for job_key, ready in self.ready.items():
            job = self.view.jobs[job_key]
            assert [task.key for task in job.head] == sorted(ready)
            assert job.ready_count == len(ready)
            assert job.placed == sum(
                self.job_of[task] == job_key
                for node in self.nodes.values()
                for task in (*node.begun, *node.backlog)
            )
        check_indexes(self.view)


def check_indexes(view: View) -> None:
    """Every index equals what a look at all nodes and jobs gives."""
    for pool in view.pools.values():
        opened: dict[int, list[int]] = {}
        queued: dict[int, list[int]] = {}
        lent: dict[int, int] = {}
        for key in sorted(pool.nodes):
            node = pool.nodes[key]
            assert node.slow == sum(
                slots
                for job_key, slots in node.held.items()
                if job_key not in view.jobs or not view.jobs[job_key].quick
            )
            for task, job_key in node.backlog.items():
                if task not in node.returning:
                    lent[job_key] = lent.get(job_key, 0) + 1
            if not node.eligible:
                continue
            opened.setdefault(node.open, []).append(key)
            waiting = max(0, len(node.backlog) - max(0, node.free))
            if waiting or node.slow < node.slots:
                queued.setdefault(waiting, []).append(key)
        for levels, wanted in ((pool.opened, opened), (pool.queued, queued)):
            assert {n: row for n, row in enumerate(levels.rows) if row} == wanted
            assert levels.mask == sum(1 << level for level in wanted)
        assert pool.open_total == sum(level * len(row) for level, row in opened.items())
        assert pool.lent == lent
        assert pool.returning_count == sum(len(n.returning) for n in pool.nodes.values())
        assert pool.largest == max((n.slots for n in pool.nodes.values() if n.eligible), default=0)
        ranked = [job for job in pool.jobs.values() if job.wants]
        assert pool.ranked == sorted({-job.priority for job in ranked})
        for priority, tier in pool.tiers.items():
            assert tier.order == sorted(tier.order)
            assert {rank[2] for rank in tier.order} == {
                job.key for job in ranked if job.priority == priority
            }


def place_checked(model: Model, limit: int) -> Plan:
    """A plan of the pool, checked against every rule."""
    from lote.scheduler.place import place

    plan = place(model.view, POOL, limit)
    again = place(model.view, POOL, limit)
    assert plan.assignments == again.assignments
    assert plan.revocations == again.revocations
    check_assignments(model, plan, limit)
    if not plan.starved and len(plan.assignments) < limit:
        check_nothing_left(model, plan)
        check_revocations(model, plan)
    return plan


def open_slots(model: Model, plan: Plan) -> dict[int, int]:
    """Open slots of eligible nodes after the plan."""
    left = {k: n.open for k, n in model.view.nodes.items() if n.eligible}
    for one in plan.assignments:
        if not one.prefetched:
            left[one.node_key] -= one.slots
    return left


def check_assignments(model: Model, plan: Plan, limit: int) -> None:
    """Safety: slots, uniqueness, caps, bars, kinds, order inside a lane."""
    view = model.view
    assert len(plan.assignments) <= limit
    assert all(slots >= 0 for slots in open_slots(model, plan).values())
    keys = [one.task_key for one in plan.assignments]
    assert len(keys) == len(set(keys))
    given: dict[int, int] = {}
    for one in plan.assignments:
        task, node, job = (
            model.tasks[one.task_key],
            view.nodes[one.node_key],
            view.jobs[one.job_key],
        )
        assert one.task_key in model.ready[one.job_key]
        assert one.slots == task.slots <= node.slots
        assert node.eligible
        assert job.active
        assert node.key not in job.barred
        assert node.dedicated or not task.dedicated_only
        given[job.key] = given.get(job.key, 0) + 1
        if one.prefetched:
            check_prefetched(model, plan, task, node, job)
    for key, count in given.items():
        job = view.jobs[key]
        assert job.max_parallel < 0 or job.placed + count <= job.max_parallel
        check_lane_order(model, key, set(keys))


def check_prefetched(
    model: Model, plan: Plan, task: ReadyTask, node: NodeView, job: JobView
) -> None:
    assert task.slots == 1
    assert task.single
    assert not task.dedicated_only
    assert job.quick
    length = node.queue + sum(a.prefetched and a.node_key == node.key for a in plan.assignments)
    assert length <= BACKLOG_MAX
    # Jobs of several means share a backlog, so the deepest of them bounds it.
    jobs = {a.job_key for a in plan.assignments if a.prefetched and a.node_key == node.key}
    depths = [depth_of(node.slots - node.slow, model.view.jobs[key]) for key in jobs]
    assert length <= max(depths)
    kept = plan.collecting.node_key if plan.collecting else 0
    for key, slots in open_slots(model, plan).items():
        assert slots == 0 or key == kept or key in job.barred
    for other in waiting_jobs(model, plan):
        assert other.priority <= job.priority


def check_lane_order(model: Model, job_key: int, placed: set[int]) -> None:
    """Among tasks of one kind an older one is never left behind."""
    lanes: dict[object, list[int]] = {}
    for key in sorted(model.ready[job_key]):
        task = model.tasks[key]
        lanes.setdefault((task.slots, task.dedicated_only, task.single), []).append(key)
    for lane in lanes.values():
        taken = [key in placed for key in lane]
        assert taken == sorted(taken, reverse=True)


def left_tasks(model: Model, plan: Plan, job: JobView) -> list[ReadyTask]:
    """What the job could still place after the plan."""
    given = {one.task_key for one in plan.assignments if one.job_key == job.key}
    if not job.active or 0 <= job.max_parallel <= job.placed + len(given):
        return []
    left = [model.tasks[key] for key in sorted(model.ready[job.key] - given)]
    kept = plan.collecting
    guarded = kept is not None and (kept.node_key or kept.passed >= PASSES_MAX)
    places = job.max_parallel - job.placed - len(given)
    if guarded and kept.job_key == job.key and places == 1:  # the last one is left to it
        left = [task for task in left if task.slots > 1]
    return left


def waiting_jobs(model: Model, plan: Plan) -> list[JobView]:
    """Jobs with a task that waits for slots that some node has."""
    largest = model.view.pools[POOL].largest
    return [
        job
        for job in model.view.jobs.values()
        if any(task.slots <= largest for task in left_tasks(model, plan, job))
    ]


def check_nothing_left(model: Model, plan: Plan) -> None:
    """Liveness: what waits fits nowhere, but for slots that are being collected."""
    view, kept = model.view, plan.collecting
    for job in view.jobs.values():
        for task in left_tasks(model, plan, job):
            for key, slots in open_slots(model, plan).items():
                node = view.nodes[key]
                if slots < task.slots or key in job.barred:
                    continue
                if task.dedicated_only and not node.dedicated:
                    continue
                assert kept is not None
                assert key == kept.node_key
                assert task.key != kept.task_key
                assert job.priority <= view.jobs[kept.job_key].priority


def check_revocations(model: Model, plan: Plan) -> None:
    """Only what waits is asked back, once, and no slot idles beside a long backlog."""
    view = model.view
    asked = [one.task_key for one in plan.revocations]
    assert len(asked) == len(set(asked))
    for node_key, task_key in plan.revocations:
        assert task_key in view.nodes[node_key].backlog
        assert task_key not in view.nodes[node_key].returning
    kept = plan.collecting.node_key if plan.collecting else 0
    idle = {k: s for k, s in open_slots(model, plan).items() if s and k != kept}
    coming = view.pools[POOL].returning_count + len(asked)
    for node in view.nodes.values():
        if not node.eligible or node.queue <= 0:
            continue
        for position, (task_key, job_key) in enumerate(node.backlog.items()):
            if task_key in node.returning or task_key in asked:
                continue
            job = view.jobs.get(job_key)
            if job is None:
                continue
            for other in waiting_jobs(model, plan):
                assert other.priority <= job.priority
            if sum(idle.values()) <= coming or all(k in job.barred for k in idle):
                continue
            turn = position + 1 - max(0, node.free)  # how many go before it, itself included
            quick = node.slots - node.slow
            if job.active and turn > 0:
                assert quick > 0
                assert job.mean_run_s is not None
                assert turn * job.mean_run_s / quick <= MOVE_COST_S * (1 + 1e-9)

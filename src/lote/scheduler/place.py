"""Placement: which ready task goes onto which node, and why the rest waits.

The rules, in order:

1. A higher job priority goes first. Jobs of equal priority take turns, a task each; in a pool
   with ``creation_order`` the older job goes first. Inside a job, older tasks go first.
2. A task that fits nowhere now is skipped; younger and smaller ones may pass it.
3. A task that needs several slots is protected from being passed for ever: see ``protect.py``.
   A multi-instance task takes as many empty nodes as it has instances, all in one step, the
   lowest keys and first of all the one of its affinity; it is protected likewise: see
   ``gather.py``.
4. ``max_parallel`` bounds what a job has placed, prefetched tasks included.
5. Spread takes the node with most open slots, pack the one with fewest that fit; ties go to the
   lowest node key. A task's affinity beats the policy when that node has room.
6. Prefetch: see ``prefetch.py``. Revocation: see ``revoke.py``.

Nothing here reads a clock, and nothing depends on the order in which nodes or jobs were added.
"""

from __future__ import annotations

from lote.scheduler import reasons
from lote.scheduler.gather import Gathering, could_gather, why_not_gathered
from lote.scheduler.nouns import JobView, PoolView
from lote.scheduler.plan import Assignment, Collecting, Plan, Reason, Revocation
from lote.scheduler.prefetch import Prefetcher, is_settled
from lote.scheduler.protect import Protection
from lote.scheduler.ready import LaneName, ReadyTask
from lote.scheduler.revoke import find_revocations
from lote.scheduler.scratch import Scratch
from lote.scheduler.turns import JobTurn, TierRun
from lote.scheduler.view import View

__all__ = ["Assignment", "Collecting", "LaneName", "Plan", "Reason", "Revocation", "place"]

LOOK_AHEAD_JOBS = 32  # ours: bounds the search for a job whose tasks may be prefetched


def place(view: View, pool_key: int, limit: int = 10_000) -> Plan:
    """Decide what starts where in a pool. Changes nothing; ``View.apply`` does.

    Costs by what it assigns and touches, not by what there is. After at most ``limit``
    assignments it stops; so it does when a job's window runs out (``Plan.starved``). The caller
    places again in both cases.
    """
    pool = view.pools.get(pool_key)
    if pool is None:
        return Plan(pool_key)
    if is_settled(pool):
        plan = Plan(pool_key)
        if pool.ranked:
            first = pool.tiers[-pool.ranked[0]].order[0][2]
            plan.reasons[first] = _BUSY
        return plan
    return _Placing(view, pool, limit).run()


_BUSY = (reasons.ALL_SLOTS_BUSY,)


class _Placing:
    """One call of ``place``."""

    __slots__ = (
        "_ahead",
        "_guard",
        "_limit",
        "_plan",
        "_pool",
        "_runs",
        "_scratch",
        "_view",
        "_waiting",
    )

    def __init__(self, view: View, pool: PoolView, limit: int) -> None:
        self._view = view
        self._pool = pool
        self._limit = limit
        self._plan = Plan(pool.key)
        self._scratch = Scratch(pool)
        guard = Gathering if pool.runs_gangs else Protection
        self._guard: Gathering | Protection = guard(view, pool, self._scratch)
        self._runs: list[TierRun] = []
        self._ahead: Prefetcher | None = None  # once something may be prefetched
        self._waiting: int | None = None  # the highest priority that is left waiting

    def run(self) -> Plan:
        plan = self._plan
        if self._fill_open_slots() and self._prefetch_tiers():
            plan.revocations = find_revocations(
                self._view, self._pool, self._scratch, self._guard.collecting, self._waiting
            )
        for run in self._runs:
            self._record(run)
        plan.collecting = self._guard.collecting
        return plan

    # -- open slots -------------------------------------------------------------------------

    def _fill_open_slots(self) -> bool:
        """Place on open slots; False when the plan stopped early."""
        for negated in self._pool.ranked:
            run = TierRun(self._pool, self._pool.tiers[-negated])
            self._runs.append(run)
            self._place_protected(run)
            self._guard.hide_below(-negated)
            if not self._fill_from(run):
                return False
            if not self._scratch.mask:
                break
        # Whatever comes next is not for the kept node.
        self._guard.hide()
        return True

    def _fill_from(self, run: TierRun) -> bool:
        scratch, assignments = self._scratch, self._plan.assignments
        while scratch.mask:
            if len(assignments) >= self._limit:
                return False
            turn = run.next()
            if turn is None:
                return True
            if self._serve(turn):
                run.served(turn)
            elif turn.is_starved:
                self._plan.starved.append(turn.job.key)
                return False
            else:
                run.failed(turn)
        return True

    def _serve(self, turn: JobTurn) -> bool:
        """Place the job's oldest task that fits; False when none does."""
        waiting = turn.waiting()
        only = self._guard.leaves_to_it(turn.job, turn.left, ahead=False)
        for cursor, task in waiting:
            if only and task.key != only:
                continue
            if task.instances:
                if self._serve_gang(turn, task):
                    cursor.advance()
                    return True
                if task is waiting[0][1]:
                    self._guard.note_blocked(turn.job, task)
                continue
            node_key = self._fit(turn, task)
            if node_key:
                self._scratch.take(node_key, task.slots)
                self._assign(turn, task, node_key, prefetched=False)
                cursor.advance()
                return True
            if task.slots > 1 and task is waiting[0][1]:
                self._guard.note_blocked(turn.job, task)
        return False

    def _serve_gang(self, turn: JobTurn, task: ReadyTask) -> bool:
        """Place a multi-instance task if as many nodes are empty as it needs."""
        job, only = turn.job, task.dedicated_only
        if not self._pool.runs_gangs:
            return False
        found = self._scratch.find_nodes(task.instances, job.barred, only, task.affinity)
        if found:
            self._give_nodes(turn, task, found)
        return bool(found)

    def _give_nodes(self, turn: JobTurn, task: ReadyTask, node_keys: list[int]) -> None:
        for key in node_keys:
            self._scratch.take(key, task.slots)
        self._assign(turn, task, node_keys[0], prefetched=False, others=tuple(node_keys[1:]))

    def _fit(self, turn: JobTurn, task: ReadyTask) -> int:
        job, scratch = turn.job, self._scratch
        if task.affinity:
            node = self._pool.nodes.get(task.affinity)
            if (
                node is not None
                and scratch.open_slots(node) >= task.slots
                and scratch.suits(node, job.barred, task.dedicated_only)
            ):
                return node.key
        if job.barred or task.dedicated_only:
            return scratch.find_among(task.slots, job.barred, task.dedicated_only)
        return scratch.find(task.slots)

    def _assign(
        self,
        turn: JobTurn,
        task: ReadyTask,
        node_key: int,
        *,
        prefetched: bool,
        others: tuple[int, ...] = (),
    ) -> None:
        job = turn.job
        self._plan.assignments.append(
            Assignment(task.key, node_key, job.key, task.slots, prefetched, others)
        )
        turn.left -= 1
        if turn.left == 0:
            self._guard.reach_cap(job)
        self._guard.count_pass(job.priority, task.key, choose=not prefetched)

    def _place_protected(self, run: TierRun) -> None:
        """At the tier of the protected task: place it if it fits what is kept for it now."""
        guard, limit = self._guard, self._limit
        job = guard.job
        if job is None or job.priority != run.tier.priority or job.rank is None:
            return
        if not guard.fits_now or len(self._plan.assignments) >= limit:
            return
        node_keys, task_key = guard.nodes_now(), guard.task_key
        turn = run.pull(job, job.rank)
        for cursor, task in turn.waiting():
            if task.key == task_key:
                self._give_nodes(turn, task, node_keys)
                cursor.advance()
        run.served(turn)

    # -- what waits -------------------------------------------------------------------------

    def _top_waiting(self) -> TierRun | None:
        """The highest tier that has a task which some node could run, but none now."""
        for index, negated in enumerate(self._pool.ranked):
            if index == len(self._runs):
                self._runs.append(TierRun(self._pool, self._pool.tiers[-negated]))
            run = self._runs[index]
            for turn in run.unserved():
                if turn.is_starved or any(
                    self._could_run(turn.job, task) for _, task in turn.waiting()
                ):
                    return run
        return None

    def _could_run(self, job: JobView, task: ReadyTask) -> bool:
        if task.instances:
            return could_gather(self._pool, job, task)
        return task.slots <= self._pool.largest

    def _prefetch_tiers(self) -> bool:
        """Prefetch from the highest tier that waits, and from the next when it no longer does."""
        run: TierRun | None = None
        while (top := self._top_waiting()) is not None and top is not run:
            run = top
            if not self._prefetch_from(run):
                return False
        self._waiting = None if top is None else top.tier.priority
        return True

    def _prefetch_from(self, run: TierRun) -> bool:
        """Fill backlogs from one tier; False when the plan stopped early."""
        if self._ahead is None:
            self._ahead = Prefetcher(self._pool, self._guard.hidden, self._slowed_nodes())
        run.retry()
        priority = run.tier.priority
        if self._guard.bars_ahead(priority):
            return True
        missed = 0
        while missed < LOOK_AHEAD_JOBS:
            if len(self._plan.assignments) >= self._limit:
                return False
            turn = run.next()
            if turn is None:
                break
            self._note_passed(turn)
            self._ahead.avoided = self._guard.hidden
            node_key = self._ahead.find(turn.job)
            if not node_key:
                missed += 1
                run.failed(turn)
            elif self._serve_ahead(self._ahead, turn, node_key):
                missed = 0
                run.served(turn)
            elif turn.is_starved:
                self._plan.starved.append(turn.job.key)
                return False
            else:
                run.failed(turn)
                if self._guard.bars_ahead(priority):  # as from now
                    break
        return True

    def _note_passed(self, turn: JobTurn) -> None:
        """Prefetch may be about to pass this job's oldest task, be the job quick or not."""
        waiting = turn.waiting()
        if waiting:
            oldest = waiting[0][1]
            if oldest.slots > 1 or oldest.instances:
                self._guard.note_blocked(turn.job, oldest)

    def _serve_ahead(self, ahead: Prefetcher, turn: JobTurn, node_key: int) -> bool:
        """Prefetch the job's oldest task that may be; False when there is none, or no room."""
        job = turn.job
        if self._guard.leaves_to_it(job, turn.left, ahead=True):
            return False  # what it leaves the place to needs several slots
        for cursor, task in turn.waiting():
            if task.slots == 1 and task.single and not task.dedicated_only:
                self._guard.keep_before(job.priority, ahead.lengths)
                if self._guard.bars_ahead(job.priority):
                    return False
                if ahead.avoided != self._guard.hidden:  # a node is kept as from now
                    ahead.avoided = self._guard.hidden
                    node_key = ahead.find(job)
                    if not node_key:
                        return False
                ahead.take(node_key)
                self._assign(turn, task, node_key, prefetched=True)
                cursor.advance()
                return True
        return False

    def _slowed_nodes(self) -> dict[int, int]:
        """Slots by node that this plan gives to jobs whose tasks are not over soon."""
        jobs, slowed = self._pool.jobs, dict[int, int]()
        for one in self._plan.assignments:
            if not jobs[one.job_key].quick:
                for key in (one.node_key, *one.others):
                    slowed[key] = slowed.get(key, 0) + one.slots
        return slowed

    def _record(self, run: TierRun) -> None:
        """Write the turns taken into the plan, and why those looked at wait."""
        plan = self._plan
        was_served = False
        for key, turn in run.turns.items():
            served = False
            for cursor in turn.cursors:
                if cursor.count:
                    plan.taken.append((key, cursor.name, cursor.count, cursor.last_key))
                    served = True
            if served:
                plan.turns[key] = turn.rank[0]
                was_served = True
            why = self._why_waits(turn)
            if why:
                plan.reasons[key] = why
        if was_served:
            plan.clocks[run.tier.priority] = run.clock

    def _why_waits(self, turn: JobTurn) -> tuple[Reason, ...]:
        if turn.left <= 0:
            return _CAPPED if turn.job.more or any(c.task for c in turn.cursors) else ()
        waiting = turn.waiting()
        if not waiting:
            return ()
        if not self._scratch.mask and not any(task.instances for _, task in waiting):
            return _BUSY
        found = [_why_skipped(self._pool, turn, task) for _, task in waiting]
        return tuple(dict.fromkeys(found))


_CAPPED = (reasons.JOB_AT_MAX_PARALLEL,)


def _why_skipped(pool: PoolView, turn: JobTurn, task: ReadyTask) -> Reason:
    if task.instances:
        return why_not_gathered(pool, turn.job, task) or reasons.NOT_ENOUGH_NODES
    if task.slots > pool.largest:
        return reasons.TOO_LARGE
    if turn.job.barred:
        return reasons.BARRED
    if task.dedicated_only:
        return reasons.NEEDS_DEDICATED
    if pool.runs_gangs:
        return reasons.KEPT_FOR_INSTANCES
    return reasons.NOT_ENOUGH_TOGETHER if task.slots > 1 else reasons.KEPT_FOR_LARGER

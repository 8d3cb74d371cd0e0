"""Placement: which ready task goes onto which node, and why the rest waits.

The rules, in order:

1. A higher job priority goes first. Jobs of equal priority take turns, a task each; in a pool
   with ``creation_order`` the older job goes first. Inside a job, older tasks go first.
2. A task that fits nowhere now is skipped; younger and smaller ones may pass it.
3. Starvation protection: the oldest task of a job, if it needs several slots and has been passed
   by ``PASSES_MAX`` tasks of its own or lower priority, has a node kept for it, the roomiest that
   is large enough. Until it is placed, nothing of its own or lower priority goes onto that node,
   and the node's backlog is asked back. One task in a pool is protected at a time, the one whose
   job goes first.
4. ``max_parallel`` bounds what a job has placed, prefetched tasks included.
5. Spread takes the node with most open slots, pack the one with fewest that fit; ties go to the
   lowest node key. A task's affinity beats the policy when that node has room.
6. Prefetch: see ``prefetch.py``. Revocation: see ``revoke.py``.

Nothing here reads a clock, and nothing depends on the order in which nodes or jobs were added.
"""

from __future__ import annotations

from lote.scheduler import reasons
from lote.scheduler.nouns import JobView, PoolView
from lote.scheduler.plan import Assignment, Collecting, LaneName, Plan, Reason, Revocation
from lote.scheduler.prefetch import Prefetcher, is_settled
from lote.scheduler.ready import ReadyTask
from lote.scheduler.revoke import find_revocations
from lote.scheduler.scratch import Scratch
from lote.scheduler.turns import JobTurn, TierRun
from lote.scheduler.view import View

__all__ = ["Assignment", "Collecting", "LaneName", "Plan", "Reason", "Revocation", "place"]

PASSES_MAX = 8  # ours: few enough to be fair, enough to keep slots busy that would stand empty


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
        plan = Plan(pool_key, pool.collecting)
        if pool.ranked:
            first = pool.tiers[-pool.ranked[0]].order[0][2]
            plan.reasons[first] = _BUSY
        return plan
    return _Placing(view, pool, limit).run()


_BUSY = (reasons.ALL_SLOTS_BUSY,)


class _Placing:
    """One call of ``place``."""

    __slots__ = ("_hidden", "_kept_open", "_limit", "_plan", "_pool", "_runs", "_scratch", "_view")

    def __init__(self, view: View, pool: PoolView, limit: int) -> None:
        self._view = view
        self._pool = pool
        self._limit = limit
        self._plan = Plan(pool.key, _still_collecting(view, pool))
        self._scratch = Scratch(pool)
        self._runs: list[TierRun] = []
        self._hidden = 0  # the kept node, once the tier of its task is reached
        self._kept_open = 0  # its open slots

    def run(self) -> Plan:
        plan = self._plan
        complete = self._fill_open_slots()
        if complete:
            top = self._top_waiting()
            if top is not None:
                complete = self._prefetch(top)
            if complete:
                priority = None if top is None else top.tier.priority
                plan.revocations = find_revocations(
                    self._view, self._pool, self._scratch, plan.collecting, priority
                )
        for run in self._runs:
            self._record(run)
        return plan

    # -- open slots -------------------------------------------------------------------------

    def _fill_open_slots(self) -> bool:
        """Place on open slots; False when the plan stopped early."""
        for negated in self._pool.ranked:
            run = TierRun(self._pool, self._pool.tiers[-negated])
            self._runs.append(run)
            self._keep_node(run)
            if not self._fill_from(run):
                return False
            if not self._scratch.mask:
                break
        # Lower tiers were not reached, but their turn would find the kept node hidden as well.
        self._hide_kept()
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
        for cursor, task in waiting:
            node_key = self._fit(turn, task)
            if node_key:
                self._scratch.take(node_key, task.slots)
                self._assign(turn, task, node_key, prefetched=False)
                cursor.advance()
                return True
            if task.slots > 1 and task is waiting[0][1]:
                self._note_blocked(turn, task)
        return False

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

    def _assign(self, turn: JobTurn, task: ReadyTask, node_key: int, *, prefetched: bool) -> None:
        job = turn.job
        self._plan.assignments.append(
            Assignment(task.key, node_key, job.key, task.slots, prefetched)
        )
        turn.left -= 1
        if self._plan.collecting is not None:
            self._count_pass(job.priority, task)

    # -- starvation protection --------------------------------------------------------------

    def _note_blocked(self, turn: JobTurn, task: ReadyTask) -> None:
        """The oldest task of a job fits nowhere: it may be the one to protect."""
        job, now = turn.job, self._plan.collecting
        if now is not None:
            if now.task_key == task.key:
                return
            if self._view.jobs[now.job_key].priority >= job.priority:
                return
        if not self._scratch.roomiest(task.slots, job.barred, task.dedicated_only):
            return  # no node is large enough, so nothing is to be collected
        self._show_kept()
        self._plan.collecting = Collecting(task.key, job.key, task.slots, 0, 0)

    def _count_pass(self, priority: int, task: ReadyTask) -> None:
        """A task was placed while another waits for several slots."""
        now = self._plan.collecting
        if now is None:
            return
        if task.key == now.task_key:
            self._show_kept()
            self._plan.collecting = None
            return
        job = self._view.jobs[now.job_key]
        if priority > job.priority or now.node_key:
            return
        now = now._replace(passed=now.passed + 1)
        if now.passed >= PASSES_MAX:
            head = job.window.find(now.task_key)
            only = head is not None and head.dedicated_only
            now = now._replace(node_key=self._scratch.roomiest(now.slots, job.barred, only))
        self._plan.collecting = now
        self._hide_kept()

    def _keep_node(self, run: TierRun) -> None:
        """At the tier of the protected task: place it if it fits its node now, else hide that."""
        now = self._plan.collecting
        if now is None or not now.node_key or self._hidden:
            return
        job = self._view.jobs[now.job_key]
        if job.priority < run.tier.priority:
            return
        if job.priority == run.tier.priority and len(self._plan.assignments) < self._limit:
            self._place_on_kept(run, job, now)
        self._hide_kept()

    def _place_on_kept(self, run: TierRun, job: JobView, now: Collecting) -> None:
        node = self._pool.nodes[now.node_key]
        if job.rank is None or self._scratch.open_slots(node) < now.slots:
            return
        turn = run.pull(job, job.rank)
        # Another task of its kind that was requeued may be older, and then goes before it.
        kept = job.window.lane_of(now.task_key)
        for cursor, task in turn.waiting():
            if cursor.name == kept:
                self._scratch.take(node.key, task.slots)
                self._assign(turn, task, node.key, prefetched=False)
                cursor.advance()
        run.served(turn)

    def _hide_kept(self) -> None:
        now = self._plan.collecting
        if now is not None and now.node_key and not self._hidden:
            self._hidden = now.node_key
            self._kept_open = self._scratch.hide(now.node_key)

    def _show_kept(self) -> None:
        if self._hidden:
            self._scratch.show(self._hidden, self._kept_open)
            self._hidden = 0

    # -- what waits -------------------------------------------------------------------------

    def _top_waiting(self) -> TierRun | None:
        """The highest tier that has a task which some node could run, but none now."""
        largest = self._pool.largest
        for index, negated in enumerate(self._pool.ranked):
            if index == len(self._runs):
                self._runs.append(TierRun(self._pool, self._pool.tiers[-negated]))
            run = self._runs[index]
            for turn in run.unserved():
                if turn.is_starved or any(t.slots <= largest for _, t in turn.waiting()):
                    return run
        return None

    def _prefetch(self, run: TierRun) -> bool:
        """Fill backlogs from one tier; False when a window ran out."""
        ahead = Prefetcher(self._pool, self._hidden, self._slowed_nodes())
        run.retry()
        while len(self._plan.assignments) < self._limit:
            turn = run.next()
            if turn is None:
                return True
            node_key = ahead.find(turn.job)
            if not node_key:
                continue
            waiting = turn.waiting()
            if waiting and waiting[0][1].slots > 1:
                self._note_blocked(turn, waiting[0][1])
            for cursor, task in waiting:
                if task.slots == 1 and task.single and not task.dedicated_only:
                    ahead.take(node_key)
                    self._assign(turn, task, node_key, prefetched=True)
                    cursor.advance()
                    run.served(turn)
                    break
            else:
                if turn.is_starved:
                    self._plan.starved.append(turn.job.key)
                    return False
            if self._hidden:
                ahead.avoid(self._hidden)
        return False

    def _slowed_nodes(self) -> dict[int, int]:
        """Slots by node that this plan gives to jobs whose tasks are not over soon."""
        jobs, slowed = self._pool.jobs, dict[int, int]()
        for one in self._plan.assignments:
            if not jobs[one.job_key].quick:
                slowed[one.node_key] = slowed.get(one.node_key, 0) + one.slots
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
        if not self._scratch.mask:
            return _BUSY
        found = [_why_skipped(self._pool, turn, task) for _, task in waiting]
        return tuple(dict.fromkeys(found))


_CAPPED = (reasons.JOB_AT_MAX_PARALLEL,)


def _why_skipped(pool: PoolView, turn: JobTurn, task: ReadyTask) -> Reason:
    if task.slots > pool.largest:
        return reasons.TOO_LARGE
    if turn.job.barred:
        return reasons.BARRED
    if task.dedicated_only:
        return reasons.NEEDS_DEDICATED
    return reasons.NOT_ENOUGH_TOGETHER if task.slots > 1 else reasons.KEPT_FOR_LARGER


def _still_collecting(view: View, pool: PoolView) -> Collecting | None:
    """The protected task, if it still waits; its node, if that is still fit for it."""
    now = pool.collecting
    if now is None:
        return None
    job = view.jobs.get(now.job_key)
    if job is None or job.pool is not pool or job.rank is None:
        return None
    if job.window.find(now.task_key) is None:
        return None
    node = pool.nodes.get(now.node_key)
    if now.node_key and (node is None or not node.eligible or now.node_key in job.barred):
        return now._replace(node_key=0)
    return now

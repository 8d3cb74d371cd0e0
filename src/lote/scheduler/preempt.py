"""Preemption: which running tasks make room for tasks of a higher priority.

The rule: a task waits though some node is large enough; its job has a strictly higher priority than
jobs that allow their tasks to be preempted; then as many of their tasks are taken off one node as
the task needs there. Taken are, in this order: those of the lowest priority, the fewest slots, the
youngest. What is about to come free anyway, because tasks there were taken off before, is counted
first. Until they have gone a task is promised that node, so nothing is taken off twice for the same
task; and since what comes free goes to the higher priority, nothing that was taken off takes its
place again from the one that took it.

For a multi-instance task as many nodes are emptied as it lacks; nodes are kept for it from then on:
see ``gather.py``.

A job manager task that ran before and lost its node may take off tasks of its own priority too, of
any job: see ``make_room``.

Nothing here is asked on the way of an ordinary task: see ``find_preemptions``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import NamedTuple

from lote.scheduler.gather import could_gather
from lote.scheduler.nouns import JobView, NodeView, PoolView, Promise, Yielding
from lote.scheduler.ready import ReadyTask
from lote.scheduler.scratch import Scratch
from lote.scheduler.view import View

LOOKS_MAX = 200  # ours: tasks looked at in one go; what is left has its turn when these have moved


class Preemptions(NamedTuple):
    """Keys of tasks to be taken off their nodes; and nodes promised to tasks that wait, by task."""

    task_keys: list[int]
    promises: dict[int, Promise]


def find_preemptions(view: View, pool_key: int) -> Preemptions:
    """What is to be taken off, after all that can be placed in the pool was.

    Costs nothing while no task that may be preempted runs there. The caller makes it so with
    ``View.mark_leaving`` and ``View.promise``.
    """
    pool = view.pools.get(pool_key)
    if pool is None or not pool.yielding or not pool.ranked:
        return Preemptions([], {})
    room = _Room(view, pool, pool.yielding.values())
    found: list[int] = []
    looks = LOOKS_MAX
    for negated in pool.ranked:
        if room.lowest() >= -negated:
            break
        for _, _, job_key in pool.tiers[-negated].order:
            job = view.jobs[job_key]
            taken, looked = _for_job(room, job, looks)
            found += taken
            looks -= looked
            if looks <= 0 or room.is_promised:
                return Preemptions(found, room.promises)
    return Preemptions(found, room.promises)


def make_room(
    view: View, pool_key: int, job_key: int, task: ReadyTask, running: Collection[Yielding]
) -> list[int] | None:
    """The same for one task that may take off any of ``running`` of its own or lower priority.

    None when there is no way, or a higher priority waits, which would have what comes free. Else
    the job must be made the first of its priority, see ``View.put_first``, or another might.
    """
    pool, job = view.pools.get(pool_key), view.jobs.get(job_key)
    if pool is None or job is None or job.rank is None or -pool.ranked[0] > job.priority:
        return None
    return _Room(view, pool, running).make(job, task, job.priority + 1)


def _for_job(room: _Room, job: JobView, looks: int) -> tuple[list[int], int]:
    """What is taken off for a job, and how many of its tasks were looked at."""
    left = looks if job.max_parallel < 0 else min(looks, job.max_parallel - job.placed)
    found: list[int] = []
    hopeless: set[tuple[int, bool, int]] = set()  # kinds of tasks for which there is no room
    looked = 0
    for task in job.head:
        if left <= 0 or room.is_promised or room.lowest() >= job.priority:
            break
        kind = (task.slots, task.dedicated_only, task.instances)
        if kind in hopeless:
            continue
        looked += 1
        if task.key in room.promises:
            left -= 1
            continue
        taken = room.make(job, task, job.priority)
        if taken is None:
            hopeless.add(kind)
            continue
        found += taken
        left -= 1
    return found, looked


class _Victim(NamedTuple):
    """A task that may be taken off, in the order in which that is done."""

    priority: int
    slots: int
    age: int  # the negated key: the youngest first
    node_key: int

    @property
    def key(self) -> int:
        """Key of the task."""
        return -self.age


class _Room:
    """What could be free on the nodes where tasks may be taken off, or are being so."""

    def __init__(self, view: View, pool: PoolView, running: Collection[Yielding]) -> None:
        self._pool = pool
        self.is_promised = False  # a multi-instance task will have whatever comes free
        kept = pool.collecting
        keeper = view.jobs.get(kept.job_key) if kept is not None else None
        is_kept = keeper is not None and keeper.wants  # at its cap it keeps nothing
        self._kept_priority = keeper.priority if keeper and is_kept else -_NOBODY
        self._free: dict[int, int] = {}  # node key -> slots free, or coming free
        self._victims: dict[int, list[_Victim]] = {}
        for one in running:
            node, job = pool.nodes.get(one.node_key), view.jobs.get(one.job_key)
            if node is None or not node.eligible or job is None:
                continue
            free = self._free.setdefault(node.key, _free_slots(node))
            victims = self._victims.setdefault(node.key, [])
            if one.is_leaving:
                self._free[node.key] = free + one.slots
            else:
                victims.append(_Victim(job.priority, one.slots, -one.task_key, node.key))
        for victims in self._victims.values():
            victims.sort()
        leaving = {one.node_key for one in running if one.is_leaving}
        self.promises: dict[int, Promise] = {}
        for task_key, promise in pool.promises.items():
            asker = view.jobs.get(promise.job_key)
            if asker is None or asker.window.find(task_key) is None:
                continue  # it waits no more
            if not leaving.isdisjoint(promise.node_keys):
                self._promise(task_key, promise)

    def _promise(self, task_key: int, promise: Promise) -> None:
        self.promises[task_key] = promise
        for key in promise.node_keys:
            if key in self._free:
                self._free[key] -= promise.slots

    def lowest(self) -> int:
        """The lowest priority of what may still be taken off."""
        found = (victims[0].priority for victims in self._victims.values() if victims)
        return min(found, default=_NOBODY)

    def make(self, job: JobView, task: ReadyTask, below: int) -> list[int] | None:
        """Keys of the tasks to take off for this one, none when room is coming; None: no way."""
        if task.instances:
            taken = self._empty_nodes(job, task, below)
            self.is_promised = taken is None and could_gather(self._pool, job, task)
            return taken
        nodes = list(self._nodes_for(job, task))
        fitting = [node.key for node in nodes if self._free[node.key] >= task.slots]
        if fitting:
            closest = min(fitting, key=lambda key: (self._free[key], key))
            self._promise(task.key, Promise(job.key, (closest,), task.slots))
            return []
        choices = [self._cheapest(node, task.slots, below) for node in nodes]
        found = min((one for one in choices if one is not None), key=itemgetter(0), default=None)
        if found is None:
            return None
        chosen = found[1]
        node_key = chosen[0].node_key
        for one in chosen:
            self._victims[node_key].remove(one)
        self._free[node_key] += sum(one.slots for one in chosen)
        self._promise(task.key, Promise(job.key, (node_key,), task.slots))
        return [one.key for one in chosen]

    def _empty_nodes(self, job: JobView, task: ReadyTask, below: int) -> list[int] | None:
        """The same for a multi-instance task: one task of each node that is lacking."""
        if not could_gather(self._pool, job, task):
            return None
        node_keys: list[int] = []
        victims: list[_Victim] = []
        for key, node in sorted(self._pool.nodes.items()):
            if not node.eligible or node.slots != 1:
                continue
            if not Scratch.suits(node, job.barred, task.dedicated_only):
                continue
            if self._is_kept(key, job, task):
                continue
            free = self._free.get(key, _free_slots(node))
            if free >= 1:
                node_keys.append(key)
            else:
                victims += [one for one in self._victims.get(key, ()) if one.priority < below]
        node_keys = node_keys[: task.instances]
        lacking = task.instances - len(node_keys)
        if lacking > len(victims):
            return None
        chosen = sorted(victims)[:lacking]
        for one in chosen:
            self._victims[one.node_key].remove(one)
            self._free[one.node_key] += 1
            node_keys.append(one.node_key)
        self._promise(task.key, Promise(job.key, tuple(node_keys), 1))
        return [one.key for one in chosen]

    def _nodes_for(self, job: JobView, task: ReadyTask) -> Iterable[NodeView]:
        for key in sorted(self._free):
            node = self._pool.nodes[key]
            if node.slots < task.slots:
                continue
            if not Scratch.suits(node, job.barred, task.dedicated_only):
                continue
            if self._is_kept(key, job, task):
                continue
            yield node

    def _is_kept(self, node_key: int, job: JobView, task: ReadyTask) -> bool:
        """Whether the node is kept for a task that goes before this one: see ``protect.py``."""
        kept = self._pool.collecting
        if kept is None or kept.task_key == task.key:
            return False
        # For a multi-instance task it is whatever node becomes free.
        is_there = kept.instances > 0 or kept.node_key == node_key
        return is_there and job.priority <= self._kept_priority

    def _cheapest(
        self, node: NodeView, slots: int, below: int
    ) -> tuple[tuple[int, int, int, int], list[_Victim]] | None:
        """(cost, tasks to take off) on this node; None when that does not make room enough."""
        need = slots - self._free[node.key]
        chosen: list[_Victim] = []
        for one in self._victims[node.key]:
            if need <= 0 or one.priority >= below:
                break
            chosen.append(one)
            need -= one.slots
        if need > 0 or not chosen:
            return None
        for one in list(reversed(chosen)):  # the last that were added may make some needless
            if need + one.slots <= 0:
                chosen.remove(one)
                need += one.slots
        dearest = max(one.priority for one in chosen)
        freed = sum(one.slots for one in chosen)
        return (dearest, freed, min(one.age for one in chosen), node.key), chosen


_NOBODY = 1 << 30  # above every priority


def _free_slots(node: NodeView) -> int:
    """Slots that no task holds or is about to take from the node's own backlog."""
    return node.free - (len(node.backlog) - len(node.returning))

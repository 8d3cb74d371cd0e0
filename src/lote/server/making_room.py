"""Tasks taken off their nodes for others: those of jobs that allow it, for higher priorities; and
any, for a job manager task that lost its node.

``scheduler.preempt`` chooses. The task's row says that it is being taken off, so that a server that
is started again still knows what its agent's word of its end means. It is requeued when its agent
says that nothing of it runs any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from lote.scheduler.nouns import Yielding
from lote.scheduler.preempt import find_preemptions, make_room
from lote.server.memory import KEEP, REQUEUE, JobState, Placed
from lote.server.owner import Tx
from lote.server.placing import may_yield
from lote.server.runs import kill
from lote.store import tasks as task_rows
from lote.store.events import add_event
from lote.store.records import IS_MANAGER, IS_MULTI_INSTANCE, IS_PREEMPTED

_STAYS = IS_MANAGER | IS_MULTI_INSTANCE


def preempt(tx: Tx, pool_keys: Iterable[int]) -> None:
    """Take off what stands in the way in these pools, after all that can be placed there was."""
    memory = tx.memory
    for pool_key in pool_keys:
        found = find_preemptions(memory.view, pool_key)
        if found.promises:
            memory.view.promise(pool_key, found.promises)
        for task_key in found.task_keys:
            _take_off(tx, memory.placed[task_key])
    for job_key in list(memory.lost_managers):
        _place_manager(tx, job_key)


def _place_manager(tx: Tx, job_key: int) -> None:
    """A job manager task that had a node before may take the place of others."""
    memory = tx.memory
    job = memory.jobs.get(job_key)
    task_key = memory.lost_managers[job_key]
    task = memory.view.jobs[job_key].window.find(task_key) if job is not None else None
    if job is None or task is None:
        del memory.lost_managers[job_key]
        return
    running = [
        Yielding(one.key, one.job_key, one.node_key, one.node_slots, is_leaving=one.doom != KEEP)
        for one in memory.placed.values()
        if not one.is_prefetched and not (one.doom == KEEP and one.flags & _STAYS)
    ]
    taken = make_room(memory.view, job.pool_key or 0, job_key, task, running)
    if taken is None:
        return
    memory.view.put_first(job_key)
    for key in taken:
        _take_off(tx, memory.placed[key])


def _take_off(tx: Tx, one: Placed) -> None:
    if one.doom != KEEP:
        return
    task_rows.mark_preempted(tx.db, one.key)
    one.flags |= IS_PREEMPTED
    add_event(tx.db, tx.now_us, "task_preempted", str(one.key), "")
    kill(tx, one, REQUEUE)


def set_preemption(tx: Tx, job: JobState, *, is_allowed: bool) -> None:
    """The job's tasks, also those that run, may be taken off from now on, or may not any more."""
    if job.allows_preemption == is_allowed:
        return
    job.allows_preemption = is_allowed
    if not is_allowed:
        tx.memory.view.keep_running(job.key)
        return
    for one in tx.memory.placed.values():
        if one.job_key == job.key and not one.is_prefetched:
            may_yield(tx.memory, one)

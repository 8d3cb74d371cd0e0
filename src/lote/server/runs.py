"""A task's way through nodes: begun, ended, requeued, killed.

Everything here runs in the owner thread within its transaction. What the end of a task does to its
dependents and its job is gathered in ``memory.finished`` and followed when the transaction settles.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from lote.server.gangs import close_subtasks, in_hand
from lote.server.memory import (
    AGAIN,
    FORGET,
    KEEP,
    REQUEUE,
    RERUN,
    Gang,
    JobState,
    NodeState,
    Placed,
)
from lote.server.owner import Tx
from lote.server.placing import may_yield, push_ready_rows
from lote.store import tasks as task_rows
from lote.store.records import IS_MANAGER, PLACED, PREPARING, RUNNING, TaskRecord
from lote.wire.frames import Amend, Container, Failure, Kill, Revoke

RERUNS_MAX = 10  # ours: the provider does not publish when it ends with MaxInternalRetryCount

USER_ENDED = Failure("usererror", "TaskEnded", "The task was ended by a user request.")
NOTHING_MEASURED = (None,) * 5  # what a task used, where nobody says it (``end_tasks``)
_encode = msgspec.json.Encoder().encode


class _Constrained(msgspec.Struct, omit_defaults=True):
    constraints: dict[str, Any] | None = None


_constrained = msgspec.json.Decoder(_Constrained).decode


def failure_text(failure: Failure) -> str:
    """A failure as the wire's failureInfo."""
    shown: dict[str, object] = {
        "category": failure.category,
        "code": failure.code,
        "message": failure.message,
    }
    if failure.details:
        shown["details"] = [{"name": name, "value": value} for name, value in failure.details]
    return _encode(shown).decode()


def container_text(container: Container | None) -> str | None:
    """A container as the wire's containerInfo."""
    if container is None:
        return None
    shown = {"containerId": container.container_id, "state": container.state}
    return _encode(shown | ({"error": container.error} if container.error else {})).decode()


def begin(tx: Tx, placed: Placed) -> None:
    """A prefetched run has a slot now."""
    if placed.is_prefetched:
        placed.is_prefetched = False
        tx.memory.view.begin(placed.node_key, placed.key)
        job = tx.memory.jobs.get(placed.job_key)
        if job is not None and job.allows_preemption:
            may_yield(tx.memory, placed)


def let_go(tx: Tx, node: NodeState, placed: Placed) -> None:
    """No process of the run is left: its slot is free."""
    memory = tx.memory
    gang = placed.gang
    if gang is not None:
        gang.in_hand.discard(placed.number)
    is_last = gang is None or not gang.in_hand
    if is_last:
        del memory.placed[placed.key]
    node.placed.pop(placed.key, None)
    memory.view.release(
        placed.node_key, placed.job_key, placed.key, placed.node_slots, counts=is_last
    )
    memory.dirty_nodes.add(node.key)
    memory.dirty_pools.add(node.pool_key)
    job = memory.jobs.get(placed.job_key)
    if job is not None:
        job.placed -= 1
        if job.state != "active" or (job.ends_when_complete and not job.placed):
            memory.touched_jobs.add(job.key)


def take_back(tx: Tx, node: NodeState, placed: Placed) -> None:
    """An agent gave a run back before it began."""
    let_go(tx, node, placed)
    if placed.doom == FORGET:
        return
    if placed.is_preparing:
        unprepare(tx, placed)
        return
    task_rows.unplace_tasks(tx.db, [placed.key])
    push_ready_rows(tx, placed.job_key, [placed.key])


def unprepare(tx: Tx, placed: Placed) -> None:
    """A task that was preparing is active again: it never ran."""
    task_rows.requeue_tasks(tx.db, [(tx.now_us, 0, 0, None, placed.key)], moves=False)
    _count_active(tx, placed)
    push_ready_rows(tx, placed.job_key, [placed.key])


def _count_active(tx: Tx, placed: Placed) -> None:
    job = tx.memory.jobs.get(placed.job_key)
    if job is not None:
        counts = job.counts
        counts.running -= 1
        counts.running_slots -= placed.slots
        counts.active += 1
        counts.active_slots += placed.slots
        tx.memory.dirty_counts.add(job.key)


def count_end(tx: Tx, job: JobState, placed: Placed, is_success: bool) -> None:
    """Move a placed task's count to succeeded or failed."""
    move_count(
        tx, job, "running" if placed.is_counted_running else "active", placed.slots, is_success
    )


def move_count(tx: Tx, job: JobState, source: str, slots: int, is_success: bool) -> None:
    """Move one task's count from active or running to succeeded or failed."""
    counts = job.counts
    if source == "running":
        counts.running -= 1
        counts.running_slots -= slots
    else:
        counts.active -= 1
        counts.active_slots -= slots
    if is_success:
        counts.succeeded += 1
        counts.succeeded_slots += slots
    else:
        counts.failed += 1
        counts.failed_slots += slots
    tx.memory.dirty_counts.add(job.key)
    if job.ends_when_complete and counts.is_all_complete:
        tx.memory.touched_jobs.add(job.key)


# -- requeue and kill -----------------------------------------------------------------------


def requeue(tx: Tx, placed: Placed) -> None:
    """A run that is over without an end of its own: its task is ready again.

    Of a multi-instance task, once the other instances are over too: they are killed.
    """
    gang = placed.gang
    if gang is None:
        _requeue_task(tx, placed)
    elif gang.doom == KEEP and not gang.is_ended:
        doom_gang(tx, gang, RERUN)
    else:
        settle_gang(tx, gang)


def _requeue_task(tx: Tx, placed: Placed) -> None:
    is_user = placed.doom == REQUEUE
    is_counted = placed.doom != AGAIN
    if is_counted and not is_user:
        record = task_rows.get_task_by_key(tx.db, placed.key)
        if record is not None and record.reruns >= RERUNS_MAX:
            failure = Failure(
                "usererror",
                "MaxInternalRetryCountReached",
                "The task was restarted too often after its nodes were lost.",
            )
            end_now(tx, placed, failure)
            return
    has_begun = placed.is_running or bool(placed.has_begun)
    moves = _may_have_begun(placed)
    if placed.is_counted_running or has_begun:
        is_requeue = is_user and has_begun  # REST: requeueCount is of tasks that ran
        is_rerun = is_counted and not is_user
        last_requeue_us = tx.now_us if is_requeue else None
        row = (tx.now_us, int(is_requeue), int(is_rerun), last_requeue_us, placed.key)
        task_rows.requeue_tasks(tx.db, [row], moves=moves)
    else:
        task_rows.unplace_tasks(tx.db, [placed.key], moves=moves)
    if placed.is_counted_running:
        _count_active(tx, placed)
    push_ready_rows(tx, placed.job_key, [placed.key])


def _may_have_begun(placed: Placed) -> bool:
    """Whether its node may have a directory of it: not if its agent never heard of it, or says
    that it was still waiting for a slot. Of a multi-instance task any instance may have begun."""
    if placed.gang is not None:
        return True
    was_waiting = placed.is_prefetched and placed.has_begun is False
    return not placed.is_unsent and not was_waiting


def end_now(tx: Tx, placed: Placed, failure: Failure) -> None:
    """Complete a placed task in the record at once; what its node still runs no longer counts."""
    memory = tx.memory
    if placed.gang is not None:
        if placed.gang.is_ended:
            return
        placed = placed.gang.members[0]
    start_us = placed.start_us
    task_rows.end_tasks(
        tx.db,
        [
            (
                _phase(placed),
                start_us if start_us is not None else tx.now_us,
                tx.now_us,
                start_us,
                tx.now_us,
                None,
                0,
                failure_text(failure),
                None,
                None,
                None,
                None if start_us is None else tx.now_us - start_us,
                *NOTHING_MEASURED[1:],
                placed.key,
            )
        ],
    )
    job = memory.jobs.get(placed.job_key)
    if job is not None:
        count_end(tx, job, placed, is_success=False)
    if job is not None and (
        job.uses_dependencies or job.acts_on_failure or placed.flags & IS_MANAGER
    ):
        memory.finished.append((placed.key, placed.job_key, None, failure))


def end_waiting(tx: Tx, job: JobState, record: TaskRecord, failure: Failure) -> None:
    """Complete a task that no node holds, ready or blocked, in the record."""
    memory = tx.memory
    end_unplaced(tx, record, failure)
    memory.view.drop_ready(job.key, record.key)
    memory.specs.take(record.key)
    move_count(tx, job, "active", record.slots, is_success=False)
    if job.uses_dependencies or job.acts_on_failure or record.flags & IS_MANAGER:
        memory.finished.append((record.key, job.key, None, failure))


def end_unplaced(tx: Tx, record: TaskRecord, failure: Failure) -> None:
    """Complete the row of a task that no node holds, and nothing else."""
    before = record.phase, record.state_us
    text = failure_text(failure)
    after = (tx.now_us, record.start_us, tx.now_us, None, 0, text, None, None, None)
    row = (*before, *after, *NOTHING_MEASURED, record.key)
    task_rows.end_tasks(tx.db, [row])


def _phase(placed: Placed) -> int:
    if placed.is_running:
        return RUNNING
    return PREPARING if placed.is_preparing else PLACED


def kill(tx: Tx, placed: Placed, doom: int) -> None:
    """Have a run killed; ``doom`` says what becomes of its task when it is over.

    Of a multi-instance task all instances are killed.
    """
    if placed.gang is not None:
        doom_gang(tx, placed.gang, doom)
        return
    placed.doom = doom
    tx.memory.view.mark_leaving(placed.node_key, placed.key)
    if placed.is_unsent:  # nobody has it
        let_go(tx, tx.memory.nodes[placed.node_key], placed)
        if doom != FORGET:
            requeue(tx, placed)
        return
    tx.send(placed.node_key, Kill([(placed.key, placed.run)]))


def doom_gang(tx: Tx, gang: Gang, doom: int) -> None:
    """Have all instances of a task killed that are left; ``doom`` says what becomes of the task
    when they are over."""
    if gang.is_ended:
        doom = FORGET
    gang.doom = doom
    if doom == FORGET:
        gang.is_ended = True
        close_subtasks(tx, gang, is_success=False)
    for one in gang.members:
        one.doom = doom
    for one in in_hand(gang):
        if one.is_unsent:
            let_go(tx, tx.memory.nodes[one.node_key], one)
        else:
            tx.send(one.node_key, Kill([(one.key, one.run)]))
    settle_gang(tx, gang)


def settle_gang(tx: Tx, gang: Gang) -> None:
    """Once no instance is left, a task that has not ended is ready again."""
    if gang.in_hand or gang.is_ended:
        return
    _requeue_task(tx, gang.members[0])
    gang.is_ended = True
    close_subtasks(tx, gang, is_success=False)


def amend(tx: Tx, node: NodeState, names: Iterable[tuple[int, int]]) -> None:
    """Tell a node the constraints that tasks in its hands have by now, (key, run) each."""
    runs = dict(names)
    specs = task_rows.list_changed_specs(tx.db, list(runs))
    if specs:
        tasks = [(key, runs[key], _constraints(spec)) for key, spec in specs]
        tx.send(node.key, Amend(tasks))


def _constraints(spec: bytes) -> bytes:
    return _encode(_constrained(spec))


def revoke_backlog(tx: Tx, runs: Iterable[Placed]) -> None:
    """Ask for prefetched runs back."""
    grouped: dict[int, list[tuple[int, int]]] = {}
    for placed in runs:
        if tx.memory.view.mark_revoked(placed.node_key, placed.key):
            grouped.setdefault(placed.node_key, []).append((placed.key, placed.run))
    for node_key, names in grouped.items():
        tx.send(node_key, Revoke(names))

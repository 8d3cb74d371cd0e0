"""The ends of runs, as agents report them: what is written, and what follows.

Of a multi-instance task any instance may end first. The end of the primary is that of the task; a
subtask ends by itself only when it failed, and then all of the task fails. A nonzero exit is tried
again with all instances, as often as the task may be retried.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lote.server.gangs import close_subtasks, in_hand, note_instance_end
from lote.server.memory import AGAIN, FORGET, KEEP, REQUEUE, RERUN, Gang, NodeState, Placed
from lote.server.owner import Tx
from lote.server.runs import (
    container_text,
    count_end,
    doom_gang,
    failure_text,
    let_go,
    requeue,
    settle_gang,
)
from lote.store import tasks as task_rows
from lote.store.instances import save_instance_container
from lote.store.records import HAS_EXIT_CONDITIONS, IS_MANAGER, RUNNING
from lote.store.statistics import add_task_use
from lote.wire.frames import Ended, Failure

_members = msgspec.json.Decoder(dict[str, Any]).decode


def take_end(tx: Tx, node: NodeState, placed: Placed, entry: Ended) -> None:
    """A run is over and no process of it is left."""
    placed.has_begun = entry.exit_code is not None or entry.download_us > 0
    let_go(tx, node, placed)
    if placed.gang is not None:
        _take_instance_end(tx, node, placed.gang, placed, entry)
        return
    if placed.doom == FORGET:
        _add_use(tx, placed, entry)
        return
    if _was_killed(entry) and placed.doom in (REQUEUE, RERUN):
        requeue(tx, placed)
        return
    record_end(tx, node, placed, entry)


def record_end(tx: Tx, node: NodeState, placed: Placed, entry: Ended) -> None:
    """Complete the task with what its run came to."""
    failure = entry.failure
    start_us = tx.now_us - entry.start_age_us
    end_us = tx.now_us - entry.end_age_us
    job = tx.memory.jobs.get(placed.job_key)
    row = (
        RUNNING,
        start_us,
        end_us,
        start_us,
        end_us,
        entry.exit_code,
        0 if failure else 1,
        None if failure is None else failure_text(failure),
        entry.retries,
        None if entry.last_retry_age_us is None else tx.now_us - entry.last_retry_age_us,
        _spans(entry),
        entry.wall_us or end_us - start_us,
        entry.user_cpu_us,
        entry.kernel_cpu_us,
        entry.read_blocks,
        entry.write_blocks,
        placed.key,
    )
    if entry.container is not None:
        task_rows.save_container(tx.db, placed.key, container_text(entry.container))
    tx.gathered.add_end(node, placed.key, row, is_success=failure is None)
    if job is not None:
        count_end(tx, job, placed, failure is None)
        tx.memory.view.observe_run(job.key, (end_us - start_us) / 1_000_000)
        if (
            job.uses_dependencies
            or (failure is not None and job.acts_on_failure)
            or (placed.flags & HAS_EXIT_CONDITIONS and job.acts_on_failure)
            or placed.flags & IS_MANAGER
        ):
            tx.memory.finished.append((placed.key, job.key, entry.exit_code, failure))


def _was_killed(entry: Ended) -> bool:
    return entry.failure is not None and entry.failure.code == "TaskEnded"


def _spans(entry: Ended) -> str | None:
    if not entry.download_us and not entry.upload_us:
        return None
    return f"{entry.download_us},{entry.run_us},{entry.upload_us}"


def _add_use(tx: Tx, placed: Placed, entry: Ended, wall_us: int | None = None) -> None:
    """Count what was used beside the run whose end is that of the task: by a run that was over in
    the record before, by a subtask, by an attempt of all instances."""
    used = entry.user_cpu_us, entry.kernel_cpu_us, entry.read_blocks, entry.write_blocks
    add_task_use(tx.db, placed.key, placed.run, (wall_us, *used))


# -- instances of multi-instance tasks ------------------------------------------------------


def _take_instance_end(tx: Tx, node: NodeState, gang: Gang, placed: Placed, entry: Ended) -> None:
    failure = entry.failure
    start_us, end_us = tx.now_us - entry.start_age_us, tx.now_us - entry.end_age_us
    text = None if failure is None else failure_text(failure)
    note_instance_end(tx, placed, start_us, end_us, entry.exit_code, text)
    container = container_text(entry.container)
    if container is not None:
        save_instance_container(tx.db, container, placed.key, placed.number, placed.run)
    if placed.number:
        tx.gathered.add_subtask_end(node, placed.key)
    if gang.is_ended:
        _add_use(tx, placed, entry)
        return
    if gang.doom == AGAIN:
        _add_use(tx, placed, entry, _wall_us(placed, entry))
    if gang.doom != KEEP and (placed.number or gang.doom == AGAIN or failure is not None):
        settle_gang(tx, gang)  # also what failed because the others were killed first
    elif entry.exit_code and _has_lost_contact(tx, gang):
        doom_gang(tx, gang, RERUN)
    elif _may_retry(tx, placed, entry):
        task_rows.count_retry(tx.db, placed.key, tx.now_us)
        _add_use(tx, placed, entry, _wall_us(placed, entry))
        doom_gang(tx, gang, AGAIN)
    else:
        _end_gang(tx, node, gang, placed, entry)


def _end_gang(tx: Tx, node: NodeState, gang: Gang, placed: Placed, entry: Ended) -> None:
    """The primary ended, or a subtask failed: so does the task, on the primary's node."""
    primary = gang.members[0]
    if placed is not primary:
        start_us = primary.start_us
        start_age_us = entry.start_age_us if start_us is None else tx.now_us - start_us
        entry = msgspec.structs.replace(
            entry,
            start_age_us=max(start_age_us, entry.end_age_us),
            failure=_of_subtask(entry.failure, placed, node),
            container=None,  # not the primary's
            wall_us=0,
        )
    record_end(tx, tx.memory.nodes[primary.node_key], primary, entry)
    close_subtasks(tx, gang, is_success=placed is primary)
    doom_gang(tx, gang, FORGET)


def _wall_us(placed: Placed, entry: Ended) -> int | None:
    """The time of a task is that of its primary."""
    return None if placed.number else entry.wall_us or entry.start_age_us - entry.end_age_us


def _of_subtask(failure: Failure | None, placed: Placed, node: NodeState) -> Failure:
    """The failure of a subtask as that of its task: it says whose it is."""
    where = [("SubtaskId", str(placed.number)), ("NodeId", node.id)]
    if failure is None:
        return Failure("servererror", "Unknown", "A subtask ended before its task.", where)
    return msgspec.structs.replace(failure, details=[*failure.details, *where])


def _has_lost_contact(tx: Tx, gang: Gang) -> bool:
    """Whether a node of the gang is not heard of: then it may be why the others fail."""
    return any(tx.memory.nodes[one.node_key].link is None for one in in_hand(gang))


def _may_retry(tx: Tx, placed: Placed, entry: Ended) -> bool:
    """Whether a process failed that may be tried again (REST: maxTaskRetryCount)."""
    failure = entry.failure
    if failure is None or failure.code != "FailureExitCode" or not entry.exit_code:
        return False
    record = task_rows.get_task_by_key(tx.db, placed.key)
    job = tx.memory.jobs.get(placed.job_key)
    if record is None or job is None:
        return False
    limit = _members(record.spec).get("constraints", {}).get("maxTaskRetryCount")
    retries_max = job.retries_max if limit is None else limit
    return bool(retries_max < 0 or record.retries < retries_max)

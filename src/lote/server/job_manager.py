"""The job manager task: a task of the job like any other, made with it and placed first.

What differs is in flags of its row: it may want a node for itself, and its end may end the job.
"""

from __future__ import annotations

import msgspec

from lote.server.memory import JobState
from lote.server.new_tasks import next_task_key
from lote.server.owner import Tx
from lote.server.placing import ready_task
from lote.store import tasks as rows
from lote.store.records import HAS_TOKEN, IS_DEDICATED_ONLY, IS_EXCLUSIVE, IS_MANAGER, READY
from lote.wire.job import JobManagerTask
from lote.wire.task import TaskConstraints, TaskCreate
from lote.wire.task_groups import kept_task

MANAGER_REASON = "JMComplete"  # REST: terminateReason

_OWN_MEMBERS = frozenset({"kill_job_on_completion", "run_exclusive", "allow_low_priority_node"})


def add_manager(tx: Tx, job: JobState, manager: JobManagerTask) -> None:
    """Make the manager's task, the first of a new job."""
    slots = manager.required_slots or 1
    spec = kept_task(_as_task(manager, job.retries_max))
    new = rows.NewTask(
        next_task_key(tx), job.key, manager.id, READY, _flags(manager), slots, 0, tx.now_us, spec
    )
    rows.add_tasks(tx.db, [new])
    job.counts.active += 1
    job.counts.active_slots += slots
    tx.memory.dirty_counts.add(job.key)
    row = rows.ReadyRow(new.key, new.flags, slots, 0, 0, spec)
    tx.memory.specs.add(row.key, row.run, row.retries, row.flags, row.spec)
    tx.memory.view.push_ready(job.key, [ready_task(tx.memory, job, row)], more=False)
    if job.pool_key:
        tx.memory.dirty_pools.add(job.pool_key)


def _as_task(manager: JobManagerTask, retries_max: int) -> TaskCreate:
    """The manager as a task; the job's limit of retries is taken over as it is now."""
    members = {
        name: getattr(manager, name)
        for name in manager.__struct_fields__
        if name not in _OWN_MEMBERS
    }
    task = TaskCreate(**members)
    constraints = msgspec.structs.replace(task.constraints or TaskConstraints())
    if constraints.max_task_retry_count is None:
        constraints.max_task_retry_count = retries_max
    task.constraints = constraints
    return task


def _flags(manager: JobManagerTask) -> int:
    flags = IS_MANAGER
    settings = manager.authentication_token_settings
    if settings is not None and settings.access:
        flags |= HAS_TOKEN
    if manager.run_exclusive is not False:
        flags |= IS_EXCLUSIVE
    if manager.allow_low_priority_node is False:
        flags |= IS_DEDICATED_ONLY
    return flags


def reseat_manager(tx: Tx, job: JobState) -> None:
    """The job has another pool, or its pool nodes of another size: a manager that waits for a
    whole node needs as many slots as one has now."""
    if not job.has_manager:
        return
    view = tx.memory.view
    for task in list(view.jobs[job.key].head):
        view.drop_ready(job.key, task.key)
        tx.memory.specs.take(task.key)
    view.push_ready(job.key, [], more=True)

"""How jobs end, pause and vanish, and what the end of a task does to its job and dependents.

A request only moves the job's state and starts the kills; ``settle_job`` finishes it when the
nodes have answered. No handler ever waits.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lote.domain.job import JOB
from lote.domain.task import FailureKind, exit_options
from lote.server.auto_pools import end_job_pool
from lote.server.gangs import in_hand
from lote.server.job_manager import MANAGER_REASON
from lote.server.memory import FORGET, REQUEUE, RERUN, JobState, NodeState, Placed
from lote.server.owner import Tx
from lote.server.placing import push_ready_rows
from lote.server.releases import give_up_specials, has_settled
from lote.server.runs import USER_ENDED, end_now, kill, let_go, requeue, revoke_backlog
from lote.server.special_runs import forget_specials
from lote.store import dependencies
from lote.store import jobs as job_rows
from lote.store import special_runs as special_rows
from lote.store import tasks as task_rows
from lote.store.cleanings import add_cleanings
from lote.store.events import add_event
from lote.store.records import COMPLETED, IS_MANAGER, PREPARING, RUNNING, JobCount, TaskRecord
from lote.wire.frames import UPLOAD_FAILED_TOO, Clean, Failure
from lote.wire.task import TaskCreate

DELETE_CHUNK = 500  # tasks removed in one transaction, so that others are not held up

_spec = msgspec.json.Decoder(TaskCreate, strict=False)


def follow_end(
    tx: Tx, task_key: int, job_key: int, exit_code: int | None, failure: Failure | None
) -> None:
    """A task completed for good: satisfy its dependents, act on its job."""
    job = tx.memory.jobs.get(job_key)
    record = task_rows.get_task_by_key(tx.db, task_key)
    if job is None or record is None:
        return
    if record.flags & IS_MANAGER and job.ends_with_manager and JOB.allows(job.state, "terminate"):
        begin_terminate(tx, job, MANAGER_REASON)
    conditions = _spec.decode(record.spec).exit_conditions
    kind = _failure_kind(exit_code, failure)
    actions = exit_options(conditions, exit_code, kind)
    if job.uses_dependencies and actions.dependency_action == "satisfy":
        ready = dependencies.satisfy(tx.db, job.key, task_key, record.id)
        push_ready_rows(tx, job.key, ready)
    if job.acts_on_failure and not (kind == "ended" and _ends_what_runs(job)):
        if actions.job_action == "terminate" and JOB.allows(job.state, "terminate"):
            begin_terminate(tx, job, "TaskFailed")
        elif actions.job_action == "disable" and job.state in ("active", "disabling"):
            begin_disable(tx, job, "requeue")


def _ends_what_runs(job: JobState) -> bool:
    """Whether a disable ends the job's tasks: then their ends ask for nothing more of the job."""
    return job.state == "disabling" and job.disable_option == "terminate"


def _failure_kind(exit_code: int | None, failure: Failure | None) -> FailureKind | None:
    if failure is None:
        return None
    if failure.code in ("TaskEnded", "MaxInternalRetryCountReached"):
        return "ended"
    if failure.code == "FailureExitCode":
        is_too = any(name == UPLOAD_FAILED_TOO for name, _ in failure.details)
        return "file_upload" if is_too else "exit_code"
    return "pre_processing" if exit_code is None else "file_upload"


def move_job(tx: Tx, job: JobState, event: str, **changes: object) -> None:
    """Move the job's state by its table and write it."""
    before = job.state
    record = job_rows.get_job_by_key(tx.db, job.key)
    if record is None:
        return
    job.state = JOB.after(before, event)
    job_rows.save_job(
        tx.db,
        job.key,
        state=job.state,
        state_us=tx.now_us,
        previous_state=before,
        previous_us=record.state_us,
        **changes,
    )
    tx.memory.view.set_job(job.key, active=job.state == "active")
    tx.memory.touched_jobs.add(job.key)
    if job.state == "active" and job.pool_key:
        tx.memory.dirty_pools.add(job.pool_key)  # what waited while it was disabled is placed


def begin_disable(tx: Tx, job: JobState, option: str) -> None:
    """Stop scheduling a job. ``option`` says what becomes of what runs."""
    if job.state == "active":
        move_job(tx, job, "disable", disable_option=option)
    else:
        if option == "wait" and job.disable_option is not None:
            option = job.disable_option  # what is being killed is not called back
        job_rows.save_job(tx.db, job.key, disable_option=option)
        tx.memory.touched_jobs.add(job.key)
    job.disable_option = option
    apply_disable(tx, job)


def apply_disable(tx: Tx, job: JobState) -> None:
    """Kill, or let finish, what runs of a job that is being disabled."""
    placed = placed_of(tx, job)
    revoke_backlog(tx, [one for one in placed if one.is_prefetched])
    for one in placed:
        if one.doom or job.disable_option == "wait":
            continue
        if job.disable_option == "terminate" and not one.is_prefetched:
            end_now(tx, one, USER_ENDED)
            kill(tx, one, FORGET)
        else:
            # Also what was asked back above: it may have begun before the word arrives.
            kill(tx, one, REQUEUE)


def begin_terminate(tx: Tx, job: JobState, reason: str, *, force: bool = False) -> None:
    """End a job: what runs is killed and completed, what waits stays as it is."""
    move_job(tx, job, "terminate", terminate_reason=reason)
    for one in placed_of(tx, job):
        if one.doom == FORGET:
            continue
        if one.is_prefetched:
            revoke_backlog(tx, [one])
            kill(tx, one, RERUN)  # it may have begun before the word arrives
        else:
            end_now(tx, one, USER_ENDED)
            kill(tx, one, FORGET)
    if force:
        _give_up_runs(tx, job)


def begin_delete(tx: Tx, job: JobState, *, force: bool = False) -> None:
    """Delete a job: kill what runs, then remove its tasks little by little, then itself."""
    move_job(tx, job, "delete")
    for one in placed_of(tx, job):
        if one.doom != FORGET:
            end_now(tx, one, USER_ENDED)
            kill(tx, one, FORGET)
    if force:
        _give_up_runs(tx, job)


def placed_of(tx: Tx, job: JobState) -> list[Placed]:
    """The job's runs in nodes' hands."""
    if not job.placed:
        return []
    return [one for one in tx.memory.placed.values() if one.job_key == job.key]


def _give_up_runs(tx: Tx, job: JobState) -> None:
    """Don't wait for the nodes: their answers will be refused, as they hold the runs no more."""
    if job.preparation is not None:
        give_up_specials(tx, job)
    for one in placed_of(tx, job):
        for instance in [one] if one.gang is None else in_hand(one.gang):
            let_go(tx, tx.memory.nodes[instance.node_key], instance)
        if one.doom != FORGET:
            requeue(tx, one)


def settle_job(tx: Tx, job: JobState) -> None:
    """Finish what a request began, if nothing stands in its way any more."""
    is_open = job.state in ("active", "disabled", "disabling")
    if is_open and job.ends_when_complete and job.counts.is_all_complete and not job.placed:
        begin_terminate(tx, job, "AllTasksComplete")
    is_quiet = job.preparation is None or has_settled(tx, job)  # begins releases, node by node
    if job.placed or not is_quiet:
        return  # each run that ends touches the job again
    if job.state == "disabling":
        move_job(tx, job, "settle_disable")
    elif job.state == "enabling":
        move_job(tx, job, "settle_enable")
    elif job.state == "terminating":
        move_job(tx, job, "settle_terminate", end_us=tx.now_us)
        add_event(tx.db, tx.now_us, "job_completed", job.id, "")
        end_job_pool(tx, job)
        forget_job(tx, job)
    elif job.state == "deleting":
        _delete_some(tx, job)


def give_up_job(tx: Tx, job: JobState) -> None:
    """A new job can never start: it is completed as it is; its row says why."""
    move_job(tx, job, "give_up", end_us=tx.now_us)
    add_event(tx.db, tx.now_us, "job_given_up", job.id, "")
    forget_job(tx, job)


def forget_job(tx: Tx, job: JobState) -> None:
    """A completed job needs no place in memory."""
    memory = tx.memory
    if job.key in memory.dirty_counts:
        job_rows.save_job_counts(tx.db, [(job.key, job.counts)])
        memory.dirty_counts.discard(job.key)
    for task in memory.view.jobs[job.key].head:
        memory.specs.take(task.key)
    memory.view.drop_job(job.key)
    if job.preparation is not None:
        forget_specials(tx, job.key)
    memory.jobs.pop(job.key, None)
    memory.touched_jobs.discard(job.key)
    if job.schedule_key is not None:
        memory.touched_schedules.add(job.schedule_key)


def _delete_some(tx: Tx, job: JobState) -> None:
    nodes = task_rows.delete_some_tasks(tx.db, job.key, DELETE_CHUNK)
    _clean_elsewhere(tx, job, nodes)
    if len(nodes) == DELETE_CHUNK:
        tx.memory.next_jobs.add(job.key)
        return
    _clean_elsewhere(tx, job, special_rows.list_nodes_of_job(tx.db, job.key))
    end_job_pool(tx, job)
    job_rows.delete_job(tx.db, job.key)
    tx.memory.dirty_counts.discard(job.key)  # they went with it
    clean_directories(tx, job.pool_key, [job.directory])
    forget_job(tx, job)


def _clean_elsewhere(tx: Tx, job: JobState, node_keys: Iterable[int | None]) -> None:
    """A job may have had another pool before; nodes of its own are all told at its end."""
    for key in {*node_keys}:
        node = tx.memory.nodes.get(key or 0)
        if node is not None and node.pool_key != job.pool_key:
            clean_node(tx, node, [job.directory])


def clean_directories(tx: Tx, pool_key: int | None, directories: list[str]) -> None:
    """Tell the nodes of a pool that nobody needs these directories any more."""
    for node in pool_nodes(tx, pool_key):
        clean_node(tx, node, directories)
    forget_kept(tx, directories)


def forget_kept(tx: Tx, directories: list[str]) -> None:
    """Remove what was kept of these directories when their nodes went."""
    desk = tx.memory.desk
    if desk is not None:
        tx.after.append(lambda: desk.forget_files(directories))


def pool_nodes(tx: Tx, pool_key: int | None) -> list[NodeState]:
    """The present nodes of a pool."""
    pool = tx.memory.pools.get(pool_key or 0)
    return [tx.memory.nodes[key] for key in pool.nodes] if pool else []


def clean_node(tx: Tx, node: NodeState, directories: list[str]) -> None:
    """Tell one node that nobody needs these directories any more, now or when it calls again:
    also one that rests or restarts has its disk. Not who has none yet, or never calls again."""
    if node.link is not None:
        tx.send(node.key, Clean(directories))
    elif node.state != "creating" and not (node.is_lost or node.is_going or node.is_stuck):
        add_cleanings(tx.db, node.key, directories)


def take_off(counts: JobCount, record: TaskRecord) -> None:
    """A task leaves the counts: it is deleted, or about to be counted anew."""
    if record.phase == COMPLETED:
        name = "succeeded" if record.result else "failed"
    else:
        name = "running" if record.phase in (PREPARING, RUNNING) else "active"
    setattr(counts, name, getattr(counts, name) - 1)
    setattr(counts, f"{name}_slots", getattr(counts, f"{name}_slots") - record.slots)


def recount_completed(tx: Tx, job_key: int, record: TaskRecord, *, is_ended: bool) -> None:
    """A task of a completed job is deleted, or, waiting until now, ended."""
    counts = job_rows.get_job_count(tx.db, job_key)
    take_off(counts, record)
    if is_ended:
        counts.failed += 1
        counts.failed_slots += record.slots
    job_rows.save_job_counts(tx.db, [(job_key, counts)])

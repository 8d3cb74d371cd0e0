"""Tasks: the operations of the data plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from lote.domain.task import task_refusal
from lote.scheduler.ready import ReadyTask
from lote.server import job_ends
from lote.server.conditions import check_write
from lote.server.container_rules import check_task_container, job_runs_containers
from lote.server.gangs import instances_of
from lote.server.handlers.job import existing_job, writable_job
from lote.server.memory import FORGET, JobState
from lote.server.new_tasks import check_carried_out, check_special_id, next_task_key
from lote.server.owner import Tx
from lote.server.pages import answer_chosen, answer_list, choice, page_of, selected
from lote.server.placing import affinity_key, push_ready_rows
from lote.server.request import Answer, Request
from lote.server.runs import USER_ENDED, amend, end_now, end_unplaced, end_waiting, kill
from lote.server.statistics import task_stats, wants_stats, with_stats
from lote.server.views import (
    QUICK_MEMBERS,
    task_directory,
    view_quick_members,
    view_subtask,
    view_task,
)
from lote.store import dependencies, instances
from lote.store import tasks as rows
from lote.store.database import Connection
from lote.store.lists import list_tasks as page_of_tasks
from lote.store.records import (
    BLOCKED,
    COMPLETED,
    HAS_AFFINITY,
    HAS_EXIT_CONDITIONS,
    HAS_MOVED,
    HAS_TOKEN,
    IS_MULTI_INSTANCE,
    READY,
    STATE_OF_PHASE,
    JobRecord,
    TaskRecord,
)
from lote.wire.check_tasks import check_task, check_task_in_job, check_task_replace
from lote.wire.errors import Refused, error_object
from lote.wire.formats import etag_of, format_timestamp
from lote.wire.odata import select_members
from lote.wire.spelling import spelling
from lote.wire.task import Subtask, Task, TaskCreate, TaskReplace
from lote.wire.task_groups import (
    Entry,
    decode_task_group,
    kept_task,
    spell_durations,
    task_id_of,
)


def create_task(tx: Tx, request: Request) -> Answer:
    """Add one task. Refuses: TaskExists, JobCompleted and its like, what breaks a rule."""
    body: TaskCreate = request.body
    check_task(body)
    record, job = writable_job(tx, request.params["job_id"], "add_task")
    (result,) = add_entries(tx, record, job, [(body, kept_task(body))])
    if isinstance(result, Refused):
        raise result
    return Answer(modified_us=tx.now_us, location=f"/jobs/{record.id}/tasks/{body.id}")


def decode_collection(request: Request) -> list[Entry]:
    """The entries of a collection, each checked by itself; done outside the owner thread."""
    return decode_task_group(request.raw_body, request.api_version)


def create_task_collection(tx: Tx, request: Request) -> Answer:
    """Add up to 100 tasks, each with a result of its own. Refuses: by the job's state."""
    entries: list[Entry] = request.body
    record, job = writable_job(tx, request.params["job_id"], "add_task")
    results = add_entries(tx, record, job, entries)
    etag, modified = etag_of(tx.now_us), format_timestamp(tx.now_us)
    base = f"{request.base_url}/jobs/{record.id}/tasks/"
    value: list[dict[str, Any]] = []
    for (task, raw), result in zip(entries, results, strict=True):
        task_id = task_id_of(raw) if isinstance(task, Refused) else task.id
        if isinstance(result, Refused):
            error = error_object(result)
            value.append({"status": "clienterror", "taskId": task_id, "error": error})
        else:
            value.append(
                {
                    "status": "success",
                    "taskId": task_id,
                    "eTag": etag,
                    "lastModified": modified,
                    "location": base + task_id,
                }
            )
    metadata = f"{request.base_url}/$metadata#{request.operation.metadata}"
    return Answer(msgspec.json.encode({"odata.metadata": metadata, "value": value}))


def add_entries(
    tx: Tx, record: JobRecord, job: JobState, entries: list[Entry]
) -> list[int | Refused]:
    """Insert checked tasks; for each its row key, or why it was refused."""
    memory = tx.memory
    uses_dependencies, acts_on_failure = job.uses_dependencies, job.acts_on_failure
    has_containers = job_runs_containers(tx, job)
    results: list[int | Refused] = []
    fresh: list[rows.NewTask] = []
    for task, raw in entries:
        if isinstance(task, Refused):
            results.append(task)
            continue
        try:
            check_task_in_job(
                task, uses_dependencies=uses_dependencies, acts_on_failure=acts_on_failure
            )
            check_carried_out(task)
            is_contained = task.container_settings is not None
            if has_containers is not None and is_contained is not has_containers:
                check_task_container(
                    "containerSettings", task.container_settings, has=has_containers
                )
            if job.preparation is not None:
                check_special_id(job, task.id)
        except Refused as refused:
            results.append(refused)
            continue
        key = next_task_key(tx)
        slots = task.required_slots or 1
        results.append(key)
        fresh.append(
            rows.NewTask(key, job.key, task.id, READY, _flags(task), slots, 0, tx.now_us, raw)
        )
    added = rows.add_tasks(tx.db, fresh) if fresh else set()
    if len(added) != len(fresh):
        taken = {new.key for new in fresh} - added
        results = [Refused("TaskExists") if r in taken else r for r in results]
        fresh = [new for new in fresh if new.key in added]
    gangs = [new for new in fresh if new.flags & IS_MULTI_INSTANCE]
    if gangs:
        counted = [(new.key, job.key, instances_of(new.spec)) for new in gangs]
        instances.add_multi_instance_tasks(tx.db, counted)
    if job.uses_dependencies and fresh:
        _add_dependencies(tx, job, fresh, entries, results)
    _push(tx, job, fresh)
    slots_added = sum(new.slots for new in fresh)
    job.counts.active += len(fresh)
    job.counts.active_slots += slots_added
    memory.dirty_counts.add(job.key)
    return results


def _add_dependencies(
    tx: Tx,
    job: JobState,
    fresh: list[rows.NewTask],
    entries: list[Entry],
    results: list[int | Refused],
) -> None:
    by_key = {new.key: new for new in fresh}
    for (task, _), key in zip(entries, results, strict=True):
        if isinstance(key, Refused) or isinstance(task, Refused) or task.depends_on is None:
            continue
        ids = task.depends_on.task_ids or []
        ranges = [(one.start, one.end) for one in task.depends_on.task_id_ranges or []]
        waiting = dependencies.add_dependencies(tx.db, job.key, key, ids, ranges)
        if waiting:
            by_key[key].phase = BLOCKED
            rows.block_task(tx.db, key, waiting)


def _push(tx: Tx, job: JobState, fresh: list[rows.NewTask]) -> None:
    """Into the window, if all ready tasks before them are in it and there is room."""
    memory = tx.memory
    view = memory.view.jobs[job.key]
    ready = [new for new in fresh if new.phase == READY]
    if not ready:
        return
    if view.more or view.ready_count + len(ready) > tx.settings.window_tasks:
        memory.view.push_ready(job.key, [], more=True)
    else:
        tasks = []
        for new in ready:
            memory.specs.add(new.key, 0, 0, new.flags, new.spec)
            affinity = affinity_key(memory, new.spec) if new.flags & HAS_AFFINITY else 0
            count = instances_of(new.spec) if new.flags & IS_MULTI_INSTANCE else 0
            tasks.append(ReadyTask(new.key, new.slots, affinity, False, not count, count))
        memory.view.push_ready(job.key, tasks, more=False)
    if job.pool_key:
        memory.dirty_pools.add(job.pool_key)


def _flags(task: TaskCreate) -> int:
    flags = 0
    if task.exit_conditions is not None:
        flags |= HAS_EXIT_CONDITIONS
    if task.multi_instance_settings is not None:
        flags |= IS_MULTI_INSTANCE
    if task.affinity_info is not None:
        flags |= HAS_AFFINITY
    settings = task.authentication_token_settings
    if settings is not None and settings.access:
        flags |= HAS_TOKEN
    return flags


def list_tasks(db: Connection, request: Request) -> Answer:
    """One page of a job's tasks. Refuses: JobNotFound."""
    job = existing_job(db, request.params["job_id"])
    records, go_on = page_of_tasks(db, job.key, page_of(request))
    view = _viewer(db, request, job, records)
    return answer_list(request, [view(one) for one in records], go_on)


def get_task(db: Connection, request: Request) -> Answer:
    """One task. Refuses: JobNotFound, TaskNotFound."""
    job, record = existing_task(db, request)
    view = _viewer(db, request, job, [record])
    return answer_chosen(request, view(record), record.modified_us)


def _viewer(
    db: Connection, request: Request, job: JobRecord, records: Sequence[TaskRecord]
) -> Callable[[TaskRecord], dict[str, Any]]:
    """How this request shows these tasks of the job. Refuses: InvalidQueryParameterValue."""
    names = selected(request, Task)
    if names and QUICK_MEMBERS.issuperset(names):
        spell = spelling(Task, request.api_version)
        return lambda record: select_members(spell(view_quick_members(record, names)), names)
    choose, retries, base_url = choice(request, Task), job_retries(job), request.base_url
    if not wants_stats(request):
        return lambda record: choose(view_task(record, job.id, retries, base_url))
    stats = task_stats(db, request, job.id, records)
    return lambda record: choose(
        with_stats(view_task(record, job.id, retries, base_url), stats.get(record.key))
    )


def list_subtasks(db: Connection, request: Request) -> Answer:
    """The subtasks of a task's latest run: none, of an ordinary one.

    Refuses: JobNotFound, TaskNotFound.
    """
    job, record = existing_task(db, request)
    choose = choice(request, Subtask)
    return answer_list(
        request,
        [
            choose(view_subtask(one, job.id, record.id, request.base_url))
            for one in instances.list_instances(db, record.key)
            if one.number
        ],
    )


def replace_task(tx: Tx, request: Request) -> Answer:
    """Replace a task's constraints, for what runs of it, too. Refuses: TaskCompleted."""
    body: TaskReplace = request.body
    check_task_replace(body)
    _, record = _changeable(tx, request, "update")
    if body.constraints is not None:
        spell_durations(body.constraints)
    spec = msgspec.json.decode(record.spec, type=TaskCreate, strict=False)
    spec.constraints = body.constraints
    modified_us = max(tx.now_us, record.modified_us + 1)
    rows.save_task_spec(tx.db, record.key, msgspec.json.encode(spec), modified_us)
    tx.memory.specs.take(record.key)
    placed = tx.memory.placed.get(record.key)
    node = None if placed is None else tx.memory.nodes.get(placed.node_key)
    if placed is not None and node is not None and not placed.is_unsent:
        amend(tx, node, [(placed.key, placed.run)])
    return Answer(modified_us=modified_us)


def delete_task(tx: Tx, request: Request) -> Answer:
    """Delete a task in any state, with its files. Refuses: TaskNotFound."""
    job_record, record = _changeable(tx, request, "delete")
    memory = tx.memory
    job = memory.jobs.get(job_record.key)
    placed = memory.placed.get(record.key)
    if placed is not None:
        kill(tx, placed, FORGET)
    if job is not None:
        _uncount(tx, job, record)
        if record.phase == READY:
            memory.view.drop_ready(job.key, record.key)
            memory.specs.take(record.key)
        memory.touched_jobs.add(job.key)
    else:
        job_ends.recount_completed(tx, job_record.key, record, is_ended=False)
    if record.phase == COMPLETED:
        dependencies.forget_parent(tx.db, job_record.key, record.key, record.id)
    _clean(tx, job_record, record)
    rows.delete_task(tx.db, record.key)
    return Answer()


def _clean(tx: Tx, job_record: JobRecord, record: TaskRecord) -> None:
    """Have the directories of a task that is being deleted removed, wherever it ran."""
    present = tx.memory.nodes
    directory = task_directory(job_record.id, record.id)
    keys = {one.node_key for one in instances.list_instances(tx.db, record.key)}
    if record.node_key is not None:
        keys.add(record.node_key)
    has_moved = record.flags & HAS_MOVED
    if has_moved or keys - present.keys():
        job_ends.forget_kept(tx, [directory])
    if has_moved:  # it may have been on any node of its pool
        pool = tx.memory.pool_of_id(job_record.pool_id)
        keys |= pool.nodes if pool is not None else set()
    for key in sorted(keys & present.keys()):
        job_ends.clean_node(tx, present[key], [directory])


def _uncount(tx: Tx, job: JobState, record: TaskRecord) -> None:
    job_ends.take_off(job.counts, record)
    tx.memory.dirty_counts.add(job.key)


def terminate_task(tx: Tx, request: Request) -> Answer:
    """Complete a task at once; what runs of it is killed. Refuses: TaskCompleted."""
    job_record, record = _changeable(tx, request, "terminate")
    memory = tx.memory
    job = memory.jobs.get(job_record.key)
    placed = memory.placed.get(record.key)
    modified_us = max(tx.now_us, record.modified_us + 1)
    if placed is not None:
        end_now(tx, placed, USER_ENDED)
        kill(tx, placed, FORGET)
    elif job is not None:
        end_waiting(tx, job, record, USER_ENDED)
    else:
        end_unplaced(tx, record, USER_ENDED)
        job_ends.recount_completed(tx, job_record.key, record, is_ended=True)
    rows.touch_task(tx.db, record.key, modified_us)
    return Answer(modified_us=modified_us)


def reactivate_task(tx: Tx, request: Request) -> Answer:
    """Let a failed task run again. Refuses: TaskNotCompleted, TaskSucceeded, by job state."""
    writable_job(tx, request.params["job_id"], "reactivate_task")
    job_record, record = _changeable(tx, request, "reactivate")
    job = tx.memory.jobs[job_record.key]
    if record.key in tx.memory.placed:
        raise Refused("TaskNotCompleted", "The task's last run is still being ended.")
    modified_us = max(tx.now_us, record.modified_us + 1)
    dependencies.forget_parent(tx.db, job.key, record.key, record.id)
    phase = READY if record.waiting <= 0 else BLOCKED
    rows.reactivate_task(tx.db, record.key, phase, tx.now_us, modified_us)
    job_ends.take_off(job.counts, record)
    job.counts.active += 1
    job.counts.active_slots += record.slots
    tx.memory.dirty_counts.add(job.key)
    if phase == READY:
        push_ready_rows(tx, job.key, [record.key])
    return Answer(modified_us=modified_us)


def existing_task(db: Connection, request: Request) -> tuple[JobRecord, TaskRecord]:
    """The task and its job. Refuses: JobNotFound, TaskNotFound."""
    job, record = rows.get_task_with_job(db, request.params["job_id"], request.params["task_id"])
    if job is None:
        raise Refused("JobNotFound")
    if record is None:
        raise Refused("TaskNotFound")
    return job, record


def job_retries(job: JobRecord) -> int:
    """The maxTaskRetryCount that tasks of the job have unless they say otherwise."""
    return _retries.decode(job.spec).constraints.get("maxTaskRetryCount") or 0


class _Retries(msgspec.Struct):
    constraints: dict[str, Any] = {}


_retries = msgspec.json.Decoder(_Retries)


def _changeable(tx: Tx, request: Request, event: str) -> tuple[JobRecord, TaskRecord]:
    job, record = existing_task(tx.db, request)
    state = STATE_OF_PHASE[record.phase]
    succeeded = record.exit_code == 0 and record.result == 1
    code = task_refusal(state, event, succeeded=succeeded)
    if job.state == "deleting":
        raise Refused("JobBeingDeleted")
    if code is not None:
        raise Refused(code)
    check_write(request, record.modified_us)
    return job, record

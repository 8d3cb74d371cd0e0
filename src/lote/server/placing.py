"""Placing: ready tasks onto free slots, and the frames that tell the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from lote.scheduler import reasons
from lote.scheduler.place import place
from lote.scheduler.plan import Assignment, Plan
from lote.scheduler.ready import ReadyTask
from lote.server.gangs import instances_of, make_gang, send_instance
from lote.server.memory import KEEP, JobState, Memory, NodeState, Placed
from lote.server.owner import Tx
from lote.server.special_runs import prepare, tell_job
from lote.store import tasks as task_rows
from lote.store.instances import replace_instances
from lote.store.records import (
    HAS_AFFINITY,
    HAS_TOKEN,
    IS_DEDICATED_ONLY,
    IS_EXCLUSIVE,
    IS_MANAGER,
    IS_MULTI_INSTANCE,
)
from lote.tokens.task_tokens import TaskGrant
from lote.wire.frames import Revoke, Run, Runs

PLAN_MAX = 10_000  # tasks in one plan; there may be another after it
WINDOWS_MAX = 20  # windows' worth of tasks read at most to get past those that fit nowhere now
_FIT_NOWHERE = frozenset(
    {
        reasons.TOO_LARGE,
        reasons.NOT_ENOUGH_TOGETHER,
        reasons.NO_INTER_NODE,
        reasons.SEVERAL_SLOTS,
        reasons.TOO_MANY_INSTANCES,
        reasons.NOT_ENOUGH_NODES,
    }
)  # the job's younger tasks may fit
RUNS_FRAME_BYTES = 4 << 20  # keeps one message well under the channel's limit


def place_ready_tasks(tx: Tx) -> None:
    """Give ready tasks of every pool that changed to its free slots."""
    memory = tx.memory
    while memory.dirty_pools:
        pool_key = memory.dirty_pools.pop()
        while True:
            plan = place(memory.view, pool_key, PLAN_MAX)
            if plan:
                _apply(tx, plan)
            else:
                memory.view.apply(plan)  # an empty plan may still choose a node to keep free
            wanting = {*plan.starved, *_stuck_jobs(tx, plan)}
            refilled = [refill(tx, job_key) for job_key in sorted(wanting)]
            # A starved plan has stopped early, even if no more tasks were found for that job.
            is_whole = not plan.starved and len(plan.assignments) < PLAN_MAX
            if is_whole and not any(refilled):
                break


def _stuck_jobs(tx: Tx, plan: Plan) -> Iterable[int]:
    """Jobs in whose windows all tasks are too large for what is free: younger ones may fit."""
    size_max = WINDOWS_MAX * tx.settings.window_tasks
    for job_key, why in plan.reasons.items():
        if not _FIT_NOWHERE.isdisjoint(why):
            job = tx.memory.view.jobs[job_key]
            lanes = job.window.lanes.values()
            has_small = any(lane.slots == 1 and not lane.instances for lane in lanes)
            if job.more and not has_small and job.ready_count < size_max:
                yield job_key


def refill(tx: Tx, job_key: int) -> bool:
    """Read more ready tasks of a job into its window; false when there are none."""
    memory = tx.memory
    job = memory.view.jobs[job_key]
    head = job.head
    after = head[-1].key if head else 0
    limit = tx.settings.window_tasks
    rows = task_rows.list_ready_tasks(tx.db, job_key, after, limit)
    for row in rows:
        memory.specs.add(row.key, row.run, row.retries, row.flags, row.spec)
    memory.view.push_ready(
        job_key,
        [ready_task(memory, memory.jobs[job_key], row) for row in rows],
        more=len(rows) == limit,
    )
    return bool(rows)


def ready_task(memory: Memory, job: JobState, row: task_rows.ReadyRow) -> ReadyTask:
    """A row as the scheduler sees it."""
    if row.flags & IS_MANAGER:
        # Never sent ahead: nobody knows how long it would wait there.
        slots = held_slots(memory, job, row.flags) or row.slots
        if row.run:
            memory.lost_managers[job.key] = row.key
        return ReadyTask(row.key, slots, 0, bool(row.flags & IS_DEDICATED_ONLY), single=False)
    return ReadyTask(
        key=row.key,
        slots=row.slots,
        affinity=affinity_key(memory, row.spec) if row.flags & HAS_AFFINITY else 0,
        single=not row.flags & IS_MULTI_INSTANCE,
        instances=instances_of(row.spec) if row.flags & IS_MULTI_INSTANCE else 0,
    )


def held_slots(memory: Memory, job: JobState | None, flags: int) -> int | None:
    """All slots of a node, for a task that wants it for itself; None for any other."""
    if not flags & IS_EXCLUSIVE or job is None:
        return None
    pool = memory.pools.get(job.pool_key or 0)
    return pool.slots if pool is not None else None


class _Affinity(msgspec.Struct, rename="camel"):
    affinity_info: dict[str, Any] = {}


_affinity = msgspec.json.Decoder(_Affinity)


def affinity_key(memory: Memory, spec: bytes) -> int:
    """Row key of the node that a task would like; 0 when it has gone."""
    name = str(_affinity.decode(spec).affinity_info.get("affinityId", ""))
    node = memory.node_of_id(name.removeprefix("TVM:"))
    return node.key if node else 0


def push_ready_rows(tx: Tx, job_key: int, keys: Sequence[int]) -> None:
    """Tasks became ready that are not in the window: they join it where their keys belong."""
    job = tx.memory.view.jobs.get(job_key)
    if job is None or not keys:
        return
    memory = tx.memory
    last = job.head[-1].key if job.more and job.ready_count else 0
    # One that comes back does not push out another; thousands at once are not all taken in.
    size_max = max(2 * tx.settings.window_tasks, job.ready_count)
    nearest = sorted(key for key in keys if not job.more or key < last)[:size_max]
    for row in task_rows.get_ready_rows(tx.db, nearest).values():
        memory.specs.add(row.key, row.run, row.retries, row.flags, row.spec)
        memory.view.push_front(job_key, ready_task(memory, memory.jobs[job_key], row))
    # The window holds the oldest ready tasks without a gap, for ``refill`` reads on behind it.
    beyond = list(job.head)[size_max:] if job.ready_count > size_max else []
    for task in beyond:
        memory.view.drop_ready(job_key, task.key)
        memory.specs.take(task.key)
    if len(nearest) < len(keys) or beyond:
        memory.view.push_ready(job_key, [], more=True)
    if job.pool_key:
        memory.dirty_pools.add(job.pool_key)


def _apply(tx: Tx, plan: Plan) -> None:
    memory = tx.memory
    rows = {one.task_key: memory.specs.take(one.task_key) for one in plan.assignments}
    missing = [key for key, row in rows.items() if row is None]
    if missing:
        for key, found in task_rows.get_ready_rows(tx.db, missing).items():
            rows[key] = (found.run, found.retries, found.flags, found.spec)
    placed = task_rows.place_tasks(
        tx.db, [(one.node_key, one.task_key) for one in plan.assignments]
    )
    if placed != len(plan.assignments):
        raise RuntimeError(f"{len(plan.assignments)} tasks to place, {placed} rows were ready")
    memory.view.apply(plan)
    batches: dict[int, list[Run]] = {}
    for one in plan.assignments:
        row = rows[one.task_key]
        if row is None:
            raise RuntimeError(f"task {one.task_key} has no row")
        run = row[0] + 1
        node = memory.nodes[one.node_key]
        job = memory.jobs[one.job_key]
        record = Placed(one.task_key, one.job_key, node.key, run, one.slots, row[2], one.prefetched)
        spec = row[3]
        if row[2] & IS_MULTI_INSTANCE:
            _begin_gang(tx, one, run, row)
            continue
        if row[2] & IS_EXCLUSIVE:
            spec = _fit_exclusive(record, spec)
        memory.placed[record.key] = node.placed[record.key] = record
        job.placed += 1
        if job.allows_preemption and not record.is_prefetched:
            may_yield(memory, record)
        if job.preparation is not None and not prepare(tx, node, job):
            _hold(tx, job, record)
            continue
        if job.key not in node.told_jobs:
            tell_job(tx, node, job)
        batch = batches.setdefault(node.key, [])
        token = _token(tx, one.job_key, one.task_key, run) if row[2] & HAS_TOKEN else ""
        batch.append(Run(one.task_key, run, one.job_key, row[1], spec, token))
        memory.dirty_nodes.add(node.key)
    for node_key, runs in batches.items():
        for part in _by_size(runs):
            tx.send(node_key, Runs(part))
    for node_key, keys in _by_node(plan).items():
        tx.send(node_key, Revoke([(key, memory.placed[key].run) for key in keys]))


def may_yield(memory: Memory, placed: Placed) -> None:
    """A begun task of a job that allows preemption; a job manager task stays where it is."""
    if placed.flags & (IS_MANAGER | IS_MULTI_INSTANCE):
        return
    view = memory.view
    view.let_yield(placed.node_key, placed.job_key, placed.key, placed.node_slots)
    if placed.doom != KEEP:
        view.mark_leaving(placed.node_key, placed.key)


def _begin_gang(tx: Tx, one: Assignment, run: int, row: tuple[int, int, int, bytes]) -> None:
    """Give a multi-instance task to its nodes; where its job is prepared it begins at once."""
    _, retries, flags, spec = row
    memory = tx.memory
    job = memory.jobs[one.job_key]
    node_keys = (one.node_key, *one.others)
    replace_instances(tx.db, one.task_key, run, tx.now_us, node_keys)
    gang = make_gang(tx, one.task_key, job.key, node_keys, run, flags)
    token = _token(tx, job.key, one.task_key, run) if flags & HAS_TOKEN else ""
    for placed in gang.members:
        node = memory.nodes[placed.node_key]
        if job.preparation is None or prepare(tx, node, job):
            send_instance(tx, placed, retries, spec, token)
        elif placed.number:
            placed.is_unsent = True
        else:
            _hold(tx, job, placed)


def _token(tx: Tx, job_key: int, task_key: int, run: int) -> str:
    tokens = tx.memory.task_tokens
    return "" if tokens is None else tokens.issue(TaskGrant(job_key, task_key, run))


def _fit_exclusive(record: Placed, spec: bytes) -> bytes:
    """It takes the whole node and is counted as it was given; its agent is told to give it all."""
    members = _members(spec)
    record.held_slots = record.slots
    record.slots = members.get("requiredSlots", 1)
    return _with_slots(spec, record.held_slots)


def _with_slots(spec: bytes, slots: int) -> bytes:
    return msgspec.json.encode(_members(spec) | {"requiredSlots": slots})


_members = msgspec.json.Decoder(dict[str, Any]).decode


def _hold(tx: Tx, job: JobState, record: Placed) -> None:
    """The task waits on its node for the preparation of its job there."""
    record.is_preparing = record.is_unsent = True
    task_rows.prepare_tasks(tx.db, tx.now_us, [record.key])
    counts = job.counts
    counts.active -= 1
    counts.active_slots -= record.slots
    counts.running += 1
    counts.running_slots += record.slots
    tx.memory.dirty_counts.add(job.key)
    tx.memory.dirty_nodes.add(record.node_key)


def send_held(tx: Tx, node: NodeState, job: JobState, held: list[Placed]) -> None:
    """The job is prepared on the node: what waited there for it goes to its agent."""
    if not held:
        return
    if job.key not in node.told_jobs:
        tell_job(tx, node, job)
    rows = task_rows.get_ready_rows(tx.db, [one.key for one in held])
    runs = []
    for one in held:
        one.is_unsent = False
        row = rows[one.key]
        spec = row.spec
        if one.gang is not None:
            token = _token(tx, job.key, one.key, one.run) if row.flags & HAS_TOKEN else ""
            send_instance(tx, one, row.retries, spec, token)
            continue
        if row.flags & IS_EXCLUSIVE:
            spec = _with_slots(spec, one.node_slots)
        token = _token(tx, job.key, one.key, one.run) if row.flags & HAS_TOKEN else ""
        runs.append(Run(one.key, one.run, job.key, row.retries, spec, token))
    for part in _by_size(runs):
        tx.send(node.key, Runs(part))


def _by_node(plan: Plan) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = {}
    for one in plan.revocations:
        grouped.setdefault(one.node_key, []).append(one.task_key)
    return grouped


def _by_size(runs: list[Run]) -> Iterable[list[Run]]:
    part: list[Run] = []
    size = 0
    for run in runs:
        if part and size + len(run.spec) > RUNS_FRAME_BYTES:
            yield part
            part, size = [], 0
        part.append(run)
        size += len(run.spec)
    if part:
        yield part

"""Memory from the database: at the start, and after a transaction that failed."""

from __future__ import annotations

from typing import Any

import msgspec

from lote.domain.node import HALTING, SWITCHED_OFF
from lote.server.fleet import NODE_LOST
from lote.server.gangs import take_in_hand
from lote.server.job_manager import reseat_manager
from lote.server.lifetimes import watch_lifetimes
from lote.server.memory import (
    FORGET,
    KEEP,
    REQUEUE,
    RERUN,
    Gang,
    JobState,
    NodeState,
    Placed,
    PoolState,
)
from lote.server.node_calls import await_node
from lote.server.node_orders import CALL_WITHIN_S, add_node_state, expect_call
from lote.server.node_setups import set_up_pool
from lote.server.node_states import show_eligible
from lote.server.owner import Tx
from lote.server.placing import held_slots, may_yield
from lote.server.rehearsals import load_rehearsals
from lote.server.removals import load_stuck
from lote.server.runs import doom_gang
from lote.server.scaling import load_scaling
from lote.server.special_runs import is_prepared, load_specials
from lote.server.special_specs import preparation_of, release_of
from lote.server.views import job_directory
from lote.store import jobs as job_rows
from lote.store import nodes as node_rows
from lote.store import pools as pool_rows
from lote.store import tasks as task_rows
from lote.store.instances import list_instances
from lote.store.job_schedules import list_living_schedules
from lote.store.records import (
    IS_MANAGER,
    IS_MULTI_INSTANCE,
    IS_PREEMPTED,
    PREPARING,
    RUNNING,
    JobCount,
    JobRecord,
    PoolRecord,
)
from lote.wire.formats import parse_duration
from lote.wire.vm_sizes import cores_of

_members = msgspec.json.Decoder(dict[str, Any]).decode


def load_memory(tx: Tx) -> None:
    """Read everything that placement and settling need; tasks only as far as nodes hold them."""
    memory = tx.memory
    for pool in pool_rows.list_all_pools(tx.db):
        load_pool(tx, pool)
    for node_record in node_rows.list_present_nodes(tx.db):
        node = add_node_state(tx, node_record)
        node.is_lost = node.state == "unusable" and NODE_LOST in (node_record.errors or "")
        load_stuck(node, node_record)
        is_awaited = node.state not in ("creating", *SWITCHED_OFF) and not node.is_lost
        if node.link is None and is_awaited:
            await_node(tx, node)
        elif node.state == "creating" and memory.pools[node.pool_key].allocation_state == "steady":
            expect_call(tx, node, CALL_WITHIN_S)
        show_eligible(tx, node)
    for job_record in job_rows.list_living_jobs(tx.db):
        job = load_job(tx, job_record)
        job.counts = job_rows.get_job_count(tx.db, job.key)
        memory.view.push_ready(job.key, [], more=job.counts.active > 0)
    load_specials(tx)
    load_rehearsals(tx)
    for row in task_rows.list_placed_tasks(tx.db):
        _load_placed(tx, row)
    watch_lifetimes(tx)
    memory.touched_schedules.update(one.key for one in list_living_schedules(tx.db))
    memory.touched_pools.update(memory.pools)
    memory.touched_jobs.update(memory.jobs)
    memory.dirty_nodes.update(memory.nodes)
    memory.dirty_pools.update(memory.pools)


def load_pool(tx: Tx, record: PoolRecord) -> PoolState:
    """Take a pool into memory, and bind the jobs that wait for one of its name."""
    memory = tx.memory
    spec = _members(record.spec)
    start_task = spec.get("startTask")
    policy = spec.get("taskSchedulingPolicy", {})
    pool = PoolState(
        key=record.key,
        id=record.id,
        engine=record.engine,
        slots=record.slots,
        state=record.state,
        allocation_state=record.allocation_state,
        start_task=msgspec.json.encode(start_task) if start_task else None,
        waits_for_start_task=bool(start_task and start_task.get("waitForSuccess", True)),
        cores=cores_of(record.vm_size),
        inter_node=bool(record.inter_node),
    )
    set_up_pool(pool, spec)
    memory.pools[pool.key] = pool
    memory.view.add_pool(
        pool.key,
        slots_per_node=record.slots,
        inter_node=bool(record.inter_node),
        spread=policy.get("nodeFillType", "spread") == "spread",
        creation_order=policy.get("jobDefaultOrder", "none") == "creationtime",
    )
    if record.allocation_state != "steady" and record.resize_started_us is not None:
        due_us = record.resize_started_us + int(record.resize_timeout_s * 1_000_000)
        memory.set_timer(due_us, "pool", pool.key)
    for job in memory.jobs.values():
        if job.pool_key is None and job.pool_id and job.pool_id.lower() == pool.id.lower():
            job.pool_key = pool.key
            memory.view.set_job(job.key, pool_key=pool.key)
            reseat_manager(tx, job)
    memory.dirty_pools.add(pool.key)
    load_scaling(tx, record)
    return pool


def load_job(tx: Tx, record: JobRecord) -> JobState:
    """Take a living job into memory, with zero counts."""
    memory = tx.memory
    spec = _members(record.spec)
    constraints = spec.get("constraints", {})
    pool = memory.pool_of_id(record.pool_id)
    manager = spec.get("jobManagerTask")
    auto_pool = spec["poolInfo"].get("autoPoolSpecification", {})
    limit = constraints.get("maxWallClockTime")
    limit_s = parse_duration(limit) if limit else None
    job = JobState(
        key=record.key,
        id=record.id,
        pool_id=record.pool_id,
        pool_key=pool.key if pool else None,
        state=record.state,
        uses_dependencies=bool(spec.get("usesTaskDependencies")),
        ends_when_complete=spec.get("onAllTasksComplete") == "terminatejob",
        acts_on_failure=spec.get("onTaskFailure") == "performexitoptionsjobaction",
        retries_max=constraints.get("maxTaskRetryCount", 0),
        environment=[
            (item["name"], item.get("value", ""))
            for item in spec.get("commonEnvironmentSettings", [])
        ],
        directory=job_directory(record.id),
        counts=JobCount(),
        disable_option=record.disable_option,
        wall_clock_us=None if limit_s is None else record.created_us + int(limit_s * 1_000_000),
        created_us=record.created_us,
        schedule_key=record.schedule_key,
        preparation=preparation_of(spec),
        release=release_of(spec),
        is_released="completed" in (record.state, record.previous_state),
        has_auto_pool=auto_pool.get("poolLifetimeOption") == "job",
        has_manager=manager is not None,
        ends_with_manager=manager is not None and manager.get("killJobOnCompletion", True),
        allows_preemption=bool(spec.get("allowTaskPreemption")),
    )
    memory.jobs[job.key] = job
    memory.view.add_job(
        job.key,
        job.pool_key or 0,
        created_us=record.created_us,
        priority=record.priority,
        max_parallel=spec.get("maxParallelTasks", -1),
        active=record.state == "active",
        looks_ahead=manager is None and job.preparation is None,
    )
    if job.wall_clock_us is not None:
        memory.set_timer(job.wall_clock_us, "job", job.key)
    return job


def _load_gang(tx: Tx, row: task_rows.PlacedRow) -> None:
    """A multi-instance task in nodes' hands; if not all of it is there, the rest is ended."""
    memory = tx.memory
    job = memory.jobs[row.job_key]
    gang = Gang()
    for record in list_instances(tx.db, row.key):
        node = memory.nodes.get(record.node_key)
        placed = Placed(
            *(row.key, job.key, record.node_key, row.run, 1, row.flags, False),
            gang=gang,
            number=record.number,
        )
        gang.members.append(placed)
        if record.is_coordinated:
            gang.coordinated.add(record.number)
        if node is None or record.state == "completed":
            gang.doom = max(gang.doom, RERUN)
            continue
        gang.doom = max(gang.doom, _doom(job, node))
        is_begun = row.phase == RUNNING if record.number == 0 else record.state == "running"
        placed.is_unsent = not is_begun and not is_prepared(node, job)
        memory.view.occupy(record.node_key, job.key, row.key, 1, counts=not gang.in_hand)
        take_in_hand(tx, placed)
    primary = gang.members[0]
    primary.is_running, primary.start_us = row.phase == RUNNING, row.start_us
    primary.is_preparing = row.phase == PREPARING
    if gang.in_hand:
        memory.placed[row.key] = primary
    if gang.doom != KEEP:
        doom_gang(tx, gang, gang.doom)


def _load_placed(tx: Tx, row: task_rows.PlacedRow) -> None:
    memory = tx.memory
    if row.flags & IS_MULTI_INSTANCE and row.job_key in memory.jobs:
        _load_gang(tx, row)
        return
    node = memory.nodes.get(row.node_key)
    job = memory.jobs.get(row.job_key)
    if node is None or job is None:
        # Its node went in the very transaction that failed to say so; run it again.
        task_rows.unplace_tasks(tx.db, [row.key], moves=True)
        return
    # Only tasks of one slot are prefetched; those that run come first, so they have their slots.
    is_single = row.slots == 1 and row.phase != PREPARING and not row.flags & IS_MANAGER
    is_beyond = is_single and memory.view.nodes[node.key].free < 1
    is_prefetched = is_beyond and row.phase != RUNNING
    placed = Placed(
        row.key,
        row.job_key,
        row.node_key,
        row.run,
        row.slots,
        row.flags,
        is_prefetched,
        is_running=row.phase == RUNNING,
        start_us=row.start_us,
        doom=REQUEUE if row.flags & IS_PREEMPTED else _doom(job, node),
        is_preparing=row.phase == PREPARING,
        is_unsent=row.phase == PREPARING and not is_prepared(node, job),
        held_slots=held_slots(memory, job, row.flags),
    )
    memory.placed[placed.key] = node.placed[placed.key] = placed
    job.placed += 1
    memory.view.occupy(node.key, job.key, row.key, placed.node_slots, prefetched=is_prefetched)
    if job.allows_preemption and not is_prefetched:
        may_yield(memory, placed)


def _doom(job: JobState, node: NodeState) -> int:
    """What was being done to a run when the server went away; its agent is told again."""
    if job.state == "deleting":
        return FORGET
    if job.state == "terminating":
        return RERUN  # what ran has completed; this one had not begun
    if job.state == "disabling" and job.disable_option != "wait":
        return REQUEUE
    is_to_empty = node.state in HALTING or node.state == "leavingpool"
    is_to_empty |= node.scheduling == "disabled"
    if is_to_empty and node.deallocation in ("requeue", "terminate"):
        return REQUEUE
    return KEEP

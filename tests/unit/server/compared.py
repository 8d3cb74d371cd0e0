"""Whether the owner's memory is what a fresh load would make of the database, and fits itself.

What a load cannot know is left out: runs that are only waited for until their processes have gone
(``FORGET``), which runs were prefetched, means of run times, turns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lote.autoscale.variables import METRICS
from lote.server.load import load_memory
from lote.server.memory import FORGET, Memory, Placed
from lote.server.owner import Owner, Tx
from lote.server.sampling import PERIOD_US
from lote.settings import Settings
from lote.store.database import Connection, open_writer
from lote.store.records import READY
from lote.world import World

_POOL = ("id", "engine", "slots", "cores", "state", "allocation_state", "start_task", "nodes")
_JOB = (
    "id",
    "pool_id",
    "pool_key",
    "state",
    "uses_dependencies",
    "ends_when_complete",
    "acts_on_failure",
    "retries_max",
    "environment",
    "disable_option",
    "wall_clock_us",
    "preparation",
    "release",
    "has_auto_pool",
    "has_manager",
    "ends_with_manager",
    "allows_preemption",
)
_NODE = (
    "id",
    "pool_key",
    "state",
    "scheduling",
    "secret_digest",
    "boot",
    "link",
    "deallocation",
    "replaces",
    "start_task",
    "is_lost",
    "specials",
    "recent",
)
_PLACED = (
    "job_key",
    "node_key",
    "run",
    "slots",
    "node_slots",
    "flags",
    "is_running",
    "is_preparing",
    "is_unsent",
    "start_us",
    "doom",
)


_GANG = ("in_hand", "coordinated", "doom", "is_ended")


def differences(owner: Owner, settings: Settings, world: World, path: Path) -> list[str]:
    """What differs between the owner's memory and a fresh one, and what does not fit in itself."""
    memory = owner.memory
    db = open_writer(path)
    try:
        db.execute("BEGIN IMMEDIATE")
        fresh = Memory()
        fresh.links = dict(memory.links)
        load_memory(Tx(db, fresh, settings, world))
        found = _compared(_facts(memory, world.now_us()), _facts(fresh, world.now_us()))
        found += _misfits(memory, db)
        db.execute("ROLLBACK")
    finally:
        db.close()
    return found


def _facts(memory: Memory, now_us: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for pool in memory.pools.values():
        facts[f"pool {pool.id}"] = _members(pool, _POOL)
        scale = memory.scales.get(pool.key)
        if scale is not None:
            samples = {name: list(scale.history.series(name).values) for name in METRICS}
            # What is overdue is made up for when half a minute has passed since the load.
            due_us = max(scale.due_us, now_us + PERIOD_US)
            facts[f"scaling of {pool.id}"] = {"due_us": due_us, "samples": samples}
    for job in memory.jobs.values():
        view = memory.view.jobs[job.key]
        facts[f"job {job.id}"] = _members(job, _JOB) | {
            "active": view.active,
            "priority": view.priority,
            "max_parallel": view.max_parallel,
            "looks_ahead": view.looks_ahead,
            "view_pool": view.pool_key,
            "counts": None if job.state == "deleting" else job.counts,
        }
    for pool in memory.view.pools.values():
        facts[f"yielding in {pool.key}"] = {
            "tasks": {
                one.task_key: (one.job_key, one.node_key, one.slots, one.is_leaving)
                for one in pool.yielding.values()
                if one.task_key in memory.placed and memory.placed[one.task_key].doom != FORGET
            }
        }
    for node in memory.nodes.values():
        eligible = memory.view.nodes[node.key].eligible
        facts[f"node {node.id}"] = _members(node, _NODE) | {"eligible": eligible}
    for run in _runs(memory):
        if run.doom != FORGET:
            facts[f"run of {run.key}, {run.number}"] = _members(run, _PLACED)
            if run.gang is not None:
                facts[f"gang of {run.key}"] = _members(run.gang, _GANG)
    return facts


def _runs(memory: Memory) -> list[Placed]:
    """All runs in nodes' hands, every instance of multi-instance tasks."""
    return [run for node in memory.nodes.values() for run in node.placed.values()]


def _members(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}


def _compared(actual: dict[str, Any], fresh: dict[str, Any]) -> list[str]:
    found = []
    for name in sorted(actual.keys() | fresh.keys()):
        one, other = actual.get(name), fresh.get(name)
        if one is None or other is None:
            found.append(f"{name}: {one} in memory, {other} in a fresh load")
            continue
        found += [
            f"{name}: {member} is {one[member]!r} in memory, {other[member]!r} in a fresh load"
            for member in one
            if one[member] != other[member]
        ]
    return found


def _misfits(memory: Memory, db: Connection) -> list[str]:
    found = []
    for job in memory.jobs.values():
        view = memory.view.jobs[job.key]
        held = [run.key for run in _runs(memory) if run.job_key == job.key]
        tasks = set(held)
        if job.placed != len(held) or view.placed != len(tasks):
            found.append(f"job {job.id}: {job.placed}, {view.placed} and {held} runs placed")
        rows = db.execute(
            "SELECT key FROM task WHERE job_key = ? AND phase = ? ORDER BY key", (job.key, READY)
        )
        ready = [row[0] for row in rows]
        window = [task.key for task in view.head]
        if job.state != "deleting" and window != (ready[: len(window)] if view.more else ready):
            found.append(f"job {job.id}: window {window}, ready rows {ready}, more {view.more}")
    for node in memory.nodes.values():
        seen = memory.view.nodes[node.key]
        begun = [run for run in node.placed.values() if not run.is_prefetched]
        if seen.free != seen.slots - sum(run.node_slots for run in begun):
            found.append(f"node {node.id}: {seen.free} of {seen.slots} free, holds {begun}")
        if set(seen.backlog) != node.placed.keys() - {run.key for run in begun}:
            found.append(f"node {node.id}: backlog {seen.backlog}, holds {node.placed}")
        for key, run in node.placed.items():
            gang = run.gang
            whole = run if gang is None else gang.members[0]
            if memory.placed.get(key) is not whole or run.node_key != node.key:
                found.append(f"node {node.id}: its runs are not those of the whole")
            if gang is not None and (gang.members[run.number], run.number in gang.in_hand) != (
                run,
                True,
            ):
                found.append(f"node {node.id}: instance {run.number} of {key} is not of its gang")
    if set(memory.placed) != {run.key for run in _runs(memory)}:
        found.append("runs of nodes that are not there")
    return found

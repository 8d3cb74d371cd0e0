"""The end of each transaction: follow what changed until nothing moves any more."""

from __future__ import annotations

from lote.server.fleet import settle_node, settle_pool
from lote.server.job_ends import begin_terminate, follow_end, settle_job
from lote.server.lifetimes import end_old_tasks
from lote.server.making_room import preempt
from lote.server.memory import Memory
from lote.server.node_calls import grace_over
from lote.server.owner import Tx
from lote.server.placing import place_ready_tasks
from lote.server.rehearsals import end_overdue_rehearsal
from lote.server.scaling import follow_clock, wake_scaling
from lote.server.schedules import settle_schedule

ROUNDS_MAX = 1000  # a chain of ends that goes on beyond this is our bug


def settle(tx: Tx) -> None:
    """Follow ends of tasks, then settle the jobs, nodes and pools that were touched, then place."""
    memory = tx.memory
    follow_clock(tx)
    for _ in range(ROUNDS_MAX):
        while memory.finished:
            gathered, memory.finished = memory.finished, []
            for task_key, job_key, exit_code, failure in gathered:
                follow_end(tx, task_key, job_key, exit_code, failure)
        _settle_touched(tx)
        while memory.dirty_pools:
            dirty = list(memory.dirty_pools)
            place_ready_tasks(tx)
            preempt(tx, dirty)
        if not (
            memory.finished
            or memory.touched_jobs
            or memory.touched_schedules
            or memory.dirty_nodes
            or memory.touched_pools
        ):
            break
    else:
        raise RuntimeError("the state does not settle")
    memory.touched_jobs, memory.next_jobs = memory.next_jobs, set()
    memory.touched_schedules, memory.next_schedules = memory.next_schedules, set()


def _settle_touched(tx: Tx) -> None:
    memory = tx.memory
    while memory.touched_jobs:
        job = memory.jobs.get(memory.touched_jobs.pop())
        if job is not None:
            settle_job(tx, job)
    while memory.touched_schedules:
        settle_schedule(tx, memory.touched_schedules.pop())
    while memory.dirty_nodes:
        node = memory.nodes.get(memory.dirty_nodes.pop())
        if node is not None:
            settle_node(tx, node)
    while memory.touched_pools:
        pool = memory.pools.get(memory.touched_pools.pop())
        if pool is not None:
            settle_pool(tx, pool)


def take_alarms(tx: Tx, due: list[tuple[str, int]], graces: list[int]) -> None:
    """Timers that are due: touch what they are of."""
    for kind, key in due:
        if kind == "pool":
            tx.memory.touched_pools.add(key)
        elif kind == "schedule":
            tx.memory.touched_schedules.add(key)
        elif kind == "scale":
            wake_scaling(tx, key)
        elif kind == "release":
            tx.memory.touched_jobs.add(key)
        elif kind == "rehearsal":
            end_overdue_rehearsal(tx, key)
        elif kind == "lifetimes":
            end_old_tasks(tx)
        elif kind == "job":
            _end_overdue_job(tx, tx.memory, key)
    for node_key in graces:
        grace_over(tx, node_key)


def _end_overdue_job(tx: Tx, memory: Memory, key: int) -> None:
    job = memory.jobs.get(key)
    if job is None or job.state in ("terminating", "completed", "deleting"):
        return
    if job.wall_clock_us is not None and tx.now_us >= job.wall_clock_us:
        begin_terminate(tx, job, "MaxWallClockTimeExpiry")

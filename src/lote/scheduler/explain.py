"""Why is my task not running? The same rules as ``place``, asked about one task."""

from __future__ import annotations

from lote.scheduler import reasons
from lote.scheduler.gather import why_not_gathered
from lote.scheduler.nouns import JobView, NodeView, PoolView
from lote.scheduler.plan import Reason
from lote.scheduler.ready import ReadyTask
from lote.scheduler.view import View


def explain(
    view: View,
    pool_key: int,
    job_key: int,
    task: ReadyTask | None,
    *,
    depends: bool = False,
    blocked: bool = False,
) -> list[Reason]:
    """Reasons why a task in ``active`` waits, the weightiest first; never empty.

    ``task`` None asks for the job's oldest ready task. The caller knows of dependencies:
    ``depends``, some have not completed; ``blocked``, one never will. Costs a look at each node
    of the pool.
    """
    found: list[Reason] = []
    if blocked:
        found.append(reasons.BLOCKED)
    elif depends:
        found.append(reasons.WAITING_FOR_DEPENDENCIES)
    job, pool = view.jobs.get(job_key), view.pools.get(pool_key)
    if job is None:
        found.append(reasons.JOB_MISSING)
    elif not job.active:
        found.append(reasons.JOB_DISABLED)
    if pool is None:
        found.append(reasons.POOL_MISSING)
    if job is None or pool is None or found:
        return found
    if 0 <= job.max_parallel <= job.placed:
        found.append(reasons.JOB_AT_MAX_PARALLEL)
    oldest = job.head[0] if job.ready_count else None
    wanted = task or oldest
    if wanted is None:
        return found or [reasons.TURN_TO_COME if job.more else reasons.NO_READY_TASKS]
    found += _node_reasons(pool, job, wanted)
    if not found and (oldest is None or oldest.key < wanted.key):
        found.append(reasons.EARLIER_TASKS)
    return found or [reasons.TURN_TO_COME]


def _node_reasons(pool: PoolView, job: JobView, task: ReadyTask) -> list[Reason]:
    """What the pool's nodes have against the task: each filter says so when it leaves none."""
    if not pool.nodes:
        return [reasons.NO_NODES]
    nodes = [node for node in pool.nodes.values() if node.eligible]
    if not nodes:
        return [reasons.NODE_NOT_READY]
    if task.instances:
        return _gang_reasons(pool, job, task, nodes)
    nodes = [node for node in nodes if node.slots >= task.slots]
    if not nodes:
        return [reasons.TOO_LARGE]
    nodes = [node for node in nodes if node.key not in job.barred]
    if not nodes:
        return [reasons.BARRED]
    nodes = [node for node in nodes if node.dedicated or not task.dedicated_only]
    if not nodes:
        return [reasons.NEEDS_DEDICATED]
    return _slot_reasons(pool, job, task, nodes)


def _gang_reasons(
    pool: PoolView, job: JobView, task: ReadyTask, nodes: list[NodeView]
) -> list[Reason]:
    why = why_not_gathered(pool, job, task)
    if why is not None:
        return [why]
    found = []
    kept = pool.collecting
    if kept is not None and kept.task_key == task.key and kept.keeps:
        found.append(reasons.GATHERING)
    open_nodes = [node for node in nodes if node.open and node.key not in job.barred]
    if len(open_nodes) < task.instances:
        found.append(reasons.NOT_ENOUGH_NODES)
    elif kept is not None and kept.task_key != task.key and kept.keeps:
        found.append(reasons.KEPT_FOR_INSTANCES)
    if pool.ranked and -pool.ranked[0] > job.priority:
        found.append(reasons.HIGHER_PRIORITY)
    return found


def _slot_reasons(
    pool: PoolView, job: JobView, task: ReadyTask, nodes: list[NodeView]
) -> list[Reason]:
    kept = pool.collecting
    if kept is not None and kept.task_key == task.key and kept.node_key:
        return [reasons.COLLECTING]
    found = []
    if not any(node.open for node in nodes):
        found.append(reasons.ALL_SLOTS_BUSY)
    elif not any(node.open >= task.slots for node in nodes):
        found.append(reasons.NOT_ENOUGH_TOGETHER)
    elif kept is not None and all(
        node.key == kept.node_key for node in nodes if node.open >= task.slots
    ):
        found.append(reasons.KEPT_FOR_LARGER)
    elif kept is not None and kept.keeps:
        found.append(reasons.KEPT_FOR_INSTANCES)
    if pool.ranked and -pool.ranked[0] > job.priority:
        found.append(reasons.HIGHER_PRIORITY)
    return found

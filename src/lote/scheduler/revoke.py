"""Revocation: which prefetched tasks are asked back from the nodes that have not begun them.

Three causes, in order:

1. Slots are being collected on a node: its whole backlog of the same or a lower priority; nodes
   are being gathered: all such backlogs.
2. A task waits that some node could run: all backlogs of lower priority.
3. A slot stays open and nothing ready may take it: the longest backlog gives its fair share to
   the open slots, ``ceil(length * open / (open + its node's slots))`` from the end, then the next
   longest, until the open slots are provided for. A task that would begin within ``MOVE_COST_S``
   where it is stays there.

What was asked back once is not asked again; ``View`` remembers.
"""

from __future__ import annotations

from collections.abc import Iterator

from lote.scheduler.nouns import NodeView, PoolView
from lote.scheduler.plan import Collecting, Revocation
from lote.scheduler.scratch import Scratch
from lote.scheduler.view import View

MOVE_COST_S = 0.002  # ours: two frames and a commit take about that long


def find_revocations(
    view: View,
    pool: PoolView,
    scratch: Scratch,
    collecting: Collecting | None,
    top_priority: int | None,
) -> list[Revocation]:
    """What to ask back after a plan's assignments. ``top_priority``: of the tasks that wait."""
    if not pool.lent:
        return []
    found: dict[int, Revocation] = {}
    if collecting is not None and collecting.keeps:
        for node in _waited_on(pool):
            _ask_back(view, node, view.jobs[collecting.job_key].priority + 1, found)
    elif collecting is not None and collecting.node_key:
        limit = view.jobs[collecting.job_key].priority
        _ask_back(view, pool.nodes[collecting.node_key], limit + 1, found)
    if top_priority is not None and _lends_below(view, pool, top_priority):
        for node in _waited_on(pool):
            _ask_back(view, node, top_priority, found)
    wanted = scratch.total - pool.returning_count - len(found)
    while wanted > 0:
        before = len(found)
        for node in _waited_on(pool):
            wanted -= _share_out(view, node, scratch, wanted, found)
            if wanted <= 0:
                break
        if len(found) == before:
            break
    return list(found.values())


def reclaim(view: View, node_key: int) -> list[Revocation]:
    """Everything a node has in its backlog and was not asked for yet.

    For a node that drains, and for one whose backlog does not move because a task of a quick job
    takes unusually long. The caller marks them with ``View.mark_revoked``.
    """
    node = view.nodes[node_key]
    return [Revocation(node_key, key) for key in node.backlog if key not in node.returning]


def reclaim_job(view: View, job_key: int) -> list[Revocation]:
    """Everything of a job that waits in backlogs; for a job that is disabled or ends."""
    return [
        Revocation(node.key, task_key)
        for node in view.nodes.values()
        for task_key, owner in node.backlog.items()
        if owner == job_key and task_key not in node.returning
    ]


def _waited_on(pool: PoolView) -> Iterator[NodeView]:
    """Nodes with a backlog, the longest first."""
    rows = pool.queued.rows
    for level in range(pool.queued.mask.bit_length() - 1, 0, -1):
        for key in rows[level]:
            yield pool.nodes[key]


def _priority(view: View, job_key: int) -> int:
    job = view.jobs.get(job_key)
    return _GONE if job is None else job.priority


_GONE = -(1 << 30)  # below every priority: tasks of a dropped job


def _lends_below(view: View, pool: PoolView, priority: int) -> bool:
    return any(_priority(view, job_key) < priority for job_key in pool.lent)


def _ask_back(view: View, node: NodeView, below: int, found: dict[int, Revocation]) -> None:
    for task_key, job_key in node.backlog.items():
        if task_key not in node.returning and _priority(view, job_key) < below:
            found[task_key] = Revocation(node.key, task_key)


def _share_out(
    view: View, node: NodeView, scratch: Scratch, wanted: int, found: dict[int, Revocation]
) -> int:
    """Ask a node for its share; returns how many tasks that is."""
    share = -(-node.queue * wanted // (wanted + node.slots))
    count = 0
    position = node.queue
    for task_key in reversed(node.backlog):
        if count >= share or position <= 0:
            break
        is_here = task_key not in node.returning and task_key not in found
        if is_here and _is_worth_moving(view, node, node.backlog[task_key], position, scratch):
            found[task_key] = Revocation(node.key, task_key)
            count += 1
        position -= 1
    return count


def _is_worth_moving(
    view: View, node: NodeView, job_key: int, position: int, scratch: Scratch
) -> bool:
    job = view.jobs.get(job_key)
    if job is None or not job.active:
        return False
    if job.barred and not any(key not in job.barred for key in scratch.idle_keys()):
        return False
    quick_slots = node.slots - node.slow
    if job.mean_run_s is None or quick_slots <= 0:
        return True
    return position * job.mean_run_s / quick_slots > MOVE_COST_S

"""Compute nodes: the operations of the data plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lote.server.handlers.pool import existing_pool
from lote.server.memory import NodeState
from lote.server.node_actions import (
    begin_action,
    begin_start,
    disable_scheduling,
    enable_scheduling,
)
from lote.server.owner import Tx
from lote.server.pages import answer_list, answer_one, chosen, filter_of, paged
from lote.server.request import Answer, Request
from lote.server.views import view_node, view_task
from lote.store import jobs as job_rows
from lote.store import nodes as rows
from lote.store.instances import numbers_on_node
from lote.store.records import IS_MULTI_INSTANCE, NodeRecord, TaskRecord
from lote.store.tasks import get_tasks_by_key
from lote.wire.errors import Refused
from lote.wire.formats import parse_timestamp
from lote.wire.node import (
    Node,
    NodeDeallocate,
    NodeDisableScheduling,
    NodeReboot,
    NodeReimage,
)
from lote.wire.odata import Value, evaluate

_TIMES = frozenset(
    {
        "stateTransitionTime",
        "lastBootTime",
        "allocationTime",
        "startTaskInfo/startTime",
        "startTaskInfo/endTime",
    }
)


def list_nodes(tx: Tx, request: Request) -> Answer:
    """One page of a pool's nodes. Refuses: PoolNotFound."""
    pool = existing_pool(tx.db, request.params["pool_id"])
    where = filter_of(request)
    records = sorted(rows.list_pool_nodes(tx.db, pool.key), key=lambda node: node.id.lower())
    shown = {node.id: view_node(node, pool, live(tx, node), request.base_url) for node in records}
    if where is not None:
        records = [one for one in records if evaluate(where, _getter(shown[one.id]))]
    page, next_id = paged(request, records)
    recent = recent_tasks(tx, request, page)
    whole = [shown[node.id] | recent.get(node.key, {}) for node in page]
    return answer_list(request, [chosen(request, Node, one) for one in whole], next_id)


def get_node(tx: Tx, request: Request) -> Answer:
    """One node. Refuses: PoolNotFound, NodeNotFound."""
    pool = existing_pool(tx.db, request.params["pool_id"])
    record = rows.get_node(tx.db, pool.id, request.params["node_id"])
    if record is None:
        raise Refused("NodeNotFound")
    shown = view_node(record, pool, live(tx, record), request.base_url)
    shown |= recent_tasks(tx, request, [record]).get(record.key, {})
    return answer_one(request, shown, Node, None)


def reboot_node(tx: Tx, request: Request) -> Answer:
    """Restart a node's agent; its files stay. Refuses: by the node's state."""
    body: NodeReboot | None = request.body
    option = (body.node_reboot_option if body else None) or "requeue"
    begin_action(tx, _acting_node(tx, request), "reboot", option)
    return Answer()


def reimage_node(tx: Tx, request: Request) -> Answer:
    """Restart a node with an empty disk. Refuses: by the node's state."""
    body: NodeReimage | None = request.body
    option = (body.node_reimage_option if body else None) or "requeue"
    begin_action(tx, _acting_node(tx, request), "reimage", option)
    return Answer()


def deallocate_node(tx: Tx, request: Request) -> Answer:
    """Switch a node off; it stays in its pool, with its files. Refuses: by the node's state."""
    body: NodeDeallocate | None = request.body
    option = (body.node_deallocate_option if body else None) or "requeue"
    begin_action(tx, _acting_node(tx, request), "deallocate", option)
    return Answer()


def start_node(tx: Tx, request: Request) -> Answer:
    """Switch a deallocated node on again. Refuses: by the node's state."""
    begin_start(tx, _acting_node(tx, request))
    return Answer()


def disable_node_scheduling(tx: Tx, request: Request) -> Answer:
    """Put no more tasks on a node. Refuses: NodeAlreadyInTargetSchedulingState."""
    body: NodeDisableScheduling | None = request.body
    option = (body.node_disable_scheduling_option if body else None) or "requeue"
    disable_scheduling(tx, _acting_node(tx, request), option)
    return Answer()


def enable_node_scheduling(tx: Tx, request: Request) -> Answer:
    """Put tasks on a node again. Refuses: NodeAlreadyInTargetSchedulingState."""
    enable_scheduling(tx, _acting_node(tx, request))
    return Answer()


def _acting_node(tx: Tx, request: Request) -> NodeState:
    pool = existing_pool(tx.db, request.params["pool_id"])
    if pool.state == "deleting":
        raise Refused("PoolBeingDeleted")
    record = rows.get_node(tx.db, pool.id, request.params["node_id"])
    node = tx.memory.nodes.get(record.key) if record is not None else None
    if node is None:
        raise Refused("NodeNotFound")
    return node


def live(tx: Tx, record: NodeRecord) -> dict[str, Any]:
    """What runs on the node now."""
    node = tx.memory.nodes.get(record.key)
    if node is None:
        return {}
    running = [one for one in node.placed.values() if not one.is_prefetched]
    return {
        "runningTasksCount": len(running),
        "runningTaskSlotsCount": sum(one.slots for one in running),
    }


def recent_tasks(
    tx: Tx, request: Request, records: Sequence[NodeRecord]
) -> dict[int, dict[str, Any]]:
    """By node key, the member ``recentTasks`` of those nodes on which tasks ran."""
    if "recentTasks" not in request.query.get("select", "recentTasks"):
        return {}
    keys = {}
    for record in records:
        node = tx.memory.nodes.get(record.key)
        keys[record.key] = _recent_keys(node) if node else []
    wanted = [key for several in keys.values() for key in several]
    tasks = {task.key: task for task in get_tasks_by_key(tx.db, wanted)} if wanted else {}
    job_ids = {
        key: job.id
        for key in {task.job_key for task in tasks.values()}
        if (job := job_rows.get_job_by_key(tx.db, key)) is not None
    }
    found: dict[int, dict[str, Any]] = {}
    for node_key, several in keys.items():
        there = [task for key in several if (task := tasks.get(key)) and task.job_key in job_ids]
        if there:
            views = [_recent_task(task, job_ids[task.job_key], request.base_url) for task in there]
            _show_subtasks(tx, node_key, there, views)
            found[node_key] = {"recentTasks": views}
    return found


def _show_subtasks(
    tx: Tx, node_key: int, there: list[TaskRecord], views: list[dict[str, Any]]
) -> None:
    """Say which subtask it is that the node has or had of a multi-instance task."""
    gangs = [task.key for task in there if task.flags & IS_MULTI_INSTANCE]
    numbers = numbers_on_node(tx.db, node_key, gangs) if gangs else {}
    for task, view in zip(there, views, strict=True):
        if numbers.get(task.key):
            view["subtaskId"] = numbers[task.key]


def _recent_task(task: TaskRecord, job_id: str, base_url: str) -> dict[str, Any]:
    view = view_task(task, job_id, 0, base_url)
    return {
        "taskUrl": view["url"],
        "jobId": job_id,
        "taskId": task.id,
        "taskState": view["state"],
        "executionInfo": view["executionInfo"],
    }


def _recent_keys(node: NodeState) -> list[int]:
    running = [one.key for one in node.placed.values() if not one.is_prefetched]
    return list(dict.fromkeys([*running, *reversed(node.recent)]))[:10]


def _getter(shown: dict[str, Any]) -> Any:  # noqa: ANN401 - a reader of decoded JSON
    def read(prop: str) -> Value | None:
        value: Any = shown
        for name in prop.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        return parse_timestamp(value) if prop in _TIMES and value is not None else value

    return read

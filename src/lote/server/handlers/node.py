"""Compute nodes: the operations of the data plane."""

from __future__ import annotations

from typing import Any

from lote.server.handlers.pool import existing_pool
from lote.server.memory import NodeState
from lote.server.owner import Tx
from lote.server.pages import answer_list, answer_one, chosen, filter_of, paged
from lote.server.request import Answer, Request
from lote.server.views import view_node, view_task
from lote.store import jobs as job_rows
from lote.store import nodes as rows
from lote.store.records import NodeRecord
from lote.store.tasks import get_tasks_by_key
from lote.wire.errors import Refused
from lote.wire.fitting import member_names
from lote.wire.formats import parse_timestamp
from lote.wire.node import Node
from lote.wire.odata import Value, evaluate

MEMBERS = member_names(Node)
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
    where = filter_of(request, "nodes")
    records = sorted(rows.list_pool_nodes(tx.db, pool.key), key=lambda node: node.id.lower())
    shown = {node.id: view_node(node, pool, live(tx, node), request.base_url) for node in records}
    if where is not None:
        records = [one for one in records if evaluate(where, _getter(shown[one.id]))]
    page, next_id = paged(request, records)
    return answer_list(request, [chosen(request, MEMBERS, shown[n.id]) for n in page], next_id)


def get_node(tx: Tx, request: Request) -> Answer:
    """One node. Refuses: PoolNotFound, NodeNotFound."""
    pool = existing_pool(tx.db, request.params["pool_id"])
    record = rows.get_node(tx.db, pool.id, request.params["node_id"])
    if record is None:
        raise Refused("NodeNotFound")
    shown = view_node(record, pool, live(tx, record), request.base_url)
    shown = _with_recent_tasks(tx, record, shown, request.base_url)
    return answer_one(request, shown, MEMBERS, None)


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


def _with_recent_tasks(
    tx: Tx, record: NodeRecord, shown: dict[str, Any], base_url: str
) -> dict[str, Any]:
    node = tx.memory.nodes.get(record.key)
    keys = _recent_keys(node) if node else []
    if not keys:
        return shown
    found = {task.key: task for task in get_tasks_by_key(tx.db, keys)}
    recent = []
    for key in keys:
        task = found.get(key)
        job = job_rows.get_job_by_key(tx.db, task.job_key) if task else None
        if task is None or job is None:
            continue
        view = view_task(task, job.id, 0, base_url)
        recent.append(
            {
                "taskUrl": view["url"],
                "jobId": job.id,
                "taskId": task.id,
                "taskState": view["state"],
                "executionInfo": view["executionInfo"],
            }
        )
    return shown | ({"recentTasks": recent} if recent else {})


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

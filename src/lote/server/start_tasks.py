"""What a node remembers of its start task.

The task that ran, and whether the node waited for it, are those of the boot: what a pool is given
later is for nodes that boot after that. Hence whether it waits is kept beside the ``startTaskInfo``
that is shown. REST: Patch Pool, startTask.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lote.server.memory import NodeState, PoolState
from lote.store.records import NO_START_TASK

_WAITS = "waits"  # ours; not among the members of startTaskInfo


def noted_start_task(node: NodeState, pool: PoolState, info: str) -> str:
    """The text to keep of a start task that is at work or over. ``info``: its startTaskInfo."""
    waits = pool.waits_for_start_task
    if node.start_task is not None:
        waits = bool(msgspec.json.decode(node.start_task).get(_WAITS, waits))
    members = msgspec.json.decode(info) | {_WAITS: waits}
    return msgspec.json.encode(members).decode()


def shown_start_task(kept: str | None) -> dict[str, Any] | None:
    """The startTaskInfo of what is kept; None for a node that had no start task."""
    if kept is None or kept == NO_START_TASK:
        return None
    info: dict[str, Any] = msgspec.json.decode(kept)
    info.pop(_WAITS, None)
    return info


def state_by_start_task(node: NodeState, pool: PoolState) -> str:
    """The state in which the node's start task leaves a node that is connected."""
    if node.start_task is None:  # it has just booted
        is_due = pool.start_task is not None and pool.waits_for_start_task
        return "waitingforstarttask" if is_due else "idle"
    info = msgspec.json.decode(node.start_task)
    if node.start_task == NO_START_TASK or not info.get(_WAITS, pool.waits_for_start_task):
        return "idle"
    if info["state"] != "completed":
        return "waitingforstarttask"
    return "idle" if info.get("result") == "success" else "starttaskfailed"

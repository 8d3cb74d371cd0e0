"""States of nodes, as their table allows them, and what follows for the scheduler."""

from __future__ import annotations

from lote.domain.node import NODE, is_schedulable
from lote.server.memory import NodeState, PoolState
from lote.server.owner import Tx
from lote.server.start_tasks import state_by_start_task
from lote.store import nodes as node_rows

# From where a node is to ``starting``; states that are not here need no such step.
_TO_STARTING = {
    "creating": ("contact",),
    "unknown": ("return_starting",),
    "unusable": ("recover",),
    "rebooting": ("restart",),
    "reimaging": ("restart",),
}
_FROM_STARTING: dict[str, tuple[str, ...]] = {
    "starting": (),
    "idle": ("make_ready",),
    "waitingforstarttask": ("begin_start_task",),
    "starttaskfailed": ("begin_start_task", "fail_start_task"),
}
_FROM_WAITING = {"idle": ("make_ready",), "starttaskfailed": ("fail_start_task",)}


def move_node(tx: Tx, node: NodeState, *events: str, **changes: object) -> None:
    """Move the node through these events of its table, and set these columns.

    Only the last state is written. Whether tasks may be put on the node follows.
    """
    state = node.state
    for event in events:
        state = NODE.after(state, event)
    if state != node.state:
        changes["state"] = state
        changes["state_us"] = tx.now_us
        node.state = state
    if changes:
        node_rows.save_node(tx.db, node.key, **changes)
    show_eligible(tx, node)


def show_eligible(tx: Tx, node: NodeState) -> None:
    """Tell the scheduler whether tasks may be put on the node now."""
    is_eligible = node.link is not None and is_schedulable(node.state, node.scheduling == "enabled")
    tx.memory.view.set_node(node.key, eligible=is_eligible and not node.is_lost)
    tx.memory.dirty_pools.add(node.pool_key)


def make_ready(tx: Tx, node: NodeState, pool: PoolState) -> None:
    """Bring a connected node to the state that its images and its start task allow."""
    target = _ready_state(node, pool)
    is_further = target == "starting" and node.state not in _TO_STARTING
    if node.state == target or (node.state == "running" and target == "idle") or is_further:
        show_eligible(tx, node)
        return
    if node.state == "waitingforstarttask":
        move_node(tx, node, *_FROM_WAITING[target])
    elif node.state == "starting" or node.state in _TO_STARTING:
        move_node(tx, node, *_TO_STARTING.get(node.state, ()), *_FROM_STARTING[target])
    tx.memory.dirty_nodes.add(node.key)


def _ready_state(node: NodeState, pool: PoolState) -> str:
    if pool.containers is not None and not node.has_images:
        return "starting"
    return state_by_start_task(node, pool)


def show_occupancy(tx: Tx, node: NodeState) -> None:
    """Idle or running, by whether a slot of the node is taken."""
    is_busy = tx.memory.view.nodes[node.key].running > 0
    if is_busy != (node.state == "running"):
        move_node(tx, node, "occupy" if is_busy else "vacate")

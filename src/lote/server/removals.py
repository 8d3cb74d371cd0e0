"""Nodes are given back to their engines, and what happens when that fails. Owner thread.

A node that its engine cannot end has nothing to run any more, so nothing is lost by it. It stays in
the pool as ``leavingpool`` and is tried again. The resize that was to remove it ends with an error,
and the pool goes on.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lote.server.memory import NodeState, PoolState
from lote.server.owner import Tx
from lote.server.rehearsed_resizes import KINDS, ResizeError
from lote.server.special_runs import end_specials
from lote.store import nodes as node_rows
from lote.store.events import add_event
from lote.store.records import NodeRecord

RETRY_S = 60.0  # ours: how often an engine is asked again to end a node
NODE_NOT_REMOVED = "NodeNotRemoved"


def send_away(tx: Tx, node: NodeState) -> None:
    """Nothing runs on the node any more: its engine ends it, once its outputs are kept."""
    node.is_going = True
    desk = tx.memory.desk
    engine = tx.memory.pools[node.pool_key].engine
    if desk is not None:
        tx.after.append(lambda: desk.stop(engine, [node.id]))


def removal_failed(tx: Tx, node_id: str, why: str) -> None:
    """The engine could not end the node, or not all that is left of it."""
    node = tx.memory.node_of_id(node_id)
    if node is None:
        return  # one that is in no record; it is asked for again at the next start
    if not node.stuck_why:
        add_event(tx.db, tx.now_us, "node_not_removed", node.id, why)
    node.is_going, node.stuck_why = False, why
    node.is_lost = False  # it is in the pool, as far as anybody knows
    end_specials(tx, node)
    node.stuck_us = tx.now_us + int(RETRY_S * 1_000_000)
    error = {
        "code": NODE_NOT_REMOVED,
        "message": "The node could not be removed. It is tried again.",
        "errorDetails": [{"name": "Message", "value": why}],
    }
    node_rows.save_node(tx.db, node.key, errors=msgspec.json.encode([error]).decode())
    tx.memory.set_timer(node.stuck_us, "pool", node.pool_key)
    tx.memory.touched_pools.add(node.pool_key)


def load_stuck(node: NodeState, record: NodeRecord) -> None:
    """A node that could not be removed before is tried again with the first look at its pool."""
    if node.state == "leavingpool" and NODE_NOT_REMOVED in (record.errors or ""):
        node.stuck_why = "The node could not be removed."


def retry_removals(tx: Tx, nodes: Iterable[NodeState]) -> None:
    """Ask engines again for those of the nodes whose time has come."""
    for node in nodes:
        if node.is_stuck and tx.now_us >= node.stuck_us:
            send_away(tx, node)


def retry_at_once(tx: Tx, pool: PoolState) -> None:
    """What could not be removed is tried again with the next look at the pool."""
    for key in pool.nodes:
        tx.memory.nodes[key].stuck_us = 0


def removal_errors(nodes: Iterable[NodeState]) -> list[ResizeError]:
    """The errors of a resize that leaves these nodes, if some of them could not be removed."""
    stuck = [node for node in nodes if node.is_stuck]
    errors: list[ResizeError] = []
    for is_dedicated, name in KINDS:
        left = [node for node in stuck if node.is_dedicated == is_dedicated]
        if not left:
            continue
        values = [{"name": "NodeId", "value": node.id} for node in left]
        values.append({"name": "Message", "value": left[0].stuck_why})
        message = f"Not all of the {name} nodes that were to leave could be removed."
        errors.append({"code": "RemoveNodesFailed", "message": message, "values": values})
    return errors

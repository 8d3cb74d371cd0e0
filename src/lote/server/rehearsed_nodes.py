"""What rehearsals do to nodes, and undo: preempted, unusable, out of contact. Owner thread."""

from __future__ import annotations

import msgspec

from lote.server.memory import NodeState, PoolState, Rehearsal
from lote.server.node_calls import disconnect_node
from lote.server.node_states import make_ready, move_node
from lote.server.owner import Tx
from lote.server.preemption import PREEMPTIBLE, preempt_node, restore_node
from lote.store import nodes as node_rows
from lote.store.events import add_event
from lote.wire.errors import Refused
from lote.wire.rehearsal import NO_ERROR, RehearsalCreate

CODE_DEFAULT = "DiskFull"
_REACHABLE = frozenset({"waitingforstarttask", "starttaskfailed", "idle", "running", "offline"})

# What nodes say of themselves with these codes; any other code has a sentence of its own.
_MESSAGES = {
    "DiskFull": "There is not enough disk space on the compute node.",
    "ApplicationPackageError": "An application package could not be installed on the node.",
    "ContainerInvalidImage": "A container image could not be fetched to the node.",
    "MountConfigurationError": "A file system could not be mounted on the node.",
}


def choose_nodes(tx: Tx, body: RehearsalCreate) -> list[NodeState]:
    """The nodes that are meant: the one that is named, else so many, those that run tasks first.

    Refuses: PoolNotFound, NodeNotFound; OperationInvalidForCurrentState when there are too few.
    """
    pool = tx.memory.pool_of_id(body.pool_id)
    if pool is None:
        raise Refused("PoolNotFound")
    if body.node_id is not None:
        return [_named_node(tx, pool, body)]
    found = [tx.memory.nodes[key] for key in sorted(pool.nodes)]
    found = [node for node in found if _is_fit(tx, node, body.kind)]
    found.sort(key=lambda node: not node.placed)
    wanted = body.nodes or 1
    if len(found) < wanted:
        raise Refused("OperationInvalidForCurrentState", _too_few(body.kind, pool, len(found)))
    return found[:wanted]


def _named_node(tx: Tx, pool: PoolState, body: RehearsalCreate) -> NodeState:
    node = tx.memory.node_of_id(body.node_id or "")
    if node is None or node.pool_key != pool.key:
        raise Refused("NodeNotFound")
    if not _is_fit(tx, node, body.kind):
        why = f"The node is {node.state}."
        if body.kind == "preempt" and node.is_dedicated:
            why = "The node is dedicated; only low-priority nodes are preempted."
        raise Refused("OperationInvalidForCurrentState", why)
    return node


def _too_few(kind: str, pool: PoolState, count: int) -> str:
    what = "low-priority nodes that could be preempted" if kind == "preempt" else "nodes at work"
    return f"The pool {pool.id} has {count} {what}."


def _is_fit(tx: Tx, node: NodeState, kind: str) -> bool:
    if node.is_lost or node.is_going or node.is_halting:
        return False
    if kind == "preempt":
        return not node.is_dedicated and node.state in PREEMPTIBLE
    return node.link is not None and node.state in _REACHABLE


def afflict_nodes(tx: Tx, one: Rehearsal, nodes: list[NodeState]) -> None:
    """Do to these nodes what the rehearsal, which is at work already, is about."""
    for node in nodes:
        if one.body.kind == "preempt":
            preempt_node(tx, node)
        elif one.body.kind == "unusable":
            add_event(tx.db, tx.now_us, "node_trouble", node.id, one.body.error_code or "")
            move_node(tx, node, "break", errors=node_errors(one.body))
        else:
            link = node.link
            if link is not None:
                disconnect_node(tx, node.key, link)
                tx.after.append(link.close)
        tx.memory.dirty_nodes.add(node.key)


def release_nodes(tx: Tx, one: Rehearsal) -> None:
    """The rehearsal is over: its nodes come back, as far as nothing else holds them."""
    for node_id in sorted(one.node_ids):
        node = tx.memory.node_of_id(node_id)
        if node is None:
            continue
        if one.body.kind == "preempt":
            restore_node(tx, node)
        elif one.body.kind == "unusable":
            _recover(tx, node, node_errors(one.body))


def _recover(tx: Tx, node: NodeState, errors: str | None) -> None:
    """The node is well again, if it told of no other trouble meanwhile."""
    record = node_rows.get_node_by_key(tx.db, node.key)
    if node.state != "unusable" or node.is_lost or record is None or record.errors != errors:
        return
    node_rows.save_node(tx.db, node.key, errors=None)
    if node.link is not None:  # else it is well when it calls
        make_ready(tx, node, tx.memory.pools[node.pool_key])


def node_errors(body: RehearsalCreate) -> str | None:
    """The member ``errors`` of a node that is made unusable, as JSON; None without a reason."""
    code = body.error_code or CODE_DEFAULT
    if code == NO_ERROR:
        return None
    message = _MESSAGES.get(code, "The compute node can run no tasks.")
    return msgspec.json.encode([{"code": code, "message": message}]).decode()

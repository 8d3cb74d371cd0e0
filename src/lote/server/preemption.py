"""Low-priority nodes taken away and given back. Owner thread.

A preempted node stays in its pool under its id; its disk is wiped, and what it ran is run again
elsewhere. With local nodes it happens only when a rehearsal asks for it.
"""

from __future__ import annotations

import hashlib

from lote.server.fleet import requeue_all, switch_off
from lote.server.memory import NodeState
from lote.server.node_orders import SECRET_BYTES, start_agent
from lote.server.node_states import move_node
from lote.server.owner import Tx
from lote.server.rehearsed import holds_node
from lote.server.special_runs import halt_specials, void_specials
from lote.store.events import add_event
from lote.store.node_users import delete_node_users

# From where a node can be taken: its agent is there and the engine has nothing to do with it now.
PREEMPTIBLE = frozenset(
    {"starting", "waitingforstarttask", "starttaskfailed", "idle", "running", "offline"}
    | {"unknown", "unusable"}
)


def preempt_node(tx: Tx, node: NodeState) -> None:
    """Take the node away; ``restore_node`` gives it back."""
    add_event(tx.db, tx.now_us, "node_preempted", node.id, "")
    link = tx.memory.links.pop(node.key, None)
    node.link = node.lost_at = node.start_task = None
    if link is not None:
        tx.after.append(link.close)
    # Its agent may live on for a moment, and the next one has another secret anyway.
    node.secret_digest = hashlib.sha256(tx.world.new_secret(SECRET_BYTES)).digest()
    move_node(
        tx,
        node,
        "preempt",
        secret_digest=node.secret_digest,
        start_task=None,
        errors=None,
    )
    requeue_all(tx, node)
    halt_specials(tx, node)
    void_specials(tx, node)
    delete_node_users(tx.db, node.key)
    switch_off(tx, node)
    tx.memory.touched_pools.add(node.pool_key)


def restore_node(tx: Tx, node: NodeState) -> None:
    """Give a preempted node back, unless it is still held or still being switched off (the record
    has its boot until then): whoever sees the end of that comes here again."""
    if node.state != "preempted" or node.is_halting or node.boot is not None:
        return
    if holds_node(tx.memory, node.id, "preempt"):
        return
    add_event(tx.db, tx.now_us, "node_restored", node.id, "")
    move_node(tx, node, "restore")
    start_agent(tx, node)
    tx.memory.touched_pools.add(node.pool_key)

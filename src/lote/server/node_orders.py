"""Nodes are ordered: a row, an id and a secret each, and word to the engine. Owner thread."""

from __future__ import annotations

import hashlib

from lote.engines.seam import NodeOrder
from lote.server.memory import NodeState, PoolState
from lote.server.owner import Tx
from lote.store import nodes as node_rows
from lote.store import pools as pool_rows
from lote.store.records import NodeRecord

SECRET_BYTES = 24
CALL_WITHIN_S = 900.0  # ours: as long as a resize may take, whose time-out ends other waits
NODE_ID_BYTES = 16  # the provider's ids have 32; half of it keeps paths on nodes short


def order_node(tx: Tx, pool: PoolState, is_dedicated: bool, replaces: int | None) -> None:
    """Ask the engine for one more node."""
    suffix = "d" if is_dedicated else "p"
    node_id = f"tvmps_{tx.world.new_secret(NODE_ID_BYTES).hex()}_{suffix}"
    secret = tx.world.new_secret(SECRET_BYTES).hex()
    record = NodeRecord(
        0,
        pool.key,
        pool.id,
        node_id,
        "creating",
        tx.now_us,
        "enabled",
        int(is_dedicated),
        hashlib.sha256(secret.encode()).digest(),
        tx.now_us,
        *(None, None, "127.0.0.1", None, None, None, 0, 0, None, None, replaces, None, None),
        _vm_size(tx, pool),
    )
    record.key = node_rows.add_node(tx.db, record)
    add_node_state(tx, record)
    request_agent(tx, pool, tx.memory.nodes[record.key], secret)


def start_agent(tx: Tx, node: NodeState) -> None:
    """Have the agent of a node that was there before started, with a new secret."""
    secret = tx.world.new_secret(SECRET_BYTES).hex()
    node.secret_digest = hashlib.sha256(secret.encode()).digest()
    node_rows.save_node(tx.db, node.key, secret_digest=node.secret_digest)
    request_agent(tx, tx.memory.pools[node.pool_key], node, secret)


def _vm_size(tx: Tx, pool: PoolState) -> str:
    record = pool_rows.get_pool_by_key(tx.db, pool.key)
    return record.vm_size if record is not None else ""


def request_agent(tx: Tx, pool: PoolState, node: NodeState, secret: str) -> None:
    """Have the engine start the node's agent once this transaction is committed."""
    record = pool_rows.get_pool_by_key(tx.db, pool.key)
    desk = tx.memory.desk
    if desk is None or record is None:
        return
    node.is_ordered = True
    order = NodeOrder(node.id, pool.id, secret, pool.slots, record.vm_size, node.is_dedicated)
    tx.after.append(lambda: desk.start(pool.engine, [order]))
    if node.state != "creating" or pool.allocation_state == "steady":
        expect_call(tx, node, CALL_WITHIN_S)


def expect_call(tx: Tx, node: NodeState, within_s: float) -> None:
    """Give the node so many seconds to call; it is lost if it does not."""
    node.lost_at = tx.world.monotonic() + within_s
    tx.memory.grace_timers.append((node.lost_at, node.key))
    tx.memory.grace_timers.sort()


def add_node_state(tx: Tx, record: NodeRecord) -> NodeState:
    """Take a row of a node into memory."""
    memory = tx.memory
    node = NodeState(
        key=record.key,
        id=record.id,
        pool_key=record.pool_key,
        pool_id=record.pool_id,
        state=record.state,
        scheduling=record.scheduling,
        is_dedicated=bool(record.is_dedicated),
        secret_digest=record.secret_digest,
        boot=record.boot,
        deallocation=record.deallocation,
        replaces=record.replaces,
        start_task=record.start_task,
        address=record.ip_address,
    )
    node.recent.extend(node_rows.recent_keys(record))
    node.link = memory.links.get(node.key)
    pool = memory.pools[record.pool_key]
    memory.nodes[node.key] = node
    memory.node_keys[node.id.lower()] = node.key
    pool.nodes.add(node.key)
    memory.view.add_node(
        node.key,
        pool.key,
        pool.slots,
        name=node.id,
        dedicated=node.is_dedicated,
        eligible=False,
    )
    return node

"""The beginning of a resize: of a client's, or of a formula's. ``fleet`` carries it out."""

from __future__ import annotations

from collections.abc import Iterable

from lote.domain.pool import ALLOCATION, POOL
from lote.server.fleet import RESIZE_STOPPED, set_allocation
from lote.server.memory import NodeState, PoolState
from lote.server.owner import Tx
from lote.server.removals import retry_at_once
from lote.store import pools as rows
from lote.store.records import PoolRecord


def begin_resize(
    tx: Tx,
    pool: PoolState,
    dedicated: int,
    low_priority: int,
    *,
    timeout_s: float | None = None,
    option: str = "requeue",
) -> None:
    """Move a steady pool towards these targets; ``option``: what becomes of tasks on nodes that
    leave. Without ``timeout_s`` the resize may take as long as it takes."""
    _aim(tx, pool, dedicated, low_priority, option)
    set_allocation(tx, pool, ALLOCATION.after(pool.allocation_state, "resize"))
    if timeout_s is not None:
        rows.save_pool(tx.db, pool.key, resize_timeout_s=timeout_s)
        tx.memory.set_timer(tx.now_us + int(timeout_s * 1_000_000), "pool", pool.key)


def retarget(tx: Tx, pool: PoolState, dedicated: int, low_priority: int, *, option: str) -> None:
    """Give a resize that is under way other targets. Nodes that leave already go on leaving."""
    _aim(tx, pool, dedicated, low_priority, option)


def targets_without(
    tx: Tx, pool: PoolState, record: PoolRecord, named: Iterable[NodeState]
) -> tuple[int, int]:
    """The dedicated and low-priority nodes of a steady pool without the named ones.

    They are counted, as a pool whose last resize was stopped or failed has other targets, and a
    removal is no reason to go on with that; low-priority nodes that are still sought are targets.
    Nodes that are leaving are in no target any more; for a lost one its replacement is.
    """
    nodes = [tx.memory.nodes[key] for key in pool.nodes]
    replaced = {node.replaces for node in nodes}
    names = {node.key for node in named}
    counted = [node for node in nodes if node.state != "leavingpool" and node.key not in replaced]
    left = [node for node in counted if node.key not in names]
    dedicated = sum(node.is_dedicated for node in left)
    low_priority = len(left) - dedicated
    if RESIZE_STOPPED not in (record.resize_errors or ""):
        removed = sum(not node.is_dedicated for node in counted) - low_priority
        low_priority = max(low_priority, record.target_low_priority - removed)
    return dedicated, low_priority


def await_resize(tx: Tx, pool: PoolState, timeout_s: float) -> None:
    """Give a resize under way, which had no time-out, this one from now on."""
    rows.save_pool(tx.db, pool.key, resize_started_us=tx.now_us)
    tx.memory.set_timer(tx.now_us + int(timeout_s * 1_000_000), "pool", pool.key)


def _aim(tx: Tx, pool: PoolState, dedicated: int, low_priority: int, option: str) -> None:
    rows.save_pool(
        tx.db,
        pool.key,
        target_dedicated=dedicated,
        target_low_priority=low_priority,
        resize_started_us=tx.now_us,
        deallocation=option,
    )
    retry_at_once(tx, pool)
    pool.order_failures = 0
    pool.seek_us = pool.retry_us = 0
    pool.quota_errors.clear()
    tx.memory.touched_pools.add(pool.key)


def begin_delete_pool(tx: Tx, pool: PoolState) -> None:
    """Delete a pool that is active: its nodes leave, what runs is requeued."""
    pool.state = POOL.after(pool.state, "delete")
    pool.allocation_state = ALLOCATION.after(pool.allocation_state, "empty")
    rows.save_pool(
        tx.db,
        pool.key,
        state=pool.state,
        state_us=tx.now_us,
        allocation_state=pool.allocation_state,
        allocation_us=tx.now_us,
        target_dedicated=0,
        target_low_priority=0,
    )
    retry_at_once(tx, pool)
    tx.memory.touched_pools.add(pool.key)

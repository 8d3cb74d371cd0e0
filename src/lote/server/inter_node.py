"""How many nodes a pool may have in which they reach each other. Owner thread.

A client that wants more is refused (``wire.check_pools``). A formula may say any number: then there
are as many as there can be, and the resize has an error.
"""

from __future__ import annotations

import sys

from lote.server.memory import PoolState
from lote.server.owner import Tx
from lote.server.rehearsed_resizes import KINDS, ResizeError
from lote.store import pools as pool_rows
from lote.store.records import PoolRecord
from lote.wire.check_pools import INTER_NODE_NODES_MAX, check_inter_node_targets
from lote.wire.pool import PoolResize


def resize_targets(body: PoolResize, record: PoolRecord) -> tuple[int, int]:
    """The dedicated and low-priority nodes that a client's resize asks for. A target that is not
    given stays as it is, and counts; of one that a formula left, as much as there can be. Refuses:
    InvalidPropertyValue, for a target that is given."""
    dedicated, low_priority = body.target_dedicated_nodes, body.target_low_priority_nodes
    limit = INTER_NODE_NODES_MAX if record.inter_node else sys.maxsize
    is_given = dedicated is not None
    if dedicated is None:
        dedicated = min(record.target_dedicated, limit)
    if low_priority is None:
        low_priority = min(record.target_low_priority, limit)
    if record.inter_node:
        check_inter_node_targets(dedicated, low_priority, is_dedicated_given=is_given)
    return dedicated, low_priority


def fitting_targets(record: PoolRecord) -> dict[bool, int]:
    """The targets of a pool by kind, dedicated or not, as far as it may have so many nodes: a
    formula may want more that reach each other than there can be. Dedicated ones come first."""
    dedicated, low_priority = record.target_dedicated, record.target_low_priority
    if record.inter_node:
        dedicated = min(dedicated, INTER_NODE_NODES_MAX)
        low_priority = min(low_priority, INTER_NODE_NODES_MAX - dedicated)
    return {True: dedicated, False: low_priority}


def free_places(tx: Tx, pool: PoolState) -> int:
    """How many more nodes may be in the pool at this moment, those that are leaving included."""
    if not pool.inter_node:
        return sys.maxsize
    present = sum(not tx.memory.nodes[key].is_lost for key in pool.nodes)
    return max(0, INTER_NODE_NODES_MAX - present)


def limit_errors(tx: Tx, pool: PoolState) -> list[ResizeError]:
    """That a formula wanted more nodes than a pool may have in which they reach each other."""
    record = pool_rows.get_pool_by_key(tx.db, pool.key)
    if record is None or pool.state == "deleting":
        return []
    fitting = fitting_targets(record)
    wanted = {True: record.target_dedicated, False: record.target_low_priority}
    return [
        {
            "code": "AllocationFailed",
            "message": f"The desired number of {name} nodes could not be allocated: a pool with"
            f" inter-node communication has at most {INTER_NODE_NODES_MAX} nodes.",
        }
        for is_dedicated, name in KINDS
        if fitting[is_dedicated] < wanted[is_dedicated]
    ]

"""The account's quotas: how many pools, jobs and cores it may have. All are off unless set."""

from __future__ import annotations

import sys
from typing import NamedTuple

from lote.domain.node import SWITCHED_OFF
from lote.server.memory import NodeState, PoolState, Rehearsal
from lote.server.owner import Tx
from lote.server.rehearsed import count_act, find_rehearsal
from lote.store.job_schedules import count_living_schedules
from lote.wire.errors import Refused


class Room(NamedTuple):
    """How many more nodes there may be, and in a sentence what limits them."""

    nodes: int
    reason: str


def check_pool_quota(tx: Tx) -> None:
    """Refuses: PoolQuotaReached when the account may have no more pools."""
    if tx.memory.rehearsals:
        _refuse_as_rehearsed(tx, "pools", "PoolQuotaReached")
    quota = tx.settings.pool_quota
    if quota is not None and len(tx.memory.pools) >= quota:
        raise Refused("PoolQuotaReached")


def has_job_room(tx: Tx) -> bool:
    """Whether the account may have one more job or schedule that is not completed."""
    quota = tx.settings.active_job_and_schedule_quota
    if quota is None:
        return True
    jobs = sum(job.state != "completed" for job in tx.memory.jobs.values())
    return jobs + count_living_schedules(tx.db) < quota


def check_job_quota(tx: Tx) -> None:
    """Refuses: ActiveJobAndScheduleQuotaReached."""
    if tx.memory.rehearsals:
        _refuse_as_rehearsed(tx, "jobs", "ActiveJobAndScheduleQuotaReached")
    if not has_job_room(tx):
        raise Refused("ActiveJobAndScheduleQuotaReached")


def _refuse_as_rehearsed(tx: Tx, quota: str, code: str) -> None:
    one = find_rehearsal(tx, "quota", quota=quota)
    if one is not None:
        count_act(tx, one)
        raise Refused(code)


def core_rehearsal(tx: Tx, *, is_dedicated: bool) -> Rehearsal | None:
    """The rehearsal that lets the account have no more cores of a kind, if one is at work."""
    if not tx.memory.rehearsals:
        return None
    quota = "cores" if is_dedicated else "low-priority-cores"
    return find_rehearsal(tx, "quota", quota=quota)


def node_room(tx: Tx, pool: PoolState, *, is_dedicated: bool) -> Room:
    """How many more nodes of a kind a pool may order."""
    room = _core_room(tx, pool, is_dedicated)
    if pool.engine != "local":
        return room
    pools = tx.memory.pools
    local = sum(pools[node.pool_key].engine == "local" for node in _with_a_place(tx))
    limit = tx.settings.local_nodes_max
    text = f"This machine has at most {limit} local nodes in all."
    return min(room, Room(max(0, limit - local), text))


def _with_a_place(tx: Tx) -> list[NodeState]:
    """The nodes that count. A lost one keeps its place for its replacement, also while none can be
    had, until that is there or the node is sent away."""
    nodes = list(tx.memory.nodes.values())
    if not any(node.is_lost for node in nodes):
        return nodes
    replaced = {one.replaces for one in nodes if not one.is_lost and one.state != "leavingpool"}
    return [one for one in nodes if not one.is_lost or not (one.is_going or one.key in replaced)]


def _core_room(tx: Tx, pool: PoolState, is_dedicated: bool) -> Room:
    settings = tx.settings
    quota = settings.dedicated_core_quota if is_dedicated else settings.low_priority_core_quota
    is_rehearsed = core_rehearsal(tx, is_dedicated=is_dedicated) is not None
    if quota is None and not is_rehearsed:
        return Room(sys.maxsize, "")
    pools = tx.memory.pools
    used = sum(
        pools[node.pool_key].cores
        for node in _with_a_place(tx)
        if node.is_dedicated == is_dedicated and node.state not in SWITCHED_OFF
    )
    if quota is None or is_rehearsed:
        quota = used
    kind = "dedicated" if is_dedicated else "low-priority"
    text = f"The account may have {quota} {kind} cores in all, and nodes of this pool {pool.cores}."
    return Room(max(0, quota - used) // pool.cores, text)

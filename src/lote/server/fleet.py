"""Nodes of pools: ordered, lost, leaving, gone. Runs in the owner thread.

``settle_pool`` compares what a pool should have with what it has and starts what is missing; it is
called whenever the pool or one of its nodes changed, and when a time-out is due.
"""

from __future__ import annotations

import msgspec

from lote.domain.node import DRAINING, HALTING, SWITCHED_OFF
from lote.server.inter_node import fitting_targets, free_places, limit_errors
from lote.server.memory import FORGET, KEEP, REQUEUE, NodeState, PoolState
from lote.server.node_orders import CALL_WITHIN_S, expect_call, order_node
from lote.server.node_states import move_node, show_occupancy
from lote.server.owner import Tx
from lote.server.quotas import core_rehearsal, node_room
from lote.server.rehearsed import count_act
from lote.server.rehearsed_resizes import KINDS, timed_out, withheld_errors, withholding
from lote.server.removals import removal_errors, retry_removals, send_away
from lote.server.runs import USER_ENDED, end_now, kill, let_go, requeue, revoke_backlog
from lote.server.special_runs import end_specials
from lote.store import nodes as node_rows
from lote.store import pools as pool_rows
from lote.store.cleanings import take_cleanings
from lote.store.events import add_event
from lote.store.node_users import delete_node_users
from lote.store.records import IS_MANAGER, RELEASE
from lote.wire.frames import AwaitRetention

ORDER_FAILURES_MAX = 3  # agents in a row that die before they call
NODE_LOST = "NodeLost"
RETAINED = "retaineddata"
RESIZE_STOPPED = "ResizeStopped"
SEEK_S = 60.0  # ours: how often nodes that could not be had are sought again
WIPED = frozenset({"reimaging", "preempted"})  # states in which a node's disk is emptied


def settle_node(tx: Tx, node: NodeState) -> None:
    """Show whether the node is busy; a leaving node that is empty goes, one that is to restart or
    to rest is switched off."""
    if node.state in ("idle", "running"):
        show_occupancy(tx, node)
        if node.state == "idle" and node.scheduling == "disabled" and not node.placed:
            move_node(tx, node, "set_offline")
    elif node.placed or _waits_for_release(node) or _waits_for_retention(tx, node):
        return
    elif node.state == "leavingpool" and not node.is_going and not node.is_stuck:
        send_away(tx, node)
    elif node.state in HALTING and not node.is_halting and node.boot:
        switch_off(tx, node)


def _waits_for_release(node: NodeState) -> bool:
    """Whether the node is to let tasks finish, and a job is being released there."""
    if node.deallocation not in DRAINING:
        return False
    runs = node.specials.values()
    return any(run.kind == RELEASE and run.state == "running" for run in runs)


def _waits_for_retention(tx: Tx, node: NodeState) -> bool:
    """Whether the node, on which nothing runs, still has task directories whose time is not over.
    Its agent knows: it is asked once a connection. REST: retaineddata."""
    if node.deallocation != RETAINED or node.is_empty or node.is_lost or node.boot is None:
        return False
    if node.link is None:
        return node.lost_at is not None  # it calls again, or is lost
    if node.state != "leavingpool" and node.state not in HALTING:
        return False
    if node.asked is not node.link:
        node.asked = node.link
        tx.send(node.key, AwaitRetention())
    return True


def switch_off(tx: Tx, node: NodeState) -> None:
    """Have the engine end the node's agent; ``node_actions.node_halted`` goes on."""
    node.is_halting = True
    desk = tx.memory.desk
    engine = tx.memory.pools[node.pool_key].engine
    wipes = node.state in WIPED
    if desk is not None:
        tx.after.append(lambda: desk.halt(engine, node.id, wipes=wipes))


def settle_pool(tx: Tx, pool: PoolState) -> None:
    """Bring the pool a step nearer to its targets."""
    record = pool_rows.get_pool_by_key(tx.db, pool.key)
    if record is None:
        return
    nodes = [tx.memory.nodes[key] for key in sorted(pool.nodes)]
    retry_removals(tx, nodes)
    if pool.state == "deleting":
        _empty(tx, pool, nodes)
        return
    is_settled = True
    targets = fitting_targets(record)
    if withholding(tx, pool) is not None:
        errors = withheld_errors(tx, pool, record, _missing(nodes, targets))
        if errors is not None:
            _end_resize(tx, pool, errors)
    for is_dedicated, target in targets.items():
        of_kind = [node for node in nodes if node.is_dedicated == is_dedicated]
        is_settled &= _settle_kind(tx, pool, of_kind, target, is_dedicated)
    present = [tx.memory.nodes[key] for key in pool.nodes if not tx.memory.nodes[key].is_lost]
    dedicated = sum(node.is_dedicated for node in present)
    low_priority = len(present) - dedicated
    if (dedicated, low_priority) != (record.current_dedicated, record.current_low_priority):
        pool_rows.save_pool(
            tx.db, pool.key, current_dedicated=dedicated, current_low_priority=low_priority
        )
    if pool.allocation_state == "steady":
        return
    timeout_us = int(record.resize_timeout_s * 1_000_000)
    started_us = record.resize_started_us or tx.now_us
    if is_settled:
        _steady(tx, pool, record.resize_errors)
    elif record.enable_auto_scale and pool.allocation_state == "resizing":
        return  # REST: resizeTimeout has no effect; see scaling for nodes that never call
    elif tx.now_us >= started_us + timeout_us:
        _time_out(tx, pool, present)


def _missing(nodes: list[NodeState], targets: dict[bool, int]) -> dict[bool, int]:
    """How many nodes of each kind, dedicated or not, the pool has too few."""
    staying = [node for node in nodes if node.state != "leavingpool" and not node.is_lost]
    return {
        is_dedicated: target - sum(node.is_dedicated == is_dedicated for node in staying)
        for is_dedicated, target in targets.items()
    }


def _settle_kind(
    tx: Tx, pool: PoolState, nodes: list[NodeState], target: int, is_dedicated: bool
) -> bool:
    """One kind of a pool's nodes; true when nothing more is to come or to go."""
    staying = [node for node in nodes if node.state != "leavingpool" and not node.is_lost]
    lost = [node for node in nodes if node.is_lost and not node.is_going]
    replaced = {node.replaces for node in staying}
    missing = target - len(staying)
    if not is_dedicated and pool.allocation_state == "steady":
        missing -= _seek(tx, pool, missing - len(lost))
    unreplaced = [node for node in lost if node.key not in replaced]
    fails = (
        missing > 0
        and pool.order_failures >= ORDER_FAILURES_MAX
        and not (unreplaced and pool.allocation_state == "steady" and _may_retry(tx, pool))
    )
    _replace_lost(tx, pool, unreplaced, missing, fails=fails)
    if fails:
        missing = 0  # agents that die before they call would be ordered for ever
    room = node_room(tx, pool, is_dedicated=is_dedicated)
    beyond = max(0, missing - room.nodes)
    if pool.allocation_state == "resizing":
        pool.quota_errors.pop(is_dedicated, None)
        if beyond:
            pool.quota_errors[is_dedicated] = room.reason
        if missing > 0 and withholding(tx, pool) is not None:
            return False  # no node comes until the resize fails
        for _ in range(min(missing - beyond, free_places(tx, pool))):
            order_node(tx, pool, is_dedicated, None)
        if missing < 0:
            record = pool_rows.get_pool_by_key(tx.db, pool.key)
            option = record.deallocation if record else "requeue"
            for node in sorted(staying, key=lambda one: _removal_rank(tx, one))[:-missing]:
                begin_leave(tx, node, option)
    is_leaving = any(node.state == "leavingpool" and not node.is_stuck for node in nodes)
    is_coming = any(node.state == "creating" for node in staying)
    if pool.allocation_state == "stopping":
        return not is_leaving and not is_coming
    return missing == beyond and not is_leaving and not is_coming


def _replace_lost(
    tx: Tx, pool: PoolState, lost: list[NodeState], missing: int, *, fails: bool
) -> None:
    """Order nodes in the places of lost ones, as many as the pool lacks; other lost ones go.

    ``fails``: not now, as agents die; the lost are shown until it is tried again.
    """
    for node in lost:
        if missing <= 0 or pool.allocation_state != "steady":
            remove_node(tx, node)
        elif not fails:
            order_node(tx, pool, node.is_dedicated, node.key)
        missing -= 1


def _may_retry(tx: Tx, pool: PoolState) -> bool:
    """Whether agents may be ordered again though some died in a row: every SEEK_S."""
    if 0 < pool.retry_us <= tx.now_us:
        pool.retry_us = pool.order_failures = 0
        return True
    if not pool.retry_us:
        pool.retry_us = tx.now_us + int(SEEK_S * 1_000_000)
        tx.memory.set_timer(pool.retry_us, "pool", pool.key)
    return False


def _seek(tx: Tx, pool: PoolState, missing: int) -> int:
    """Look for low-priority nodes that a steady pool lacks, every SEEK_S; how many were ordered.

    REST: the service goes on seeking them after the resize; not after one that was stopped [ours].
    """
    record = pool_rows.get_pool_by_key(tx.db, pool.key) if missing > 0 else None
    if record is None or RESIZE_STOPPED in (record.resize_errors or ""):
        pool.seek_us = 0
        return 0
    is_due = 0 < pool.seek_us <= tx.now_us
    if not pool.seek_us or is_due:
        pool.seek_us = tx.now_us + int(SEEK_S * 1_000_000)
        tx.memory.set_timer(pool.seek_us, "pool", pool.key)
    if not is_due:
        return 0
    pool.order_failures = 0
    room = node_room(tx, pool, is_dedicated=False)
    found = min(missing, room.nodes, free_places(tx, pool))
    for _ in range(found):
        order_node(tx, pool, False, None)
    return found


def _removal_rank(tx: Tx, node: NodeState) -> tuple[bool, int, int, int]:
    """Which node goes first when a pool shrinks: the broken, the idle, then the least occupied;
    one that runs a job manager last."""
    ranks = {"unusable": 0, "starttaskfailed": 0, "preempted": 0, "unknown": 0, "offline": 1}
    ranks |= {"deallocated": 1, "deallocating": 1, "rebooting": 2, "reimaging": 2}
    ranks |= {"creating": 2, "starting": 2, "waitingforstarttask": 2, "idle": 3}
    runs = node.placed.values()
    has_manager = any(one.flags & IS_MANAGER for one in runs)
    slots = sum(one.node_slots for one in runs)
    return (has_manager, ranks.get(node.state, 4), slots, -node.key)


def _steady(tx: Tx, pool: PoolState, errors: str | None) -> None:
    _end_resize(tx, pool, msgspec.json.decode(errors) if errors else [])


def _end_resize(tx: Tx, pool: PoolState, errors: list[dict[str, object]]) -> None:
    if pool.allocation_state == "stopping":
        errors.append({"code": RESIZE_STOPPED, "message": "The resize was stopped by the user."})
    for is_dedicated, text in sorted(pool.quota_errors.items(), reverse=True):
        code = "AccountCoreQuotaReached" if is_dedicated else "AccountLowPriorityCoreQuotaReached"
        errors.append({"code": code, "message": text})
        rehearsal = core_rehearsal(tx, is_dedicated=is_dedicated)
        if rehearsal is not None:
            count_act(tx, rehearsal)
    pool.quota_errors.clear()
    errors += limit_errors(tx, pool)
    errors += removal_errors([tx.memory.nodes[key] for key in sorted(pool.nodes)])
    set_allocation(tx, pool, "steady", errors=errors)


def set_allocation(
    tx: Tx, pool: PoolState, state: str, *, errors: list[dict[str, object]] | None = None
) -> None:
    """Show the pool in another allocation state, with these resize errors."""
    pool.allocation_state = state
    if state == "steady":
        tx.memory.touched_pools.add(pool.key)  # what is still missing may be sought
        for node in (tx.memory.nodes[key] for key in pool.nodes):
            if node.state == "creating" and node.lost_at is None:
                expect_call(tx, node, CALL_WITHIN_S)  # no time-out waits for it any more
    text = msgspec.json.encode(errors).decode() if errors else None
    pool_rows.save_pool(
        tx.db, pool.key, allocation_state=state, allocation_us=tx.now_us, resize_errors=text
    )


def _time_out(tx: Tx, pool: PoolState, present: list[NodeState]) -> None:
    errors: list[dict[str, object]] = []
    for is_dedicated, name in KINDS:
        coming = [n for n in present if n.is_dedicated == is_dedicated and n.state == "creating"]
        leaving = [
            n
            for n in present
            if n.is_dedicated == is_dedicated and n.state == "leavingpool" and not n.is_stuck
        ]
        if coming or leaving:
            errors.append(timed_out(name))
        for node in coming:
            remove_node(tx, node)
    _end_resize(tx, pool, errors)


def fail_allocation(tx: Tx, pool: PoolState, text: str) -> None:
    """The engine can't supply nodes: the resize ends with an error."""
    add_event(tx.db, tx.now_us, "allocation_failed", pool.id, text)
    error: dict[str, object] = {
        "code": "AllocationFailed",
        "message": "The engine could not start the desired number of nodes.",
        "values": [{"name": "Message", "value": text}],
    }
    set_allocation(tx, pool, "steady", errors=[error])


def _empty(tx: Tx, pool: PoolState, nodes: list[NodeState]) -> None:
    """A pool is being deleted: its nodes leave, then it goes."""
    for node in nodes:
        if node.state != "leavingpool":
            begin_leave(tx, node, "requeue")
        else:
            hasten_leave(tx, node, "requeue")  # nobody waits any more for what runs on it
    if pool.nodes:
        return
    memory = tx.memory
    for job in memory.jobs_of_pool(pool.key):
        job.pool_key = None
        memory.view.set_job(job.key, pool_key=0)
    memory.view.drop_pool(pool.key)
    del memory.pools[pool.key]
    memory.dirty_pools.discard(pool.key)
    memory.scales.pop(pool.key, None)
    pool_rows.delete_pool(tx.db, pool.key)
    add_event(tx.db, tx.now_us, "pool_deleted", pool.id, "")


# -- removing ------------------------------------------------------------------


def begin_leave(tx: Tx, node: NodeState, option: str) -> None:
    """The node is to leave its pool; ``option`` says what becomes of what runs on it."""
    node.deallocation, node.is_empty = option, False
    move_node(tx, node, "leave", deallocation=option)
    apply_deallocation(tx, node)
    tx.memory.dirty_nodes.add(node.key)


def hasten_leave(tx: Tx, node: NodeState, option: str) -> None:
    """A node that is leaving is to wait no longer for what runs on it, if ``option`` says so."""
    if node.deallocation not in DRAINING or option in DRAINING:
        return
    node.deallocation = option
    node_rows.save_node(tx.db, node.key, deallocation=option)
    apply_deallocation(tx, node)
    tx.memory.dirty_nodes.add(node.key)


def apply_deallocation(tx: Tx, node: NodeState) -> None:
    """Kill, or let finish, what runs on a node that is to leave, to restart or to rest.

    A node that is out of contact may finish too, should it call again within its grace; killing
    needs no answer of it, as it is told when it calls.
    """
    is_away = node.link is None
    is_drained = node.deallocation in DRAINING
    if is_away and is_drained and node.lost_at is not None and node.state not in HALTING:
        requeue_all(tx, node, only_doomed=True)
        return
    runs = list(node.placed.values())
    revoke_backlog(tx, [one for one in runs if one.is_prefetched])
    for one in runs:
        if one.doom != KEEP or is_drained or (is_away and one.is_prefetched):
            continue
        if node.deallocation == "terminate" and not one.is_prefetched:
            end_now(tx, one, USER_ENDED)
            kill(tx, one, FORGET)
        else:
            kill(tx, one, REQUEUE)
    if is_away:
        requeue_all(tx, node)


def requeue_all(tx: Tx, node: NodeState, *, only_doomed: bool = False) -> None:
    """Nothing is waited for that the node has, or had been told to kill (``only_doomed``)."""
    for one in list(node.placed.values()):
        if only_doomed and one.doom == KEEP:
            continue
        let_go(tx, node, one)
        if one.doom != FORGET:
            requeue(tx, one)


def remove_node(tx: Tx, node: NodeState) -> None:
    """Drop a node on which nothing runs any more, whatever its engine still has of it."""
    if node.is_going or node.is_stuck:
        return
    requeue_all(tx, node)
    if node.state != "leavingpool":
        move_node(tx, node, "leave")
    send_away(tx, node)


def node_gone(tx: Tx, node_id: str) -> None:
    """The engine has ended the node."""
    memory = tx.memory
    node = memory.node_of_id(node_id)
    if node is None:
        return
    requeue_all(tx, node)
    end_specials(tx, node)
    node_rows.save_node(tx.db, node.key, gone_us=tx.now_us)
    delete_node_users(tx.db, node.key)
    take_cleanings(tx.db, node.key)
    memory.view.drop_node(node.key)
    pool = memory.pools[node.pool_key]
    pool.nodes.discard(node.key)
    del memory.nodes[node.key]
    del memory.node_keys[node.id.lower()]
    memory.dirty_nodes.discard(node.key)
    memory.touched_pools.add(pool.key)
    link = memory.links.pop(node.key, None)
    if link is not None:
        tx.after.append(link.close)


def order_failed(tx: Tx, node_ids: list[str], text: str) -> None:
    """The engine could not start these nodes."""
    for node_id in node_ids:
        node = tx.memory.node_of_id(node_id)
        if node is None:
            continue
        pool = tx.memory.pools[node.pool_key]
        if node.state != "creating":
            lose_node(tx, node, text)  # it was to be started again
            continue
        node_gone(tx, node_id)
        pool.order_failures = ORDER_FAILURES_MAX
        if pool.allocation_state == "resizing":
            fail_allocation(tx, pool, text)


def agent_gone(tx: Tx, node_id: str, why: str) -> None:
    """The engine saw the node's agent end, and nothing of it runs any more."""
    node = tx.memory.node_of_id(node_id)
    if node is None or node.is_going or node.state in SWITCHED_OFF:
        return
    pool = tx.memory.pools[node.pool_key]
    if node.state == "creating":
        pool.order_failures += 1
        remove_node(tx, node)
        if pool.order_failures >= ORDER_FAILURES_MAX and pool.allocation_state == "resizing":
            fail_allocation(tx, pool, why)
    else:
        lose_node(tx, node, why)


def lose_node(tx: Tx, node: NodeState, why: str) -> None:
    """The node's agent has gone for good: its tasks go elsewhere, it is shown until replaced."""
    if node.is_lost or node.is_going or node.is_stuck:
        return
    add_event(tx.db, tx.now_us, "node_lost", node.id, why)
    node.is_lost = True
    link = tx.memory.links.pop(node.key, None)
    node.link = None
    if link is not None:
        tx.after.append(link.close)
    error = {
        "code": NODE_LOST,
        "message": "The node's agent has gone. Its tasks are run again elsewhere.",
        "errorDetails": [{"name": "Message", "value": why}],
    }
    errors = msgspec.json.encode([error]).decode()
    if node.state == "leavingpool":
        remove_node(tx, node)
        return
    move_node(tx, node, *(() if node.state == "unusable" else ("break",)), errors=errors)
    requeue_all(tx, node)
    end_specials(tx, node)
    tx.memory.touched_pools.add(node.pool_key)

"""Rehearsals: failures of the service that are asked for. Begun, listed, over. Owner thread.

A rehearsal is in the record, bounded in time, and goes on after a restart of the server until its
time is over. What is to fail looks for it in ``rehearsed``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lote.server.memory import Rehearsal
from lote.server.owner import Tx
from lote.server.rehearsed import close_rehearsal, note_rehearsal, show_throttle, throttle_rules
from lote.server.rehearsed_nodes import afflict_nodes, choose_nodes, release_nodes
from lote.server.throttling import CODES
from lote.store import rehearsals as rows
from lote.store.rehearsals import BY_REQUEST, BY_TIME, RehearsalRecord
from lote.wire.errors import Refused
from lote.wire.formats import format_timestamp
from lote.wire.rehearsal import OF_NODES, RehearsalCreate, check_rehearsal, duration_s

AT_WORK_MAX = 100  # rehearsals at a time
SHOWN_MAX = 100

Shown = dict[str, Any]

_decode = msgspec.json.Decoder(RehearsalCreate).decode
_decode_ids = msgspec.json.Decoder(list[str]).decode
_QUOTA_CODES = {
    "pools": "PoolQuotaReached",
    "jobs": "ActiveJobAndScheduleQuotaReached",
    "cores": "AccountCoreQuotaReached",
    "low-priority-cores": "AccountLowPriorityCoreQuotaReached",
}


def begin_rehearsal(tx: Tx, body: RehearsalCreate) -> Shown:
    """Have something fail from now on; what was begun, as it is listed.

    Refuses: what ``check_rehearsal`` and ``choose_nodes`` refuse, and
    OperationInvalidForCurrentState while too many are at work.
    """
    check_rehearsal(body)
    if len(tx.memory.rehearsals) >= AT_WORK_MAX:
        text = f"{AT_WORK_MAX} rehearsals are at work. Stop some."
        raise Refused("OperationInvalidForCurrentState", text)
    nodes = choose_nodes(tx, body) if body.kind in OF_NODES else []
    times = body.times
    if times is None and body.kind in ("start-task", "resize"):
        times = 1
    record = RehearsalRecord(
        key=0,
        kind=body.kind,
        spec=msgspec.json.encode(body),
        node_ids=msgspec.json.encode([node.id for node in nodes]).decode(),
        began_us=tx.now_us,
        until_us=tx.now_us + int(duration_s(body) * 1_000_000),
        times_left=times,
        times_acted=len(nodes),
    )
    record.key = rows.add_rehearsal(tx.db, record)
    one = _remember(tx, record)
    note_rehearsal(tx, "rehearsal_began", one, _sentence(body, len(nodes)))
    afflict_nodes(tx, one, nodes)
    if body.kind == "throttle":
        show_throttle(tx)
    tx.memory.touched_pools.update(tx.memory.pools)
    return view_rehearsal(record)


def list_rehearsals(tx: Tx) -> list[Shown]:
    """The newest first, those that are over too."""
    return [view_rehearsal(record) for record in rows.list_rehearsals(tx.db, SHOWN_MAX)]


def stop_rehearsal(tx: Tx, key: int) -> Shown:
    """End one before its time; one that is over stays as it is. Refuses: ResourceNotFound."""
    one = tx.memory.rehearsals.get(key)
    if one is not None:
        _end(tx, one, BY_REQUEST)
    record = rows.get_rehearsal(tx.db, key)
    if record is None:
        raise Refused("ResourceNotFound", "There is no rehearsal of that number.")
    return view_rehearsal(record)


def end_overdue_rehearsal(tx: Tx, key: int) -> None:
    """An alarm: the rehearsal's time may be over."""
    one = tx.memory.rehearsals.get(key)
    if one is not None and tx.now_us >= one.record.until_us:
        _end(tx, one, BY_TIME)


def load_rehearsals(tx: Tx) -> None:
    """Take those at work into memory; one whose time is over meanwhile ends at its alarm."""
    for record in rows.list_rehearsals_at_work(tx.db):
        _remember(tx, record)
    if tx.memory.throttle is not None:
        tx.memory.throttle.replace(throttle_rules(tx.memory))


def _remember(tx: Tx, record: RehearsalRecord) -> Rehearsal:
    node_ids = frozenset(_decode_ids(record.node_ids))
    one = Rehearsal(record, _decode(record.spec), node_ids)
    tx.memory.rehearsals[record.key] = one
    tx.memory.set_timer(record.until_us, "rehearsal", record.key)
    return one


def _end(tx: Tx, one: Rehearsal, why: str) -> None:
    close_rehearsal(tx, one, why)
    release_nodes(tx, one)


def view_rehearsal(record: RehearsalRecord) -> Shown:
    """As clients see it."""
    body = _decode(record.spec)
    node_ids = _decode_ids(record.node_ids)
    shown: Shown = {
        "id": str(record.key),
        "state": "active" if record.ended_us is None else "ended",
        "what": _sentence(body, len(node_ids)),
        "request": msgspec.to_builtins(body),
        "startTime": format_timestamp(record.began_us),
        "endTime": format_timestamp(record.ended_us or record.until_us),
        "timesActed": record.times_acted,
    }
    if node_ids:
        shown["nodeIds"] = node_ids
    if record.times_left is not None:
        shown["timesLeft"] = record.times_left
    if record.ended_by is not None:
        shown["endedBy"] = record.ended_by
    return shown


def _sentence(body: RehearsalCreate, nodes: int) -> str:
    """What fails, for people."""
    pool = "any pool" if body.pool_id is None else f"pool {body.pool_id}"
    of_nodes = f"{nodes} node{'s' if nodes != 1 else ''} of {pool}"
    if body.kind == "preempt":
        return f"{of_nodes} preempted"
    if body.kind == "unusable":
        return f"{of_nodes} unusable"
    if body.kind == "lost":
        return f"{of_nodes} out of contact"
    if body.kind == "start-task":
        return f"start tasks of {pool} exit with {body.exit_code or 1}"
    if body.kind == "quota":
        return f"quota of {body.quota} reached: {_QUOTA_CODES[body.quota or '']}"
    if body.kind == "resize":
        return f"resizes of {pool} end with {body.error_code or 'AllocationTimedout'}"
    status = body.status or 503
    return f"requests answered {status} {CODES[status]}"

"""Resizes that fail because a rehearsal says so: no node comes, and then an error. Owner thread."""

from __future__ import annotations

from lote.server.memory import PoolState, Rehearsal
from lote.server.owner import Tx
from lote.server.rehearsed import count_act, find_rehearsal
from lote.store.records import PoolRecord

AFTER_S_DEFAULT = 2.0  # a resize is seen going on before it fails
KINDS = ((True, "dedicated"), (False, "low-priority"))

ResizeError = dict[str, object]


def timed_out(name: str) -> ResizeError:
    """The error of a resize that came to the end of its time, for one kind of nodes."""
    return {
        "code": "AllocationTimedout",
        "message": f"The desired number of {name} nodes could not be allocated as the"
        " resize timeout was reached",
    }


def withholding(tx: Tx, pool: PoolState) -> Rehearsal | None:
    """The rehearsal that lets this pool, which is resizing, have no new node."""
    if not tx.memory.rehearsals or pool.allocation_state != "resizing":
        return None
    return find_rehearsal(tx, "resize", pool_id=pool.id)


def withheld_errors(
    tx: Tx, pool: PoolState, record: PoolRecord, missing: dict[bool, int]
) -> list[ResizeError] | None:
    """The errors with which the resize of this pool ends now, by how many nodes of each kind are
    missing; None when it goes on. Sets the alarm for a later look."""
    one = withholding(tx, pool)
    if one is None or not any(count > 0 for count in missing.values()):
        return None
    after_s = AFTER_S_DEFAULT if one.body.after_s is None else one.body.after_s
    due_us = (record.resize_started_us or tx.now_us) + int(after_s * 1_000_000)
    if tx.now_us < due_us:
        tx.memory.set_timer(due_us, "pool", pool.key)
        return None
    count_act(tx, one)
    named = [name for is_dedicated, name in KINDS if missing[is_dedicated] > 0]
    if one.body.error_code == "AllocationFailed":
        text = "The desired number of {} nodes could not be allocated."
        return [{"code": "AllocationFailed", "message": text.format(name)} for name in named]
    return [timed_out(name) for name in named]

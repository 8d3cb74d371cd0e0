"""What rehearsals there are, for those who must fail when one says so. Owner thread.

Whoever asks pays one look at an empty dictionary while none is at work.
"""

from __future__ import annotations

import logging

import msgspec

from lote.server.memory import Memory, Rehearsal
from lote.server.owner import Tx
from lote.server.throttling import ThrottleRule
from lote.store.events import add_event
from lote.store.rehearsals import BY_COUNT, save_rehearsal

log = logging.getLogger("lote.rehearsals")

RETRY_AFTER_S = 1


def find_rehearsal(
    tx: Tx, kind: str, *, pool_id: str | None = None, quota: str | None = None
) -> Rehearsal | None:
    """The oldest of that kind at work, for that pool or any, for that quota."""
    for one in tx.memory.rehearsals.values():
        wanted = one.body
        if wanted.kind != kind or tx.now_us >= one.record.until_us or wanted.quota != quota:
            continue
        if wanted.pool_id is None or (pool_id or "").lower() == wanted.pool_id.lower():
            return one
    return None


def holds_node(memory: Memory, node_id: str, kind: str) -> bool:
    """Whether a rehearsal of that kind holds the node."""
    return any(
        one.body.kind == kind and node_id in one.node_ids for one in memory.rehearsals.values()
    )


def count_act(tx: Tx, one: Rehearsal) -> None:
    """It acted once more; it is over when that was the last time."""
    record = one.record
    record.times_acted += 1
    if record.times_left is not None:
        record.times_left -= 1
    if record.times_left == 0:
        close_rehearsal(tx, one, BY_COUNT)
    else:
        save_rehearsal(tx.db, record)


def close_rehearsal(tx: Tx, one: Rehearsal, why: str) -> None:
    """It is over: recorded, and forgotten by memory."""
    record = one.record
    record.ended_us, record.ended_by = tx.now_us, why
    save_rehearsal(tx.db, record)
    tx.memory.rehearsals.pop(record.key, None)
    note_rehearsal(tx, "rehearsal_ended", one, why)
    if one.body.kind == "throttle":
        show_throttle(tx)
    tx.memory.touched_pools.update(tx.memory.pools)


def note_rehearsal(tx: Tx, event: str, one: Rehearsal, text: str) -> None:
    """Into the record of events, and into the log once it is committed."""
    subject = f"{one.body.kind} {one.record.key}"
    add_event(tx.db, tx.now_us, event, subject, text)
    facts = {"rehearsal": one.record.key, "kind": one.body.kind, "text": text}
    tx.after.append(lambda: log.warning(event, extra=facts))


def show_throttle(tx: Tx) -> None:
    """Tell the listeners' throttle its rules, once they are committed."""
    throttle, rules = tx.memory.throttle, throttle_rules(tx.memory)
    if throttle is not None:
        tx.after.append(lambda: throttle.replace(rules))


def throttle_rules(memory: Memory) -> list[ThrottleRule]:
    """What the rehearsals at work say of requests."""
    return [
        ThrottleRule(
            one.record.key,
            one.body.status or 503,
            RETRY_AFTER_S if one.body.retry_after_s is None else one.body.retry_after_s,
            one.record.until_us,
            one.record.times_left,
        )
        for one in memory.rehearsals.values()
        if one.body.kind == "throttle"
    ]


def count_throttled(tx: Tx, key: int) -> None:
    """A request was turned away by this rehearsal."""
    one = tx.memory.rehearsals.get(key)
    if one is not None:
        count_act(tx, one)


def rehearsed_start_task(tx: Tx, pool_id: str, start_task: bytes) -> bytes:
    """The start task of a node that boots now: the pool's, or one that fails if a rehearsal says
    so. It fails by itself, as a real process, with the pool's retries and under its user."""
    one = find_rehearsal(tx, "start-task", pool_id=pool_id) if tx.memory.rehearsals else None
    if one is None:
        return start_task
    count_act(tx, one)
    members = msgspec.json.decode(start_task)
    for name in ("resourceFiles", "environmentSettings", "containerSettings"):
        members.pop(name, None)
    code = one.body.exit_code or 1
    members["commandLine"] = f"/bin/sh -c 'echo this failure is rehearsed >&2; exit {code}'"
    return msgspec.json.encode(members)
